"""The compiled loops of the staging threads, which upload and download an array in pieces.

The threads take pieces from a common counter, so a thread that starts late does less. No loop holds
the GIL or needs Python. Each checks between pieces whether another thread has failed.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from cupy_compat.cudamark.compiled import c_function, compiled
from cupy_compat.cudamark.gpu import order
from cupy_compat.cudamark.gpu.driver import NOT_READY, Calls
from cupy_compat.cudamark.gpu.intrinsics import call, copy, fetch_add, intrinsic, load, store, touch
from cupy_compat.cudamark.turns import compiling

SHARED = 8
"""The number of words that all threads share.

``NEXT_UP``, ``NEXT_DOWN``, ``NEXT_STRETCH``: the next piece to upload, piece to download, and
stretch of new memory to touch. ``SENDERS_DONE``: how many threads have sent all their pieces.
``SENT``: whether all have. ``PLANNED``: whether the buckets are chosen. ``SORTED``: how many
buckets are sorted; keys that are not split are one bucket. ``FAILED``: whether a thread has failed.
"""
NEXT_UP, NEXT_DOWN, NEXT_STRETCH, SENDERS_DONE, SENT, PLANNED, SORTED, FAILED = range(SHARED)

TASK = np.dtype(
    [
        (name, np.uintp)
        for name in (
            # See `Calls`, `driver.context` and `native.yield_function`.
            *(*Calls._fields, "context", "yield_"),
            # Addresses of the keys and of the result on the host, and of the GPU's memory.
            *("source", "result", "keys"),
            # Addresses of the bounds, in bytes, of the pieces to upload and to download; their
            # numbers.
            *("up", "down", "up_pieces", "down_pieces"),
            # Addresses of arrays: each downloaded piece's address on the GPU, and its bucket.
            *("origins", "buckets"),
            # The kernel that splits keys, or 0; the bytes of a key, and how many keys a block
            # takes; its first argument, and the addresses of both arguments.
            *("partition", "itemsize", "tile"),
            *(f"{what}_{span}" for span in range(order.SPANS) for what in ("keys", "size")),
            *("spans_at", "plan_at"),
            # The start and size of memory whose pages the system has yet to provide; the address of
            # the shared words; the number of threads.
            *("fresh", "fresh_bytes", "shared", "threads"),
            # This thread's stream, its page-locked slots, and the event of each slot's last copy.
            *("stream", "slots", "events", "slot_count"),
            # Events: the GPU's memory may be written to; this thread's uploads are complete; each
            # bucket is sorted.
            *("ready", "sent", "sorted"),
            # The driver's error, if this thread fails.
            "error",
        )
    ]
)
"""The argument of one thread."""
PER_THREAD = ["stream", "slots", "events", "slot_count", "sent"]
"""The fields of `TASK` that differ between threads, apart from the kernel's first argument."""

_WORD = np.uintp(np.dtype(np.uintp).itemsize)
_PAGE = np.uintp(4096)
# The size of a huge page, which the system provides as a whole.
_STRETCH = np.uintp(2 << 20)
SPANS_OFFSET, _ARGUMENTS_OFFSET = (
    np.uintp(TASK.fields[name][1])  # type: ignore[index]
    for name in ("keys_0", "spans_at")
)
_SPANS = order.SPANS
_THREADS = np.uintp(order.THREADS)
_NONE, _ONE = np.uintp(0), np.uintp(1)


@intrinsic(numba.from_dtype(TASK)(numba.types.uintp))
def _at(builder: Any, address: Any) -> Any:
    """Return the task at an address."""
    return builder.inttoptr(address, ir.ArrayType(ir.IntType(8), TASK.itemsize).as_pointer())


@compiled
def shared(task: Any, item: int) -> Any:
    """Return the address of a shared word."""
    return task.shared + np.uintp(item) * _WORD


@compiled
def extent(bounds: Any, piece: Any) -> Any:
    """Return the start and the size of a piece, in bytes, from the bounds at an address."""
    start = load(bounds + piece * _WORD)
    return start, load(bounds + (piece + _ONE) * _WORD) - start


