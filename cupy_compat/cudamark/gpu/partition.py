"""Split keys by value into buckets on the GPU, while the rest of the keys is being uploaded.

After the upload, each bucket is sorted while the previous one is downloaded. So the transfer hides
the sort of every bucket but the first. This is a samplesort, see `cudamark.split`, except that its
buckets are filled without counting their keys beforehand. A sample determines the room for each
bucket. If the keys of one do not fit, the whole array is sorted at once.
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
"""The least mean size of a bucket. At 50 GB/s its transfer takes as long as starting two sorts."""
_MIN_BUCKETS = 4
SAMPLE = 8192
# This many keys suffice to detect that there are few distinct values.
_FIRST_SAMPLE = 256
# The room of a bucket exceeds its share of the sample by this many standard deviations.
_DEVIATIONS = 5
# A bucket larger than this many times the mean takes longer to sort than another to download.
_MAX_FACTOR = 2


def bucket_count(cupy: Any, size: int, dtype: np.dtype[Any], nat_last: bool) -> int:
    """Return the number of buckets for `size` keys, or 0 if splitting them would not save time."""
    count = min(size * dtype.itemsize // BUCKET_BYTES, BUCKETS)
    if count < _MIN_BUCKETS or kernel(cupy, "partition", dtype, nat_last) is None:
        return 0
    return count


def room_for_all(size: int, count: int) -> int:
    """Return the maximum total room, in keys, of `count` buckets for `size` keys."""
    # The sum of the square roots is greatest if all are equal. Each room is rounded up.
    return count * (room(-(-SAMPLE // count), size) + 1)


def room_for_largest(size: int, count: int) -> int:
    """Return the maximum room, in keys, of any of them."""
    return room(_MAX_FACTOR * SAMPLE // count, size)


def room(counted: int, size: int) -> int:
    """Return the room, in keys, of a bucket that has `counted` keys of the sample."""
    most = counted + _DEVIATIONS * (math.sqrt(counted) + 1)
    return math.ceil(most * size / SAMPLE) + 1


@functools.cache
def plan_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the layout of ``Plan`` in `partition.cu` for keys of a dtype."""
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
    """The buckets of one array, in the memory of a `Reservation` (its ``bins`` and ``filled``).

    `kernel` is the driver's handle of the kernel ``partition`` in `partition.cu`. `plan`, an array
    of one record, is the last argument of that kernel.
    """

    def __init__(self, cupy: Any, reserved: Any, nat_last: bool) -> None:
        self._reserved = reserved
        self._nat_last = nat_last
        self._launch = kernel(cupy, "partition", reserved.bins.dtype, nat_last)
        self.kernel = int(self._launch.kernel.ptr)
        self.plan = np.zeros(1, plan_dtype(reserved.bins.dtype))

    def choose(self, keys: NDArray[Any]) -> bool:
        """Choose buckets by a sample of native host keys; return False if values are too few."""
        count = self._reserved.buckets
        for size in (_FIRST_SAMPLE, SAMPLE):
            with np.errstate(all="ignore"):
                ranks = rank(keys[sample_indices(keys.size, size)], self._nat_last)
            sample = np.sort(ranks)
            picked = np.unique(sample[np.arange(1, count) * size // count])
            splitters = picked[picked > sample[0]]
            counts = np.diff(np.searchsorted(sample, splitters), prepend=0, append=size)
            if counts.max() > _MAX_FACTOR * size // count:
                return False
        plan = self.plan[0]
        plan["bins"], plan["filled"] = self._reserved.bins.data.ptr, self._reserved.filled.data.ptr
        plan["buckets"] = len(counts)
        rooms = [room(counted, keys.size) for counted in counts.tolist()]
        plan["starts"][1:] = np.cumsum(rooms + [0] * (BUCKETS - len(rooms)))
        plan["splitters"][: len(splitters)] = splitters
        return True

    def add(self, keys: Any) -> None:
        """Split keys on the GPU, of shape (m,), into the buckets, on the current stream."""
        spans = np.zeros(1, [("words", np.uintp, 2 * SPANS)])
        spans["words"][0, :2] = keys.data.ptr, keys.size
        blocks = -(-keys.size // tile_size(keys.dtype))
        self._launch((blocks,), (THREADS,), (spans, self.plan))

    def buckets(self, stream: Any) -> list[Any] | None:
        """Wait for a stream. Return the buckets in order of value, or None if one overflowed."""
        starts = self.plan["starts"][0].tolist()
        counts = self._reserved.filled.get(stream=stream).tolist()
        spans = list(zip(starts, counts, starts[1:], strict=False))
        if any(start + count > end for start, count, end in spans):
            return None
        return [self._reserved.bins[start : start + count] for start, count, _ in spans if count]
