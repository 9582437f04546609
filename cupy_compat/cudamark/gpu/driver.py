"""Addresses of the GPU driver's functions, for compiled loops that do not hold the GIL.

CuPy has the same functions for Python. But each call there passes the GIL between threads, which
takes as long as copying a megabyte.
"""

from __future__ import annotations

import ctypes
import functools
from collections import namedtuple
from typing import Any

import numpy as np

from cupy_compat.cudamark.gpu.device import driver_library

# The names on CUDA and HIP, with the arguments, which are the same. All return 0 or an error. See
# https://docs.nvidia.com/cuda/cuda-driver-api and https://rocm.docs.amd.com/projects/HIP.
_FUNCTIONS = {
    # The result of `context`.
    "set_context": ("cuCtxSetCurrent", "hipSetDevice"),
    # Address on the GPU, address on the host, bytes, stream.
    "upload": ("cuMemcpyHtoDAsync_v2", "hipMemcpyHtoDAsync"),
    # Address on the host, address on the GPU, bytes, stream.
    "download": ("cuMemcpyDtoHAsync_v2", "hipMemcpyDtoHAsync"),
    # Event, stream.
    "record": ("cuEventRecord", "hipEventRecord"),
    # Event.
    "query": ("cuEventQuery", "hipEventQuery"),
    "synchronize": ("cuEventSynchronize", "hipEventSynchronize"),
    # Stream, event, 0.
    "stream_wait": ("cuStreamWaitEvent", "hipStreamWaitEvent"),
    # Kernel, blocks in three dimensions, threads of a block likewise, bytes of shared memory,
    # stream, address of the arguments' addresses, 0.
    "launch": ("cuLaunchKernel", "hipModuleLaunchKernel"),
}
NOT_READY = 600
"""The result of ``query`` for an event that has not happened yet."""
Calls: Any = namedtuple("Calls", _FUNCTIONS)  # type: ignore[misc]
"""Addresses of the driver's functions."""


@functools.cache
def load(cupy: Any) -> Any:
    """Return the `Calls` of the driver library that CuPy uses."""
    library, hip = driver_library(cupy), int(cupy.cuda.runtime.is_hip)
    return Calls(*(address_of(getattr(library, names[hip])) for names in _FUNCTIONS.values()))


def context(cupy: Any) -> np.uintp:
    """Return the calling thread's context on CUDA, its device on HIP."""
    hip = cupy.cuda.runtime.is_hip
    return np.uintp(cupy.cuda.Device().id if hip else cupy.cuda.driver.ctxGetCurrent())


def address_of(function: Any) -> np.uintp:
    """Return the address of a C function."""
    return np.uintp(ctypes.cast(function, ctypes.c_void_p).value or 0)


def check(cupy: Any, code: int) -> None:
    """Raise CuPy's error for the result of a driver function, unless that is 0."""
    api = cupy.cuda.runtime if cupy.cuda.runtime.is_hip else cupy.cuda.driver
    api.check_status(code)
