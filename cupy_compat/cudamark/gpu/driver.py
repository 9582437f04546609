"""Addresses of the GPU driver's functions, for compiled loops that do not hold the GIL.

CuPy offers the same calls to Python. There each call hands the GIL from thread to thread, which
takes as long as copying a megabyte.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

import numpy as np

from cupy_compat.cudamark.gpu.device import driver_library

# https://docs.nvidia.com/cuda/cuda-driver-api and https://rocm.docs.amd.com/projects/HIP: both
# take the same arguments and return 0 or an error.
_CUDA = (
    *("cuCtxSetCurrent", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2"),
    *("cuEventRecord", "cuEventQuery", "cuEventSynchronize", "cuStreamWaitEvent"),
    "cuLaunchKernel",
)
_HIP = (
    *("hipSetDevice", "hipMemcpyHtoDAsync", "hipMemcpyDtoHAsync"),
    *("hipEventRecord", "hipEventQuery", "hipEventSynchronize", "hipStreamWaitEvent"),
    "hipModuleLaunchKernel",
)
NOT_READY = 600
"""What `Calls.query` returns for an event that has not happened yet."""


class Calls(NamedTuple):
    """Addresses of the driver's functions, with their arguments."""

    set_context: np.uintp
    """(what `context` returns,)"""
    upload: np.uintp
    """(address on the GPU, address on the host, bytes, stream)"""
    download: np.uintp
    """(address on the host, address on the GPU, bytes, stream)"""
    record: np.uintp
    """(event, stream)"""
    query: np.uintp
    """(event,)"""
    synchronize: np.uintp
    """(event,)"""
    stream_wait: np.uintp
    """(stream, event, 0)"""
    launch: np.uintp
    """(kernel, blocks in three dimensions, threads of a block likewise, bytes of shared memory,
    stream, address of the arguments' addresses, 0)"""


@functools.cache
def load(cupy: Any) -> Calls:
    """Find the functions in the library that CuPy itself uses."""
    names = _HIP if cupy.cuda.runtime.is_hip else _CUDA
    return Calls(*(address_of(getattr(driver_library(cupy), name)) for name in names))


def context(cupy: Any) -> np.uintp:
    """Return the calling thread's context on CUDA, its device on HIP."""
    hip = cupy.cuda.runtime.is_hip
    return np.uintp(cupy.cuda.Device().id if hip else cupy.cuda.driver.ctxGetCurrent())


def address_of(function: Any) -> np.uintp:
    """Return the address of a C function."""
    return np.uintp(ctypes.cast(function, ctypes.c_void_p).value or 0)


def check(cupy: Any, code: int) -> None:
    """Raise CuPy's own error for what a driver's function returned, unless that is 0."""
    api = cupy.cuda.runtime if cupy.cuda.runtime.is_hip else cupy.cuda.driver
    api.check_status(code)
