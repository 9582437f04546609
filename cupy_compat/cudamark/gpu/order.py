"""What CuPy sorts, and how it is made to sort as NumPy does: NaN and NaT last."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SORTABLE = frozenset("?bBhHiIlLqQefdFD")
# Added to the bits of a datetime64, this turns NaT (the least int64) into the greatest uint64 and
# keeps the order of all others.
_NAT_LAST = np.uint64(2**63 - 1)


def sorts_dtype(dtype: np.dtype[Any]) -> bool:
    """Tell whether `gpu_sort` sorts this dtype."""
    return dtype.kind in "mM" or dtype.char in _SORTABLE


def device_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that keys have on the GPU, or raise TypeError if CuPy sorts no such keys."""
    if not sorts_dtype(dtype):
        raise TypeError(
            f"gpu_sort cannot sort dtype {dtype}: it sorts bool, integers, float16 to float64, "
            "complex64, complex128, datetime64 and timedelta64"
        )
    return np.dtype(np.int64) if dtype.kind in "mM" else dtype.newbyteorder("=")


def as_bits(a: NDArray[Any]) -> NDArray[Any]:
    """Return datetimes as the integers they are stored as, everything else as it is."""
    if a.dtype.kind not in "mM":
        return a
    return a.view(np.dtype(np.int64).newbyteorder(a.dtype.byteorder))


def sort_on_device(cupy: Any, keys: Any, nat_last: bool) -> None:
    """Sort keys in place, on the current stream.

    Parameters
    ----------
    cupy : module
    keys : cupy.ndarray, shape (n,)
        Contiguous.
    nat_last : bool
        Whether they are dates or durations seen as int64, whose smallest value is NaT.
    """
    if nat_last:
        bits = keys.view(np.uint64)
        bits += _NAT_LAST
        bits.sort()
        bits -= _NAT_LAST
        return
    if keys.dtype.char in "fd":
        # CuPy's radix sort orders bits, so a NaN with its sign bit set would come first.
        _clear_nan_signs(cupy)(keys.dtype.type(np.nan), keys)
    keys.sort()


@functools.cache
def _clear_nan_signs(cupy: Any) -> Any:
    return cupy.ElementwiseKernel("T nan", "T x", "if (x != x) x = nan", "clear_nan_signs")
