"""The driver's copies and events, called from compiled loops that do not hold the GIL.

CuPy offers the same calls to Python, where each costs a few hand-overs of the GIL between the
threads of a sort, as long as copying a megabyte takes; and a thread's first one costs far more.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

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
"""What a query returns for an event that has not happened yet."""
_WORD = np.dtype(np.uintp).itemsize


class Calls(NamedTuple):
    """Addresses of the driver's functions."""

    enter: np.uintp
    """(what `place` returns,): have this thread work there"""
    upload: np.uintp
    """(address on the GPU, address on the host, bytes, stream)"""
    download: np.uintp
    """(address on the host, address on the GPU, bytes, stream)"""
    record: np.uintp
    """(event, stream)"""
    query: np.uintp
    """(event,)"""
    wait: np.uintp
    """(event,): until what was recorded has happened"""
    follow: np.uintp
    """(stream, event, 0): have what comes on the stream wait for the event"""
    launch: np.uintp
    """(kernel, blocks in three dimensions, threads of a block likewise, bytes of shared memory,
    stream, address of the arguments' addresses, 0)"""


@functools.cache
def load(cupy: Any) -> Calls:
    """Find the functions in the library that CuPy itself works with.

    Raises
    ------
    OSError, AttributeError
        If there is no such library, or it lacks one of them: not with a CuPy that has found a GPU.
    """
    names = _HIP if cupy.cuda.runtime.is_hip else _CUDA
    return Calls(*(address_of(getattr(driver_library(cupy), name)) for name in names))


def place(cupy: Any) -> np.uintp:
    """Return where the calling thread works: CUDA's context, or HIP's device."""
    hip = cupy.cuda.runtime.is_hip
    return np.uintp(cupy.cuda.Device().id if hip else cupy.cuda.driver.ctxGetCurrent())


def address_of(function: Any) -> np.uintp:
    """Return where a C function stands."""
    return np.uintp(ctypes.cast(function, ctypes.c_void_p).value or 0)


def check(cupy: Any, code: int) -> None:
    """Raise CuPy's own error for what a driver's function returned, unless that is 0."""
    api = cupy.cuda.runtime if cupy.cuda.runtime.is_hip else cupy.cuda.driver
    api.check_status(code)


def _call(typing_context: Any, address: Any, arguments: Any) -> Any:
    """``call(address, (argument, ...))``: call a C function of words, which returns an int."""
    del typing_context, address

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        words = [builder.extract_value(values[1], i) for i in range(len(arguments))]
        function = ir.FunctionType(ir.IntType(32), [word.type for word in words])
        return builder.call(builder.inttoptr(values[0], function.as_pointer()), words)

    words = types.UniTuple(types.uintp, len(arguments))  # type: ignore[no-untyped-call]
    return types.int32(types.uintp, words), emit


def _copy(typing_context: Any, target: Any, source: Any, nbytes: Any) -> Any:
    """``copy(target, source, nbytes)``: C's memcpy between two addresses.

    The C library's own writes long stretches past the cache, or without reading first what is
    about to be overwritten; a compiled loop does neither.
    """
    del typing_context, target, source, nbytes

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        to, from_ = (builder.inttoptr(value, byte) for value in values[:2])
        cgutils.raw_memcpy(  # type: ignore[no-untyped-call]
            builder, to, from_, values[2], 1
        )
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp), emit


def _word(typing_context: Any, address: Any) -> Any:
    """``word(address)``: what is there, whoever may write it meanwhile."""
    del typing_context, address

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_pointer(builder, values[0]), "acquire", _WORD)

    return types.uintp(types.uintp), emit


def _put(typing_context: Any, address: Any, value: Any) -> Any:
    """``put(address, value)``: write a word, and show with it what was written before."""
    del typing_context, address, value

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store_atomic(values[1], _pointer(builder, values[0]), "release", _WORD)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), emit


def _take(typing_context: Any, address: Any) -> Any:
    """``take(address)``: return the word there and add one to it, which no thread splits."""
    del typing_context, address

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        one = ir.Constant(values[0].type, 1)
        return builder.atomic_rmw("add", _pointer(builder, values[0]), one, "acq_rel")

    return types.uintp(types.uintp), emit


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, address.type.as_pointer())


def _touch(typing_context: Any, address: Any) -> Any:
    """``touch(address)``: write a byte that is there already, whoever else may write to it.

    So its page is there, too. A read would map a page of zeros that all share, and compilers turn
    an addition of nothing into a read.
    """
    del typing_context

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        zero = ir.Constant(ir.IntType(8), 0)
        pointer = builder.inttoptr(values[0], zero.type.as_pointer())
        builder.cmpxchg(pointer, zero, zero, "monotonic")
        return context.get_dummy_value()

    return types.void(types.uintp), emit


# What compiled code calls has one argument less, of which no type checker knows.
call: Any = extending.intrinsic(_call)
copy: Any = extending.intrinsic(_copy)
word: Any = extending.intrinsic(_word)
put: Any = extending.intrinsic(_put)
take: Any = extending.intrinsic(_take)
touch: Any = extending.intrinsic(_touch)