@compiled
def touch_stretch(task: Any) -> bool:
    """Touch the pages of the next stretch of new memory, or return False if none is left."""
    end = task.fresh + task.fresh_bytes
    start = (task.fresh // _STRETCH + fetch_add(shared(task, NEXT_STRETCH))) * _STRETCH
    if start >= end:
        return False
    page = max(start, task.fresh)
    while page < min(start + _STRETCH, end):
        touch(page)
        page += _PAGE
    return True


@compiled
def wait(task: Any, event: Any) -> int:
    """Touch new memory until an event has happened. Return 0, or the driver's error."""
    error: int = call(task.query, (event,))
    while error == NOT_READY:
        error = call(task.query if touch_stretch(task) else task.synchronize, (event,))
    return error


@compiled
def publish(address: Any, item: int, value: int) -> None:
    """Set one of the shared words at an address."""
    store(address + np.uintp(item) * _WORD, np.uintp(value))


@compiled
def fail(address: Any, error: int) -> None:
    """Record an error, and tell all threads to end."""
    task = _at(address)
    task.error = np.uintp(error)
    publish(task.shared, FAILED, 1)


@compiled
def await_shared(address: Any, item: int, least: int) -> None:
    """Touch new memory until a shared word has reached a value, or `FAILED` is set."""
    task = _at(address)
    while load(shared(task, item)) < np.uintp(least) and not load(shared(task, FAILED)):
        if not touch_stretch(task):
            # The function takes no arguments, so it ignores this one.
            call(task.yield_, (task.sent,))


@compiled
def split(address: Any, pieces: Any, first: int, end: int) -> int:
    """Launch the kernel that splits pieces `first` to `end` by value. Return the driver's error."""
    task = _at(address)
    error = 0
    while task.partition and first < end and not error:
        most, word_at = _NONE, address + SPANS_OFFSET
        for span in range(_SPANS):
            start, nbytes = extent(task.up, pieces[min(first + span, end - 1)])
            size = nbytes // task.itemsize if first + span < end else _NONE
            store(word_at, task.keys + start)
            store(word_at + _WORD, size)
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
    """Copy pieces into slots, and start the upload of each. `address` is that of the task."""
    task = _at(address)
    pieces = np.empty(task.up_pieces, np.uintp)
    sent = in_buckets = 0
    error = call(task.set_context, (task.context,)) or call(
        task.stream_wait, (task.stream, task.ready, _NONE)
    )
    while not (error or load(shared(task, FAILED))):
        piece = fetch_add(shared(task, NEXT_UP))
        if piece >= task.up_pieces:
            break
        slot = np.uintp(sent) % task.slot_count * _WORD
        event = load(task.events + slot)
        if np.uintp(sent) >= task.slot_count:
            error = wait(task, event)
            if error:
                break
        pieces[sent] = piece
        sent += 1
        start, nbytes = extent(task.up, piece)
        copy(load(task.slots + slot), task.source + start, nbytes)
        target = task.keys + start
        error = call(task.upload, (target, load(task.slots + slot), nbytes, task.stream)) or call(
            task.record, (event, task.stream)
        )
        # The driver serves one thread at a time, so call it rarely: for several pieces at once.
        if not error and sent - in_buckets >= _SPANS and load(shared(task, PLANNED)):
            error = split(address, pieces, in_buckets, sent)
            in_buckets = sent
    await_shared(address, PLANNED, 1)
    if not (error or load(shared(task, FAILED))):
        error = split(address, pieces, in_buckets, sent)
    error = error or call(task.record, (task.sent, task.stream))
    if error:
        fail(address, error)
    if fetch_add(shared(task, SENDERS_DONE)) + _ONE == task.threads:
        publish(task.shared, SENT, 1)


@compiled
def cut(
    up: NDArray[np.intp], edges: NDArray[np.intp], origins: NDArray[np.intp], down: NDArray[np.intp]
) -> int:
    """Cut the download into pieces, each from a single bucket, and return their number.

    `up`, of shape (m + 1,), has the bounds of the uploaded pieces, and `edges`, of shape (n + 1,),
    those of the buckets, in bytes. `origins`, of shape (n,), has the address of each bucket on the
    GPU. Each column of `down`, of shape (3, m + n), is set to the offset of a piece in the result,
    its address on the GPU, and its bucket. The last pieces are as small as the first uploaded ones.
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
    """Download pieces as soon as their bucket is sorted, and copy each to the result.

    `address` is that of the task. Its pieces are set before `SORTED` is.
    """
    task = _at(address)
    pieces = np.zeros(task.slot_count, np.uintp)
    asked = done = np.uintp(0)
    await_shared(address, SORTED, 1)
    if load(shared(task, FAILED)):
        return
    error = call(task.set_context, (task.context,))
    piece = fetch_add(shared(task, NEXT_DOWN))
    while not (error or load(shared(task, FAILED))):
        while piece < task.down_pieces and asked - done < task.slot_count and not error:
            bucket = load(task.buckets + piece * _WORD)
            if load(shared(task, SORTED)) <= bucket:
                if asked > done:
                    break
                await_shared(address, SORTED, bucket + _ONE)
                if load(shared(task, FAILED)):
                    return
            slot = asked % task.slot_count
            pieces[slot] = piece
            asked += _ONE
            _, nbytes = extent(task.down, piece)
            target, origin = load(task.slots + slot * _WORD), load(task.origins + piece * _WORD)
            sorted_ = load(task.sorted + bucket * _WORD)
            error = (
                call(task.stream_wait, (task.stream, sorted_, _NONE))
                or call(task.download, (target, origin, nbytes, task.stream))
                or call(task.record, (load(task.events + slot * _WORD), task.stream))
            )
            piece = fetch_add(shared(task, NEXT_DOWN))
        if error or asked == done:
            break
        slot = done % task.slot_count
        error = wait(task, load(task.events + slot * _WORD))
        if not error:
            start, nbytes = extent(task.down, pieces[slot])
            copy(task.result + start, load(task.slots + slot * _WORD), nbytes)
            done += _ONE
    if error:
        fail(address, error)


def _both(address: Any) -> Any:
    send(address)
    receive(address)
    return np.uintp(0)


@compiling
def send_and_receive() -> np.uintp:
    """Compile all loops. Return the address of a C function that sends and receives for a task."""
    address, item = numba.types.uintp, numba.types.intp
    row, table = numba.types.intp[::1], numba.types.intp[:, ::1]
    called: tuple[tuple[Any, ...], ...] = (
        (send, address),
        (await_shared, address, item, item),
        (receive, address),
        (publish, address, item, item),
        (cut, row, row, row, table),
    )
    for loop, *arguments in called:
        loop.compile(tuple(arguments))
    return np.uintp(c_function(address(address), _both))
