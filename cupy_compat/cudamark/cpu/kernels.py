"""The loops that NumPy has no call for, compiled with Numba; none of them holds the GIL.

Every kernel exists once for each key type: the keys come in read-only, contiguous and in native
byte order. Unsigned indices spare the loops Numba's check for negative ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

try:
    import numba
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "sorting on several threads needs Numba: pip install 'cupy-compat[cudamark]', or sort with "
        "threads=1",
        name=error.name,
    ) from error

_Function = TypeVar("_Function", bound=Callable[..., Any])
_BLOCK = 1024
_DIGIT = 9
_U64 = np.uint64
_U8 = np.uint8


def _compiled(function: _Function) -> _Function:
    """``numba.njit`` without the GIL, kept on disk where Numba finds a place to write."""
    try:
        return cast(_Function, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        # Numba refuses a cache when neither the package's folder nor the user's is writable.
        return cast(_Function, numba.njit(nogil=True)(function))


@_compiled
def classify(
    keys: NDArray[Any],
    splitters: NDArray[Any],
    ids: NDArray[np.uint8],
    counts: NDArray[np.uint64],
) -> None:
    """Write to ``ids`` how many splitters are not above each key, and count each number.

    Plain comparisons, no search tree: LLVM turns the inner loop into vector instructions, which
    for up to 64 splitters is faster than a branch-free search of one key at a time. A NaN is not
    below any splitter and gets the highest number.

    Parameters
    ----------
    keys : array, shape (n,)
    splitters : array, shape (4 k,), of the keys' dtype
        Ascending; four are compared at a time. At most 252.
    ids : uint8 array, shape (n,), out
    counts : uint64 array, shape (4 k + 1,), added to
    """
    for start in range(0, len(keys), _BLOCK):
        block = keys[start : start + _BLOCK]
        block_ids = ids[start : start + _BLOCK]
        block_ids[:] = _U8(0)
        for first in range(0, len(splitters), 4):
            s0 = splitters[first]
            s1 = splitters[first + 1]
            s2 = splitters[first + 2]
            s3 = splitters[first + 3]
            for i in range(len(block)):
                key = block[i]
                # "not below" instead of "at least": the two differ for NaN.
                block_ids[i] += (
                    _U8(not (key < s0))
                    + _U8(not (key < s1))
                    + _U8(not (key < s2))
                    + _U8(not (key < s3))
                )
        for i in range(len(block)):
            counts[block_ids[i]] += _U64(1)


@_compiled
def scatter(
    keys: NDArray[Any],
    ids: NDArray[np.uint8],
    places: NDArray[np.uint64],
    out: NDArray[Any],
) -> None:
    """Copy each key to the next free place of its bucket.

    Parameters
    ----------
    keys : array, shape (n,)
    ids : uint8 array, shape (n,)
        The bucket of each key.
    places : uint64 array, shape (buckets,), changed
        Index in ``out`` of the first free place of each bucket.
    out : array of the keys' dtype, out
    """
    for i in range(len(keys)):
        bucket = ids[i]
        place = places[bucket]
        out[place] = keys[i]
        places[bucket] = place + _U64(1)


@_compiled
def radix_sort(
    keys: NDArray[Any],
    spare: NDArray[Any],
    sign: np.uint64,
    positive: np.uint64,
    negative: np.uint64,
) -> None:
    """Sort the bits of numbers in place, digit by digit from the lowest.

    The masks turn the bits into unsigned integers of the same order, see `masks`. Bits in which no
    two keys differ at the top are not looked at, so keys from a narrow range take fewer passes.

    Parameters
    ----------
    keys : uint32 or uint64 array, shape (n,), n >= 1, changed
    spare : array of the same dtype and shape, changed
    sign : uint64
        The sign bit, or 0 if there is none.
    positive, negative : uint64
        What to flip where the sign bit is clear and where it is set.
    """
    differing = _U64(0)
    first = _U64(keys[0])
    first ^= negative if first & sign else positive
    for i in range(len(keys)):
        key = _U64(keys[i])
        key ^= negative if key & sign else positive
        differing |= key ^ first
        keys[i] = key
    width = 0
    while differing >> _U64(width) and width < 64:
        width += 1
    passes = (width + _DIGIT - 1) // _DIGIT
    digit = (width + passes - 1) // max(passes, 1)
    mask = (_U64(1) << _U64(digit)) - _U64(1)
    places = np.empty(1 << _DIGIT, np.uint64)
    for shift in range(0, width, max(digit, 1)):
        places[:] = _U64(0)
        for i in range(len(keys)):
            places[(_U64(keys[i]) >> _U64(shift)) & mask] += _U64(1)
        place = _U64(0)
        for value in range(len(places)):
            place, places[value] = place + places[value], place
        for i in range(len(keys)):
            value_of = (_U64(keys[i]) >> _U64(shift)) & mask
            spare[places[value_of]] = keys[i]
            places[value_of] += _U64(1)
        keys, spare = spare, keys
    if passes % 2:
        keys, spare = spare, keys
        keys[:] = spare
    for i in range(len(keys)):
        key = _U64(keys[i])
        keys[i] = key ^ (positive if key & sign else negative)


def masks(dtype: np.dtype[Any]) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return the masks that `radix_sort` needs for a number type of four or eight bytes.

    A float's bits are in order already while it is positive, and in reverse order below.
    """
    sign = 1 << (8 * dtype.itemsize - 1)
    if dtype.kind == "u":
        return np.uint64(0), np.uint64(0), np.uint64(0)
    negative = sign if dtype.kind == "i" else 2 * sign - 1
    return np.uint64(sign), np.uint64(sign), np.uint64(negative)


