"""Which keys of an array make a sample."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0.6180339887498949
RUN = 256


def places(size: int, count: int) -> NDArray[np.intp]:
    """Return indices that are spread over an array, ascending.

    They are multiples of the golden ratio modulo 1 (a Kronecker sequence): spread as evenly as by a
    fixed stride, but no period of the keys, such as the rows of a matrix, coincides with them. Some
    are equal if `count` is more than `size`.
    """
    return (_fractions(count) * size).astype(np.intp)


def samples(a: NDArray[Any]) -> list[NDArray[Any]]:
    """Return two samples of 2048 keys each, ordered as the array is, in runs of neighbours."""
    starts = places(a.size - RUN + 1, 16).tolist()
    parts = [a[start : start + RUN] for start in starts]
    return [np.concatenate(parts[::2]), np.concatenate(parts[1::2])]


@functools.cache
def _fractions(count: int) -> NDArray[np.float64]:
    return np.sort(np.arange(count) * _GOLDEN % 1.0)
