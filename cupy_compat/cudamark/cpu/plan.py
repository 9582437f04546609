"""Which way of sorting on threads suits an array, and how many threads it is worth.

The limits were measured, on two cores of an AMD Zen 4 and sixteen of an Intel Sapphire Rapids, so
that no array is sorted slower than by `numpy.sort` alone. What makes them differ is NumPy: it sorts
the number types of two, four and eight bytes with vector instructions, at a few nanoseconds a key
and less where few values recur, and all else 10 to 30 times slower.
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
# The least effective number of different values, of _PROBES, for threads to gain over NumPy.
_VARIED_ENOUGH = 460
_VARIED_ENOUGH_IF_SLOW = 4


class Plan(NamedTuple):
    """How to sort one array."""

    workers: int
    """How many threads to use; fewer than 2 mean that NumPy alone is as fast."""
    sort: Callable[[NDArray[Any], Crew], NDArray[Any]]


def make(a: NDArray[Any], keys: NDArray[Any], threads: int) -> Plan:
    """Choose the method and the number of threads.

    Parameters
    ----------
    a : array, shape (n,)
        What is to be sorted.
    keys : array, shape (n,)
        The same memory as numbers, see `plain_key`.
    threads : int
        How many threads may work.
    """
    if is_for_numpy_alone(keys.dtype):
        from cupy_compat.cudamark.cpu import quicksort

        return Plan(_crew_size(a, threads, 1 << 19, 1 << 18), quicksort.sort)
    if keys.itemsize <= 2:
        from cupy_compat.cudamark.cpu import counting

        if keys.itemsize == 1:
            return Plan(_crew_size(a, threads, 1 << 20, 1 << 18), counting.sort)
        # A worker's counters take as much memory as a quarter of this many keys.
        workers = _crew_size(a, threads, 1 << 22, 1 << 20)
        return Plan(_unless_few_valued(keys, workers, _VARIED_ENOUGH), counting.sort)
    from cupy_compat.cudamark.cpu import samplesort

    dates = a.dtype.kind in "mM"
    slow = numpy_is_slow(keys.dtype)
    sort = functools.partial(samplesort.sort, nat_last=dates, radix=slow)
    if dates or slow:
        workers = _crew_size(a, threads, 1 << 19, 1 << 18)
        return Plan(
            workers if dates else _unless_few_valued(keys, workers, _VARIED_ENOUGH_IF_SLOW), sort
        )
    # Two threads may share a core, and then gain little over NumPy's vector instructions.
    enough = (1 << (26 if threads == 2 else 24)) // keys.itemsize
    workers = _crew_size(a, threads, enough, 1 << 19)
    return Plan(_unless_few_valued(keys, workers, _VARIED_ENOUGH), sort)


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


def _crew_size(a: NDArray[Any], threads: int, enough: int, grain: int) -> int:
    """Return how many threads get at least a grain of keys, or 1 where there are not enough."""
    if a.size < enough * GRAIN_SCALE:
        return 1
    return min(threads, int(a.size / (grain * GRAIN_SCALE)))


def _unless_few_valued(keys: NDArray[Any], workers: int, enough: float) -> int:
    """Return 1 in place of the number of workers if few values make up most of the keys.

    NumPy skips what is all equal, so it needs only a few passes then. How many values there are
    is told by the inverse of Simpson's index (E. H. Simpson, "Measurement of diversity", Nature
    163, 1949): k for k values of the same frequency, about 1 for one value and rare exceptions.
    """
    if workers < 2:
        return workers
    probes = keys[:: -(-keys.size // _PROBES)].tolist()
    squares = sum(times * times for times in Counter(probes).values())
    return workers if len(probes) ** 2 >= enough * squares else 1
