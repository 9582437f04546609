"""The GPU: finding a usable one, how much memory it has free, and timing work on it."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[Any]
_BUS_BYTES = 256 << 20
_MEMORY_BYTES = 1 << 30


class GpuUnavailable(RuntimeError):
    """No usable GPU; the message says why and what to do."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that has sorted two keys.

    Attributes
    ----------
    name : str
        As CUDA names it.
    memory_bytes : int
        Total memory of the device.
    driver : str or None
        Version of the kernel driver, None where the system does not tell.
    cuda_driver, cuda_runtime : str
        CUDA versions that the driver supports and that CuPy was built for.
    cupy : str
        CuPy's version.
    startup_seconds : float
        Loading CuPy, starting CUDA and that first sort.
    """

    name: str
    memory_bytes: int
    driver: str | None
    cuda_driver: str
    cuda_runtime: str
    cupy: str
    startup_seconds: float


@dataclass(frozen=True)
class Limits:
    """What the GPU and its bus allow, for an array of a given size.

    Attributes
    ----------
    nbytes : int
        Size of that array.
    upload, download : float
        Bytes per second between pinned host memory and the GPU, one way at a time.
    memory : float
        Bytes read plus bytes written per second by a copy within GPU memory.
    sort_seconds : float
        GPU time of the in-place sort of that array.
    """

    nbytes: int
    upload: float
    download: float
    memory: float
    sort_seconds: float

    @property
    def floor_seconds(self) -> float:
        """The bus there, the sort, the bus back."""
        return self.nbytes / self.upload + self.sort_seconds + self.nbytes / self.download


@functools.cache
def load_cupy() -> Any:
    """Import CuPy, repaired if its build needs that.

    Returns
    -------
    module
        ``cupy``.

    Raises
    ------
    GpuUnavailable
        If CuPy is not installed or cannot be imported.
    """
    import cupy_compat

    cupy_compat.install(force=True)
    try:
        import cupy
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise GpuUnavailable(f"CuPy cannot be imported: {_one_line(error)}") from error
        raise GpuUnavailable(
            "CuPy is not installed: install the package for your CUDA, such as cupy-cuda12x"
        ) from error
    except Exception as error:
        raise GpuUnavailable(f"CuPy cannot be imported: {_one_line(error)}") from error
    return cupy


def require_cupy() -> Any:
    """Import CuPy and make sure that it sees a GPU.

    Returns
    -------
    module
        ``cupy``.

    Raises
    ------
    GpuUnavailable
        If CuPy cannot be imported, or CUDA finds no driver or no device.
    """
    cupy = load_cupy()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        reason = _one_line(error)
        if "cudaErrorInsufficientDriver" in reason:
            # CUDA's own words for this are about versions, also where there is no driver at all.
            reason = "no CUDA driver, or one too old for this CuPy (cudaErrorInsufficientDriver)"
        raise GpuUnavailable(f"no usable GPU: {reason}; check with nvidia-smi") from error
    if not count:
        raise GpuUnavailable("no usable GPU: CUDA finds none; check CUDA_VISIBLE_DEVICES")
    return cupy


def find_gpu() -> Gpu:
    """Find the current GPU and prove that it sorts.

    Returns
    -------
    Gpu
        What it is.

    Raises
    ------
    GpuUnavailable
        If there is none, or it cannot sort two keys.
    """
    start = time.perf_counter()
    cupy = require_cupy()
    runtime = cupy.cuda.runtime
    try:
        keys = cupy.asarray(np.array([1, 0], dtype=np.int32))
        keys.sort()
        keys.get()
        device = cupy.cuda.Device()
        name = runtime.getDeviceProperties(device.id)["name"].decode()
        memory_bytes = device.mem_info[1]
    except Exception as error:
        raise GpuUnavailable(f"no usable GPU: it fails with {_one_line(error)}") from error
    return Gpu(
        name=name,
        memory_bytes=memory_bytes,
        driver=_kernel_driver(),
        cuda_driver=_cuda_version(runtime.driverGetVersion()),
        cuda_runtime=_cuda_version(runtime.runtimeGetVersion()),
        cupy=cupy.__version__,
        startup_seconds=time.perf_counter() - start,
    )


def require_memory(nbytes: int, arrays: int = 1) -> None:
    """Make sure that the current GPU can sort an array.

    Parameters
    ----------
    nbytes : int
        Size of the array, in bytes.
    arrays : int, optional
        1 to sort in place, 2 to keep the unsorted array.

    Raises
    ------
    MemoryError
        If less is free than the arrays and the sort's work space take; the message has both
        figures, in bytes.
    """
    if _needed_bytes(nbytes, arrays) > free_bytes():
        raise memory_error(nbytes, arrays)


def memory_error(nbytes: int, arrays: int = 1) -> MemoryError:
    """Return the error that says how much GPU memory a sort needs and how much is free."""
    return MemoryError(
        f"not enough GPU memory to sort {nbytes:,} bytes: "
        f"{_needed_bytes(nbytes, arrays):,} bytes needed, {free_bytes():,} free"
    )


def free_bytes() -> int:
    """Return how many bytes CuPy can still allocate on the current GPU."""
    cupy = load_cupy()
    pool = cupy.get_default_memory_pool()
    free = int(cupy.cuda.Device().mem_info[0]) + int(pool.free_bytes())
    limit = int(pool.get_limit())
    return min(free, limit - int(pool.used_bytes())) if limit else free


def gpu_times(
    work: Callable[[], object],
    repeat: int,
    warm_up: int = 1,
    prepare: Callable[[], object] = lambda: None,
) -> list[float]:
    """Measure the GPU time of work on the current stream, by events around it.

    Parameters
    ----------
    work : callable
        What is timed.
    repeat, warm_up : int
        How often it is timed, and how often it runs before that.
    prepare : callable, optional
        Called before every run, outside the timed region.

    Returns
    -------
    list of float
        Seconds, one for each repeat.
    """
    cuda = load_cupy().cuda
    begin, end = cuda.Event(), cuda.Event()
    seconds = []
    for _ in range(warm_up + repeat):
        prepare()
        begin.record()
        work()
        end.record()
        end.synchronize()
        seconds.append(cuda.get_elapsed_time(begin, end) / 1e3)
    return seconds[warm_up:]


def sort_times(keys: _Array, repeat: int, in_place: bool) -> list[float]:
    """Measure the GPU time of CuPy's sort of keys that are on the GPU already.

    Parameters
    ----------
    keys : ndarray of shape (n,)
        Host array of a dtype that CuPy sorts.
    repeat : int
        How often the sort is timed.
    in_place : bool
        Time ``ndarray.sort`` on a fresh copy made outside the timed region, not ``cupy.sort``.

    Returns
    -------
    list of float
        Seconds, one for each repeat.
    """
    cupy = load_cupy()
    unsorted = cupy.asarray(keys)
    if not in_place:
        return gpu_times(lambda: cupy.sort(unsorted), repeat)
    work = cupy.empty_like(unsorted)
    return gpu_times(work.sort, repeat, prepare=lambda: cupy.copyto(work, unsorted))


def measure_limits(nbytes: int, sort_seconds: float, repeat: int) -> Limits:
    """Measure how fast the bus and the GPU's memory copy.

    Parameters
    ----------
    nbytes : int
        Size of the array that is sorted; the copies timed are of 256 MiB over the bus and 1 GiB
        in GPU memory, or less where less is free.
    sort_seconds : float
        GPU time of its in-place sort, see `sort_times`.
    repeat : int
        How often each copy is timed; the median counts.

    Returns
    -------
    Limits
        All of it together.
    """
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
    """Sort through the GPU as the usual script does, by two copies through pageable memory."""
    cupy = load_cupy()
    result: _Array = cupy.asnumpy(cupy.sort(cupy.array(keys)))
    return result


def _needed_bytes(nbytes: int, arrays: int) -> int:
    # CuPy's radix sort was seen to take up to 1.04 times the array for its work space.
    return arrays * nbytes + nbytes + nbytes // 16


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    text = next((line.strip(" =") for line in lines if line.strip(" =")), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _kernel_driver() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    found = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", text)
    return found.group() if found else None
