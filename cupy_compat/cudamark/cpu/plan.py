"""Decide whether threads sort an array faster than NumPy, how many of them, and by which method.

NumPy's time is estimated by sorting samples of the keys, in the order in which they are. This takes
dtype, distribution and processor into account. The time on threads follows from `rates`.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.cpu import quicksort, serial
from cupy_compat.cudamark.cpu.rates import BUCKETS, Rates, least_seconds, measure
from cupy_compat.cudamark.crew import Crew
from cupy_compat.cudamark.dtypes import number_type, only_numpy_sorts
from cupy_compat.cudamark.sampling import sample_runs
from cupy_compat.cudamark.threads import usable_cpus

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


def make(a: NDArray[Any], threads: int | None) -> Plan | None:
    """Plan a sort of keys of shape (n,) on at most `threads` threads and one for each usable CPU.

    Return None if NumPy alone is as fast.
    """
    keys = estimate(a, _WORTH_SECONDS)
    if keys is None:
        return None
    rates = measure(number_type(a.dtype).newbyteorder("="))
    cpus = usable_cpus()
    workers = choose(keys, rates, cpus if threads is None else min(threads, cpus))
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


def estimate(a: NDArray[Any], worth: float) -> Keys | None:
    """Estimate, on samples, what NumPy takes for keys of shape (n,); None if below `worth` s."""
    samples, times = [], []
    for runs in (4, 8, 16):  # the first sample takes less time, and often suffices
        sample = sample_runs(a, runs)
        samples.append(sample)
        seconds, ordered = _sort(sample)
        times.append(seconds)
        least = min(times[-2:])
        # Sorting takes time per key in proportion to log(n), unless values recur.
        scale = deeper = math.log(a.size) / math.log(sample.size)
        if scale * least * a.size < worth:
            return None
        with np.errstate(invalid="ignore"):  # NaN in complex keys
            values = 1 + np.count_nonzero(ordered[:-1] < ordered[1:])
        if 2 * values <= sample.size:
            scale = _RECURRING
            if scale * least * a.size < worth:
                return None
    del samples[0]  # its few runs may all be where keys are cheap to sort
    if only_numpy_sorts(a.dtype):
        # Cutting keys at their median destroys any order that they had.
        finish = scale * min(_sort(one.reshape(8, -1).T.reshape(-1))[0] for one in samples)
    elif values <= BUCKETS or a.itemsize <= 2:
        finish = 0.0  # each value has a bucket, or a counter
    else:
        number = number_type(a.dtype)  # threads sort dates as integers
        finish = least if number == a.dtype else min(_sort(one.view(number))[0] for one in samples)
        finish *= deeper - math.log(BUCKETS) / math.log(sample.size)
    return Keys(a.size, scale * least, finish)


def _sort(sample: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    """Return the seconds per key that NumPy takes to sort a sample, and the sorted keys."""
    call = least_seconds(functools.partial(serial.sort, sample[:1]), 3)
    # Only once: the second time the processor would predict the branches.
    start = time.perf_counter()
    ordered = serial.sort(sample)
    return max(time.perf_counter() - start - call, 0.0) / sample.size, ordered
