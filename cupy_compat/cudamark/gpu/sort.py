"""`gpu_sort`: host array in, sorted host array out, by way of the GPU."""

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

# Starting n threads takes n times as long as one, copying with them an n-th of the time. So the
# best number grows as the square root of the array's size. Seen on 16 cores: 4 to 8 threads for
# 20 MB, 8 to 12 for 40 MB, 16 for 200 MB and more.
_BYTES_PER_SQUARED_THREADS = 750_000

_Array = NDArray[Any]


def gpu_sort(
    a: ArrayLike, threads: SupportsIndex | None = None, *, out: _Array | None = None
) -> _Array:
    """Return a sorted copy of a host array, sorted by the current GPU.

    Keys that do not fit into its memory are split by value on the CPU, and sorted bucket by bucket
    on all GPUs.

    Parameters
    ----------
    a : array_like, shape (n,)
        Of a dtype that CuPy sorts (bool, integers, float16 to float64, complex64, complex128) or
        datetime64 or timedelta64, in any byte order and with any strides. It is only read, unless
        it shares memory with `out`.
    threads : int, optional
        How many CPU threads may work, the caller's among them; by default, and at most, the usable
        CPUs, or fewer for a small array. They copy keys to and from page-locked memory. Arrays that
        are in such memory already (`cupyx.empty_pinned`, `cupy.cuda.alloc_pinned_memory`, another
        library's) go over the bus as they are.
    out : ndarray, shape (n,), optional
        Where the result goes, of the same dtype; with any strides. It may be `a`, or share memory
        with it.

    Returns
    -------
    ndarray, shape (n,), of the same dtype
        Equal to ``np.sort(a)``: NaN and NaT last. Float32 and float64 NaN may lose their sign bit.
        It is `out`, if given, else a new array.

    Raises
    ------
    ValueError
        If `a` is not one-dimensional, `threads` is below 1, or `out` has another shape or is
        read-only.
    TypeError
        If CuPy does not sort the dtype, the array is masked, `threads` is not an integer, or `out`
        is no plain array of the same dtype.
    GpuUnavailable
        If there is no usable GPU.
    MemoryError
        If the host has too little memory for the result; for a copy of the keys, or of the result,
        if `a` or `out` is not contiguous or has a foreign byte order; and if the keys do not fit
        into the GPU's memory, for a byte a key, and a copy of them if `out` shares memory with `a`.

    Notes
    -----
    Calls from several threads take turns, since they would share the bus anyway. Page-locked memory
    (6 MiB for each staging thread) is kept for the next call, see `free_pinned_buffers`. The sort
    takes 2.1 to 2.4 times the keys' size of the GPU's memory, all of it before the first key is
    sent; it goes back to CuPy's memory pool.

    If the call fails or is interrupted, all keys of `a` are still there. An `out` that shares its
    memory is then unchanged, or holds all keys in any order; any other `out` is undefined. There is
    one exception: keys are lost if the GPU itself fails (CUDA calls such an error sticky) while the
    result is on its way into memory that `a` shares.
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
    """Sort keys if the current GPU has memory for them; else return where the keys are."""
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
        # Once this function returns, nothing holds the GPU's memory any more.
        return sort.source if sort else source
    return None


def sorters_beyond_memory(dtype: np.dtype[Any], nbytes: int) -> str | None:
    """Return what sorts so many bytes of keys, or None if the current GPU can do so at once."""
    if nbytes <= memory.largest_sort():
        return None
    from cupy_compat.cudamark.gpu import buckets

    return buckets.sorters(require_cupy(), device_dtype(dtype), nbytes)


def most_threads(nbytes: int) -> int:
    """Return how many threads `gpu_sort` uses at most for so many bytes: more would take longer."""
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
