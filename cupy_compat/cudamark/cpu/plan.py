"""Which way of sorting on threads suits an array, and how many threads it is worth.

The limits were measured, on two threads that share a core of an AMD Zen 5 and on sixteen of an
Intel Sapphire Rapids, so that no array is sorted slower than by `numpy.sort` alone. What makes them
differ is NumPy: it sorts the number types of two, four and eight bytes with vector instructions, at
a few nanoseconds a key and less where few values recur, and all else 10 to 30 times slower.
"""

from __future__ import annotations

import functools
import math
import operator
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.places import glance, look

if TYPE_CHECKING:
    from cupy_compat.cudamark.crew import Crew

GRAIN_SCALE = 1.0
"""What all limits of size are multiplied by."""
# Looks at the keys, each closer than the one before: NumPy may be done with few-valued ones so soon
# that a close look would be felt. For each how many probes, and the fewest different values among
# them for keys to count as few-valued, and as varied. Below both they are of hardly any: of less
# than ten, or of one with rare exceptions.
_LOOKS = ((8, 3, 6), (64, 5, 60), (512, 10, 480))
# The most of the probes that may be NaN. NumPy puts those aside, and then has little to sort.
_NAN = 0.85
# The least share of neighbours among the probes that ascend, or that descend, for keys to count as
# in order.
_IN_ORDER = 0.9

_Sort = Callable[[NDArray[Any], "Crew"], NDArray[Any]]


class Plan(NamedTuple):
    """How to sort one array."""

    workers: int
    """How many threads to use, the caller's among them."""
    sort: _Sort


class Least(NamedTuple):
    """From when on threads are faster than NumPy alone."""

    keys: int
    workers: int = 1

    def is_reached(self, keys: int, workers: int) -> bool:
        """Whether so many of both are enough."""
        return keys >= self.keys * GRAIN_SCALE and workers >= self.workers


class Gain(NamedTuple):
    """What a way of sorting gains over NumPy alone."""

    grain: int
    """The fewest keys for a worker, so that its start pays."""
    varied: Least
    few: Least = Least(0)
    """Of few-valued keys, where it matters: NumPy skips what is all equal."""
    hardly_any: Least = Least(0)
    """Of hardly any values, where that matters."""
    keys_on_two: int = 0
    """The fewest keys for two threads, where it matters: they may share a core."""
    keys_if_ascending: int = 0
    """The fewest keys, of keys that nearly ascend, where it matters: NumPy moves few then."""
    most_if_in_order: int | None = None
    """The most workers, of keys that nearly ascend or descend, where it matters."""


# The first cut in two leaves keys that were in order in one that is bad for the next: cutting such
# a half took 87 ms where the first cut had taken 6.
_COMPLEX = Gain(1 << 18, Least(1 << 19, 2), keys_if_ascending=1 << 22, most_if_in_order=2)
_BYTES = Gain(1 << 18, Least(1 << 19))
# Where NumPy has no vector instructions, as for dates, or slow ones.
_SLOW = Gain(1 << 18, Least(1 << 19))
# Threads took 1.1 to 1.3 times as long as NumPy over 530,000 that nearly ascend.
_SLOW_LONGS = _SLOW._replace(keys_if_ascending=1 << 20)
_DATES_ALONE = _SLOW._replace(keys_if_ascending=1 << 21)
# A worker's counters take as much memory as a quarter of a million keys.
_SLOW_SHORTS = Gain(1 << 20, Least(1 << 19))
_SHORTS = Gain(1 << 20, Least(1 << 22), Least(1 << 23, 4), Least(1 << 25, 8))
# NumPy takes seven times as long over half-precision numbers as over whole ones.
_HALVES = Gain(1 << 20, Least(1 << 20), hardly_any=Least(1 << 24, 2))
_WORDS = Gain(1 << 19, Least(1 << 22, 2), Least(1 << 23, 8), Least(3 << 22, 8), 1 << 23)
# NumPy takes half as long again over few-valued ones as over whole numbers.
_FLOATS = _WORDS._replace(few=Least(1 << 22, 8), hardly_any=Least(1 << 23, 8))
_LONGS = Gain(1 << 19, Least(1 << 21, 2), Least(1 << 22, 8), Least(3 << 21, 8), 1 << 22)
_DOUBLES = _LONGS._replace(few=Least(1 << 21, 4), hardly_any=Least(1 << 22, 4))
_FAST = {
    np.dtype(name): gain
    for names, gain in {
        "i2 u2": _SHORTS,
        "f2": _HALVES,
        "i4 u4": _WORDS,
        "f4": _FLOATS,
        "i8 u8": _LONGS,
        "f8": _DOUBLES,
    }.items()
    for name in names.split()
}
"""Where NumPy is fast, by dtype in native byte order."""


