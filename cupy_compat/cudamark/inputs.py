"""The arrays that are sorted: dtypes and distributions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.cpu import serial

_Array = NDArray[Any]


def parse_dtype(name: str) -> np.dtype[Any]:
    """Return the native numeric dtype of a NumPy name; raise ValueError if there is none."""
    if re.search(r"\[0+[a-zA-Z]|/0+\]", name):
        # NumPy accepts such a unit. It fails later, or crashes with a division by zero.
        raise ValueError(f"dtype {name!r} has a unit of 0")
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError, SyntaxError):
        raise ValueError(f"unknown dtype {name!r}; try int32 or float64") from None
    if dtype.kind not in "biufcmM":
        raise ValueError(f"dtype {name!r} is not numeric; try int32 or float64")
    return dtype.newbyteorder("=")


def make_input(distribution: str, size: int, dtype: np.dtype[Any], seed: int) -> _Array:
    """Return keys of shape (size,) from one of `DISTRIBUTIONS`, reproducible by the seed."""
    return DISTRIBUTIONS[distribution](np.random.default_rng(seed), size, dtype)


def _uniform(rng: np.random.Generator, size: int, dtype: np.dtype[Any]) -> _Array:
    """Uniform over all values of an integer type, over [0, 1) for real and complex ones."""
    if dtype.kind == "b":
        return rng.integers(0, 2, size, dtype=np.uint8).view(np.bool_)
    if dtype.kind in "mM":
        least = np.iinfo(np.int64).min + 1  # below it is NaT
        return rng.integers(least, -least, size, dtype=np.int64, endpoint=True).view(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, size, dtype=dtype.type, endpoint=True)
    if dtype.kind == "c":
        keys = np.empty(size, dtype=dtype)
        keys.real = rng.random(size)
        keys.imag = rng.random(size)
        return keys
    if dtype.char in "fd":
        return rng.random(size, dtype=dtype.type)
    return rng.random(size, dtype=np.float32).astype(dtype)


def _sorted(rng: np.random.Generator, size: int, dtype: np.dtype[Any]) -> _Array:
    return serial.sort(_uniform(rng, size, dtype))


def _nearly_sorted(rng: np.random.Generator, size: int, dtype: np.dtype[Any]) -> _Array:
    """Sorted, except that one key in a hundred is somewhere else."""
    keys = _sorted(rng, size, dtype)
    moved = rng.integers(0, size, size // 100)
    keys[moved] = keys[rng.permutation(moved)]
    return keys


def _few_values(rng: np.random.Generator, size: int, dtype: np.dtype[Any]) -> _Array:
    return _uniform(rng, 16, dtype)[rng.integers(0, 16, size, dtype=np.uint8)]


def _skewed(rng: np.random.Generator, size: int, dtype: np.dtype[Any]) -> _Array:
    """Zipf-like: half of the keys are 1, a sixth 2, a twelfth 3, and so on up to 1000."""
    ranks = np.minimum(rng.pareto(1.0, size), 999.0)
    np.floor(ranks, out=ranks)
    ranks += 1
    if dtype.kind == "b":
        return ranks > 1
    if dtype.kind in "iu":
        np.minimum(ranks, np.iinfo(dtype).max, out=ranks)
    return ranks.astype(np.int64).view(dtype) if dtype.kind in "mM" else ranks.astype(dtype)


DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, int, np.dtype[Any]], _Array]] = {
    "uniform": _uniform,
    "sorted": _sorted,
    "reversed": lambda *arguments: _sorted(*arguments)[::-1].copy(),
    "nearly-sorted": _nearly_sorted,
    "constant": lambda rng, size, dtype: np.full(size, _uniform(rng, 1, dtype)[0]),
    "few-values": _few_values,
    "skewed": _skewed,
}
