"""Sorting on CPU threads: what `numpy.sort` returns, sooner."""

from __future__ import annotations

import time
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from cupy_compat.cudamark.cpu import plan, serial
from cupy_compat.cudamark.threads import checked_threads, usable_cpus
from cupy_compat.cudamark.turns import CompilerBusy

_KINDS = "biufcmM"
# Every array of fewer keys is left to NumPy, whatever its dtype.
_PARALLEL_FROM = 1 << 19


def threaded_sort(a: ArrayLike, threads: SupportsIndex | None = None) -> NDArray[Any]:
    """Return a sorted copy of a one-dimensional array, made by one thread or several.

    The result equals that of `numpy.sort`: ascending, NaN and NaT last. Signs of zeros and bits of
    NaN may change, since the vector instructions of NumPy's own sort do not keep them.

    All threads have ended when the call returns. What NumPy sorts as fast alone is left to it:
    short arrays, and where NumPy is fast also those for which there are too few threads, the more
    so if few different values recur. Elsewhere even one thread sorts faster than NumPy. The first
    call for a key type compiles its kernels, unless `warm_up` has done so.

    Parameters
    ----------
    a : array_like, shape (n,)
        Booleans, integers, real or complex numbers, dates or durations, in memory of the host. Any
        stride and byte order; it is not changed.
    threads : int, optional
        How many threads may work, 1 or more; the caller's is one of them. There are never more than
        `usable_cpus`, the default, and fewer when the array is too short to give work to all.

    Returns
    -------
    array, shape (n,), of the same dtype
        A plain, contiguous array of its own.

    Raises
    ------
    TypeError
        If the dtype is none of those above, the array is masked, or `threads` is not an integer.
    ValueError
        If the array is not one-dimensional or `threads` is below 1.
    ImportError
        If Numba is missing, refuses this NumPy, or is switched off.
    MemoryError
        If there is no memory for the result or for what the sort needs beside it. That is about a
        quarter of the array, and at worst once more the array, if its byte order is foreign or
        nearly all keys share a small part of their range. Keys of two bytes need half a MiB for
        each thread.
    """
    if threads is not None:
        threads = checked_threads(threads)
    if type(a) is not np.ndarray:
        a = _plain_array(a)
    if a.ndim != 1:
        raise ValueError(
            f"threaded_sort takes a one-dimensional array, not one of {a.ndim} dimensions; "
            "pass a.ravel() to sort all its items together"
        )
    if a.dtype.kind not in _KINDS:
        _refuse(a.dtype)
    if a.size >= _PARALLEL_FROM and not plan.is_soon_done(a):
        cpus = usable_cpus()
        try:
            result = _sort_otherwise(a, cpus if threads is None else min(threads, cpus))
            if result is not None:
                return result
        except CompilerBusy:
            pass
    return serial.sort(a)


def _sort_otherwise(a: NDArray[Any], threads: int) -> NDArray[Any] | None:
    """Sort with the method that fits the dtype, or return None where NumPy alone is as fast."""
    chosen = plan.make(a, threads)
    if chosen is None:
        return None
    from cupy_compat.cudamark.crew import Crew

    keys = a.view(plan.plain_key(a.dtype))
    # Sorting raises and warns of nothing that the keys are, whatever the caller's error state says.
    with np.errstate(all="ignore"):
        return chosen.sort(keys, Crew(chosen.workers)).view(a.dtype)


def threads_used(a: NDArray[Any], threads: int) -> int:
    """Return how many threads `threaded_sort` uses for an array, of those that it may."""
    if a.size < _PARALLEL_FROM or plan.is_soon_done(a):
        return 1
    chosen = plan.make(a, min(threads, usable_cpus()))
    return chosen.workers if chosen else 1


def warm_up(dtype: DTypeLike) -> float:
    """Prepare for sorting keys of a dtype, so that no later call pays for it.

    What has to be compiled is kept on disk and only loaded the next time.

    Parameters
    ----------
    dtype : dtype-like
        The type of the keys to be sorted.

    Returns
    -------
    float
        Seconds spent; 0.0 for a dtype that needs no compiled code.

    Raises
    ------
    TypeError
        If the dtype cannot be sorted here.
    ImportError
        If Numba is missing, refuses this NumPy, or is switched off.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in _KINDS:
        _refuse(dtype)
    key = plan.plain_key(dtype)
    if plan.is_for_numpy_alone(key):
        return 0.0
    start = time.perf_counter()
    from cupy_compat.cudamark import kernels
    from cupy_compat.cudamark.cpu import counting

    if key.itemsize <= 2:
        counting.prepare(key)
    else:
        kernels.compile_split(key.newbyteorder("="))
    if key.itemsize > 1:
        plan.numpy_is_slow(key)
    return time.perf_counter() - start


def _plain_array(a: object) -> NDArray[Any]:
    """Return the array without its subclass, which may give sorting another meaning."""
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError("threaded_sort cannot sort masked arrays; pass a.compressed() instead")
    return np.asarray(a)


def _refuse(dtype: np.dtype[Any]) -> None:
    raise TypeError(
        f"threaded_sort cannot sort arrays of dtype {dtype}; it takes booleans, integers, real and "
        "complex numbers, datetime64 and timedelta64. Use numpy.sort instead"
    )
