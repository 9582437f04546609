"""What the dtypes of keys are to the sorts."""

from __future__ import annotations

from typing import Any

import numpy as np


def plain_key(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the number type that stands for a dtype: dates and durations are int64 inside."""
    return np.dtype(f"{dtype.byteorder}i8") if dtype.kind in "mM" else dtype


def is_for_numpy_alone(dtype: np.dtype[Any]) -> bool:
    """Whether no kernel takes such keys: Numba neither orders complex nor knows wider numbers."""
    return dtype.kind == "c" or dtype.itemsize > 8
