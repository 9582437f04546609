"""Choose the keys of a sample."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0.6180339887498949


def sample_indices(size: int, count: int) -> NDArray[np.intp]:
    """Return `count` indices spread evenly over an array of `size` keys, in ascending order.

    They are multiples of the golden ratio modulo 1 (a Kronecker sequence). Unlike a fixed stride,
    they cannot coincide with a period of the keys, such as the rows of a matrix. Some are equal if
    `count` exceeds `size`.
    """
    return (_fractions(count) * size).astype(np.intp)


def sample_runs(a: NDArray[Any], count: int) -> NDArray[Any]:
    """Return a sample of 2048 keys: `count` runs of neighbours, in the array's order."""
    length = 2048 // count
    starts = sample_indices(a.size - length + 1, count).tolist()
    return np.concatenate([a[start : start + length] for start in starts])


@functools.cache
def _fractions(count: int) -> NDArray[np.float64]:
    return np.sort(np.arange(count) * _GOLDEN % 1.0)
