"""The GPU memory that a sort needs: its size, how much is free, and its reservation."""

from __future__ import annotations

from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Any

import numpy as np

from cupy_compat.cudamark.gpu import partition
from cupy_compat.cudamark.gpu.device import load_cupy
from cupy_compat.cudamark.gpu.order import BUCKETS

# The work space of CuPy's sorts was seen to be the size of the keys plus 0.11 to 0.18 bytes per key
# (radix sort, keys of 1 to 8 bytes), or plus 18 KB for few keys. For arrays that may have to be
# split, this multiple of the keys' size covers it.
_WORK_SPACE = Fraction(17, 16)
_KEYS_PER_BYTE = 5
_LEAST_WORK_SPACE = 64 << 10
_ALIGNMENT = 512
_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation, CUDA_ERROR_OUT_OF_MEMORY, hipErrorOutOfMemory


def is_out_of_memory(cupy: Any, error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on the host or on the GPU."""
    of_cuda = (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError)
    return isinstance(error, MemoryError) or (
        isinstance(error, of_cuda) and error.status == _OUT_OF_MEMORY
    )


def require_memory(nbytes: int) -> None:
    """Raise MemoryError unless GPU memory for keys, a sorted copy and work space is free."""
    needed, free = int(nbytes * (2 + _WORK_SPACE)), free_bytes()
    if needed > free:
        raise MemoryError(
            f"not enough GPU memory to sort {nbytes:,} bytes: {needed:,} bytes needed, "
            f"{free:,} free"
        )


def largest_sort() -> int:
    """Return how many bytes of keys the current GPU can sort in place at once."""
    return int(free_bytes() / (1 + _WORK_SPACE))


def free_cached() -> None:
    """Free the memory that CuPy's pool keeps for its next arrays."""
    load_cupy().get_default_memory_pool().free_all_blocks()


def free_bytes() -> int:
    """Return how many bytes CuPy can still allocate on the current GPU."""
    cupy = load_cupy()
    pool = cupy.get_default_memory_pool()
    free = int(cupy.cuda.Device().mem_info[0]) + int(pool.free_bytes())
    limit = int(pool.get_limit())
    return min(free, limit - int(pool.used_bytes())) if limit else free


class Reservation:
    """The GPU memory of one sort of `size` keys, all of it allocated before the first key is sent.

    If CuPy gets no memory in the middle of a sort, it raises an error, crashes or fails silently,
    depending on its version. So its work space is allocated in advance.

    `keys` has the shape (size,). `bins` has room for `buckets` value buckets, and `filled` counts
    the keys in each. Without enough memory for them, both are None and `buckets` is 0. For
    `nat_last` see `sort_on_device`.

    Raises MemoryError if there is too little memory for `keys` and the work space.
    """

    def __init__(self, cupy: Any, size: int, dtype: np.dtype[Any], nat_last: bool) -> None:
        self._cupy = cupy
        self.keys: Any = cupy.empty(size, dtype)
        self.bins: Any = None
        self.filled: Any = None
        self.buckets = partition.bucket_count(cupy, size, dtype, nat_last)
        if self.buckets:
            try:
                # If all keys are sorted at once, this memory is the work space.
                room = partition.room_for_all(size, self.buckets)
                self.bins = cupy.empty(room + _LEAST_WORK_SPACE // dtype.itemsize, dtype)
                self.filled = cupy.empty(BUCKETS, np.int64)
                self._allocate_work_space(partition.room_for_largest(size, self.buckets))
                return
            except MemoryError:
                self.buckets, self.bins, self.filled = 0, None, None
        self._allocate_work_space(size)

    def _allocate_work_space(self, size: int) -> None:
        """Allocate work space to sort up to `size` keys at once."""
        nbytes = size * self.keys.itemsize + size // _KEYS_PER_BYTE + _LEAST_WORK_SPACE
        self._work_space = self._cupy.empty(nbytes, np.uint8)
        self._work_space_keys = size

    def using_work_space(self, size: int) -> AbstractContextManager[None]:
        """Make CuPy use this memory as work space in the block, for one sort of `size` keys."""
        space: Any = self._work_space if size <= self._work_space_keys else self.bins
        otherwise = self._cupy.cuda.get_allocator()
        taken = 0

        def allocate(nbytes: int) -> Any:
            nonlocal taken
            start = taken
            taken += -(-nbytes // _ALIGNMENT) * _ALIGNMENT
            return space.data + start if taken <= space.nbytes else otherwise(nbytes)

        context: AbstractContextManager[None] = self._cupy.cuda.using_allocator(allocate)
        return context
