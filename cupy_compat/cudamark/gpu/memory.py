"""How much memory a sort on the GPU needs, and how much of it is free."""

from __future__ import annotations

from fractions import Fraction

from cupy_compat.cudamark.gpu.device import load_cupy

# CuPy's radix sort was seen to take up to 1.04 times the keys for its work space.
_WORK_SPACE = Fraction(17, 16)


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
