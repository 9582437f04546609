"""Which keys of an array make a sample."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0.6180339887498949
RUN = 256


def sample_indices(size: int, count: int) -> NDArray[np.intp]:
    """Return indices spread over an array, ascending; some are equal if `count` exceeds `size`.

    They are multiples of the golden ratio modulo 1 (a Kronecker sequence): as even as a fixed
    stride, but they never fall in step with a period of the keys, such as the rows of a matrix.
    """
    return (_fractions(count) * size).astype(np.intp)


def sample_runs(a: NDArray[Any]) -> list[NDArray[Any]]:
    """Return two samples of 2048 keys each, in the array's order and in runs of neighbours."""
    starts = sample_indices(a.size - RUN + 1, 16).tolist()
    runs = [a[start : start + RUN] for start in starts]
    return [np.concatenate(runs[::2]), np.concatenate(runs[1::2])]


@functools.cache
def _fractions(count: int) -> NDArray[np.float64]:
    return np.sort(np.arange(count) * _GOLDEN % 1.0)
