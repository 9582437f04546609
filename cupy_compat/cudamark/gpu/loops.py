"""What each staging thread does, compiled: pieces into slots and over the bus, and back.

The threads take pieces from a common counter, so one that starts late does less. None of these
loops holds the GIL; each looks at ``state`` between pieces, which other threads may set.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.compiled import compiled
from cupy_compat.cudamark.gpu.driver import NOT_READY, Calls, call, copy, take, touch

FAILED = 0
"""Item of ``state``: another thread has failed, and no work is to be begun."""
SENT = 1
"""Item of ``state``: every thread has sent all it had."""
SORTED = 2
"""Item of ``state``: the sort has been started, and what follows on its stream are sorted keys."""
_PAGE = 4096
# Systems with huge pages have them of this size, and zero one as a whole.
_STRETCH = 2 << 20


class Fresh(NamedTuple):
    """Memory whose pages are not there yet: the system zeroes each when it is first written to."""

    address: np.uintp
    nbytes: np.uintp
    """0 where there is none."""
    counter: NDArray[np.int64]
    """Shape (1,): the next stretch that no thread has taken."""


@compiled
def touch_stretch(fresh: Fresh) -> bool:
    """Have the pages of a stretch that no thread has taken, or return False if there is none."""
    address, nbytes, counter = fresh
    stretch = np.uintp(_STRETCH)
    end = address + nbytes
    start = (address // stretch + np.uintp(take(counter))) * stretch
    if start >= end:
        return False
    page = max(start, address)
    while page < min(start + stretch, end):
        touch(page)
        page += np.uintp(_PAGE)
    return True


@compiled
def wait(calls: Calls, event: np.uintp, fresh: Fresh) -> int:
    """Touch fresh memory until an event has happened; return 0, or the driver's error."""
    error: int = call(calls.query, (event,))
    while error == NOT_READY:
        if not touch_stretch(fresh):
            error = call(calls.wait, (event,))
            return error
        error = call(calls.query, (event,))
    return error


@compiled
def send(
    calls: Calls,
    place: np.uintp,
    sent: np.uintp,
    source: np.uintp,
    device: np.uintp,
    bounds: NDArray[np.uintp],
    counter: NDArray[np.int64],
    slots: NDArray[np.uintp],
    events: NDArray[np.uintp],
    stream: np.uintp,
    fresh: Fresh,
    state: NDArray[np.uint8],
) -> int:
    """Copy pieces into slots, and start each one's way to the GPU.

    Parameters
    ----------
    calls : Calls
        The driver's functions.
    place : uintp
        What is to be entered before they are called, see `driver.place`.
    sent : uintp
        An event that is recorded behind the last piece.
    source, device : uintp
        Addresses of the keys on the host and on the GPU.
    bounds : uintp array, shape (pieces + 1,)
        Where the pieces begin and end, in bytes.
    counter : int64 array, shape (1,), changed
        The next piece that no thread has taken.
    slots : uintp array, shape (k,)
        Addresses of page-locked memory for a piece each.
    events : uintp array, shape (k,)
        One for each slot: recorded when its piece is on its way.
    stream : uintp
        This thread's own.
    fresh : Fresh
        What to touch while there is nothing else to do.
    state : uint8 array, shape (3,)
        See `FAILED`, `SENT` and `SORTED`.

    Returns
    -------
    int
        0, or the driver's error.
    """
    if state[FAILED]:
        return 0
    used = 0
    error: int = call(calls.enter, (place,))
    while not (error or state[FAILED]):
        piece = take(counter)
        if piece >= len(bounds) - 1:
            break
        slot = used % len(slots)
        if used >= len(slots):
            error = wait(calls, events[slot], fresh)
            if error:
                return error
        used += 1
        start = bounds[piece]
        nbytes = bounds[piece + 1] - start
        copy(slots[slot], source + start, nbytes)
        error = call(calls.upload, (device + start, slots[slot], nbytes, stream))
        if not error:
            error = call(calls.record, (events[slot], stream))
    return error or call(calls.record, (sent, stream))


@compiled
def await_state(
    item: int, calls: Calls, event: np.uintp, fresh: Fresh, state: NDArray[np.uint8]
) -> None:
    """Touch fresh memory until an item of ``state`` is set, or `FAILED`.

    When there is no more to touch the driver is asked for an event, whatever it says: that takes a
    moment in which others can work.
    """
    while not (state[FAILED] or state[item]):
        if not touch_stretch(fresh):
            call(calls.query, (event,))


@compiled
def receive(
    calls: Calls,
    place: np.uintp,
    ready: np.uintp,
    target: np.uintp,
    device: np.uintp,
    bounds: NDArray[np.uintp],
    counter: NDArray[np.int64],
    slots: NDArray[np.uintp],
    events: NDArray[np.uintp],
    stream: np.uintp,
    fresh: Fresh,
    state: NDArray[np.uint8],
) -> int:
    """Wait for the sort to be started, then have pieces come into slots, and copy each out.

    Parameters
    ----------
    ready : uintp
        An event that has been recorded behind the sort when `SORTED` is set.
    target : uintp
        Address of the result.
    calls, place, device, bounds, counter, slots, events, stream, fresh, state
        As for `send`.

    Returns
    -------
    int
        0, or the driver's error.
    """
    if state[FAILED]:
        return 0
    pieces = np.zeros(len(slots), np.int64)
    error: int = call(calls.enter, (place,))
    if not error:
        await_state(SORTED, calls, events[0], fresh, state)
        error = call(calls.follow, (stream, ready, np.uintp(0)))
    if error:
        return error
    asked = 0
    done = 0
    more = True
    while not state[FAILED]:
        while more and asked - done < len(slots):
            piece = take(counter)
            more = piece < len(bounds) - 1
            if more:
                slot = asked % len(slots)
                pieces[slot] = piece
                asked += 1
                start = bounds[piece]
                nbytes = bounds[piece + 1] - start
                error = call(calls.download, (slots[slot], device + start, nbytes, stream))
                if not error:
                    error = call(calls.record, (events[slot], stream))
                if error:
                    return error
        if asked == done:
            break
        slot = done % len(slots)
        error = wait(calls, events[slot], fresh)
        if error:
            return error
        start = bounds[pieces[slot]]
        copy(target + start, slots[slot], bounds[pieces[slot] + 1] - start)
        done += 1
    return 0


@compiled
def next_piece(counter: NDArray[np.int64]) -> int:
    """Return the next piece that no thread has taken, for threads that are not in these loops."""
    piece: int = take(counter)
    return piece


@functools.cache
def compile_all(calls: Calls) -> None:
    """Compile (or load from disk) all of it."""
    nowhere = np.uintp(0)
    words: NDArray[Any] = np.zeros(1, np.uintp)
    done = np.ones(1, np.int64)
    fresh = Fresh(nowhere, nowhere, done)
    state = np.zeros(3, np.uint8)
    state[FAILED] = 1  # so that nothing is called
    for loop in (send, receive):
        loop(
            *(calls, nowhere, nowhere, nowhere, nowhere, words, done),
            *(words, words, nowhere, fresh, state),
        )
    await_state(SENT, calls, nowhere, fresh, state)
    next_piece(done)
