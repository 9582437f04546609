"""Keys that do not fit into the GPU's memory: split by value, and sorted bucket by bucket.

The threads of the CPU write each key to the bucket that it belongs to, as for the sample sort on
the CPU; every GPU that CUDA shows then takes one bucket after the other, sorts it and puts it into
its place.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark import split
from cupy_compat.cudamark.cpu import threaded_sort
from cupy_compat.cudamark.crew import Crew
from cupy_compat.cudamark.dtypes import is_for_numpy_alone
from cupy_compat.cudamark.gpu import memory, partition, pinned, staging
from cupy_compat.cudamark.gpu.order import sort_on_device

_SAMPLE = 1 << 16
_MOST_BUCKETS = 120
# How full of keys a bucket may be on the average, for the fullest one to fit nevertheless.
_FILL = 0.8

_Array = NDArray[Any]


class _Share(NamedTuple):
    """What one GPU can do."""

    device: int
    most_bytes: int
    """The largest bucket that it sorts."""


def sorters(cupy: Any, dtype: np.dtype[Any], nbytes: int = 0) -> str:
    """Say who sorts so many bytes of keys of this dtype here."""
    shares = [] if _is_for_cpu(dtype) else _shares(cupy)
    count = sum(share.most_bytes * _MOST_BUCKETS >= nbytes for share in shares)
    return f"{count} GPU{'s' if count > 1 else ''}, in buckets" if count else "the CPU"


def sort(cupy: Any, source: _Array, result: _Array, threads: int, nat_last: bool) -> None:
    """Sort keys into the result.

    A bucket that no GPU takes is sorted by `threaded_sort`; so are all keys of one or two bytes,
    which the CPU counts faster than any bus carries them, and complex numbers.

    Parameters
    ----------
    cupy : module
    source, result : ndarray of shape (n,), n >= 1
        Host arrays of the same dtype, which may share memory.
    threads : int
        How many CPU threads may work.
    nat_last : bool
        Whether the keys are dates or durations seen as int64, whose smallest value is NaT.

    Raises
    ------
    BaseException
        What failed. If the two arrays share memory, the result then holds all the keys.
    """
    if _is_for_cpu(source.dtype):
        np.copyto(result, threaded_sort(source, threads))
        return
    shares = _shares(cupy)
    # Keys are scattered straight into the result, unless it is no place for that.
    in_place = (
        pinned.is_plain(result) and result.flags.aligned and not np.may_share_memory(source, result)
    )
    native = source.dtype.newbyteorder("=")
    scattered = result if in_place else np.empty(source.size, native)
    least = min((share.most_bytes for share in shares), default=source.nbytes)
    wanted = max(2 * len(shares), -(-source.nbytes // max(int(_FILL * least), 1)))
    buckets = min(wanted, _MOST_BUCKETS)
    bounds, uniform = split.scatter_by_value(
        source, scattered, Crew(threads), buckets, _SAMPLE, nat_last=nat_last
    )
    try:
        _sort_buckets(cupy, scattered, result, bounds, uniform, shares, threads)
    except BaseException:
        if np.may_share_memory(source, result):
            np.copyto(result, scattered)
        raise


def _is_for_cpu(dtype: np.dtype[Any]) -> bool:
    return dtype.itemsize <= 2 or is_for_numpy_alone(dtype)


def _shares(cupy: Any) -> list[_Share]:
    """Return what each GPU can do; those with far less free memory than another are left out."""
    shares = []
    for device in range(cupy.cuda.runtime.getDeviceCount()):
        try:
            with cupy.cuda.Device(device), pinned.resources(cupy):
                cupy.get_default_memory_pool().free_all_blocks()
                shares.append(_Share(device, memory.largest_sort()))
        except cupy.cuda.runtime.CUDARuntimeError:
            # It is full, another process has it for itself, or it is broken: the others will do.
            continue
    most = max((share.most_bytes for share in shares), default=0)
    return [share for share in shares if 2 * share.most_bytes > most]


def _sort_buckets(
    cupy: Any,
    scattered: _Array,
    result: _Array,
    bounds: NDArray[np.intp],
    uniform: NDArray[np.bool_],
    shares: list[_Share],
    threads: int,
) -> None:
    """Sort each bucket of `scattered` into its place in the result."""
    sizes = np.diff(bounds)
    most = max((share.most_bytes for share in shares), default=0) // scattered.itemsize
    # The largest first: memory of the GPU that has held it holds all that follow.
    order_of_size = np.argsort(-sizes)[: np.count_nonzero(sizes)].tolist()
    queue = deque(b for b in order_of_size if sizes[b] <= most and not uniform[b])
    left = deque(b for b in order_of_size if sizes[b] > most or uniform[b])
    each = -(-threads // max(len(shares), 1))

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
                    count = partition.worthwhile(cupy, part.size, part.dtype, False)
                    with resources.work:
                        reserved = memory.Reservation(cupy, part.size, part.dtype, buckets=count)
                staging.Trip(
                    cupy,
                    resources,
                    part,
                    target,
                    reserved,
                    lambda keys: sort_on_device(cupy, keys, False),
                    each,
                    fresh=False,
                    nat_last=False,
                ).run()
            except Exception as error:
                if not memory.is_out_of_memory(cupy, error):
                    raise
                left.append(bucket)

    def serve_on(share: _Share) -> None:
        try:
            with cupy.cuda.Device(share.device), pinned.resources(cupy) as resources:
                serve(resources)
        except BaseException:
            queue.clear()
            raise

    Crew(len(shares)).share(serve_on, shares)
    for bucket in left:
        part, target = (a[bounds[bucket] : bounds[bucket + 1]] for a in (scattered, result))
        np.copyto(target, part if uniform[bucket] else threaded_sort(part, threads))
