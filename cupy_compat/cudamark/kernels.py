"""The loops of the CPU sort for which NumPy has no call; none of them holds the GIL.

Keys are read-only, contiguous and in native byte order, so each kernel is compiled once for each
type. Unsigned indices spare the loops Numba's check for negative ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.compiled import compiled
from cupy_compat.cudamark.turns import compiling

_BLOCK = 1024
_DIGIT = 9
_U64 = np.uint64
_U8 = np.uint8


class Cells(NamedTuple):
    """The range of the splitters in cells of equal width, each with one splitter at most.

    Key k is in cell (k - least) * scale, rounded down and clipped. That never falls while k rises,
    so a splitter in a lower cell is below k, however it is rounded.
    """

    least: np.float64
    scale: np.float64
    below: NDArray[np.uint8]
    """Shape (cells,): how many splitters are in lower cells."""
    splitter: NDArray[Any]
    """Shape (cells,): the first splitter in this cell or a higher one."""


@compiled
def count_values(values: NDArray[Any], counts: NDArray[Any]) -> None:
    """Add to `counts`, of shape (2, values), how often each unsigned value, of shape (n,), occurs.

    The two rows take turns, since equal neighbours would wait for each other in one.
    """
    even = counts[0]
    odd = counts[1]
    pairs = len(values) // 2
    for i in range(pairs):
        even[values[2 * i]] += np.uint32(1)
        odd[values[2 * i + 1]] += np.uint32(1)
    if 2 * pairs < len(values):
        even[values[2 * pairs]] += np.uint32(1)


@compiled
def classify(
    keys: NDArray[Any],
    splitters: NDArray[Any],
    ids: NDArray[np.uint8],
    counts: NDArray[np.uint64],
) -> None:
    """Write to `ids` how many splitters are not above each key, and add to `counts` of each number.

    Keys and ids have the shape (n,), splitters, ascending, (m,), m < 256, counts (2, m + 1). LLVM
    vectorizes these plain comparisons, four splitters at a time. NaN is not below any splitter and
    gets the highest number.
    """
    for start in range(0, len(keys), _BLOCK):
        block = keys[start : start + _BLOCK]
        block_ids = ids[start : start + _BLOCK]
        block_ids[:] = _U8(0)
        for first in range(0, len(splitters) - 3, 4):
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
        for last in range(len(splitters) - len(splitters) % 4, len(splitters)):
            splitter = splitters[last]
            for i in range(len(block)):
                block_ids[i] += _U8(not (block[i] < splitter))
        count_values(block_ids, counts)


@compiled
def classify_by_cell(
    keys: NDArray[Any], cells: Cells, ids: NDArray[np.uint8], counts: NDArray[np.uint64]
) -> None:
    """Do what `classify` does, with one table look-up and one comparison a key."""
    least, scale, below, splitter = cells
    last = np.float64(len(splitter) - 1)
    for start in range(0, len(keys), _BLOCK):
        block = keys[start : start + _BLOCK]
        block_ids = ids[start : start + _BLOCK]
        for i in range(len(block)):
            key = block[i]
            position = (np.float64(key) - least) * scale
            # NaN is not below anything, and so in the last cell, and not below its splitter.
            position = position if position < last else last
            position = position if position > 0.0 else np.float64(0.0)
            cell = _U64(np.int64(position))
            block_ids[i] = below[cell] + _U8(not (key < splitter[cell]))
        count_values(block_ids, counts)


@compiled
def scatter(
    keys: NDArray[Any],
    ids: NDArray[np.uint8],
    offsets: NDArray[np.uint64],
    out: NDArray[Any],
) -> None:
    """Copy each key to `out`, behind those of its bucket.

    `ids` has the bucket of each key, both of shape (n,); `offsets` has where the next key of each
    bucket goes, and is changed.
    """
    for i in range(len(keys)):
        bucket = ids[i]
        offset = offsets[bucket]
        out[offset] = keys[i]
        offsets[bucket] = offset + _U64(1)


@compiled
def radix_sort(
    keys: NDArray[Any],
    spare: NDArray[Any],
    sign: np.uint64,
    positive: np.uint64,
    negative: np.uint64,
) -> None:
    """Sort the bits of numbers in place, digit by digit from the lowest.

    The masks turn the bits into unsigned integers of the same order, see `masks`: `sign` is the
    sign bit, or 0, the others are what to flip where it is clear and where it is set. `keys`, of
    shape (n,), n >= 1, and `spare` are uint32 or uint64, and both changed. Top bits in which no two
    keys differ are skipped, so keys from a narrow range take fewer passes.
    """
    first = _U64(keys[0])
    first ^= negative if first & sign else positive
    differing = _U64(0)
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
    offsets = np.empty(1 << _DIGIT, np.uint64)
    for shift in range(0, width, max(digit, 1)):
        offsets[:] = _U64(0)
        for i in range(len(keys)):
            offsets[(_U64(keys[i]) >> _U64(shift)) & mask] += _U64(1)
        offset = _U64(0)
        for value in range(len(offsets)):
            offset, offsets[value] = offset + offsets[value], offset
        for i in range(len(keys)):
            value_of = (_U64(keys[i]) >> _U64(shift)) & mask
            spare[offsets[value_of]] = keys[i]
            offsets[value_of] += _U64(1)
        keys, spare = spare, keys
    if passes % 2:
        keys, spare = spare, keys
        keys[:] = spare
    for i in range(len(keys)):
        key = _U64(keys[i])
        keys[i] = key ^ (positive if key & sign else negative)


def masks(dtype: np.dtype[Any]) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return the masks of `radix_sort` for a type: a negative float's bits are in reverse order."""
    sign = 1 << (8 * dtype.itemsize - 1)
    if dtype.kind == "u":
        return np.uint64(0), np.uint64(0), np.uint64(0)
    negative = sign if dtype.kind == "i" else 2 * sign - 1
    return np.uint64(sign), np.uint64(sign), np.uint64(negative)


@compiled
def fill_runs(values: NDArray[Any], ends: NDArray[np.int64], start: int, out: NDArray[Any]) -> None:
    """Write a part, from index `start` on, of runs of `values` that end before indices `ends`."""
    run = int(np.searchsorted(ends, start, side="right"))
    done = 0
    while done < len(out):
        stop = min(ends[run] - start, len(out))
        out[done:stop] = values[run]
        done = stop
        run += 1


@compiling
def compile_split(dtype: np.dtype[Any]) -> None:
    """Compile (or load from disk) what a sample sort of this native dtype calls."""
    keys = read_only(np.empty(0, dtype))
    ids = np.empty(0, np.uint8)
    classify(keys, np.empty(0, dtype), ids, np.zeros((2, 1), np.uint64))
    scatter(keys, ids, np.zeros(1, np.uint64), np.empty(0, dtype))
    bits = np.zeros(1, f"u{dtype.itemsize}")
    radix_sort(bits, bits.copy(), *masks(dtype))
    cells = Cells(np.float64(0), np.float64(0), np.empty(0, np.uint8), np.empty(0, dtype))
    classify_by_cell(keys, cells, ids, np.zeros((2, 1), np.uint64))


@compiling
def compile_counting(dtype: np.dtype[Any]) -> None:
    """Compile (or load from disk) what a counting sort of these bit patterns calls."""
    count_values(read_only(np.empty(0, dtype)), np.zeros((2, 1), np.uint32))
    fill_runs(np.empty(0, dtype), np.empty(0, np.int64), 0, np.empty(0, dtype))


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view: Numba compiles anew for arguments that can be written to."""
    view = array.view()
    view.flags.writeable = False
    return view
