"""How much memory a sort on the GPU needs, and how much of it is free."""

from __future__ import annotations

from cupy_compat.cudamark.gpu.device import load_cupy


def require_memory(nbytes: int, arrays: int = 1) -> None:
    """Make sure that the current GPU can sort an array.

    Parameters
    ----------
    nbytes : int
        Size of the array, in bytes.
    arrays : int, optional
        1 to sort in place, 2 to keep the unsorted array.

    Raises
    ------
    MemoryError
        If less is free than the arrays and the sort's work space take; the message has both
        figures, in bytes.
    """
    if _needed_bytes(nbytes, arrays) > free_bytes():
        raise memory_error(nbytes, arrays)


def memory_error(nbytes: int, arrays: int = 1) -> MemoryError:
    """Return the error that says how much GPU memory a sort needs and how much is free."""
    return MemoryError(
        f"not enough GPU memory to sort {nbytes:,} bytes: "
        f"{_needed_bytes(nbytes, arrays):,} bytes needed, {free_bytes():,} free"
    )


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


def _needed_bytes(nbytes: int, arrays: int) -> int:
    # CuPy's radix sort was seen to take up to 1.04 times the array for its work space.
    return arrays * nbytes + nbytes + nbytes // 16
