"""Page-locked ("pinned") memory, which the bus reads and writes without the CPU's help.

Allocating it takes far longer than to copy through it, so what the sorts use is kept from call to
call.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE_BYTES = 2 << 20
"""How much a slot holds: enough for the bus to be fast, little enough to stay in the cache."""
SLOTS = 3
_PAGE_LOCKED = 1  # cudaMemoryTypeHost

lock = threading.RLock()
"""Held while lanes are used: sorts take turns, since they would share the bus anyway."""
_lanes: dict[int, list[Lane]] = {}


class Lane:
    """One staging thread's stream, slots and events.

    Attributes
    ----------
    stream : cupy.cuda.Stream
        On which all of its copies are.
    slots : uint8 array, shape (SLOTS, PIECE_BYTES)
        Page-locked memory for one piece each.
    events : list of cupy.cuda.Event
        One for each slot: its last copy.
    sent : cupy.cuda.Event
        All that this thread sends.
    told : dict of str to int
        What the thread's task says of these, see `loops.TASK`.
    """

    def __init__(self, cupy: Any) -> None:
        cuda = cupy.cuda
        # Else it would wait for what others do on the default stream.
        self.stream = cuda.Stream(non_blocking=True)
        memory = cuda.PinnedMemoryPointer(cuda.PinnedMemory(SLOTS * PIECE_BYTES), 0)
        whole = np.frombuffer(memory, np.uint8, SLOTS * PIECE_BYTES)
        self.slots = whole.reshape(SLOTS, PIECE_BYTES)
        # Events that take no time of day cost less.
        self.events = [cuda.Event(disable_timing=True) for _ in self.slots]
        self.sent = cuda.Event(disable_timing=True)
        self._slots = np.array([slot.ctypes.data for slot in self.slots], np.uintp)
        self._events = np.array([event.ptr for event in self.events], np.uintp)
        self.told = {
            "stream": self.stream.ptr,
            "slots": self._slots.ctypes.data,
            "events": self._events.ctypes.data,
            "slot_count": len(self.slots),
            "sent": self.sent.ptr,
        }


def lanes(cupy: Any, count: int) -> list[Lane]:
    """Return as many lanes of the current GPU, made now if there have not been so many."""
    kept = _lanes.setdefault(cupy.cuda.Device().id, [])
    while len(kept) < count:
        kept.append(Lane(cupy))
    return kept[:count]


def free_pinned_buffers() -> None:
    """Give back the page-locked memory that `gpu_sort` keeps between calls."""
    with lock:
        _lanes.clear()


def page_locked(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an uninitialized array in page-locked memory, which goes when the array does."""
    from cupyx import empty_pinned

    array: NDArray[Any] = empty_pinned(size * dtype.itemsize, np.uint8).view(dtype)
    return array


def goes_as_it_is(cupy: Any, a: NDArray[Any]) -> bool:
    """Tell whether the bus can take an array's memory as it is.

    Parameters
    ----------
    cupy : module
    a : ndarray, shape (n,), n >= 1

    Returns
    -------
    bool
        Whether it is contiguous, in native byte order, and page-locked from end to end, by whom
        ever.
    """
    if not (is_plain(a) and a.size):
        return False
    runtime = cupy.cuda.runtime
    first = a.ctypes.data
    try:
        return all(
            runtime.pointerGetAttributes(address).type == _PAGE_LOCKED
            for address in (first, first + a.nbytes - 1)
        )
    except runtime.CUDARuntimeError:  # ROCm before 6 answers so for ordinary memory
        return False


def is_plain(a: NDArray[Any]) -> bool:
    """Tell whether an array's bytes are those of the same keys on the GPU."""
    return bool(a.flags.c_contiguous and a.dtype.isnative)
