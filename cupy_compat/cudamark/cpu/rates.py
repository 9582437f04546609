"""Measure the costs of a sort on threads on this machine, once for each number type."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.crew import Crew
from cupy_compat.cudamark.dtypes import only_numpy_sorts
from cupy_compat.cudamark.threads import usable_cpus
from cupy_compat.cudamark.turns import compiling

# The serial fraction in Amdahl's law. Two threads were seen to sort 1.8 times as fast as one,
# sixteen 8.8 times. In a quicksort, one thread makes the first cut and two make the next.
_SERIAL, _SERIAL_CUTS = 1 / 16, 1 / 5
# A samplesort starts its threads three times: to classify keys, to scatter them, to sort buckets.
_STARTS = 3
BUCKETS = 64
_FEW, _MANY = 1 << 8, 1 << 18


class Rates(NamedTuple):
    """The costs of a sort on threads, in seconds."""

    begin: float
    """Of a sort, whatever the number of keys and threads."""
    start: float
    """Of starting each thread but the first."""
    move: float
    """Per key, of counting it or writing it to its bucket, on one thread."""
    radix: float = math.inf
    """Per key, of radix sort within the buckets, on one thread."""
    serial: float = _SERIAL
    """The fraction of all work, from 0 to 1, that one thread does while the others wait."""


@functools.cache
def measure(key: np.dtype[Any]) -> Rates:
    """Compile the loops that sort a number type, given in native byte order, and time them."""
    cpus = max(usable_cpus(), 2)
    start = _STARTS * least_seconds(lambda: Crew(cpus).share(abs, range(cpus)), 5) / (cpus - 1)
    if only_numpy_sorts(key):
        return Rates(0.0, start, 0.0, serial=_SERIAL_CUTS)
    kernels, split, counting, samplesort = _import_loops()
    keys = np.random.default_rng(0).integers(1 << 8 * key.itemsize - 1, size=_MANY).astype(key)

    def move(keys: NDArray[Any]) -> None:
        if key.itemsize <= 2:
            counting.sort(keys, Crew(1))
        else:
            out = np.empty_like(keys)
            split.scatter_by_value(keys, out, Crew(1), BUCKETS, samplesort.SAMPLE, nat_last=False)

    begin = least_seconds(lambda: move(keys[:_FEW]), 5)
    whole = least_seconds(lambda: move(keys), 5)
    radix = math.inf
    if key.itemsize > 2:
        bits = keys.view(f"u{key.itemsize}")
        masks = kernels.masks(key)
        sort = lambda: kernels.radix_sort(bits.copy(), np.empty_like(bits), *masks)  # noqa: E731
        radix = least_seconds(sort, 5) / bits.size
    return Rates(begin, start, max(whole - begin, 0.0) / keys.size, radix)


@compiling
def _import_loops() -> tuple[Any, Any, Any, Any]:
    """Import what needs Numba, in turn: this takes seconds. A signal or a fork may occur then."""
    from cupy_compat.cudamark import kernels, split
    from cupy_compat.cudamark.cpu import counting, samplesort

    return kernels, split, counting, samplesort


def least_seconds(call: Callable[[], object], times: int) -> float:
    """Return the seconds of the fastest of some calls."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
