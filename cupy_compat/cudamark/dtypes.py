"""What the dtypes of keys are to the sorts."""

from __future__ import annotations

from typing import Any

import numpy as np


def number_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that keys are sorted as: int64 for dates and durations, else their own."""
    return np.dtype(f"{dtype.byteorder}i8") if dtype.kind in "mM" else dtype


def only_numpy_sorts(dtype: np.dtype[Any]) -> bool:
    """Whether no kernel takes such keys: Numba neither orders complex nor knows wider numbers."""
    return dtype.kind == "c" or dtype.itemsize > 8
