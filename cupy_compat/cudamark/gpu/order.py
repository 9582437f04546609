"""Which dtypes CuPy sorts, and how to make it sort as NumPy does: NaN and NaT last."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.dtypes import number_type

BUCKETS = 16
"""The maximum number of buckets of `partition.cu`."""
SPANS = 4
"""How many contiguous ranges of keys one launch of its kernel splits."""
THREADS = 256
"""How many threads each block of its kernels has."""
_TILE_BYTES = 32 << 10
_SORTABLE = frozenset("?bBhHiIlLqQefdFD")
# Added to the bits of a date, this turns NaT (the least int64) into the greatest uint64 and keeps
# the order of all others.
_NAT_LAST = np.uint64(2**63 - 1)


def sorts_dtype(dtype: np.dtype[Any]) -> bool:
    """Return whether `gpu_sort` sorts a dtype."""
    return dtype.kind in "mM" or dtype.char in _SORTABLE


def device_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that keys have on the GPU. Raise TypeError if CuPy cannot sort them."""
    if not sorts_dtype(dtype):
        raise TypeError(
            f"gpu_sort cannot sort dtype {dtype}: it sorts bool, integers, float16 to float64, "
            "complex64, complex128, datetime64 and timedelta64"
        )
    return number_type(dtype).newbyteorder("=")


def sort_on_device(cupy: Any, keys: Any, nat_last: bool) -> None:
    """Sort contiguous keys on the GPU, of shape (n,), in place, on the current stream.

    With `nat_last` they are dates or durations viewed as int64, whose least value, NaT, comes last.

    Raises MemoryError if CuPy gets no memory. The keys are undefined then.
    """
    if nat_last:
        bits = keys.view(np.uint64)
        bits += _NAT_LAST
        bits.sort()
        bits -= _NAT_LAST
    else:
        if keys.dtype.char in "fd":
            # CuPy's radix sort orders bits, so a NaN with its sign bit set would come first.
            _clear_nan_signs(cupy)(keys.dtype.type(np.nan), keys)
        keys.sort()
    if _may_sort_wrongly(cupy.__version__):
        _check_order(cupy, keys, nat_last)


def rank(keys: NDArray[Any], nat_last: bool) -> NDArray[Any]:
    """Return unsigned integers, of shape (n,), in the order in which NumPy sorts native keys (n,).

    NaN and NaT have the greatest rank. Zeros of either sign have the same rank, and a complex
    number has the rank of its real part. ``rank`` in `partition.cu` does the same on the GPU.
    """
    real = keys.real
    bits: NDArray[Any] = np.ascontiguousarray(real).view(f"u{real.itemsize}")
    sign = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    ranked = bits
    if nat_last:
        ranked = bits + _NAT_LAST
    elif keys.dtype.kind == "i":
        ranked = bits ^ sign
    elif keys.dtype.kind in "fc":
        ranked = np.where(bits & sign, ~bits, bits | sign)
        ranked[real == 0] = sign
        ranked[np.isnan(keys)] = np.iinfo(ranked.dtype).max
    return ranked


@functools.cache
def kernel(cupy: Any, name: str, dtype: np.dtype[Any], nat_last: bool) -> Any:
    """Return a kernel of `partition.cu` for keys of a dtype, or None if CuPy cannot compile it."""
    parts = 2 if dtype.kind == "c" else 1
    order = "DATE" if nat_last else {"i": "SIGNED", "f": "FLOAT", "c": "FLOAT"}.get(dtype.kind)
    macros = {
        "Word": {1: "unsigned char", 2: "unsigned short", 4: "unsigned int"}.get(
            dtype.itemsize // parts, "unsigned long long"
        ),
        "PARTS": parts,
        order or "UNSIGNED": "",
        "MANTISSA": np.finfo(dtype).nmant if dtype.kind in "fc" else 0,
        "BUCKETS": BUCKETS,
        "SPANS": SPANS,
        "THREADS": THREADS,
        "ITEMS": tile_size(dtype) // THREADS,
    }
    options = tuple(f"-D{macro}={value}" for macro, value in macros.items())
    try:
        source = files(__package__).joinpath("partition.cu").read_text("utf-8")
        made = cupy.RawKernel(source, name, options)
        made.compile()
    except Exception:
        # CuPy's wheels contain no compiler, and CuPy sorts integers without one.
        return None
    return made


def tile_size(dtype: np.dtype[Any]) -> int:
    """Return how many keys a block of `partition.cu` splits, limited by its shared memory."""
    return min(16, _TILE_BYTES // (THREADS * dtype.itemsize)) * THREADS


@functools.cache
def _clear_nan_signs(cupy: Any) -> Any:
    return cupy.ElementwiseKernel("T nan", "T x", "if (x != x) x = nan", "clear_nan_signs")


@functools.cache
def _may_sort_wrongly(version: str) -> bool:
    """Return whether CuPy may fail silently without memory, see cupy/cupy#9894 on GitHub."""
    return tuple(map(int, version.split(".")[:2])) < (14, 1)


def _check_order(cupy: Any, keys: Any, nat_last: bool) -> None:
    find_descent = kernel(cupy, "find_descent", keys.dtype, nat_last)
    if find_descent is None:
        return
    found = cupy.zeros(1, np.int32)
    grid = min(-(-keys.size // THREADS), 1024)
    find_descent((grid,), (THREADS,), (keys, keys.size, found))
    if found.get(stream=cupy.cuda.get_current_stream())[0]:
        raise MemoryError("CuPy could not allocate the work space for its sort")
