"""Sample sort on threads, for keys of four and eight bytes.

The keys are split by value into buckets, each written straight to the place that it has in the
result and sorted there by NumPy (W. D. Frazer and A. C. McKellar, "Samplesort: a sampling approach
to minimal storage tree sorting", Journal of the ACM 17, 1970). A value that takes up more than a
bucket gets a bucket of its own, which needs no sorting (the "equality buckets" of M. Axtmann, S.
Witt, D. Ferizovic and P. Sanders, "In-place parallel super scalar samplesort", ESA 2017), so
few-valued and skewed keys do not end up in one thread's hands.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.cpu import kernels
from cupy_compat.cudamark.cpu.crew import Crew

SAMPLE = 8192
BUCKETS_PER_WORKER = 4
CHUNKS_PER_WORKER = 8
# The golden ratio's fraction in 64 bits; 24 of them leave room for indices up to 2**40.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FRACTION_BITS = 24


class Split(NamedTuple):
    """How the range of the keys is cut: bucket b holds those in [splitters[b-1], splitters[b])."""

    splitters: NDArray[Any]
    """Ascending; the last one is repeated until their number is a multiple of four."""
    uniform: NDArray[np.bool_]
    """For each bucket, whether it can only hold equal keys."""


def sort(
    keys: NDArray[Any], crew: Crew, *, nat_last: bool = False, radix: bool = False
) -> NDArray[Any]:
    """Return the sorted keys, NaN last, in the keys' byte order.

    Beside the result the sort needs one byte a key for the number of its bucket; where the keys are
    not contiguous, aligned and in native byte order, also a copy of each worker's chunk.

    Parameters
    ----------
    keys : array, shape (n,)
        Integers or real numbers of four or eight bytes, n >= 1; any stride, any byte order.
    crew : Crew
        The threads.
    nat_last : bool
        Whether the keys are dates or durations seen as int64, whose smallest value is NaT and
        belongs to the end.
    radix : bool
        Whether to sort the buckets by their digits, for a NumPy whose own sort is slow.

    Returns
    -------
    array, shape (n,)
    """
    native = keys.dtype.newbyteorder("=")
    swapped = keys.dtype != native
    kernels.compile_split(native)
    keys = kernels.read_only(keys)
    # NumPy cuts a bucket in two for less than a kernel needs to tell more buckets apart, so there
    # are only as many as keep the crew evenly busy. 64 also keep the ids below 256 in any case.
    buckets = 64 if radix else min(max(8, BUCKETS_PER_WORKER * crew.workers), 64)
    split = choose_splitters(draw(keys, SAMPLE), buckets, nat_first=nat_last)

    chunk = -(-len(keys) // (CHUNKS_PER_WORKER * crew.workers))
    chunks = [slice(start, start + chunk) for start in range(0, len(keys), chunk)]
    ids = np.empty(len(keys), np.uint8)
    result = np.empty(len(keys), native)
    counts = np.zeros((len(chunks), len(split.uniform)), np.uint64)

    def contiguous(part: slice) -> NDArray[Any]:
        return kernels.read_only(np.require(keys[part], native, ("C", "A")))

    def classify(job: int) -> None:
        part = chunks[job]
        kernels.classify(contiguous(part), split.splitters, ids[part], counts[job])

    crew.share(classify, range(len(chunks)))
    order = np.roll(np.arange(len(split.uniform)), -1 if nat_last else 0)
    places, bounds = lay_out(counts, order)

    def scatter(job: int) -> None:
        part = chunks[job]
        kernels.scatter(contiguous(part), ids[part], places[job], result)

    crew.share(scatter, range(len(chunks)))
    uniform = split.uniform[order]
    masks = kernels.masks(native)
    # The bits of NaN say nothing of its place; all NaN are in the last bucket.
    last = len(uniform) - 1 if native.kind == "f" else -1

    def finish(bucket: int) -> None:
        part = result[bounds[bucket] : bounds[bucket + 1]]
        if radix and not uniform[bucket] and bucket != last:
            bits = part.view(f"u{native.itemsize}")
            kernels.radix_sort(bits, np.empty_like(bits), *masks)
        elif not uniform[bucket]:
            part.sort()
        if swapped:
            part.byteswap(inplace=True)

    effort = np.where(uniform, int(swapped), 1) * np.diff(bounds)
    crew.share(finish, [b for b in np.argsort(-effort).tolist() if effort[b] > 0])
    return result.view(keys.dtype)


def draw(keys: NDArray[Any], size: int) -> NDArray[Any]:
    """Return a sorted sample of the keys in native byte order, NaN left out.

    The places are multiples of the golden ratio modulo 1 (a Kronecker sequence): spread as evenly
    as a fixed stride, and no period of the keys' own falls in with them.

    Parameters
    ----------
    keys : array, shape (n,)
    size : int
        How many keys to draw; n may be smaller.

    Returns
    -------
    array, shape (m,), m <= size
    """
    fractions = (np.arange(size, dtype=np.uint64) * _GOLDEN) >> np.uint64(64 - _FRACTION_BITS)
    places = (fractions * np.uint64(len(keys))) >> np.uint64(_FRACTION_BITS)
    drawn = keys[places.astype(np.intp)].astype(keys.dtype.newbyteorder("="))
    drawn.sort()
    return drawn[: np.searchsorted(drawn, np.nan)] if drawn.dtype.kind == "f" else drawn


def choose_splitters(drawn: NDArray[Any], buckets: int, *, nat_first: bool) -> Split:
    """Cut the range of the keys into about equally filled buckets.

    A value picked twice as a splitter fills a bucket of its own and is cut off on both sides.

    Parameters
    ----------
    drawn : array, shape (m,)
        A sorted sample without NaN.
    buckets : int
        How many buckets to aim at; the equality buckets can double it. At most 120.
    nat_first : bool
        Whether the smallest int64 is to have the first bucket for itself.
    """
    nat = np.iinfo(np.int64).min
    if nat_first:
        drawn = drawn[drawn > nat]
    step = max(1, len(drawn) // buckets)
    values, times = np.unique(drawn[step::step], return_counts=True)
    cuts = [values, _next_value(values[times > 1])]
    if nat_first:
        cuts.append(np.array([nat + 1]))
    splitters = np.unique(np.concatenate(cuts))
    splitters = np.append(splitters, np.repeat(splitters[-1:], -len(splitters) % 4))
    # The keys between a value and the next are all that value. This holds for the empty buckets
    # between repeated splitters too.
    uniform = np.zeros(len(splitters) + 1, np.bool_)
    uniform[1:-1] = splitters[1:] <= _next_value(splitters[:-1])
    uniform[0] = nat_first
    return Split(splitters, uniform)


def _next_value(values: NDArray[Any]) -> NDArray[Any]:
    """Return the next value of the type above each; the last value of all stays itself."""
    if values.dtype.kind == "f":
        above: NDArray[Any] = np.nextafter(values, values.dtype.type(np.inf))
    else:
        above = values + (values < np.iinfo(values.dtype).max).astype(values.dtype)
    return above


def lay_out(
    counts: NDArray[np.uint64], order: NDArray[np.intp]
) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Find the place of each bucket, and within it of each chunk's share.

    Parameters
    ----------
    counts : uint64 array, shape (chunks, buckets)
        How many keys of each chunk belong to each bucket.
    order : intp array, shape (buckets,)
        The buckets as they follow each other in the result.

    Returns
    -------
    places : uint64 array, shape (chunks, buckets)
        Where the keys of each chunk begin in each bucket.
    bounds : intp array, shape (buckets + 1,)
        Where the buckets, in the order given, begin and end.
    """
    shares = counts.T[order]
    ends = np.cumsum(shares, dtype=np.uint64).reshape(shares.shape)
    places = np.empty_like(counts)
    places[:, order] = (ends - shares).T
    return places, np.append(0, ends[:, -1]).astype(np.intp)
