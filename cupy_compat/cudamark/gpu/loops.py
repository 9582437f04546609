"""What each staging thread does, compiled: pieces into slots and over the bus, and back.

The threads take pieces from a common counter, so one that starts late does less. None of these
loops holds the GIL, nor needs Python at all; each looks between pieces whether another has failed.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import extending

from cupy_compat.cudamark.compiled import c_function, compiled
from cupy_compat.cudamark.gpu.driver import NOT_READY, Calls, call, copy, put, take, touch, word
from cupy_compat.cudamark.turns import compiling

SHARED = 7
"""How many words all threads share."""
NEXT_UP, NEXT_DOWN, NEXT_STRETCH, SENDERS_DONE, SENT, SORTED, FAILED = range(SHARED)
"""Those words: the next piece up and down and the next stretch of fresh memory that no thread has
taken, how many threads have sent all they had, and whether all have, the sort has been started
(what follows on its stream are sorted keys), and a thread has failed."""

TASK = np.dtype(
    [
        (name, np.uintp)
        for name in (
            # See `Calls`, `driver.place` and `native.pause`.
            *(*Calls._fields, "place", "pause"),
            # Addresses of the keys on the host, of where they go there, and of the GPU's memory.
            *("source", "result", "keys"),
            # Addresses of where pieces begin and end, in bytes; how many pieces each way has.
            *("up", "down", "up_pieces", "down_pieces"),
            # Memory whose pages are not there yet: the system zeroes each when it is first written.
            *("fresh", "fresh_bytes"),
            # Address of the words that are shared; how many threads share them.
            *("shared", "threads"),
            # This thread's own: its stream; addresses of as many page-locked slots, for a piece
            # each, and of an event for each, which is recorded when its piece is on its way.
            *("stream", "slots", "events", "slot_count"),
            # Events: all that this thread sends, and the sort.
            *("sent", "sorted"),
            # Set if it fails: the driver's error.
            "error",
        )
    ]
)
"""What one thread is told, and tells."""

_WORD = np.uintp(np.dtype(np.uintp).itemsize)
_PAGE = np.uintp(4096)
# Systems with huge pages have them of this size, and zero one as a whole.
_STRETCH = np.uintp(2 << 20)
_RECORD = numba.from_dtype(TASK)


def _task_at(typing_context: Any, address: Any) -> Any:
    """``task_at(address)``: the task that stands there."""
    del typing_context, address

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return _RECORD(numba.types.uintp), emit


_at: Any = extending.intrinsic(_task_at)


@compiled
def shared(task: Any, item: int) -> Any:
    """Return the address of a shared word."""
    return task.shared + np.uintp(item) * _WORD


@compiled
def extent(bounds: Any, piece: Any) -> Any:
    """Return where a piece begins, of those whose bounds stand at an address, and its bytes."""
    start = word(bounds + piece * _WORD)
    return start, word(bounds + (piece + np.uintp(1)) * _WORD) - start


@compiled
def touch_stretch(task: Any) -> bool:
    """Have the pages of a stretch that no thread has taken, or return False if there is none."""
    end = task.fresh + task.fresh_bytes
    start = (task.fresh // _STRETCH + take(shared(task, NEXT_STRETCH))) * _STRETCH
    if start >= end:
        return False
    page = max(start, task.fresh)
    while page < min(start + _STRETCH, end):
        touch(page)
        page += _PAGE
    return True


@compiled
def wait(task: Any, event: Any) -> int:
    """Touch fresh memory until an event has happened; return 0, or the driver's error."""
    error: int = call(task.query, (event,))
    while error == NOT_READY:
        if not touch_stretch(task):
            error = call(task.wait, (event,))
            return error
        error = call(task.query, (event,))
    return error


@compiled
def tell(address: Any, item: int) -> None:
    """Set a shared word, for all threads to see, and with it what was done before."""
    put(shared(_at(address), item), np.uintp(1))


