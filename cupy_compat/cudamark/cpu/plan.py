"""Whether threads sort an array sooner than NumPy does, how many of them, and how.

What NumPy needs is measured on a sample of the keys themselves, in their order: that answers for
their dtype, their distribution and this processor at once. What threads need follows from rates
that are measured once on this machine, see `rates`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.cpu import quicksort, serial
from cupy_compat.cudamark.cpu.rates import Rates, least_seconds, measure
from cupy_compat.cudamark.crew import Crew
from cupy_compat.cudamark.dtypes import is_for_numpy_alone, plain_key
from cupy_compat.cudamark.places import RUN, samples

# What NumPy does in less time is left to it, after a glance and before any loop is compiled.
_WORTH_SECONDS = 2e-3
# How much sooner threads have to be by the estimate, which errs by about as much.
_MARGIN = 1.2
# What NumPy needs for a key where few values recur, of what it needs in so short a sample.
_RECURRING = 2 / 3
_BUCKETS = 64


Sort = Callable[[NDArray[Any], Crew], NDArray[Any]]


class Plan(NamedTuple):
    """How to sort one array."""

    workers: int
    """How many threads to use, the caller's among them."""
    sort: Sort


class Keys(NamedTuple):
    """What a sample says of some keys."""

    size: int
    numpy: float
    """Seconds a key, for NumPy to sort them all."""
    finish: float
    """Seconds a key, for NumPy to sort them in buckets."""


def is_soon_done(a: NDArray[Any]) -> bool:
    """Tell by two runs of keys whether NumPy is done with all before a closer look would pay."""
    two = [a[start : start + RUN] for start in (a.size // 3, 2 * a.size // 3)]
    return _seconds_a_key(two) * a.size < _WORTH_SECONDS


def make(a: NDArray[Any], threads: int) -> Plan | None:
    """Choose how up to so many threads sort an array, or None where NumPy alone is as fast."""
    keys = look(a)
    if keys.size * keys.numpy < _WORTH_SECONDS:
        return None
    rates = measure(plain_key(a.dtype).newbyteorder("="))
    workers = choose(keys, rates, threads)
    return Plan(workers, method(a.dtype, rates.radix < keys.finish)) if workers else None


def method(dtype: np.dtype[Any], radix: bool) -> Sort:
    """Return what sorts a dtype on threads, and a sample sort's buckets by radix or by NumPy."""
    if is_for_numpy_alone(dtype):
        return quicksort.sort
    from cupy_compat.cudamark.cpu import counting, samplesort

    if dtype.itemsize <= 2:
        return counting.sort
    return functools.partial(samplesort.sort, nat_last=dtype.kind in "mM", radix=radix)


def choose(keys: Keys, rates: Rates, threads: int) -> int:
    """Return how many threads to use, up to so many, or 0 where NumPy alone is as fast."""
    work = keys.size * (rates.move + min(keys.finish, rates.radix))
    shared = (1 - rates.serial) * work
    # One more pays until its start takes as long as what it takes off the others.
    workers = max(1, min(threads, round(math.sqrt(shared / rates.start))))
    seconds = rates.begin + (workers - 1) * rates.start + work - shared + shared / workers
    return workers if _MARGIN * seconds < keys.size * keys.numpy else 0


def look(a: NDArray[Any]) -> Keys:
    """Measure what NumPy needs for keys, of shape (n,), on samples of them."""
    found = samples(a)
    numpy = finish = _seconds_a_key(found)
    ordered = serial.sort(found[0])
    values = 1 + np.count_nonzero(ordered[:-1] < ordered[1:])
    # A sort has to tell more keys from each other than the sample has, unless values recur.
    deeper = math.log(a.size) / math.log(ordered.size)
    scale = deeper if 2 * values > ordered.size else _RECURRING
    numpy *= scale
    if is_for_numpy_alone(a.dtype):
        # Keys that were in order are not, once they have been cut at a median.
        shuffled = [one.reshape(8, -1).T.reshape(-1) for one in found]
        finish = scale * _seconds_a_key(shuffled)
    elif values <= _BUCKETS or a.itemsize <= 2:
        finish = 0.0  # each value has a bucket, or a counter
    else:
        finish *= deeper - math.log(_BUCKETS) / math.log(ordered.size)
    return Keys(a.size, numpy, finish)


def _seconds_a_key(found: list[NDArray[Any]]) -> float:
    call = least_seconds(functools.partial(serial.sort, found[0][:1]), 3)
    # Each is sorted once: a processor learns its branches, and would be too quick the next time.
    seconds = min(least_seconds(functools.partial(serial.sort, one), 1) for one in found)
    return max(seconds - call, 0.0) / found[0].size
