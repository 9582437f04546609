"""Choose the keys of a sample."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0.6180339887498949
RUN = 256


def sample_indices(size: int, count: int) -> NDArray[np.intp]:
    """Return `count` indices spread evenly over an array of `size` keys, in ascending order.

    They are multiples of the golden ratio modulo 1 (a Kronecker sequence). Unlike a fixed stride,
    they cannot coincide with a period of the keys, such as the rows of a matrix. Some are equal if
    `count` exceeds `size`.
    """
    return (_fractions(count) * size).astype(np.intp)


def sample_runs(a: NDArray[Any]) -> list[NDArray[Any]]:
    """Return two samples of 2048 keys each: runs of neighbours, in the array's order."""
    starts = sample_indices(a.size - RUN + 1, 16).tolist()
    runs = [a[start : start + RUN] for start in starts]
    return [np.concatenate(runs[::2]), np.concatenate(runs[1::2])]


@functools.cache
def _fractions(count: int) -> NDArray[np.float64]:
    return np.sort(np.arange(count) * _GOLDEN % 1.0)
