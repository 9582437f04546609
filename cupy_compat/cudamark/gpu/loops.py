"""What each staging thread does, compiled: pieces into slots and over the bus, and back.

The threads take pieces from a common counter, so one that starts late does less. None of these
loops holds the GIL, nor needs Python at all; each looks between pieces whether another has failed.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import extending
from numpy.typing import NDArray

from cupy_compat.cudamark.compiled import c_function, compiled
from cupy_compat.cudamark.gpu import order
from cupy_compat.cudamark.gpu.driver import NOT_READY, Calls, call, copy, put, take, touch, word
from cupy_compat.cudamark.turns import compiling

SHARED = 8
"""How many words all threads share."""
NEXT_UP, NEXT_DOWN, NEXT_STRETCH, SENDERS_DONE, SENT, PLANNED, SORTED, FAILED = range(SHARED)
"""Those words: the next piece up and down and the next stretch of fresh memory that no thread has
taken, how many threads have sent all they had, and whether all have; whether the tasks say how keys
are split by value, if at all; how many buckets have been sorted, as far as their events say so, all
keys being one bucket if they are not split; and whether a thread has failed."""

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
            # Addresses of where each piece down is on the GPU, and of the number of its bucket.
            *("origins", "buckets"),
            # The kernel that splits keys, or 0; the bytes of a key, and how many a block of its
            # takes; its first argument, and the addresses of both arguments.
            *("partition", "itemsize", "tile"),
            *(f"{what}_{span}" for span in range(order.SPANS) for what in ("keys", "size")),
            *("spans_at", "plan_at"),
            # Memory whose pages are not there yet: the system zeroes each when it is first written.
            *("fresh", "fresh_bytes"),
            # Address of the words that are shared; how many threads share them.
            *("shared", "threads"),
            # This thread's own: its stream; addresses of as many page-locked slots, for a piece
            # each, and of an event for each, which is recorded when its piece is on its way.
            *("stream", "slots", "events", "slot_count"),
            # Events: the GPU's memory may be written to; all that this thread sends. Address of an
            # event for each bucket: it is sorted.
            *("ready", "sent", "sorted"),
            # Set if it fails: the driver's error.
            "error",
        )
    ]
)
"""What one thread is told, and tells."""
OF_LANE = ["stream", "slots", "events", "slot_count", "sent"]
"""What of it differs from thread to thread, beside the first argument of the kernel."""

_WORD = np.uintp(np.dtype(np.uintp).itemsize)
_PAGE = np.uintp(4096)
# Systems with huge pages have them of this size, and zero one as a whole.
_STRETCH = np.uintp(2 << 20)
_RECORD = numba.from_dtype(TASK)
SPANS_OFFSET, _ARGUMENTS_OFFSET = (
    np.uintp(TASK.fields[name][1])  # type: ignore[index]
    for name in ("keys_0", "spans_at")
)
_SPANS = order.SPANS
_THREADS = np.uintp(order.THREADS)
_NONE, _ONE = np.uintp(0), np.uintp(1)


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
def publish(address: Any, item: int, value: int) -> None:
    """Set a word of those at an address, for all threads to see with what was done before."""
    put(address + np.uintp(item) * _WORD, np.uintp(value))


@compiled
def fail(address: Any, error: int) -> None:
    """Keep an error, and have all threads end."""
    task = _at(address)
    task.error = np.uintp(error)
    publish(task.shared, FAILED, 1)


@compiled
def await_shared(address: Any, item: int, least: int) -> None:
    """Touch fresh memory until a shared word has grown to a value, or `FAILED` is set."""
    task = _at(address)
    while word(shared(task, item)) < np.uintp(least) and not word(shared(task, FAILED)):
        if not touch_stretch(task):
            call(task.pause, (task.sent,))


@compiled
def split(address: Any, pieces: Any, first: int, end: int) -> int:
    """Start putting some pieces that are on their way into buckets; return the driver's error."""
    task = _at(address)
    error = 0
    while task.partition and first < end and not error:
        most, word_at = _NONE, address + SPANS_OFFSET
        for span in range(_SPANS):
            start, nbytes = extent(task.up, pieces[min(first + span, end - 1)])
            size = nbytes // task.itemsize if first + span < end else _NONE
            put(word_at, task.keys + start)
            put(word_at + _WORD, size)
            word_at += _WORD + _WORD
            most = max(most, size)
        blocks = (most + task.tile - _ONE) // task.tile
        grid = (task.partition, blocks, np.uintp(_SPANS), _ONE, _THREADS, _ONE, _ONE)
        arguments = address + _ARGUMENTS_OFFSET
        error = call(task.launch, grid + (_NONE, task.stream, arguments, _NONE))  # noqa: RUF005
        first += _SPANS
    return error


