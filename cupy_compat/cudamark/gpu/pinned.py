"""Page-locked ("pinned") memory, which the bus reads and writes without the CPU's help.

Allocating it takes far longer than to copy through it, so what the sorts use is kept from call to
call.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.gpu.device import driver_library
from cupy_compat.cudamark.gpu.memory import is_out_of_memory
from cupy_compat.cudamark.gpu.order import BUCKETS

PIECE_BYTES = 2 << 20
"""How much a slot holds: enough for the bus to be fast, little enough to stay in the cache."""
SLOTS = 3
_PAGE_LOCKED = 1  # cudaMemoryTypeHost
# CU_POINTER_ATTRIBUTE_RANGE_START_ADDR and CU_POINTER_ATTRIBUTE_RANGE_SIZE; HIP's are the same.
_RANGE_START, _RANGE_SIZE = 11, 12

lock = threading.RLock()
"""Held by a sort: sorts take turns, since they would share the bus anyway. A signal handler that
sorts while it interrupts a sort comes in, and gets resources of its own."""
_kept: dict[int, list[Resources]] = {}


class Lane:
    """One staging thread's stream, slots and events.

    Attributes
    ----------
    stream : cupy.cuda.Stream
        The stream of all of its copies.
    slots : uint8 array, shape (SLOTS, PIECE_BYTES)
        Page-locked memory for one piece each.
    events : list of cupy.cuda.Event
        One for each slot: its last copy.
    sent : cupy.cuda.Event
        All that this thread sends.
    own : tuple of int
        What `loops.OF_LANE` names, of these.
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
        slots, events = self._slots.ctypes.data, self._events.ctypes.data
        self.own = (self.stream.ptr, slots, events, SLOTS, self.sent.ptr)


class Resources:
    """What one sort at a time uses of one GPU, beside its memory.

    Attributes
    ----------
    work : cupy.cuda.Stream
        The stream of all that is computed. GPU memory is allocated on it.
    bus : cupy.cuda.Stream
        The stream of copies that no thread stages.
    ready : cupy.cuda.Event
        Its memory may be written to.
    arrived, sorted : list of cupy.cuda.Event
        One for each piece that no thread stages, and for each bucket.
    """

    def __init__(self, cupy: Any) -> None:
        cuda = cupy.cuda
        self._cupy = cupy
        self.work, self.bus = (cuda.Stream(non_blocking=True) for _ in range(2))
        self.ready = cuda.Event(disable_timing=True)
        self.arrived, self.sorted = (
            [cuda.Event(disable_timing=True) for _ in range(BUCKETS)] for _ in range(2)
        )
        self._lanes: list[Lane] = []

    def lanes(self, count: int) -> list[Lane]:
        """Return lanes for so many threads, or fewer if there is no more page-locked memory.

        Raises
        ------
        MemoryError
            If there is none for even one.
        """
        while len(self._lanes) < count:
            try:
                self._lanes.append(Lane(self._cupy))
            except Exception as error:
                if not is_out_of_memory(self._cupy, error):
                    raise
                if not self._lanes:
                    raise MemoryError("CUDA has no page-locked memory for gpu_sort") from error
                break
        return self._lanes[:count]

    def free(self) -> None:
        """Give back page-locked memory.

        The streams stay: CuPy's memory pool keeps apart what was allocated on each of them.
        """
        self._lanes.clear()


@contextmanager
def resources(cupy: Any) -> Iterator[Resources]:
    """Lend the current GPU's resources, made now if none is there or all of it is in use."""
    kept = _kept.setdefault(cupy.cuda.Device().id, [])
    lent = kept.pop() if kept else Resources(cupy)
    try:
        yield lent
    finally:
        kept.append(lent)


def free_pinned_buffers() -> None:
    """Give back the page-locked memory that `gpu_sort` keeps between calls."""
    with lock:
        for kept in _kept.values():
            for resources in kept:
                resources.free()


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
        Whether it is contiguous, in native byte order, and page-locked as one piece, by whom
        ever. The bus refuses what was page-locked in parts.
    """
    if not (is_plain(a) and a.size):
        return False
    runtime = cupy.cuda.runtime
    first = a.ctypes.data
    try:
        if runtime.pointerGetAttributes(first).type != _PAGE_LOCKED:
            return False
    except runtime.CUDARuntimeError:  # ROCm before 6 answers so for ordinary memory
        return False
    start, nbytes = _extent_of(cupy, first)
    return start <= first and first + a.nbytes <= start + nbytes


def is_plain(a: NDArray[Any]) -> bool:
    """Tell whether an array's bytes are those of the same keys on the GPU."""
    return bool(a.flags.c_contiguous and a.dtype.isnative)


def _extent_of(cupy: Any, address: int) -> tuple[int, int]:
    """Return where the memory that was page-locked at an address begins, and its bytes.

    Both are 0 if the driver knows of none.
    """
    library = driver_library(cupy)
    hip = cupy.cuda.runtime.is_hip
    attribute = library.hipPointerGetAttribute if hip else library.cuPointerGetAttribute
    start, nbytes = ctypes.c_size_t(), ctypes.c_size_t()
    for item, into in ((_RANGE_START, start), (_RANGE_SIZE, nbytes)):
        if attribute(ctypes.byref(into), item, ctypes.c_size_t(address)):
            return 0, 0
    return start.value, nbytes.value
