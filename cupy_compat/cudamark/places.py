"""Where to look into an array to tell what it is like."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The golden ratio's fraction.
_GOLDEN = 0.6180339887498949
_FRACTION_BITS = 40
# (sqrt(5) - 2) / 2: about an eighth, and as far from any fraction as the golden ratio.
_STEP = 0.1180339887498949
# Up to so many keys one by one are sooner looked at than by NumPy's indexing, the more so while
# none of it is in the caches.
_ONE_BY_ONE = 64


def places(size: int, count: int) -> NDArray[np.intp]:
    """Return indices that are spread over an array, ascending.

    They are multiples of the golden ratio modulo 1 (a Kronecker sequence): spread as evenly as by a
    fixed stride, but no period of the keys, such as the rows of a matrix, coincides with them.

    Parameters
    ----------
    size : int
        How many keys the array has.
    count : int
        How many indices to return; some are equal if it is the larger one.

    Returns
    -------
    intp array, shape (count,)
    """
    return (np.sort(np.arange(count) * _GOLDEN % 1.0) * size).astype(np.intp)


def look(a: NDArray[Any], count: int) -> list[Any]:
    """Return the keys of an array of shape (n,) in so many `places`, as Python's objects."""
    if count > _ONE_BY_ONE:
        probes: list[Any] = a[places(a.size, count)].tolist()
        return probes
    return [a.item(a.size * fraction >> _FRACTION_BITS) for fraction in _listed(count)]


def glance(a: NDArray[Any]) -> list[Any]:
    """Return some nine keys of an array of shape (n,), n >= 9, as Python's objects.

    They are a fixed stride apart, which is the soonest way to some, and no part of n.
    """
    glanced_at: list[Any] = a[:: int(a.size * _STEP) | 1].tolist()
    return glanced_at


@functools.cache
def _listed(count: int) -> list[int]:
    fractions: list[int] = places(1 << _FRACTION_BITS, count).tolist()
    return fractions