@compiled
def send(address: Any) -> None:
    """Copy pieces into slots, and start each one's way to the GPU.

    Parameters
    ----------
    address : uintp
        Of this thread's task.
    """
    task = _at(address)
    pieces = np.empty(task.up_pieces, np.uintp)
    sent = in_buckets = 0
    error = call(task.enter, (task.place,))
    if not error:
        error = call(task.follow, (task.stream, task.ready, _NONE))
    while not (error or word(shared(task, FAILED))):
        piece = take(shared(task, NEXT_UP))
        if piece >= task.up_pieces:
            break
        slot = np.uintp(sent) % task.slot_count * _WORD
        event = word(task.events + slot)
        if np.uintp(sent) >= task.slot_count:
            error = wait(task, event)
            if error:
                break
        pieces[sent] = piece
        sent += 1
        start, nbytes = extent(task.up, piece)
        copy(word(task.slots + slot), task.source + start, nbytes)
        where = task.keys + start
        error = call(task.upload, (where, word(task.slots + slot), nbytes, task.stream))
        if not error:
            error = call(task.record, (event, task.stream))
        # The driver serves one thread at a time, so its calls are few.
        if not error and sent - in_buckets >= _SPANS and word(shared(task, PLANNED)):
            error = split(address, pieces, in_buckets, sent)
            in_buckets = sent
    await_shared(address, PLANNED, 1)
    if not (error or word(shared(task, FAILED))):
        error = split(address, pieces, in_buckets, sent)
    if not error:
        error = call(task.record, (task.sent, task.stream))
    if error:
        fail(address, error)
    if take(shared(task, SENDERS_DONE)) + _ONE == task.threads:
        publish(task.shared, SENT, 1)


@compiled
def cut(
    up: NDArray[np.intp],
    edges: NDArray[np.intp],
    origins: NDArray[np.intp],
    down: NDArray[np.intp],
) -> int:
    """Cut the way home into pieces of one bucket each, the last ones as small as the first ones up.

    Parameters
    ----------
    up : intp array, shape (m + 1,)
        Where pieces up begin and end, in bytes.
    edges : intp array, shape (n + 1,)
        Where buckets begin and end, in bytes.
    origins : intp array, shape (n,)
        Where each bucket begins on the GPU.
    down : intp array, shape (3, m + n), out
        Where each piece begins at home, where on the GPU, and the number of its bucket.

    Returns
    -------
    int
        The number of pieces; at home the last one ends where the next one would begin.
    """
    at = bucket = count = 0
    left = len(up) - 1
    while at < edges[-1]:
        while edges[bucket + 1] <= at:
            bucket += 1
        while edges[-1] - up[left] <= at:
            left -= 1
        down[0, count] = at
        down[1, count] = origins[bucket] + at - edges[bucket]
        down[2, count] = bucket
        count += 1
        at = min(edges[-1] - up[left], edges[bucket + 1])
    down[0, count] = at
    return count


@compiled
def receive(address: Any) -> None:
    """Have pieces come into slots as soon as their bucket is sorted, and copy each out.

    Parameters
    ----------
    address : uintp
        Of this thread's task, which says what the pieces down are when `SORTED` is set.
    """
    task = _at(address)
    pieces = np.zeros(task.slot_count, np.uintp)
    asked = done = np.uintp(0)
    await_shared(address, SORTED, 1)
    if word(shared(task, FAILED)):
        return
    error = call(task.enter, (task.place,))
    piece = take(shared(task, NEXT_DOWN))
    while not (error or word(shared(task, FAILED))):
        while piece < task.down_pieces and asked - done < task.slot_count and not error:
            bucket = word(task.buckets + piece * _WORD)
            if word(shared(task, SORTED)) <= bucket:
                if asked > done:
                    break
                await_shared(address, SORTED, bucket + _ONE)
                if word(shared(task, FAILED)):
                    return
            slot = asked % task.slot_count
            pieces[slot] = piece
            asked += _ONE
            _, nbytes = extent(task.down, piece)
            where, origin = word(task.slots + slot * _WORD), word(task.origins + piece * _WORD)
            sorted_ = word(task.sorted + bucket * _WORD)
            error = call(task.follow, (task.stream, sorted_, _NONE))
            if not error:
                error = call(task.download, (where, origin, nbytes, task.stream))
            if not error:
                error = call(task.record, (word(task.events + slot * _WORD), task.stream))
            piece = take(shared(task, NEXT_DOWN))
        if error or asked == done:
            break
        slot = done % task.slot_count
        error = wait(task, word(task.events + slot * _WORD))
        if not error:
            start, nbytes = extent(task.down, pieces[slot])
            copy(task.result + start, word(task.slots + slot * _WORD), nbytes)
            done += _ONE
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
        (await_shared, address, item, item),
        (receive, address),
        (publish, address, item, item),
    )
    for loop, *arguments in called:
        loop.compile(tuple(arguments))
    row, table = numba.types.intp[::1], numba.types.intp[:, ::1]
    cut.compile((row, row, row, table))  # type: ignore[attr-defined]


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
