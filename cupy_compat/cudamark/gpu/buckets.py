"""Keys that do not fit into the GPU's memory: split by value, and sorted bucket by bucket.

CPU threads write each key to its bucket, as in the samplesort on the CPU. Every GPU then takes one
bucket after the other, sorts it and puts it into its place.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark import split
from cupy_compat.cudamark.cpu import threaded_sort
from cupy_compat.cudamark.crew import Crew
from cupy_compat.cudamark.dtypes import only_numpy_sorts
from cupy_compat.cudamark.gpu import memory, pinned
from cupy_compat.cudamark.gpu.staging import StagedSort

_SAMPLE = 1 << 16
_MOST_BUCKETS = 120
# How full of keys the mean bucket may be, for the fullest one to fit nevertheless.
_FILL = 0.8

_Array = NDArray[Any]


def sorters(cupy: Any, dtype: np.dtype[Any], nbytes: int) -> str:
    """Return what sorts so many bytes of keys of a dtype: GPUs, or the CPU."""
    rooms = {} if _is_for_cpu(dtype) else _rooms(cupy)
    count = sum(room * _MOST_BUCKETS >= nbytes for room in rooms.values())
    return f"{count} GPU{'s' if count > 1 else ''}, in buckets" if count else "the CPU"


def sort(cupy: Any, source: _Array, result: _Array, threads: int, nat_last: bool) -> None:
    """Sort host keys, of shape (n,), n >= 1, into a result that may share their memory.

    `threaded_sort` sorts the buckets that no GPU has memory for, complex numbers, and keys of one
    or two bytes, which the CPU counts faster than any bus carries them. For `nat_last` see
    `sort_on_device`. After a failure, a result that shares the keys' memory holds all the keys.
    """
    if _is_for_cpu(source.dtype):
        np.copyto(result, threaded_sort(source, threads))
        return
    rooms = _rooms(cupy)
    # Keys are scattered straight into the result if possible.
    in_place = (
        pinned.is_plain(result) and result.flags.aligned and not np.may_share_memory(source, result)
    )
    native = source.dtype.newbyteorder("=")
    scattered = result if in_place else np.empty(source.size, native)
    least = min(rooms.values(), default=source.nbytes)
    wanted = max(2 * len(rooms), -(-source.nbytes // max(int(_FILL * least), 1)))
    buckets = min(wanted, _MOST_BUCKETS)
    bounds, uniform = split.scatter_by_value(
        source, scattered, Crew(threads), buckets, _SAMPLE, nat_last=nat_last
    )
    try:
        _sort_buckets(cupy, scattered, result, bounds, uniform, rooms, threads)
    except BaseException:
        if np.may_share_memory(source, result):
            np.copyto(result, scattered)
        raise


def _is_for_cpu(dtype: np.dtype[Any]) -> bool:
    return dtype.itemsize <= 2 or only_numpy_sorts(dtype)


def _rooms(cupy: Any) -> dict[int, int]:
    """Return how many bytes of keys each GPU can sort, without those far below the others."""
    rooms = {}
    for device in range(cupy.cuda.runtime.getDeviceCount()):
        try:
            with cupy.cuda.Device(device), pinned.resources(cupy):
                cupy.get_default_memory_pool().free_all_blocks()
                rooms[device] = memory.largest_sort()
        except cupy.cuda.runtime.CUDARuntimeError:
            # It is full, used exclusively by another process, or broken. Use the others.
            continue
    most = max(rooms.values(), default=0)
    return {device: room for device, room in rooms.items() if 2 * room > most}


def _sort_buckets(
    cupy: Any,
    scattered: _Array,
    result: _Array,
    bounds: NDArray[np.intp],
    uniform: NDArray[np.bool_],
    rooms: dict[int, int],
    threads: int,
) -> None:
    """Sort each bucket of `scattered` into its place in the result."""
    sizes = np.diff(bounds)
    most = max(rooms.values(), default=0) // scattered.itemsize
    # The largest first: memory that has held it holds all that follow.
    order_of_size = np.argsort(-sizes)[: np.count_nonzero(sizes)].tolist()
    queue = deque(b for b in order_of_size if sizes[b] <= most and not uniform[b])
    left = deque(b for b in order_of_size if sizes[b] > most or uniform[b])
    each = -(-threads // max(len(rooms), 1))

    def serve(resources: pinned.Resources) -> None:
        reserved: memory.Reservation | None = None
        while True:
            try:
                bucket = queue.popleft()
            except IndexError:
                return
            part, target = (a[bounds[bucket] : bounds[bucket + 1]] for a in (scattered, result))
            try:
                if reserved is None:
                    with resources.work:
                        reserved = memory.Reservation(cupy, part.size, part.dtype, False)
                StagedSort(cupy, resources, part, target, reserved, each, False).run()
            except Exception as error:
                if not memory.is_out_of_memory(cupy, error):
                    raise
                left.append(bucket)

    def serve_on(device: int) -> None:
        try:
            with cupy.cuda.Device(device), pinned.resources(cupy) as resources:
                serve(resources)
        except BaseException:
            queue.clear()
            raise

    Crew(len(rooms)).share(serve_on, rooms)
    for bucket in left:
        part, target = (a[bounds[bucket] : bounds[bucket + 1]] for a in (scattered, result))
        np.copyto(target, part if uniform[bucket] else threaded_sort(part, threads))
