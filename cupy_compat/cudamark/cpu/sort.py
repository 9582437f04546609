"""Sort on CPU threads: the result of `numpy.sort`, faster."""

from __future__ import annotations

import time
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from cupy_compat.cudamark.cpu import plan, serial
from cupy_compat.cudamark.cpu.rates import measure
from cupy_compat.cudamark.crew import Crew
from cupy_compat.cudamark.dtypes import as_keys, number_type
from cupy_compat.cudamark.threads import checked_threads
from cupy_compat.cudamark.turns import CompilerBusy

# Shorter arrays may take NumPy no longer than sampling them.
_SAMPLED_FROM = 1 << 19


def threaded_sort(a: ArrayLike, threads: SupportsIndex | None = None) -> NDArray[Any]:
    """Return a sorted copy of a one-dimensional array, made by one thread or several.

    The result equals that of `numpy.sort`: ascending, NaN and NaT last. As with NumPy's own vector
    instructions, the signs of zeros and the bits of NaN may change.

    All threads have ended when the call returns. NumPy alone sorts short arrays, and keys for which
    a sample shows that threads would not pay. The first call for a dtype compiles its loops and
    measures the machine, unless `warm_up` has done so.

    Parameters
    ----------
    a : array_like, shape (n,)
        Booleans, integers, real or complex numbers, dates or durations, with any stride and byte
        order. It is not changed.
    threads : int, optional
        The maximum number of threads, including the caller's: 1 or more. By default, and at most,
        the number of usable CPUs.

    Returns
    -------
    array, shape (n,), of the same dtype
        A new, contiguous array of class `numpy.ndarray`.

    Raises
    ------
    TypeError
        If the dtype is none of those, the array is masked, or `threads` is not an integer.
    ValueError
        If the array is not one-dimensional or `threads` is below 1.
    ImportError
        If Numba is missing, cannot be loaded, does not support this NumPy, or is disabled.
    MemoryError
        If there is no memory for the result and the work space. The work space is a quarter as
        large as the array. It is as large as the array if the byte order is not native, or if
        nearly all keys share a small part of their range. Keys of two bytes need half a MiB per
        thread.
    """
    if threads is not None:
        threads = checked_threads(threads)
    keys = as_keys(a, "threaded_sort")
    _check(keys.dtype)
    chosen = _plan(keys, threads)
    if chosen is None:
        return serial.sort(keys)
    workers, sort = chosen
    # NaN and infinity must cause no error or warning, whatever the caller's error state is.
    with np.errstate(all="ignore"):
        numbers = keys.view(number_type(keys.dtype))
        return sort(numbers, Crew(workers)).view(keys.dtype)


def threads_used(a: NDArray[Any], threads: int) -> int:
    """Return how many threads ``threaded_sort(a, threads)`` uses."""
    chosen = _plan(a, threads)
    return chosen[0] if chosen else 1


def _plan(a: NDArray[Any], threads: int | None) -> plan.Plan | None:
    """Return how threads sort the keys, or None if NumPy alone is as fast."""
    if a.size < _SAMPLED_FROM:
        return None
    try:
        return plan.make(a, threads)
    except CompilerBusy:
        return None


def warm_up(dtype: DTypeLike) -> float:
    """Prepare for sorting keys of a dtype, so that the first sort is as fast as later ones.

    It compiles the sort's loops, or loads them from disk, and times them on this machine. It raises
    TypeError and ImportError as `threaded_sort` does.

    Parameters
    ----------
    dtype : dtype-like
        The dtype of the keys.

    Returns
    -------
    float
        The time that this took, in seconds.
    """
    dtype = np.dtype(dtype)
    _check(dtype)
    start = time.perf_counter()
    measure(number_type(dtype).newbyteorder("="))
    return time.perf_counter() - start


def _check(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biufcmM":
        raise TypeError(
            f"threaded_sort cannot sort arrays of dtype {dtype}; it takes booleans, integers, real "
            "and complex numbers, datetime64 and timedelta64. Use numpy.sort instead"
        )
