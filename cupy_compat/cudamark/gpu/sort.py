"""Sort a host array on the GPU: `gpu_sort`."""

from __future__ import annotations

import math
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cupy_compat.cudamark.dtypes import as_keys, number_type
from cupy_compat.cudamark.gpu import memory, pinned
from cupy_compat.cudamark.gpu.device import require_cupy
from cupy_compat.cudamark.gpu.order import device_dtype
from cupy_compat.cudamark.threads import checked_threads, usable_cpus

# Starting threads takes time in proportion to their number, and copying in inverse proportion. So
# the best number grows as the square root of the array's size. Seen on 16 cores: 4 to 8 threads for
# 20 MB, 8 to 12 for 40 MB, 16 for 200 MB and more.
_BYTES_PER_SQUARED_THREADS = 750_000

_Array = NDArray[Any]


def gpu_sort(
    a: ArrayLike, threads: SupportsIndex | None = None, *, out: _Array | None = None
) -> _Array:
    """Return a sorted copy of a host array, sorted on the current GPU.

    Keys that do not fit into its memory are split by value on the CPU, and sorted bucket by bucket
    on all GPUs.

    Parameters
    ----------
    a : array_like, shape (n,)
        Of a dtype that CuPy sorts (bool, integers, float16 to float64, complex64, complex128) or
        datetime64 or timedelta64, with any stride and byte order. It is not changed, unless it
        shares memory with `out`.
    threads : int, optional
        The maximum number of CPU threads, including the caller's. By default, and at most, the
        number of usable CPUs, or fewer for a small array. The threads copy keys to and from
        page-locked memory. Arrays already in such memory (from `cupyx.empty_pinned`,
        `cupy.cuda.alloc_pinned_memory` or another library) are copied directly.
    out : ndarray, shape (n,), optional
        The array for the result, of the dtype of `a`, with any stride. It may be `a`, or share
        memory with it.

    Returns
    -------
    ndarray, shape (n,), of the same dtype
        Equal to ``np.sort(a)``, with NaN and NaT last: `out` if given, else a new array. NaN of
        float32 and float64 may lose their sign bit.

    Raises
    ------
    ValueError
        If `a` is not one-dimensional, `threads` is below 1, or `out` has another shape or is
        read-only.
    TypeError
        If CuPy cannot sort the dtype, the array is masked, `threads` is not an integer, or `out`
        is not a plain array of the same dtype.
    GpuUnavailable
        If there is no usable GPU.
    MemoryError
        If the host has too little memory. A call needs memory for the result. It also needs a copy
        of the keys, or of the result, if `a` or `out` is not contiguous or its byte order is not
        native. If the keys do not fit into the GPU's memory, it needs a byte per key, and a copy of
        the keys if `out` shares memory with `a`.

    Notes
    -----
    Calls from several threads take turns, because they would share the bus. Page-locked memory
    (6 MiB for each staging thread) is kept for the next call, see `free_pinned_buffers`. The sort
    allocates 2.1 to 2.4 times the size of the keys in the GPU's memory before it sends the first
    key, and returns that memory to CuPy's memory pool.

    If the call fails or is interrupted, no key of `a` is lost. An `out` that shares memory with `a`
    is then unchanged, or holds all keys in any order. Any other `out` is undefined. There is one
    exception: keys are lost if the GPU itself fails (in CUDA's terms, with a sticky error) while
    the result is copied to memory that `a` shares.
    """
    source = as_keys(a, "gpu_sort")
    dtype = device_dtype(source.dtype)
    workers = most_threads(source.nbytes)
    if threads is not None:
        workers = min(workers, checked_threads(threads))
    if out is not None:
        _check_out(out, source)
    cupy = require_cupy()
    result = np.empty(source.size, source.dtype) if out is None else out
    if not source.size:
        return result
    from cupy_compat.cudamark.gpu import buckets

    number, nat_last = number_type(source.dtype), source.dtype.kind in "mM"
    keys, target = source.view(number), np.asarray(result).view(number)
    with pinned.lock:
        left = _sort_at_once(cupy, keys, target, dtype, workers, nat_last, out is None)
        if left is not None:
            buckets.sort(cupy, left, target, workers, nat_last)
    return result


def _sort_at_once(
    cupy: Any,
    source: _Array,
    result: _Array,
    dtype: np.dtype[Any],
    threads: int,
    nat_last: bool,
    fresh: bool,
) -> _Array | None:
    """Sort keys if the current GPU has memory for them, else return the array that holds them."""
    from cupy_compat.cudamark.gpu.staging import StagedSort

    sort = None
    try:
        with pinned.resources(cupy) as resources:
            with resources.work:
                reserved = memory.Reservation(cupy, source.size, dtype, nat_last)
            sort = StagedSort(cupy, resources, source, result, reserved, threads, nat_last, fresh)
            sort.run()
    except Exception as error:
        if not memory.is_out_of_memory(cupy, error):
            raise
        # When this function returns, all of the GPU's memory is released.
        return sort.source if sort else source
    return None


def sorters_beyond_memory(dtype: np.dtype[Any], nbytes: int) -> str | None:
    """Return, in words, what sorts `nbytes` of keys; None if the current GPU does so at once."""
    if nbytes <= memory.largest_sort():
        return None
    from cupy_compat.cudamark.gpu import buckets

    return buckets.sorters(require_cupy(), device_dtype(dtype), nbytes)


def most_threads(nbytes: int) -> int:
    """Return the maximum number of threads of `gpu_sort` for an array of `nbytes`."""
    return min(usable_cpus(), max(1, math.isqrt(nbytes // _BYTES_PER_SQUARED_THREADS)))


def _check_out(out: object, source: _Array) -> None:
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out must be a plain numpy.ndarray, not {type(out).__name__}")
    if out.dtype != source.dtype:
        raise TypeError(f"out must have the keys' dtype, {source.dtype}, not {out.dtype}")
    if out.shape != source.shape:
        raise ValueError(f"out must have the keys' shape, {source.shape}, not {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
