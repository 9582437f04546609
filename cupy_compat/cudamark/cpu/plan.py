"""Decide whether threads sort an array faster than NumPy, how many of them, and by which method.

NumPy's time is estimated by sorting samples of the keys, in the order in which they are. This takes
dtype, distribution and processor into account. The time on threads follows from `rates`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.cpu import quicksort, serial
from cupy_compat.cudamark.cpu.rates import BUCKETS, Rates, least_seconds, measure
from cupy_compat.cudamark.crew import Crew
from cupy_compat.cudamark.dtypes import number_type, only_numpy_sorts
from cupy_compat.cudamark.sampling import RUN, sample_runs

# If NumPy takes less time, it sorts the keys, and no loop is compiled.
_WORTH_SECONDS = 2e-3
# How many times as fast threads must be according to the estimate, which errs by about as much.
_MARGIN = 1.2
# NumPy's time per key in the array divided by that in a sample, if values recur in the sample.
_RECURRING = 1 / 2

Sort = Callable[[NDArray[Any], Crew], NDArray[Any]]
Plan = tuple[int, Sort]
"""How many threads sort an array, including the caller's, and the function that does."""


class Keys(NamedTuple):
    """Estimates for some keys, from samples."""

    size: int
    numpy: float
    """Seconds per key, for NumPy to sort them all at once."""
    finish: float
    """Seconds per key, for NumPy to sort them after they were split into buckets."""


def is_cheap(a: NDArray[Any]) -> bool:
    """Return whether two short runs of keys show that NumPy is too fast for threads to pay."""
    two = [a[start : start + 4 * RUN] for start in (a.size // 3, 2 * a.size // 3)]
    return _seconds_a_key(two) * a.size < _WORTH_SECONDS


def make(a: NDArray[Any], threads: int) -> Plan | None:
    """Plan a sort of keys of shape (n,) on up to `threads` threads; None if NumPy is as fast."""
    keys = estimate(a)
    if keys.size * keys.numpy < _WORTH_SECONDS:
        return None
    rates = measure(number_type(a.dtype).newbyteorder("="))
    workers = choose(keys, rates, threads)
    return (workers, method(a.dtype, _MARGIN * rates.radix < keys.finish)) if workers else None


def method(dtype: np.dtype[Any], radix: bool) -> Sort:
    """Return the function that sorts a dtype. With `radix`, a samplesort radix-sorts buckets."""
    if only_numpy_sorts(dtype):
        return quicksort.sort
    from cupy_compat.cudamark.cpu import counting, samplesort

    if dtype.itemsize <= 2:
        return counting.sort
    return functools.partial(samplesort.sort, nat_last=dtype.kind in "mM", radix=radix)


def choose(keys: Keys, rates: Rates, threads: int) -> int:
    """Return how many of up to `threads` threads to use, or 0 if NumPy alone is as fast."""
    work = keys.size * (rates.move + min(keys.finish, rates.radix))
    shared = (1 - rates.serial) * work
    # The number that minimizes the time: more threads would cost more to start than they save.
    workers = max(1, min(threads, round(math.sqrt(shared / rates.start))))
    seconds = rates.begin + (workers - 1) * rates.start + work - shared + shared / workers
    return workers if _MARGIN * seconds < keys.size * keys.numpy else 0


def estimate(a: NDArray[Any]) -> Keys:
    """Estimate, on samples, what NumPy takes for keys of shape (n,)."""
    found = sample_runs(a)
    numpy = finish = _seconds_a_key(found)
    if a.dtype.kind in "mM":  # threads sort them as integers
        finish = _seconds_a_key([one.view(number_type(a.dtype)) for one in found])
    ordered = serial.sort(found[0])
    values = 1 + np.count_nonzero(ordered[:-1] < ordered[1:])
    # Sorting takes time per key in proportion to log(n), unless values recur.
    deeper = math.log(a.size) / math.log(ordered.size)
    scale = deeper if 2 * values > ordered.size else _RECURRING
    numpy *= scale
    if only_numpy_sorts(a.dtype):
        # Cutting keys at their median destroys any order that they had.
        shuffled = [one.reshape(8, -1).T.reshape(-1) for one in found]
        finish = scale * _seconds_a_key(shuffled)
    elif values <= BUCKETS or a.itemsize <= 2:
        finish = 0.0  # each value has a bucket, or a counter
    else:
        finish *= deeper - math.log(BUCKETS) / math.log(ordered.size)
    return Keys(a.size, numpy, finish)


def _seconds_a_key(found: list[NDArray[Any]]) -> float:
    call = least_seconds(functools.partial(serial.sort, found[0][:1]), 3)
    # Sort each only once: the second time the processor would predict the branches.
    seconds = min(least_seconds(functools.partial(serial.sort, one), 1) for one in found)
    return max(seconds - call, 0.0) / found[0].size
