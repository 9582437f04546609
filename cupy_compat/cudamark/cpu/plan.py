"""Which way of sorting on threads suits an array, and how many threads it is worth.

The limits were measured, on two threads that share a core of an AMD Zen 5 and on sixteen of an
Intel Sapphire Rapids, so that no array is sorted slower than by `numpy.sort` alone. What makes them
differ is NumPy: it sorts the number types of two, four and eight bytes with vector instructions, at
a few nanoseconds a key and less where few values recur, and all else 10 to 30 times slower.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.cpu.crew import Crew

GRAIN_SCALE = 1.0
"""What all limits of size are multiplied by."""
_PROBES = 512
# The least effective number of different values, of _PROBES, for keys to count as varied.
_VARIED = 460
# The least share of neighbours among the probes that ascend, or that descend, for keys to count as
# in order.
_IN_ORDER = 0.9
# Below this number NumPy needs so few passes that nothing gains over it, even where it is slow.
_WORTH_SORTING = 4

_Sort = Callable[[NDArray[Any], Crew], NDArray[Any]]


class Plan(NamedTuple):
    """How to sort one array."""

    workers: int
    """How many threads to use, the caller's among them."""
    sort: _Sort


class Gain(NamedTuple):
    """From when on a way of sorting is faster than NumPy alone."""

    keys: int
    """The fewest keys."""
    grain: int
    """The fewest keys for a worker, so that its start pays."""
    workers: int
    """The fewest workers, of keys that are varied."""
    workers_if_few: int | None = None
    """The fewest workers, of few-valued keys, where it matters: NumPy skips what is all equal."""
    keys_if_ascending: int = 0
    """The fewest keys, of keys that nearly ascend, where it matters: NumPy moves few then."""
    most_if_in_order: int | None = None
    """The most workers, of keys that nearly ascend or descend, where it matters."""


# The first cut in two leaves keys that were in order in one that is bad for the next: cutting such
# a half took 87 ms where the first cut had taken 6.
_COMPLEX = Gain(1 << 19, 1 << 18, 2, keys_if_ascending=1 << 22, most_if_in_order=2)
_BYTES = Gain(1 << 19, 1 << 18, 1)
# A worker's counters take as much memory as a quarter of a million keys.
_HALVES = Gain(1 << 22, 1 << 20, 1, 1)
_SHORTS = Gain(1 << 22, 1 << 20, 1, 4)
_DATES = Gain(1 << 19, 1 << 18, 1)
# One thread took 1.3 times as long as NumPy over 530,000 that were in order.
_DATES_ALONE = _DATES._replace(keys_if_ascending=1 << 21)
_SLOW = Gain(1 << 19, 1 << 18, 1, 1)
_WORDS = Gain(1 << 22, 1 << 19, 2, 8)
_LONG_WORDS = Gain(1 << 21, 1 << 19, 2, 8)
# NumPy takes half as long again over few-valued ones as over whole numbers.
_LONG_FLOATS = Gain(1 << 21, 1 << 19, 2, 4)


def make(a: NDArray[Any], keys: NDArray[Any], threads: int) -> Plan | None:
    """Choose the method and the number of threads, or None where NumPy alone is as fast.

    Parameters
    ----------
    a : array, shape (n,)
        What is to be sorted.
    keys : array, shape (n,)
        The same memory as numbers, see `plain_key`.
    threads : int
        How many threads may work.
    """
    gain, sort = _way(a, keys, threads)
    if a.size < gain.keys * GRAIN_SCALE:
        return None
    workers = max(1, min(threads, int(a.size / (gain.grain * GRAIN_SCALE))))
    if gain.keys_if_ascending:
        ascending = share_ascending(keys)
        if a.size < gain.keys_if_ascending * GRAIN_SCALE and ascending >= _IN_ORDER:
            return None
        if gain.most_if_in_order and max(ascending, 1 - ascending) >= _IN_ORDER:
            workers = min(workers, gain.most_if_in_order)
    needed = gain.workers
    if gain.workers_if_few is not None:
        values = effective_values(keys)
        if values < _WORTH_SORTING:
            return None
        if values < _VARIED:
            needed = gain.workers_if_few
    return Plan(workers, sort) if workers >= needed else None


def _way(a: NDArray[Any], keys: NDArray[Any], threads: int) -> tuple[Gain, _Sort]:
    if is_for_numpy_alone(keys.dtype):
        from cupy_compat.cudamark.cpu import quicksort

        return _COMPLEX, quicksort.sort
    if keys.itemsize <= 2:
        from cupy_compat.cudamark.cpu import counting

        gain = _BYTES if keys.itemsize == 1 else _HALVES if keys.dtype.kind == "f" else _SHORTS
        return gain, counting.sort
    from cupy_compat.cudamark.cpu import samplesort

    dates = a.dtype.kind in "mM"
    slow = numpy_is_slow(keys.dtype)
    sort = functools.partial(samplesort.sort, nat_last=dates, radix=slow)
    if dates:
        # NumPy has no vector instructions for them.
        return _DATES_ALONE if threads == 1 else _DATES, sort
    if slow:
        return _SLOW, sort
    gain = _WORDS
    if keys.itemsize == 8:
        gain = _LONG_FLOATS if keys.dtype.kind == "f" else _LONG_WORDS
    # Two threads may share a core, and then gain little over NumPy's vector instructions.
    return (gain._replace(keys=2 * gain.keys) if threads == 2 else gain), sort


def plain_key(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the number type that stands for a dtype: dates and durations are int64 inside."""
    kind = "i" if dtype.kind in "mM" else dtype.kind
    return np.dtype(f"{dtype.byteorder}{kind}{dtype.itemsize}")


def is_for_numpy_alone(key: np.dtype[Any]) -> bool:
    """Whether no kernel takes the keys: Numba neither orders complex nor knows wider numbers."""
    return key.kind == "c" or key.itemsize > 8


@functools.cache
def numpy_is_slow(key: np.dtype[Any]) -> bool:
    """Whether NumPy sorts these keys without vector instructions, or with slow ones.

    AMD's Zen 4 for one has the instruction that NumPy's AVX-512 sort is built on, but takes ten
    times longer over it than Intel's processors. So this is measured, once, in about a millisecond:
    on fast processors 8192 keys take 1 to 3 ns each, on slow ones 15 or more.
    """
    keys = np.random.default_rng(0).integers(0, 1 << 31, 8192).astype(key.newbyteorder("="))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.sort(keys)
        times.append(time.perf_counter() - start)
    return min(times) / keys.size > 8e-9


def effective_values(keys: NDArray[Any]) -> float:
    """Return how many different values a sample of the keys has, rare ones counted in part.

    That is the inverse of Simpson's index (E. H. Simpson, "Measurement of diversity", Nature 163,
    1949): k for k values of the same frequency, about 1 for one value and rare exceptions.
    """
    probes = _probes(keys).tolist()
    return len(probes) ** 2 / sum(times * times for times in Counter(probes).values())


def share_ascending(keys: NDArray[Any]) -> float:
    """Return how many neighbours in a sample of at least two keys ascend or are equal, of 1."""
    probes = _probes(keys)
    with np.errstate(invalid="ignore"):  # of NaN
        return float(np.mean(probes[1:] >= probes[:-1]))


def _probes(keys: NDArray[Any]) -> NDArray[Any]:
    probes: NDArray[Any] = keys[:: -(-keys.size // _PROBES)]
    return probes
