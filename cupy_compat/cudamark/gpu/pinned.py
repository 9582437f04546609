"""Page-locked (pinned) memory, which the GPU reads and writes without the CPU.

Allocating it takes far longer than copying through it, so the sorts keep it between calls.
"""

from __future__ import annotations

import ctypes
import itertools
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
"""The size of a slot: large enough for the full speed of the bus, small enough for the cache."""
SLOTS = 3
_PAGE_LOCKED = 1  # cudaMemoryTypeHost
# CU_POINTER_ATTRIBUTE_RANGE_START_ADDR and CU_POINTER_ATTRIBUTE_RANGE_SIZE; HIP's are the same.
_RANGE_START, _RANGE_SIZE = 11, 12

lock = threading.RLock()
"""Held by a sort, because sorts share the bus. It is reentrant: a signal handler that interrupts a
sort does not wait for it, and gets resources of its own."""
kept: dict[int, list[Resources]] = {}
"""The resources not in use, by device."""


class StagingBuffers:
    """The stream of one staging thread, its page-locked slots, and an event for each slot.

    The event `sent` happens when the thread's uploads are complete. `addresses` are the values of
    the fields `loops.PER_THREAD`.
    """

    def __init__(self, cupy: Any) -> None:
        cuda = cupy.cuda
        # A blocking stream would wait for work on the default stream.
        self.stream = cuda.Stream(non_blocking=True)
        memory = cuda.PinnedMemoryPointer(cuda.PinnedMemory(SLOTS * PIECE_BYTES), 0)
        self._memory = np.frombuffer(memory, np.uint8, SLOTS * PIECE_BYTES)
        self._events = [cuda.Event(disable_timing=True) for _ in range(SLOTS)]
        self.sent = cuda.Event(disable_timing=True)
        first = self._memory.ctypes.data
        self._slots = first + np.arange(SLOTS, dtype=np.uintp) * np.uintp(PIECE_BYTES)
        self._handles = np.array([event.ptr for event in self._events], np.uintp)
        slots, events = self._slots.ctypes.data, self._handles.ctypes.data
        self.addresses = (self.stream.ptr, slots, events, SLOTS, self.sent.ptr)


class Resources:
    """The streams, events and staging buffers that one sort at a time uses of one GPU.

    Kernels run, and memory is allocated, on the stream `work`. Copies that no thread stages run on
    the stream `bus`. The event `ready` means that the memory may be written to. `arrived` has an
    event for each piece that no thread stages, `sorted` one for each bucket. `staging` has the
    buffers of each thread.
    """

    def __init__(self, cupy: Any) -> None:
        cuda = cupy.cuda
        self._cupy = cupy
        self.work, self.bus = (cuda.Stream(non_blocking=True) for _ in range(2))
        self.ready = cuda.Event(disable_timing=True)
        self.arrived, self.sorted = (
            [cuda.Event(disable_timing=True) for _ in range(BUCKETS)] for _ in range(2)
        )
        self.staging: list[StagingBuffers] = []

    def buffers(self, count: int) -> list[StagingBuffers]:
        """Return buffers for `count` threads, or for fewer if page-locked memory runs out.

        Raises MemoryError if there is not even enough for one.
        """
        while len(self.staging) < count:
            try:
                self.staging.append(StagingBuffers(self._cupy))
            except Exception as error:
                if not is_out_of_memory(self._cupy, error):
                    raise
                if not self.staging:
                    raise MemoryError("CUDA cannot allocate page-locked memory") from error
                break
        return self.staging[:count]


@contextmanager
def resources(cupy: Any) -> Iterator[Resources]:
    """Yield resources of the current GPU. Create them if all are in use."""
    free = kept.setdefault(cupy.cuda.Device().id, [])
    lent = free.pop() if free else Resources(cupy)
    try:
        yield lent
    finally:
        free.append(lent)


def free_pinned_buffers() -> None:
    """Free the page-locked memory that `gpu_sort` keeps between calls."""
    with lock:
        for unused in itertools.chain(*kept.values()):
            # Keep the other streams, because CuPy's pool keeps memory for each stream apart.
            unused.staging.clear()


def page_locked(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a new, uninitialized array of shape (size,) in page-locked memory."""
    from cupyx import empty_pinned

    array: NDArray[Any] = empty_pinned(size * dtype.itemsize, np.uint8).view(dtype)
    return array


def is_page_locked(cupy: Any, a: NDArray[Any]) -> bool:
    """Return whether a plain array, of shape (n,), n >= 1, is page-locked as a whole."""
    runtime = cupy.cuda.runtime
    first = a.ctypes.data
    try:
        if runtime.pointerGetAttributes(first).type != _PAGE_LOCKED:
            return False
    except runtime.CUDARuntimeError:  # ROCm before 6, for ordinary memory
        return False
    # CUDA refuses to copy memory that was page-locked in parts.
    start, nbytes = _extent_of(cupy, first)
    return start <= first and first + a.nbytes <= start + nbytes


def is_plain(a: NDArray[Any]) -> bool:
    """Return whether an array is contiguous and native, so that its bytes can be copied."""
    return bool(a.flags.c_contiguous and a.dtype.isnative)


def _extent_of(cupy: Any, address: int) -> tuple[int, int]:
    """Return the start and the size, in bytes, of the page-locked memory around an address."""
    library = driver_library(cupy)
    hip = cupy.cuda.runtime.is_hip
    attribute = library.hipPointerGetAttribute if hip else library.cuPointerGetAttribute
    start, nbytes = ctypes.c_size_t(), ctypes.c_size_t()
    for item, into in ((_RANGE_START, start), (_RANGE_SIZE, nbytes)):
        if attribute(ctypes.byref(into), item, ctypes.c_size_t(address)):
            return 0, 0
    return start.value, nbytes.value
