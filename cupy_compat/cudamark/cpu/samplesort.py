"""Samplesort on threads, for keys of four and eight bytes.

Threads split the keys by value into buckets, each at its place in the result, and sort these in
place. A value that would fill a whole bucket gets an equality bucket (M. Axtmann, S. Witt, D.
Ferizovic, P. Sanders, "In-place parallel super scalar samplesort", ESA 2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark import kernels, split
from cupy_compat.cudamark.crew import Crew

SAMPLE = 8192
BUCKETS_PER_WORKER = 4


def sort(
    keys: NDArray[Any], crew: Crew, *, nat_last: bool = False, radix: bool = False
) -> NDArray[Any]:
    """Return the sorted keys, NaN last, in the keys' byte order.

    The keys, of shape (n,), n >= 1, are numbers of four or eight bytes, with any stride and byte
    order. With `nat_last` they are dates or durations viewed as int64, whose least value, NaT,
    comes last. With `radix` the buckets are sorted by radix sort, which pays if NumPy's sort is
    slow. In addition to the result this needs one byte per key, and with `radix` the memory of the
    buckets being sorted.
    """
    native = keys.dtype.newbyteorder("=")
    swapped = keys.dtype != native
    # NumPy cuts a bucket in two faster than a kernel distinguishes twice as many buckets. So there
    # are only as many as balance the load of the threads. With at most 64 the ids stay below 256.
    buckets = 64 if radix else min(max(8, BUCKETS_PER_WORKER * crew.workers), 64)
    result = np.empty(len(keys), native)
    bounds, uniform = split.scatter_by_value(keys, result, crew, buckets, SAMPLE, nat_last=nat_last)
    masks = kernels.masks(native)
    # Radix sort would not put NaN last, and all NaN are in the last bucket.
    last = len(uniform) - 1 if native.kind == "f" else -1
    # No splitter separates the greatest value from the next lower one, nor NaN from infinity. So
    # check whether the last bucket holds equal keys; its first keys usually show that it does not.
    greatest = result[bounds[-2] :]
    uniform[-1] |= _all_equal(greatest[:64]) and _all_equal(greatest)

    def finish(bucket: int) -> None:
        part = result[bounds[bucket] : bounds[bucket + 1]]
        if radix and not uniform[bucket] and bucket != last:
            bits = part.view(f"u{native.itemsize}")
            kernels.radix_sort(bits, np.empty_like(bits), *masks)
        elif not uniform[bucket]:
            part.sort()
        if swapped:
            part.byteswap(inplace=True)

    effort = np.where(uniform, int(swapped), 1) * np.diff(bounds)
    crew.share(finish, [b for b in np.argsort(-effort).tolist() if effort[b] > 0])
    return result.view(keys.dtype)


def _all_equal(keys: NDArray[Any]) -> bool:
    """Return whether all keys are equal, or all are NaN."""
    first = keys[:1]
    return bool((np.isnan(keys) if np.isnan(first).any() else keys == first).all())