@compiled
def fail(address: Any, error: int) -> None:
    """Keep an error, and have all threads end."""
    task = _at(address)
    task.error = np.uintp(error)
    tell(address, FAILED)


@compiled
def send(address: Any) -> None:
    """Copy pieces into slots, and start each one's way to the GPU.

    Parameters
    ----------
    address : uintp
        Of this thread's task.
    """
    task = _at(address)
    used = np.uintp(0)
    error = call(task.enter, (task.place,))
    while not (error or word(shared(task, FAILED))):
        piece = take(shared(task, NEXT_UP))
        if piece >= task.up_pieces:
            break
        slot = used % task.slot_count * _WORD
        event = word(task.events + slot)
        if used >= task.slot_count:
            error = wait(task, event)
            if error:
                break
        used += np.uintp(1)
        start, nbytes = extent(task.up, piece)
        copy(word(task.slots + slot), task.source + start, nbytes)
        where = task.keys + start
        error = call(task.upload, (where, word(task.slots + slot), nbytes, task.stream))
        if not error:
            error = call(task.record, (event, task.stream))
    if not error:
        error = call(task.record, (task.sent, task.stream))
    if error:
        fail(address, error)
    if take(shared(task, SENDERS_DONE)) + np.uintp(1) == task.threads:
        tell(address, SENT)


@compiled
def await_shared(address: Any, item: int) -> None:
    """Touch fresh memory until a shared word is set, or `FAILED`."""
    task = _at(address)
    while not (word(shared(task, item)) or word(shared(task, FAILED))):
        if not touch_stretch(task):
            call(task.pause, (task.sent,))


@compiled
def receive(address: Any) -> None:
    """Wait for the sort to be started, then have pieces come into slots, and copy each out.

    Parameters
    ----------
    address : uintp
        Of this thread's task, whose event `sorted` has been recorded when `SORTED` is set.
    """
    task = _at(address)
    pieces = np.zeros(task.slot_count, np.uintp)
    asked = done = np.uintp(0)
    more = True
    await_shared(address, SORTED)
    if word(shared(task, FAILED)):
        return
    error = call(task.enter, (task.place,))
    if not error:
        error = call(task.follow, (task.stream, task.sorted, np.uintp(0)))
    while not (error or word(shared(task, FAILED))):
        while more and asked - done < task.slot_count and not error:
            piece = take(shared(task, NEXT_DOWN))
            more = piece < task.down_pieces
            if more:
                slot = asked % task.slot_count * _WORD
                pieces[asked % task.slot_count] = piece
                asked += np.uintp(1)
                start, nbytes = extent(task.down, piece)
                where = word(task.slots + slot)
                error = call(task.download, (where, task.keys + start, nbytes, task.stream))
                if not error:
                    error = call(task.record, (word(task.events + slot), task.stream))
        if error or asked == done:
            break
        slot = done % task.slot_count * _WORD
        error = wait(task, word(task.events + slot))
        if not error:
            start, nbytes = extent(task.down, pieces[done % task.slot_count])
            copy(task.result + start, word(task.slots + slot), nbytes)
            done += np.uintp(1)
    if error:
        fail(address, error)


def _both(address: Any) -> Any:
    send(address)
    receive(address)
    return np.uintp(0)


def _compile_all() -> None:
    """Compile (or load from disk) what Python calls of these loops."""
    address, item = numba.types.uintp, numba.types.intp
    called: tuple[tuple[Any, ...], ...] = (
        (send, address),
        (await_shared, address, item),
        (receive, address),
        (tell, address, item),
    )
    for loop, *arguments in called:
        loop.compile(tuple(arguments))


compile_all = compiling(_compile_all)


@compiling
def send_and_receive() -> np.uintp:
    """Compile (or load from disk) all of it, and return where a C function of it stands.

    Returns
    -------
    uintp
        Address of ``void *function(void *task)``, which sends, waits for the sort and receives.
    """
    _compile_all()
    return np.uintp(c_function(numba.types.uintp(numba.types.uintp), _both))
