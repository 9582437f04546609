"""Which way of sorting on threads suits an array, and how many threads it is worth.

The limits were measured, on two threads that share a core of an AMD Zen 5 and on sixteen of an
Intel Sapphire Rapids, so that no array is sorted slower than by `numpy.sort` alone. What makes them
differ is NumPy: it sorts the number types of two, four and eight bytes with vector instructions, at
a few nanoseconds a key and less where few values recur, and all else 10 to 30 times slower.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.cpu.crew import Crew
from cupy_compat.cudamark.cpu.places import places

GRAIN_SCALE = 1.0
"""What all limits of size are multiplied by."""
_PROBES = 512
# One probe of so many tells few-valued keys from varied ones.
_GLANCE = 8
# The fewest different values, of _PROBES, for keys to count as varied, and as few-valued. Below
# both are keys of less than ten values, and those of one value with rare exceptions.
_VARIED = 480
_FEW = 10
# The most of the probes that may be NaN. NumPy puts those aside, and then has little to sort.
_NAN = 0.85
# The least share of neighbours among the probes that ascend, or that descend, for keys to count as
# in order.
_IN_ORDER = 0.9

_Sort = Callable[[NDArray[Any], Crew], NDArray[Any]]


class Plan(NamedTuple):
    """How to sort one array."""

    workers: int
    """How many threads to use, the caller's among them."""
    sort: _Sort


class Least(NamedTuple):
    """From when on threads are faster than NumPy alone."""

    keys: int
    workers: int

    def is_reached(self, keys: int, workers: int) -> bool:
        """Whether so many of both are enough."""
        return keys >= self.keys * GRAIN_SCALE and workers >= self.workers


class Gain(NamedTuple):
    """What a way of sorting gains over NumPy alone."""

    grain: int
    """The fewest keys for a worker, so that its start pays."""
    varied: Least
    few: Least | None = None
    """Of few-valued keys, where it matters: NumPy skips what is all equal."""
    hardly_any: Least | None = None
    """Of hardly any values, where that matters."""
    keys_if_ascending: int = 0
    """The fewest keys, of keys that nearly ascend, where it matters: NumPy moves few then."""
    most_if_in_order: int | None = None
    """The most workers, of keys that nearly ascend or descend, where it matters."""


# The first cut in two leaves keys that were in order in one that is bad for the next: cutting such
# a half took 87 ms where the first cut had taken 6.
_COMPLEX = Gain(1 << 18, Least(1 << 19, 2), keys_if_ascending=1 << 22, most_if_in_order=2)
_BYTES = Gain(1 << 18, Least(1 << 19, 1))
# A worker's counters take as much memory as a quarter of a million keys.
_HALVES = Gain(1 << 20, Least(1 << 22, 1), Least(1 << 22, 1), Least(1 << 24, 2))
_SHORTS = Gain(1 << 20, Least(1 << 22, 1), Least(1 << 23, 4), Least(1 << 25, 8))
_SLOW_SHORTS = Gain(1 << 20, Least(1 << 22, 1))
_DATES = Gain(1 << 18, Least(1 << 19, 1))
# One thread took 1.3 times as long as NumPy over 530,000 that were in order.
_DATES_ALONE = _DATES._replace(keys_if_ascending=1 << 21)
_SLOW = Gain(1 << 18, Least(1 << 19, 1))
_WORDS = Gain(1 << 19, Least(1 << 22, 2), Least(1 << 23, 8), Least(3 << 22, 8))
# NumPy takes half as long again over few-valued ones as over whole numbers.
_FLOATS = _WORDS._replace(few=Least(1 << 22, 8), hardly_any=Least(1 << 23, 8))
_LONG_WORDS = Gain(1 << 19, Least(1 << 21, 2), Least(1 << 22, 8), Least(3 << 21, 8))
_LONG_FLOATS = _LONG_WORDS._replace(few=Least(1 << 21, 4), hardly_any=Least(1 << 22, 4))


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
    workers = max(1, min(threads, int(a.size / (gain.grain * GRAIN_SCALE))))
    if not gain.varied.is_reached(a.size, workers):
        return None
    if gain.keys_if_ascending:
        ascending = share_ascending(keys)
        if a.size < gain.keys_if_ascending * GRAIN_SCALE and ascending >= _IN_ORDER:
            return None
        if gain.most_if_in_order and max(ascending, 1 - ascending) >= _IN_ORDER:
            workers = min(workers, gain.most_if_in_order)
    few, hardly_any = gain.few, gain.hardly_any
    if few and hardly_any:
        # NumPy may be done with few-valued keys so soon that a closer look would be felt.
        seen = _different(_probes(keys, _PROBES // _GLANCE))
        least = hardly_any if seen < _FEW / 2 else few if seen < _VARIED / _GLANCE else gain.varied
        if not least.is_reached(a.size, workers):
            return None
        probes = _probes(keys)
        if np.isnan(probes).mean() > _NAN:
            return None
        values = _different(probes)
        least = hardly_any if values < _FEW else few if values < _VARIED else gain.varied
        if not least.is_reached(a.size, workers):
            return None
    return Plan(workers, sort)


def _way(a: NDArray[Any], keys: NDArray[Any], threads: int) -> tuple[Gain, _Sort]:
    if is_for_numpy_alone(keys.dtype):
        from cupy_compat.cudamark.cpu import quicksort

        return _COMPLEX, quicksort.sort
    if keys.itemsize == 1:
        from cupy_compat.cudamark.cpu import counting

        return _BYTES, counting.sort
    slow = numpy_is_slow(keys.dtype)
    if keys.itemsize == 2:
        from cupy_compat.cudamark.cpu import counting

        gain = _SLOW_SHORTS if slow else _HALVES if keys.dtype.kind == "f" else _SHORTS
        return gain, counting.sort
    from cupy_compat.cudamark.cpu import samplesort

    dates = a.dtype.kind in "mM"
    sort = functools.partial(samplesort.sort, nat_last=dates, radix=slow)
    if dates:
        # NumPy has no vector instructions for them.
        return _DATES_ALONE if threads == 1 else _DATES, sort
    if slow:
        return _SLOW, sort
    floats = keys.dtype.kind == "f"
    if keys.itemsize == 4:
        gain = _FLOATS if floats else _WORDS
    else:
        gain = _LONG_FLOATS if floats else _LONG_WORDS
    if threads == 2:
        # Two threads may share a core, and then gain little over NumPy's vector instructions.
        gain = gain._replace(varied=gain.varied._replace(keys=2 * gain.varied.keys))
    return gain, sort


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
    keys = np.random.default_rng(0).integers(0, 1 << 15, 8192).astype(key.newbyteorder("="))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.sort(keys)
        times.append(time.perf_counter() - start)
    return min(times) / keys.size > 8e-9


def share_ascending(keys: NDArray[Any]) -> float:
    """Return how many neighbours in a sample of at least two keys ascend or are equal, of 1."""
    probes = _probes(keys)
    with np.errstate(invalid="ignore"):  # of NaN
        return float(np.mean(probes[1:] >= probes[:-1]))


def _different(probes: NDArray[Any]) -> int:
    """Return how many different values there are; NaN differs from NaN."""
    return len(set(probes.tolist()))


def _probes(keys: NDArray[Any], count: int = _PROBES) -> NDArray[Any]:
    return keys[places(keys.size, count)]
