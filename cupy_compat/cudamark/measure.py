"""Time sorts: first call, warm-up, repeats, and a check of every result."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[Any]
_CHECKED_AT_ONCE = 1 << 22


class WrongResult(RuntimeError):
    """A sort whose result differs from ``np.sort``."""


class Timing(NamedTuple):
    """Wall-clock times of one sort, in seconds: the cold first call, and the repeats."""

    first: float
    repeats: tuple[float, ...]


def time_sort(
    sort: Callable[[], Any],
    expected: _Array,
    repeat: int,
    warm_up: int,
    after_each: Callable[[], object] = lambda: None,
    to_numpy: Callable[[Any], _Array] = lambda result: result,
) -> Timing:
    """Time a sort, and check each of its results outside the timed region.

    `sort` returns a new sorted array of shape (n,), or an object that `to_numpy` converts to one.
    The first call and `warm_up` more are not among the repeats. `after_each` is called after each
    call, untimed.

    Raises `WrongResult` if a result differs from `expected`.
    """
    seconds = []
    for _ in range(1 + warm_up + repeat):
        start = time.perf_counter()
        result = sort()
        seconds.append(time.perf_counter() - start)
        check(to_numpy(result), expected)
        # Free it, so that the next call finds as much memory as this one did.
        del result
        after_each()
    return Timing(first=seconds[0], repeats=tuple(seconds[1 + warm_up :]))


def check(result: _Array, expected: _Array) -> None:
    """Raise `WrongResult` unless both arrays have the same dtype and keys, NaN equal to NaN."""
    # In parts, so that the comparison's own arrays stay small.
    parts = [slice(at, at + _CHECKED_AT_ONCE) for at in range(0, expected.size, _CHECKED_AT_ONCE)]
    equal_nan = expected.dtype.kind in "fcmM"
    if (result.dtype, result.shape) != (expected.dtype, expected.shape) or not all(
        np.array_equal(result[part], expected[part], equal_nan=equal_nan) for part in parts
    ):
        raise WrongResult("the result differs from np.sort's")


def copy_bandwidth(nbytes: int, threads: int, repeat: int) -> float:
    """Return the bytes per second that threads read and write in total when they copy `nbytes`."""
    source = np.ones(nbytes, dtype=np.uint8)
    target = np.ones(nbytes, dtype=np.uint8)
    targets, sources = (np.array_split(a, threads) for a in (target, source))
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(1 + repeat):
            start = time.perf_counter()
            list(pool.map(np.copyto, targets, sources))
            seconds.append(time.perf_counter() - start)
    return 2 * nbytes / statistics.median(seconds[1:])