def is_soon_done(a: NDArray[Any]) -> bool:
    """Tell at a glance whether NumPy is done with the keys before threads could have begun."""
    gain = _FAST.get(a.dtype)
    if gain is None or a.size >= gain.hardly_any.keys:
        return False
    if a.size >= gain.varied.keys:
        values = {None if math.isnan(key) else key for key in glance(a)}
        if len(values) > 2:
            return False
    return not numpy_is_slow(a.dtype)


def make(a: NDArray[Any], threads: int) -> Plan | None:
    """Choose the method and the number of threads, or None where NumPy alone is as fast.

    Parameters
    ----------
    a : array, shape (n,)
        What is to be sorted.
    threads : int
        How many threads may work.
    """
    gain = _gain(a.dtype, threads)
    workers = max(1, min(threads, int(a.size / (gain.grain * GRAIN_SCALE))))
    if not gain.varied.is_reached(a.size, workers):
        return None
    if threads == 2 and a.size < gain.keys_on_two * GRAIN_SCALE:
        return None
    if gain.hardly_any.keys and not _are_varied_enough(a, gain, workers):
        return None
    too_few_if_ascending = a.size < gain.keys_if_ascending * GRAIN_SCALE
    if too_few_if_ascending or gain.most_if_in_order:
        ascending = share_ascending(a.view(plain_key(a.dtype)))
        if too_few_if_ascending and ascending >= _IN_ORDER:
            return None
        if gain.most_if_in_order and max(ascending, 1 - ascending) >= _IN_ORDER:
            workers = min(workers, gain.most_if_in_order)
    return Plan(workers, _method(a.dtype))


def _are_varied_enough(a: NDArray[Any], gain: Gain, workers: int) -> bool:
    probes: list[Any] = []
    for count, few, enough in _LOOKS:
        probes = look(a, count)
        # NaN differs from NaN.
        values = len(set(probes))
        if values < enough:
            least = gain.hardly_any if values < few else gain.few
            if not least.is_reached(a.size, workers):
                return False
    # Short keys are counted: what they are makes no difference to that.
    return a.itemsize == 2 or sum(map(operator.ne, probes, probes)) <= _NAN * len(probes)


def _gain(dtype: np.dtype[Any], threads: int) -> Gain:
    if is_for_numpy_alone(dtype):
        return _COMPLEX
    if dtype.itemsize == 1:
        return _BYTES
    slow = numpy_is_slow(plain_key(dtype))
    if slow and dtype.itemsize == 2:
        return _SLOW_SHORTS
    if slow:
        return _SLOW_LONGS if dtype.itemsize == 8 else _SLOW
    if dtype.kind in "mM":
        return _DATES_ALONE if threads == 1 else _SLOW
    return _FAST[dtype.newbyteorder("=")]


def _method(dtype: np.dtype[Any]) -> _Sort:
    if is_for_numpy_alone(dtype):
        from cupy_compat.cudamark.cpu import quicksort

        return quicksort.sort
    if dtype.itemsize <= 2:
        from cupy_compat.cudamark.cpu import counting

        return counting.sort
    from cupy_compat.cudamark.cpu import samplesort

    slow = numpy_is_slow(plain_key(dtype))
    return functools.partial(samplesort.sort, nat_last=dtype.kind in "mM", radix=slow)


def plain_key(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the number type that stands for a dtype: dates and durations are int64 inside."""
    return np.dtype(f"{dtype.byteorder}i8") if dtype.kind in "mM" else dtype


def is_for_numpy_alone(key: np.dtype[Any]) -> bool:
    """Whether no kernel takes the keys: Numba neither orders complex nor knows wider numbers."""
    return key.kind == "c" or key.itemsize > 8


@functools.cache
def numpy_is_slow(key: np.dtype[Any]) -> bool:
    """Whether NumPy sorts these keys without vector instructions, or with slow ones.

    AMD's Zen 4 for one has the instruction that NumPy's AVX-512 sort is built on, but takes ten
    times longer over it than Intel's processors. So this is measured, once, in about a millisecond:
    on fast processors 8192 keys take 1 to 6 ns each, half-precision ones 7, on slow ones 15 or more
    and without vector instructions 45 to 60.
    """
    keys = np.random.default_rng(0).integers(0, 1 << 15, 8192).astype(key.newbyteorder("="))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.sort(keys)
        times.append(time.perf_counter() - start)
    return min(times) / keys.size > (16e-9 if key.kind == "f" and key.itemsize == 2 else 10e-9)


def share_ascending(keys: NDArray[Any]) -> float:
    """Return how many neighbours in a sample of at least two keys ascend or are equal, of 1."""
    probes = [(key.real, key.imag) for key in look(keys, 64)]
    ascending: int = sum(map(operator.le, probes, probes[1:]))
    return ascending / (len(probes) - 1)
