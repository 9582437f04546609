"""How much memory a sort on the GPU needs, how much of it is free, and taking it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Any

import numpy as np

from cupy_compat.cudamark.gpu import partition
from cupy_compat.cudamark.gpu.device import load_cupy
from cupy_compat.cudamark.gpu.order import BUCKETS

# CuPy's sorts were seen to take as much memory again as the keys, and 0.11 to 0.18 bytes a key more
# (radix sort, 1 to 8 bytes), or 18 KB where the keys are few. Of what is split it is this share.
_WORK_SPACE = Fraction(17, 16)
_KEYS_PER_BYTE = 5
_LEAST_WORK_SPACE = 64 << 10
_ALIGNMENT = 512
_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation, CUDA_ERROR_OUT_OF_MEMORY, hipErrorOutOfMemory


def is_out_of_memory(cupy: Any, error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on the host or on the GPU."""
    of_cuda = (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError)
    return isinstance(error, MemoryError) or (
        isinstance(error, of_cuda) and error.status == _OUT_OF_MEMORY
    )


def require_memory(nbytes: int) -> None:
    """Make sure that CuPy's own sorts of an array fit into the memory of the current GPU.

    Parameters
    ----------
    nbytes : int
        Size of the array, in bytes.

    Raises
    ------
    MemoryError
        If less is free than the array, the array sorted and the sort's work space take; the
        message has both figures, in bytes.
    """
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
    """Give back to the GPU what CuPy keeps for its next arrays, for others to take."""
    load_cupy().get_default_memory_pool().free_all_blocks()


def free_bytes() -> int:
    """Return how many bytes CuPy can still allocate on the current GPU."""
    cupy = load_cupy()
    pool = cupy.get_default_memory_pool()
    free = int(cupy.cuda.Device().mem_info[0]) + int(pool.free_bytes())
    limit = int(pool.get_limit())
    return min(free, limit - int(pool.used_bytes())) if limit else free


class Reservation:
    """The GPU memory of one sort, all of it taken before the first key is sent.

    What CuPy cannot get in the middle of a sort it reports by an error, by ending the process or
    not at all, depending on its version. So its sort is given memory that is there already.

    Parameters
    ----------
    cupy : module
    size : int
        How many keys there are.
    dtype : dtype
        Of the keys on the GPU.
    buckets : int
        For how many value buckets to take memory, too, see `partition`. If there is not so much,
        there will be none.

    Attributes
    ----------
    keys : cupy.ndarray, shape (size,)
    buckets : int
        How many value buckets there are, 0 if none.
    bins : cupy.ndarray or None
        Memory for what is in the buckets.
    filled : cupy.ndarray of int64, shape (BUCKETS,), or None
        Memory to count that.

    Raises
    ------
    MemoryError
        If there is not enough.
    """

    def __init__(self, cupy: Any, size: int, dtype: np.dtype[Any], buckets: int) -> None:
        self._cupy = cupy
        self.keys: Any = cupy.empty(size, dtype)
        self.buckets = buckets
        self.bins: Any = None
        self.filled: Any = None
        if buckets:
            try:
                self.bins = cupy.empty(partition.room_for_all(size, buckets), dtype)
                self.filled = cupy.empty(BUCKETS, np.int64)
                self._provide(partition.room_for_largest(size, buckets))
                return
            except MemoryError:
                self.buckets, self.bins, self.filled = 0, None, None
        self._provide(size)

    def _provide(self, size: int) -> None:
        """Take work space for so many keys at once."""
        nbytes = size * self.keys.itemsize + size // _KEYS_PER_BYTE + _LEAST_WORK_SPACE
        self._space = self._cupy.empty(nbytes, np.uint8)
        self._served = size

    def serving(self, size: int) -> AbstractContextManager[None]:
        """Have CuPy take its work space out of this memory, for one sort.

        Parameters
        ----------
        size : int
            How many keys are sorted: all of them, or a bucket of them.
        """
        # Where there are no buckets after all, their memory has no other use.
        space: Any = self._space if size <= self._served else self.bins
        otherwise = self._cupy.cuda.get_allocator()
        taken = 0

        def allocate(nbytes: int) -> Any:
            nonlocal taken
            start = taken
            taken += -(-nbytes // _ALIGNMENT) * _ALIGNMENT
            return space.data + start if taken <= space.nbytes else otherwise(nbytes)

        context: AbstractContextManager[None] = self._cupy.cuda.using_allocator(allocate)
        return context
