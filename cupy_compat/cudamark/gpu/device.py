"""Finding a GPU that sorts, and saying why there is none."""

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


@functools.cache
def driver_library(cupy: Any) -> ctypes.CDLL:
    """Return the driver's library that CuPy itself works with.

    Raises
    ------
    OSError
        If there is none: not with a CuPy that has found a GPU.
    """
    hip = cupy.cuda.runtime.is_hip
    if sys.platform == "win32":
        return ctypes.CDLL("amdhip64.dll" if hip else "nvcuda.dll")
    return ctypes.CDLL("libamdhip64.so" if hip else "libcuda.so.1")


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
