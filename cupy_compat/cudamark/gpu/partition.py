"""Value buckets: keys are split by value on the GPU while the rest of them still arrives.

After the last key has arrived, one bucket is sorted while the one before is on its way home. So the
bus hides all of the sort but the first bucket's. This is a samplesort, see `cudamark.split`, whose
buckets cannot be counted before they are filled. Each has the room that a sample calls for; if keys
do not fit, the whole array is sorted at once.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.gpu.order import BUCKETS, SPANS, THREADS, kernel, rank, tile_size
from cupy_compat.cudamark.places import places

BUCKET_BYTES = 12 << 20
"""A bucket takes as long on the bus as two sorts of few keys take to start, at 50 GB/s."""
_FEWEST = 4
_SAMPLE = 8192
# So many keys of it show already that few values prevail.
_FIRST_SAMPLE = 256
# Standard deviations between the share that a bucket has of the sample and its room.
_DEVIATIONS = 5
# A bucket that has so many times the mean takes longer to sort than another to go home.
_LARGEST = 2
_FRACTION_BITS = 40


def worthwhile(cupy: Any, size: int, dtype: np.dtype[Any], nat_last: bool) -> int:
    """Return how many buckets can save time, or 0.

    Parameters
    ----------
    cupy : module
    size : int
        How many keys there are.
    dtype : dtype
        Of the keys on the GPU.
    nat_last : bool
        As for `sort_on_device`.
    """
    count = min(size * dtype.itemsize // BUCKET_BYTES, BUCKETS)
    if count < _FEWEST or kernel(cupy, "partition", dtype, nat_last) is None:
        return 0
    return count


def room_for_all(size: int, count: int) -> int:
    """Return how many keys so many buckets of an array of this size have room for, at most."""
    # The sum of square roots is greatest where all are equal; each room is rounded up.
    return count * (_room(-(-_SAMPLE // count), size) + 1)


def room_for_largest(size: int, count: int) -> int:
    """Return how many keys any of so many buckets has room for, at most."""
    return _room(_LARGEST * _SAMPLE // count, size)


def _room(counted: int, size: int) -> int:
    """Return the room for a bucket, in keys, if so many keys of the sample belong to it."""
    most = counted + _DEVIATIONS * (math.sqrt(counted) + 1)
    return math.ceil(most * size / _SAMPLE) + 1


@functools.cache
def _fractions(count: int) -> NDArray[np.float64]:
    return places(1 << _FRACTION_BITS, count) / (1 << _FRACTION_BITS)


@functools.cache
def plan_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return ``Plan`` of `partition.cu` for keys of this dtype."""
    word = f"u{dtype.itemsize // 2 if dtype.kind == 'c' else dtype.itemsize}"
    return np.dtype(
        [
            ("bins", np.uintp),
            ("filled", np.uintp),
            ("starts", np.int64, BUCKETS + 1),
            ("buckets", np.int64),
            ("splitters", word, BUCKETS),  # One more than in C++, which pads the struct.
        ]
    )


class Partition:
    """The buckets of one array.

    Parameters
    ----------
    cupy : module
    reserved : Reservation
        Of which these use ``bins`` and ``filled``, which counts each bucket's keys.
    nat_last : bool
        As for `sort_on_device`.

    Attributes
    ----------
    kernel : int
        The driver's handle of ``partition`` in `partition.cu`.
    plan : ndarray of one record
        The last argument of it.
    """

    def __init__(self, cupy: Any, reserved: Any, nat_last: bool) -> None:
        self._reserved = reserved
        self._nat_last = nat_last
        self._launch = kernel(cupy, "partition", reserved.bins.dtype, nat_last)
        self.kernel = int(self._launch.kernel.ptr)
        self.plan = np.zeros(1, plan_dtype(reserved.bins.dtype))

    def choose(self, keys: NDArray[Any]) -> bool:
        """Choose the buckets by a sample.

        Parameters
        ----------
        keys : ndarray, shape (n,)
            On the host, in native byte order.

        Returns
        -------
        bool
            False where few values prevail, so that one bucket would hold far more than others.
        """
        with np.errstate(all="ignore"):
            return self._choose(keys, _FIRST_SAMPLE) and self._choose(keys, _SAMPLE)

    def _choose(self, keys: NDArray[Any], size: int) -> bool:
        """Choose the buckets by a sample of so many keys."""
        count = self._reserved.buckets
        drawn = keys[(_fractions(size) * keys.size).astype(np.intp)]
        sample = np.sort(rank(drawn, self._nat_last))
        picked = np.unique(sample[np.arange(1, count) * size // count])
        splitters = picked[picked > sample[0]]
        counts = np.diff(np.searchsorted(sample, splitters), prepend=0, append=size)
        if counts.max() > _LARGEST * size // count:
            return False
        if size < _SAMPLE:
            return True
        plan = self.plan[0]
        plan["bins"], plan["filled"] = self._reserved.bins.data.ptr, self._reserved.filled.data.ptr
        plan["buckets"] = len(counts)
        rooms = [_room(counted, keys.size) for counted in counts.tolist()]
        plan["starts"][1:] = np.cumsum(rooms + [0] * (BUCKETS - len(rooms)))
        plan["splitters"][: len(splitters)] = splitters
        return True

    def add(self, keys: Any) -> None:
        """Put keys on the GPU into their buckets, on the current stream."""
        spans = np.zeros(1, [("words", np.uintp, 2 * SPANS)])
        spans["words"][0, :2] = keys.data.ptr, keys.size
        blocks = -(-keys.size // tile_size(keys.dtype))
        self._launch((blocks,), (THREADS,), (spans, self.plan))

    def buckets(self, stream: Any) -> list[Any] | None:
        """Wait for what is on a stream, and return the buckets that have keys, by value.

        Returns
        -------
        list of cupy.ndarray, or None
            None if some bucket had no room for all of its keys.
        """
        starts = self.plan["starts"][0].tolist()
        counts = self._reserved.filled.get(stream=stream).tolist()
        spans = list(zip(starts, counts, starts[1:], strict=False))
        if any(start + count > end for start, count, end in spans):
            return None
        return [self._reserved.bins[start : start + count] for start, count, _ in spans if count]
