"""Sort keys that do not fit into the GPU's memory: split them by value, and sort bucket by bucket.

CPU threads write each key to its bucket, as in the samplesort on the CPU. Then every GPU takes one
bucket after another, and sorts it into its place.
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
# The mean size of the buckets over the capacity of a GPU, so that the largest bucket still fits.
_FILL = 0.8

_Array = NDArray[Any]


def sorters(cupy: Any, dtype: np.dtype[Any], nbytes: int) -> str:
    """Return, in words, what sorts `nbytes` of keys of a dtype: GPUs, or the CPU."""
    capacities = {} if _is_for_cpu(dtype) else _capacities(cupy)
    count = sum(capacity * _MOST_BUCKETS >= nbytes for capacity in capacities.values())
    return f"{count} GPU{'s' if count > 1 else ''}, in buckets" if count else "the CPU"


def sort(cupy: Any, source: _Array, result: _Array, threads: int, nat_last: bool) -> None:
    """Sort host keys, of shape (n,), n >= 1, into a result that may share memory with them.

    `threaded_sort` sorts the buckets that fit on no GPU, complex numbers, and keys of one or two
    bytes, which the CPU counts faster than any bus transfers them. For `nat_last` see
    `sort_on_device`. If this fails, a result that shares memory with the keys holds all of them.
    """
    if _is_for_cpu(source.dtype):
        np.copyto(result, threaded_sort(source, threads))
        return
    capacities = _capacities(cupy)
    # Scatter keys directly into the result if possible.
    in_place = (
        pinned.is_plain(result) and result.flags.aligned and not np.may_share_memory(source, result)
    )
    native = source.dtype.newbyteorder("=")
    scattered = result if in_place else np.empty(source.size, native)
    least = min(capacities.values(), default=source.nbytes)
    wanted = max(2 * len(capacities), -(-source.nbytes // max(int(_FILL * least), 1)))
    buckets = min(wanted, _MOST_BUCKETS)
    bounds, uniform = split.scatter_by_value(
        source, scattered, Crew(threads), buckets, _SAMPLE, nat_last=nat_last
    )
    try:
        _sort_buckets(cupy, scattered, result, bounds, uniform, capacities, threads)
    except BaseException:
        if np.may_share_memory(source, result):
            np.copyto(result, scattered)
        raise


def _is_for_cpu(dtype: np.dtype[Any]) -> bool:
    return dtype.itemsize <= 2 or only_numpy_sorts(dtype)


def _capacities(cupy: Any) -> dict[int, int]:
    """Return how many bytes of keys each GPU can sort, leaving out GPUs with far less memory."""
    capacities = {}
    for device in range(cupy.cuda.runtime.getDeviceCount()):
        try:
            with cupy.cuda.Device(device), pinned.resources(cupy):
                cupy.get_default_memory_pool().free_all_blocks()
                capacities[device] = memory.largest_sort()
        except cupy.cuda.runtime.CUDARuntimeError:
            # This GPU is full, used exclusively by another process, or broken. Use the others.
            continue
    most = max(capacities.values(), default=0)
    return {device: capacity for device, capacity in capacities.items() if 2 * capacity > most}


def _sort_buckets(
    cupy: Any,
    scattered: _Array,
    result: _Array,
    bounds: NDArray[np.intp],
    uniform: NDArray[np.bool_],
    capacities: dict[int, int],
    threads: int,
) -> None:
    """Sort each bucket of `scattered` into its place in the result."""
    sizes = np.diff(bounds)
    most = max(capacities.values(), default=0) // scattered.itemsize
    parts, targets = (np.split(a, bounds[1:-1]) for a in (scattered, result))
    # The largest first, so that the memory reserved for it suffices for all others.
    queue = deque(b for b in np.argsort(-sizes).tolist() if 0 < sizes[b] <= most and not uniform[b])
    left = deque(b for b in range(sizes.size) if b not in queue)
    threads_each = -(-threads // max(len(capacities), 1))

    def serve(resources: pinned.Resources) -> None:
        reserved: memory.Reservation | None = None
        while True:
            try:
                bucket = queue.popleft()
            except IndexError:
                return
            part, target = parts[bucket], targets[bucket]
            try:
                if reserved is None:
                    with resources.work:
                        reserved = memory.Reservation(cupy, part.size, part.dtype, False)
                StagedSort(cupy, resources, part, target, reserved, threads_each, False).run()
            except Exception as error:
                if not memory.is_out_of_memory(cupy, error):
                    raise
                left.append(bucket)

    def serve_on(device: int) -> None:
        try:
            with cupy.cuda.Device(device), pinned.resources(cupy) as resources:
                serve(resources)
        finally:
            queue.clear()  # if this failed, no other bucket starts

    Crew(len(capacities)).share(serve_on, capacities)
    for bucket in left:
        part = parts[bucket]
        np.copyto(targets[bucket], part if uniform[bucket] else threaded_sort(part, threads))
