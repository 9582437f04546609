"""Which arrays and dtypes the sorts accept, and what they sort them as."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ma  # np.ma imports it at first use, which a signal or a fork may interrupt
from numpy.typing import NDArray


def as_keys(a: object, function: str) -> NDArray[Any]:
    """Return `a` as a plain array of shape (n,).

    Raises TypeError for a masked array, ValueError for another number of dimensions. The messages
    name `function`.
    """
    if isinstance(a, ma.MaskedArray):
        raise TypeError(f"{function} cannot sort masked arrays; pass a.compressed() instead")
    keys = np.asarray(a)
    if keys.ndim != 1:
        raise ValueError(
            f"{function} takes a one-dimensional array, not one of {keys.ndim} dimensions; "
            "pass a.ravel() to sort all its items together"
        )
    return keys


def number_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that keys are sorted as: int64 for dates and durations, else their own."""
    return np.dtype(f"{dtype.byteorder}i8") if dtype.kind in "mM" else dtype


def only_numpy_sorts(dtype: np.dtype[Any]) -> bool:
    """Return whether no kernel takes such keys: complex ones, or wider than 8 bytes."""
    return dtype.kind == "c" or dtype.itemsize > 8
