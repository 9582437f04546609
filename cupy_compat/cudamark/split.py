"""Split keys by value into buckets on threads, before the CPU or the GPU sorts each bucket.

This is the first half of a samplesort (W. D. Frazer, A. C. McKellar, "Samplesort: a sampling
approach to minimal storage tree sorting", Journal of the ACM 17, 1970): splitters picked from a
sorted sample bound the buckets. A value that many keys share gets a bucket of its own, which needs
no sorting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark import kernels
from cupy_compat.cudamark.crew import Crew, padded_zeros
from cupy_compat.cudamark.sampling import sample_indices

CHUNKS_PER_WORKER = 4
# How many keys to copy at a time if they are not contiguous, aligned and native.
_PIECE = 1 << 16
# If the splitters fit into a vector register, comparing with each beats a table of cells.
_COMPARED_BYTES = 64
# The number of cells; these fit into the first-level cache beside the other data.
_CELLS = 2048


class Split(NamedTuple):
    """The bounds of the buckets: bucket b holds the keys in [splitters[b-1], splitters[b])."""

    splitters: NDArray[Any]
    """In ascending order, without duplicates, of shape (m,)."""
    uniform: NDArray[np.bool_]
    """For each bucket, whether it can only hold equal keys, of shape (m + 1,)."""


def scatter_by_value(
    keys: NDArray[Any], out: NDArray[Any], crew: Crew, buckets: int, sample: int, *, nat_last: bool
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Write keys to `out`, bucket by bucket in order of value. The buckets are not sorted inside.

    `keys`, of shape (n,), may have any stride and byte order. `out`, of the same shape, is
    contiguous and native, and shares no memory with them. For `buckets` see `choose_splitters`;
    `sample` is the size of the sample. With `nat_last` the keys are dates or durations viewed as
    int64, and NaT comes last.

    Returns the bounds of the m buckets, of shape (m + 1,), and, of shape (m,), whether each can
    only hold equal keys. NaN are in the last bucket.
    """
    native = out.dtype
    kernels.compile_split(native)
    keys = kernels.read_only(keys)
    with np.errstate(all="ignore"):
        drawn = draw(keys, sample)
        mostly_nan = 2 * len(drawn) < sample
        chosen = choose_splitters(drawn, buckets, nat_first=nat_last, isolate_nan=mostly_nan)
        few = chosen.splitters.nbytes <= _COMPARED_BYTES
        cells = None if few else make_cells(chosen.splitters)
    chunk = -(-len(keys) // (CHUNKS_PER_WORKER * crew.workers))
    chunks = [slice(start, start + chunk) for start in range(0, len(keys), chunk)]
    plain = keys.flags.c_contiguous and keys.flags.aligned and keys.dtype == native
    piece = chunk if plain else _PIECE
    ids = np.empty(len(keys), np.uint8)
    counts = padded_zeros(np.uint64, len(chunks), 2, len(chosen.uniform))

    def pieces(job: int) -> Iterator[tuple[NDArray[Any], NDArray[np.uint8]]]:
        for start in range(chunks[job].start, min(chunks[job].stop, len(keys)), piece):
            part = slice(start, min(start + piece, chunks[job].stop))
            yield kernels.read_only(np.require(keys[part], native, ("C", "A"))), ids[part]

    def classify(job: int) -> None:
        for part, its_ids in pieces(job):
            if cells is None:
                kernels.classify(part, chosen.splitters, its_ids, counts[job])
            else:
                kernels.classify_by_cell(part, cells, its_ids, counts[job])

    crew.share(classify, range(len(chunks)))
    order = np.roll(np.arange(len(chosen.uniform)), -1 if nat_last else 0)
    offsets, bounds = bucket_offsets(counts.sum(axis=1, dtype=np.uint64), order)

    def scatter(job: int) -> None:
        for part, its_ids in pieces(job):
            kernels.scatter(part, its_ids, offsets[job], out)

    crew.share(scatter, range(len(chunks)))
    return bounds, chosen.uniform[order]


def draw(keys: NDArray[Any], size: int) -> NDArray[Any]:
    """Return a sorted sample of up to `size` keys, in native byte order and without NaN."""
    drawn = keys[sample_indices(len(keys), size)].astype(keys.dtype.newbyteorder("="))
    drawn.sort()
    return drawn[: np.searchsorted(drawn, np.nan)] if drawn.dtype.kind == "f" else drawn


def choose_splitters(
    drawn: NDArray[Any], buckets: int, *, nat_first: bool = False, isolate_nan: bool = False
) -> Split:
    """Cut the range of the keys into buckets of about equal size.

    `drawn` is a sorted sample without NaN, of shape (n,). A value picked twice as a splitter gets a
    bucket of its own, so there may be twice as many buckets as `buckets`, which is at most 120.
    With `nat_first` the first bucket holds only the least int64. With `isolate_nan` the last bucket
    holds only NaN and infinity.
    """
    nat = np.iinfo(np.int64).min
    if nat_first:
        drawn = drawn[drawn > nat]
    step = max(1, len(drawn) // buckets)
    values, times = np.unique(drawn[step::step], return_counts=True)
    cuts = [values, _next_value(values[times > 1])]
    if nat_first:
        cuts.append(np.array([nat + 1]))
    if isolate_nan:
        cuts.append(np.array([np.inf], drawn.dtype))
    splitters = np.unique(np.concatenate(cuts))
    # All keys from a value up to, but not including, the next value of the type are equal.
    uniform = np.zeros(len(splitters) + 1, np.bool_)
    uniform[1:-1] = splitters[1:] <= _next_value(splitters[:-1])
    uniform[0] = nat_first
    return Split(splitters, uniform)


def make_cells(splitters: NDArray[Any]) -> kernels.Cells | None:
    """Cut the range of a `Split`'s splitters into cells, or return None if they are too uneven."""
    values = splitters.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    least = finite[0]
    scale = (_CELLS - 2) / (finite[-1] - least)  # The last cell is for infinity.
    if not 0 < scale < np.inf:
        return None
    # Round as the kernel does, so that a splitter is in the same cell as an equal key.
    cells = np.clip((values - least) * scale, 0, _CELLS - 1).astype(np.intp)
    if np.any(np.diff(cells) == 0):
        return None
    below = np.searchsorted(cells, np.arange(cells[-1] + 1))
    return kernels.Cells(least, scale, below.astype(np.uint8), splitters[below])


def _next_value(values: NDArray[Any]) -> NDArray[Any]:
    """Return the next greater value of the dtype for each value; the greatest stays the same."""
    if values.dtype.kind == "f":
        above: NDArray[Any] = np.nextafter(values, values.dtype.type(np.inf))
        return above
    return values + (values < np.iinfo(values.dtype).max)


def bucket_offsets(
    counts: NDArray[np.uint64], order: NDArray[np.intp]
) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Return where each chunk writes its keys of each bucket, and the bounds of the buckets.

    `counts`, the numbers of keys, and the returned offsets have the shape (chunks, buckets). The
    buckets follow each other in the given `order`, as do the bounds, of shape (buckets + 1,).
    """
    shares = counts.T[order]
    ends = np.cumsum(shares, dtype=np.uint64).reshape(shares.shape)
    offsets = padded_zeros(np.uint64, *counts.shape)
    offsets[:, order] = (ends - shares).T
    return offsets, np.append(0, ends[:, -1]).astype(np.intp)
