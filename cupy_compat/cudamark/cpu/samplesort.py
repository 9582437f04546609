"""Sample sort on threads, for keys of four and eight bytes.

The keys are split by value into buckets, each written straight to the place that it has in the
result and sorted there by NumPy (W. D. Frazer and A. C. McKellar, "Samplesort: a sampling approach
to minimal storage tree sorting", Journal of the ACM 17, 1970). A value that takes up more than a
bucket gets a bucket of its own, which needs no sorting (the "equality buckets" of M. Axtmann, S.
Witt, D. Ferizovic and P. Sanders, "In-place parallel super scalar samplesort", ESA 2017), so
few-valued and skewed keys do not end up in one thread's hands.
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

    Beside the result the sort needs one byte a key for the number of its bucket, and with `radix`
    as much as the buckets that are being sorted.

    Parameters
    ----------
    keys : array, shape (n,)
        Integers or real numbers of four or eight bytes, n >= 1; any stride, any byte order.
    crew : Crew
        The threads.
    nat_last : bool
        Whether the keys are dates or durations seen as int64, whose smallest value is NaT and
        belongs to the end.
    radix : bool
        Whether to sort the buckets by their digits, for a NumPy whose own sort is slow.
    """
    native = keys.dtype.newbyteorder("=")
    swapped = keys.dtype != native
    # NumPy cuts a bucket in two for less than a kernel needs to tell more buckets apart, so there
    # are only as many as keep the crew evenly busy. 64 also keep the ids below 256 in any case.
    buckets = 64 if radix else min(max(8, BUCKETS_PER_WORKER * crew.workers), 64)
    result = np.empty(len(keys), native)
    bounds, uniform = split.scatter_by_value(keys, result, crew, buckets, SAMPLE, nat_last=nat_last)
    masks = kernels.masks(native)
    # The bits of NaN say nothing of its place; all NaN are in the last bucket.
    last = len(uniform) - 1 if native.kind == "f" else -1
    # No splitter cuts off the greatest value of all, or NaN from it: only now it shows whether the
    # last bucket has one of them alone.
    greatest = result[bounds[-2] :]
    # Where they are not alike, the first few show it.
    uniform[-1] |= _are_alike(greatest[:64]) and _are_alike(greatest)

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


def _are_alike(keys: NDArray[Any]) -> bool:
    """Tell whether all are equal, or all NaN."""
    first = keys[:1]
    return bool((np.isnan(keys) if np.isnan(first).any() else keys == first).all())
