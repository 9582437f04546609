"""Where to look into an array to tell what it is like."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The golden ratio's fraction in 64 bits; 24 of them leave room for indices up to 2**40.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FRACTION_BITS = 24
# (sqrt(5) - 2) / 2: about an eighth, and as far from any fraction as the golden ratio.
_STEP = 0.1180339887498949
# Up to so many keys one by one are sooner looked at than by NumPy's indexing, the more so while
# none of it is in the caches.
_ONE_BY_ONE = 64


def places(size: int, count: int) -> NDArray[np.intp]:
    """Return places that are spread over an array, ascending.

    They are multiples of the golden ratio modulo 1 (a Kronecker sequence): spread as evenly as by a
    fixed stride, and no period of the keys' own, such as the rows of a matrix, falls in with them.

    Parameters
    ----------
    size : int
        How many keys the array has.
    count : int
        How many places to name; some coincide if it is the larger one.

    Returns
    -------
    intp array, shape (count,)
    """
    spread = (_fractions(count) * np.uint64(size)) >> np.uint64(_FRACTION_BITS)
    return spread.astype(np.intp)


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
    fractions: list[int] = _fractions(count).tolist()
    return fractions


@functools.cache
def _fractions(count: int) -> NDArray[np.uint64]:
    return np.sort((np.arange(count, dtype=np.uint64) * _GOLDEN) >> np.uint64(64 - _FRACTION_BITS))
