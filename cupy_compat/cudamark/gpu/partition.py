"""Value buckets: the GPU splits keys by value while the rest of them still arrives.

After the last key has arrived, one bucket is sorted while the one before is on its way home. So the
bus hides all of the sort but the first bucket's. This is a samplesort, see `cudamark.split`, whose
buckets cannot be counted before they are filled. A sample says how much room each gets; if keys do
not fit, the whole array is sorted at once.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.gpu.order import BUCKETS, SPANS, THREADS, kernel, rank, tile_size
from cupy_compat.cudamark.sampling import sample_indices

BUCKET_BYTES = 12 << 20
"""At 50 GB/s a bucket takes as long on the bus as two sorts of few keys take to start."""
_FEWEST = 4
SAMPLE = 8192
# So many keys already show that there are few values.
_FIRST_SAMPLE = 256
# Standard deviations between the share that a bucket has of the sample and its room.
_DEVIATIONS = 5
# A bucket of more times the mean takes longer to sort than another to go home.
_LARGEST = 2


def bucket_count(cupy: Any, size: int, dtype: np.dtype[Any], nat_last: bool) -> int:
    """Return how many buckets can save time for so many keys on the GPU, or 0."""
    count = min(size * dtype.itemsize // BUCKET_BYTES, BUCKETS)
    if count < _FEWEST or kernel(cupy, "partition", dtype, nat_last) is None:
        return 0
    return count


def room_for_all(size: int, count: int) -> int:
    """Return for how many keys `count` buckets of an array of this size have room, at most."""
    # The sum of square roots is greatest where all are equal; each room is rounded up.
    return count * (room(-(-SAMPLE // count), size) + 1)


def room_for_largest(size: int, count: int) -> int:
    """Return for how many keys any of them has room, at most."""
    return room(_LARGEST * SAMPLE // count, size)


def room(counted: int, size: int) -> int:
    """Return the room for a bucket, in keys, if so many keys of the sample belong to it."""
    most = counted + _DEVIATIONS * (math.sqrt(counted) + 1)
    return math.ceil(most * size / SAMPLE) + 1


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
    """The buckets of one array, in ``bins`` of a `Reservation`, whose ``filled`` counts their keys.

    `kernel` is the driver's handle of ``partition`` in `partition.cu`, and `plan`, of one record,
    its last argument.
    """

    def __init__(self, cupy: Any, reserved: Any, nat_last: bool) -> None:
        self._reserved = reserved
        self._nat_last = nat_last
        self._launch = kernel(cupy, "partition", reserved.bins.dtype, nat_last)
        self.kernel = int(self._launch.kernel.ptr)
        self.plan = np.zeros(1, plan_dtype(reserved.bins.dtype))

    def choose(self, keys: NDArray[Any]) -> bool:
        """Choose buckets by a sample of native host keys; return False if values are too few."""
        with np.errstate(all="ignore"):
            return self._choose(keys, _FIRST_SAMPLE) and self._choose(keys, SAMPLE)

    def _choose(self, keys: NDArray[Any], size: int) -> bool:
        count = self._reserved.buckets
        sample = np.sort(rank(keys[sample_indices(keys.size, size)], self._nat_last))
        picked = np.unique(sample[np.arange(1, count) * size // count])
        splitters = picked[picked > sample[0]]
        counts = np.diff(np.searchsorted(sample, splitters), prepend=0, append=size)
        if counts.max() > _LARGEST * size // count:
            return False
        if size < SAMPLE:
            return True
        plan = self.plan[0]
        plan["bins"], plan["filled"] = self._reserved.bins.data.ptr, self._reserved.filled.data.ptr
        plan["buckets"] = len(counts)
        rooms = [room(counted, keys.size) for counted in counts.tolist()]
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
        """Wait for a stream and return the filled buckets by value, or None if one overflowed."""
        starts = self.plan["starts"][0].tolist()
        counts = self._reserved.filled.get(stream=stream).tolist()
        spans = list(zip(starts, counts, starts[1:], strict=False))
        if any(start + count > end for start, count, end in spans):
            return None
        return [self._reserved.bins[start : start + count] for start, count, _ in spans if count]
