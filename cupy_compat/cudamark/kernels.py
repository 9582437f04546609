"""The loops of the CPU sort that NumPy lacks. None of them holds the GIL.

Keys are read-only, contiguous and in native byte order, so Numba compiles each kernel once for each
dtype. Indices are unsigned, so that Numba adds no check for negative ones.
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
    """The range of the splitters, cut into cells of equal width with at most one splitter each.

    Key k is in cell (k - least) * scale, rounded down and clipped. This number never decreases as k
    increases, whatever the rounding. So a splitter in a lower cell is below k.
    """

    least: np.float64
    scale: np.float64
    below: NDArray[np.uint8]
    """How many splitters are in lower cells, of shape (cells,)."""
    splitter: NDArray[Any]
    """The first splitter in this cell or a higher one, of shape (cells,)."""


@compiled
def count_values(values: NDArray[Any], counts: NDArray[Any]) -> None:
    """Add to `counts` how often each value occurs.

    `values` are unsigned, of shape (n,), `counts` has the shape (2, m). Values at even and at odd
    indices are counted in separate rows: in a single one, equal neighbours would wait for each
    other's increment.
    """
    even, odd = counts[0], counts[1]
    pairs = len(values) // 2
    for i in range(pairs):
        even[values[2 * i]] += np.uint32(1)
        odd[values[2 * i + 1]] += np.uint32(1)
    if 2 * pairs < len(values):
        even[values[2 * pairs]] += np.uint32(1)


@compiled
def classify(
    keys: NDArray[Any], splitters: NDArray[Any], ids: NDArray[np.uint8], counts: NDArray[np.uint64]
) -> None:
    """Write each key's bucket to `ids`, and add the number of keys in each bucket to `counts`.

    The bucket of a key is the number of splitters that are not above it. NaN is not below any
    splitter, and belongs to the last bucket. Keys and ids have the shape (n,); splitters, in
    ascending order, (m,), m < 256; counts (2, m + 1), see `count_values`. LLVM vectorizes these
    plain comparisons, four splitters at a time.
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
    """Do the same as `classify`, with one table look-up and one comparison a key."""
    least, scale, below, splitter = cells
    last = np.float64(len(splitter) - 1)
    for start in range(0, len(keys), _BLOCK):
        block = keys[start : start + _BLOCK]
        block_ids = ids[start : start + _BLOCK]
        for i in range(len(block)):
            key = block[i]
            position = (np.float64(key) - least) * scale
            # NaN is not below anything, so it is in the last cell and not below its splitter.
            position = position if position < last else last
            position = position if position > 0.0 else np.float64(0.0)
            cell = _U64(np.int64(position))
            block_ids[i] = below[cell] + _U8(not (key < splitter[cell]))
        count_values(block_ids, counts)


@compiled
def scatter(
    keys: NDArray[Any], ids: NDArray[np.uint8], offsets: NDArray[np.uint64], out: NDArray[Any]
) -> None:
    """Copy each key to `out`, after the previous keys of its bucket.

    `keys` and `ids`, the bucket of each, have the shape (n,). `offsets`, of shape (buckets,), has
    the index in `out` of the next key of each bucket, and is updated.
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

    `keys` and `spare` are uint32 or uint64, of shape (n,), n >= 1, and both are overwritten. The
    masks, see `masks`, map the bits to unsigned integers of the same order: `sign` is the sign bit,
    or 0; `positive` and `negative` are the bits to flip where it is clear and where it is set. Top
    bits in which no two keys differ are skipped, so keys from a narrow range take fewer passes.
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
    """Return `sign`, `positive` and `negative` of `radix_sort` for a dtype."""
    sign = 1 << (8 * dtype.itemsize - 1)
    if dtype.kind == "u":
        return np.uint64(0), np.uint64(0), np.uint64(0)
    # The bits of negative floats are in reverse order.
    negative = sign if dtype.kind == "i" else 2 * sign - 1
    return np.uint64(sign), np.uint64(sign), np.uint64(negative)


@compiled
def fill_runs(values: NDArray[Any], ends: NDArray[np.int64], start: int, out: NDArray[Any]) -> None:
    """Write runs of equal values to `out`, which holds the indices from `start` on.

    `values` and `ends` have the shape (m,). The run of each value ends before the index in `ends`.
    """
    run = int(np.searchsorted(ends, start, side="right"))
    done = 0
    while done < len(out):
        stop = min(ends[run] - start, len(out))
        out[done:stop] = values[run]
        done = stop
        run += 1


@compiling
def compile_split(dtype: np.dtype[Any]) -> None:
    """Compile, or load from disk, the kernels of a samplesort of this native dtype."""
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
    """Compile, or load from disk, the kernels of a counting sort of these bit patterns."""
    count_values(read_only(np.empty(0, dtype)), np.zeros((2, 1), np.uint32))
    fill_runs(np.empty(0, dtype), np.empty(0, np.int64), 0, np.empty(0, dtype))


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view, because Numba compiles writeable arguments separately."""
    view = array.view()
    view.flags.writeable = False
    return view