@_compiled
def count_patterns(keys: NDArray[Any], counts: NDArray[np.uint32]) -> None:
    """Count how often each bit pattern occurs.

    Two rows of counters taken in turns: with one, equal neighbours would wait for each other.

    Parameters
    ----------
    keys : uint8 or uint16 array, shape (n,)
    counts : uint32 array, shape (2, patterns), added to
    """
    even = counts[0]
    odd = counts[1]
    pairs = len(keys) // 2
    for i in range(pairs):
        even[keys[2 * i]] += np.uint32(1)
        odd[keys[2 * i + 1]] += np.uint32(1)
    if 2 * pairs < len(keys):
        even[keys[2 * pairs]] += np.uint32(1)


@_compiled
def fill_runs(values: NDArray[Any], ends: NDArray[np.int64], start: int, out: NDArray[Any]) -> None:
    """Write a part of a run-length coded array.

    Parameters
    ----------
    values : array, shape (runs,)
    ends : int64 array, shape (runs,)
        Index, in the whole array, behind the last item of each run; ascending.
    start : int
        Where in the whole array ``out`` begins.
    out : array of the values' dtype, shape (n,), out
    """
    run = int(np.searchsorted(ends, start, side="right"))
    done = 0
    while done < len(out):
        stop = min(ends[run] - start, len(out))
        out[done:stop] = values[run]
        done = stop
        run += 1


@functools.cache
def compile_split(dtype: np.dtype[Any]) -> None:
    """Compile (or load from disk) what a sample sort of this native dtype calls."""
    keys = read_only(np.empty(0, dtype))
    ids = np.empty(0, np.uint8)
    classify(keys, np.empty(0, dtype), ids, np.zeros(1, np.uint64))
    scatter(keys, ids, np.zeros(1, np.uint64), np.empty(0, dtype))
    bits = np.zeros(1, f"u{dtype.itemsize}")
    radix_sort(bits, bits.copy(), *masks(dtype))


@functools.cache
def compile_counting(dtype: np.dtype[Any]) -> None:
    """Compile (or load from disk) what a counting sort of these bit patterns calls."""
    count_patterns(read_only(np.empty(0, dtype)), np.zeros((2, 1), np.uint32))
    fill_runs(np.empty(0, dtype), np.empty(0, np.int64), 0, np.empty(0, dtype))


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view: Numba compiles writable and read-only arguments apart."""
    view = array.view()
    view.flags.writeable = False
    return view
