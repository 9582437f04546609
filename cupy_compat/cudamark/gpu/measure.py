"""Time work on the GPU, and measure the limits of the GPU and its bus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.dtypes import number_type
from cupy_compat.cudamark.gpu.device import load_cupy
from cupy_compat.cudamark.gpu.memory import free_bytes

USUAL_SCRIPT = "cp.asnumpy(cp.sort(cp.array(a)))"
"""What `naive_sort` does."""

_Array = NDArray[Any]
_BUS_BYTES = 256 << 20
_MEMORY_BYTES = 1 << 30


@dataclass(frozen=True)
class Limits:
    """The limits of the GPU and its bus for an array of `nbytes`.

    `upload` and `download`, in bytes per second, are copies over the bus from and to pinned memory,
    one direction at a time. `memory` is the bytes per second that a copy within GPU memory reads
    and writes in total. `sort_seconds` is the time of an in-place sort there.
    """

    nbytes: int
    upload: float
    download: float
    memory: float
    sort_seconds: float

    @property
    def floor_seconds(self) -> float:
        """Upload and download. The last key must arrive before the first can go back."""
        return self.nbytes / self.upload + self.nbytes / self.download

    @property
    def serial_seconds(self) -> float:
        """Upload, sort and download, one after the other."""
        return self.floor_seconds + self.sort_seconds


def gpu_times(
    work: Callable[[], object], repeat: int, prepare: Callable[[], object] = lambda: None
) -> list[float]:
    """Return the GPU times of `repeat` calls, in seconds, after an untimed one.

    `prepare` is called before each call, and is not timed.
    """
    cuda = load_cupy().cuda
    begin, end = cuda.Event(), cuda.Event()
    seconds = []
    for _ in range(1 + repeat):
        prepare()
        begin.record()
        work()
        end.record()
        end.synchronize()
        seconds.append(cuda.get_elapsed_time(begin, end) / 1e3)
    return seconds[1:]


def sort_times(keys: _Array, repeat: int, in_place: bool) -> list[float]:
    """Return the GPU times, in seconds, of `repeat` CuPy sorts of a copy of host keys (n,)."""
    cupy = load_cupy()
    unsorted = cupy.asarray(_numbers(keys))
    if not in_place:
        return gpu_times(lambda: cupy.sort(unsorted), repeat)
    work = cupy.empty_like(unsorted)
    return gpu_times(work.sort, repeat, prepare=lambda: cupy.copyto(work, unsorted))


def measure_limits(nbytes: int, sort_seconds: float, repeat: int) -> Limits:
    """Measure the speed of the bus and of GPU memory, as medians of `repeat` copies."""
    cupy = load_cupy()
    copied = min(_BUS_BYTES, free_bytes() // 4)
    host = cupy.cuda.PinnedMemoryPointer(cupy.cuda.PinnedMemory(copied), 0)
    device = cupy.ones(copied, dtype=cupy.uint8)
    runtime = cupy.cuda.runtime
    stream = cupy.cuda.get_current_stream().ptr

    def speed(moved: int, copy: Callable[..., object], *arguments: Any) -> float:
        return float(moved / np.median(gpu_times(lambda: copy(*arguments), repeat)))

    there = (device.data.ptr, host.ptr, copied, runtime.memcpyHostToDevice, stream)
    back = (host.ptr, device.data.ptr, copied, runtime.memcpyDeviceToHost, stream)
    upload = speed(copied, runtime.memcpyAsync, *there)
    download = speed(copied, runtime.memcpyAsync, *back)
    source = cupy.ones(min(_MEMORY_BYTES, free_bytes() // 4), dtype=cupy.uint8)
    target = cupy.empty_like(source)
    memory = speed(2 * source.nbytes, cupy.copyto, target, source)
    return Limits(nbytes, upload, download, memory, sort_seconds)


def naive_sort(keys: _Array) -> _Array:
    """Sort host keys of shape (n,) as the usual script does: copy, sort, copy back."""
    cupy = load_cupy()
    result: _Array = cupy.asnumpy(cupy.sort(cupy.array(_numbers(keys))))
    return result.view(keys.dtype)


def _numbers(keys: _Array) -> _Array:
    # CuPy does not sort dates. The benchmark's contain no NaT, so their integers have their order.
    return keys.view(number_type(keys.dtype))
