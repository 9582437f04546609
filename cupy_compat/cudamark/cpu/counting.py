"""Counting sort on threads, for keys of one and two bytes.

Such keys have so few values that counting each bit pattern, and writing it out that many times, is
faster than any comparison sort (H. H. Seward, "Information sorting in the application of electronic
digital computers to business operations", MIT thesis, 1954). Only the order of the patterns depends
on the dtype.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark import kernels
from cupy_compat.cudamark.crew import Crew, padded_zeros

_PIECE = 1 << 20
# Each value has two 32-bit counters, which count every other key. So this many equal keys fit.
_COUNTED_AT_ONCE = 1 << 32


def sort(keys: NDArray[Any], crew: Crew) -> NDArray[Any]:
    """Return the sorted keys, NaN last.

    The keys, of shape (n,), have one or two bytes, and any stride and byte order. In addition to
    the result, each worker needs two counters of four bytes for each bit pattern, and again for
    every 2**32 keys.
    """
    patterns = kernels.read_only(keys.view(f"u{keys.itemsize}"))
    kernels.compile_counting(patterns.dtype)
    order = _patterns_in_order(keys.dtype)
    chunk = min(-(-len(keys) // crew.workers), _COUNTED_AT_ONCE)
    starts = range(0, len(keys), chunk)
    counts = padded_zeros(np.uint32, len(starts), 2, len(order))

    def count(job: int) -> None:
        end = min(starts[job] + chunk, len(patterns))
        for start in range(starts[job], end, _PIECE):  # np.require may copy each piece
            part = np.require(patterns[start : min(start + _PIECE, end)], None, ("C", "A"))
            kernels.count_values(kernels.read_only(part), counts[job])

    crew.share(count, range(len(starts)))
    ends = np.cumsum(counts.sum(axis=(0, 1), dtype=np.int64)[order])
    result = np.empty(len(keys), patterns.dtype)

    def fill(start: int) -> None:
        kernels.fill_runs(order, ends, start, result[start : start + _PIECE])

    crew.share(fill, range(0, len(keys), _PIECE))
    return result.view(keys.dtype)


@functools.cache
def _patterns_in_order(dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return every bit pattern of a dtype, in the order of the keys that they represent."""
    patterns = np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}")
    return patterns[np.argsort(patterns.view(dtype), kind="stable")]
