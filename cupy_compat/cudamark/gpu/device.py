"""Find a GPU that can sort, or say why there is none."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


class GpuUnavailable(RuntimeError):
    """There is no usable GPU. The message says why, and what to do."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that has sorted two keys. The fields have the names of the JSON record.

    `driver_version` is that of the kernel driver, None if unknown. `cuda_driver_version` is the
    newest CUDA that the driver supports, `cuda_runtime_version` that of CuPy.
    `gpu_startup_seconds` is the time to load CuPy, start CUDA and sort the two keys.
    """

    gpu_name: str
    gpu_memory_bytes: int
    driver_version: str | None
    cuda_driver_version: str
    cuda_runtime_version: str
    cupy_version: str
    gpu_startup_seconds: float


@functools.cache
def load_cupy() -> Any:
    """Import CuPy, and repair it if it is broken. Raise `GpuUnavailable` if the import fails."""
    import cupy_compat

    cupy_compat.install(force=True)
    try:
        import cupy
    except Exception as error:
        reason = f"CuPy cannot be imported: {_one_line(error)}"
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            reason = (
                "CuPy is not installed: install the package for your CUDA, such as cupy-cuda12x"
            )
        raise GpuUnavailable(reason) from error
    return cupy


def require_cupy() -> Any:
    """Import CuPy as `load_cupy` does, and raise `GpuUnavailable` if it sees no GPU."""
    cupy = load_cupy()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        reason = _one_line(error)
        if "cudaErrorInsufficientDriver" in reason:
            # CUDA's message is about versions even if there is no driver at all.
            reason = "no CUDA driver, or one too old for this CuPy (cudaErrorInsufficientDriver)"
        raise GpuUnavailable(f"no usable GPU: {reason}; check with nvidia-smi") from error
    if not count:
        raise GpuUnavailable("no usable GPU: CUDA finds none; check CUDA_VISIBLE_DEVICES")
    return cupy


@functools.cache
def driver_library(cupy: Any) -> ctypes.CDLL:
    """Return the driver library that CuPy itself uses."""
    hip = cupy.cuda.runtime.is_hip
    if sys.platform == "win32":
        return ctypes.CDLL("amdhip64.dll" if hip else "nvcuda.dll")
    return ctypes.CDLL("libamdhip64.so" if hip else "libcuda.so.1")


def find_gpu() -> Gpu:
    """Have the current GPU sort two keys, and describe it; raise `GpuUnavailable` if it cannot."""
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
        gpu_name=name,
        gpu_memory_bytes=memory_bytes,
        driver_version=_kernel_driver(),
        cuda_driver_version=_cuda_version(runtime.driverGetVersion()),
        cuda_runtime_version=_cuda_version(runtime.runtimeGetVersion()),
        cupy_version=cupy.__version__,
        gpu_startup_seconds=time.perf_counter() - start,
    )


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
