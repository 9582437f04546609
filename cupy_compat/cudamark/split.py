"""Keys split by value into buckets on threads, before the CPU or the GPU sorts each bucket.

This is the first half of a samplesort (W. D. Frazer, A. C. McKellar, "Samplesort: a sampling
approach to minimal storage tree sorting", Journal of the ACM 17, 1970): splitters picked from a
sorted sample bound the buckets. A value that many keys share gets one of its own, unsorted.
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
# Keys that are copied at a time if they are not contiguous, aligned and native.
_PIECE = 1 << 16
# Up to a vector register of splitters, comparing with each is faster than a table of cells.
_COMPARED_BYTES = 64
# So many cells fit into the nearest cache beside what else is used.
_CELLS = 2048


class Split(NamedTuple):
    """How the range of the keys is cut: bucket b holds those in [splitters[b-1], splitters[b])."""

    splitters: NDArray[Any]
    """Ascending, each different."""
    uniform: NDArray[np.bool_]
    """For each bucket, whether it can only hold equal keys."""


def scatter_by_value(
    keys: NDArray[Any],
    out: NDArray[Any],
    crew: Crew,
    buckets: int,
    sample: int,
    *,
    nat_last: bool,
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Write keys to buckets that are in order of value, but not sorted inside.

    `keys`, of shape (n,), have any stride and byte order; `out` is contiguous, native and in other
    memory. For `buckets` see `choose_splitters`, for `sample` keys `draw`. With `nat_last` the keys
    are dates or durations seen as int64, and NaT comes last.

    Returns the bounds of the m buckets, of shape (m + 1,), and for each whether it can only hold
    equal keys. NaN are in the last one.
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
    """Return a sorted sample of the keys in native byte order, without NaN."""
    drawn = keys[sample_indices(len(keys), size)].astype(keys.dtype.newbyteorder("="))
    drawn.sort()
    return drawn[: np.searchsorted(drawn, np.nan)] if drawn.dtype.kind == "f" else drawn


def choose_splitters(
    drawn: NDArray[Any], buckets: int, *, nat_first: bool = False, isolate_nan: bool = False
) -> Split:
    """Cut the range of the keys into about equally filled buckets.

    `drawn` is a sorted sample without NaN. A value picked twice as a splitter gets a bucket of its
    own, so there may be twice as many as `buckets`, at most 120. With `nat_first` the least int64
    has the first bucket for itself, with `isolate_nan` NaN shares the last one with infinity alone.
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
    # The keys between a value and the next are all that value.
    uniform = np.zeros(len(splitters) + 1, np.bool_)
    uniform[1:-1] = splitters[1:] <= _next_value(splitters[:-1])
    uniform[0] = nat_first
    return Split(splitters, uniform)


def make_cells(splitters: NDArray[Any]) -> kernels.Cells | None:
    """Cut the range of a `Split`'s splitters into cells; None if they are too uneven for that."""
    values = splitters.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    least = finite[0]
    scale = (_CELLS - 2) / (finite[-1] - least)  # The last cell is for infinity.
    if not 0 < scale < np.inf:
        return None
    # Rounded as by the kernel, so that a splitter is in the same cell as a key of its value.
    cells = np.clip((values - least) * scale, 0, _CELLS - 1).astype(np.intp)
    if np.any(np.diff(cells) == 0):
        return None
    below = np.searchsorted(cells, np.arange(cells[-1] + 1))
    return kernels.Cells(least, scale, below.astype(np.uint8), splitters[below])


def _next_value(values: NDArray[Any]) -> NDArray[Any]:
    """Return the next value of the type above each; the last value of all stays itself."""
    if values.dtype.kind == "f":
        above: NDArray[Any] = np.nextafter(values, values.dtype.type(np.inf))
    else:
        above = values + (values < np.iinfo(values.dtype).max).astype(values.dtype)
    return above


def bucket_offsets(
    counts: NDArray[np.uint64], order: NDArray[np.intp]
) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Return where each chunk's share of each bucket begins, and the bounds of the buckets.

    `counts` and the offsets have the shape (chunks, buckets); the bounds, of shape (buckets + 1,),
    list the buckets in the given order.
    """
    shares = counts.T[order]
    ends = np.cumsum(shares, dtype=np.uint64).reshape(shares.shape)
    offsets = padded_zeros(np.uint64, *counts.shape)
    offsets[:, order] = (ends - shares).T
    return offsets, np.append(0, ends[:, -1]).astype(np.intp)
