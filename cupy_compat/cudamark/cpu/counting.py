"""Counting sort on threads, for keys of one and two bytes.

So short keys have so few values that counting each bit pattern and writing them out again beats
every comparison (H. H. Seward, "Information sorting in the application of electronic digital
computers to business operations", MIT thesis, 1954). What the patterns mean matters only for the
order of the runs, so one routine serves integers, booleans and half-precision numbers, in both byte
orders.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark import kernels
from cupy_compat.cudamark.crew import Crew, apart

_PIECE = 1 << 20
# Two counters of 32 bits for each value take turns: so many keys of one value fit into them.
_COUNTED_AT_ONCE = 1 << 32
# What keeps the two counters of a value from lying a power of two apart: processors tell a load
# from the store before it by the last bits of their addresses. Sorted keys took 1.24 ns each, and
# take 1.17, on a Sapphire Rapids.
_ASIDE = 32


def pattern_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the unsigned integer of the same width."""
    return np.dtype(f"u{dtype.itemsize}")


def sort(keys: NDArray[Any], crew: Crew) -> NDArray[Any]:
    """Return the sorted keys, NaN last.

    The keys, of shape (n,), have one or two bytes; any stride, any byte order. Beside the result
    each worker needs two counters of four bytes for each bit pattern, once for each 2**32 keys.
    """
    patterns = kernels.read_only(keys.view(pattern_type(keys.dtype)))
    prepare(keys.dtype)
    order = _patterns_in_order(keys.dtype)
    chunk = min(-(-len(keys) // crew.workers), _COUNTED_AT_ONCE)
    starts = range(0, len(keys), chunk)
    counts = apart(np.uint32, len(starts), 2, len(order) + _ASIDE)

    def count(job: int) -> None:
        end = min(starts[job] + chunk, len(patterns))
        for start in range(starts[job], end, _PIECE):  # which may have to be copied
            part = np.require(patterns[start : min(start + _PIECE, end)], None, ("C", "A"))
            kernels.count_values(kernels.read_only(part), counts[job])

    crew.share(count, range(len(starts)))
    ends = np.cumsum(counts.sum(axis=(0, 1), dtype=np.int64)[order])
    result = np.empty(len(keys), patterns.dtype)

    def fill(start: int) -> None:
        kernels.fill_runs(order, ends, start, result[start : start + _PIECE])

    crew.share(fill, range(0, len(keys), _PIECE))
    return result.view(keys.dtype)


def prepare(dtype: np.dtype[Any]) -> None:
    """Do once what every sort of this type needs."""
    kernels.compile_counting(pattern_type(dtype))
    _patterns_in_order(dtype)


@functools.cache
def _patterns_in_order(dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return every bit pattern of a type, sorted by the value that it stands for."""
    patterns = np.arange(1 << 8 * dtype.itemsize, dtype=pattern_type(dtype))
    return patterns[np.argsort(patterns.view(dtype), kind="stable")]
