"""What Numba lacks for the compiled loops: C calls and copies by address, and atomic words."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

_WORD = np.dtype(np.uintp).itemsize


def intrinsic(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make ``emit(builder, *values)`` callable from compiled code, with the values as arguments."""

    def decorate(emit: Callable[..., Any]) -> Any:
        @functools.wraps(emit)  # Numba reads the signature
        def define(typing_context: Any, *arguments: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                made = emit(builder, *values)
                return context.get_dummy_value() if signature.return_type == types.void else made

            return signature, generate

        return extending.intrinsic(define)

    return decorate


def _call(typing_context: Any, address: Any, arguments: Any) -> Any:
    """``call(address, (argument, ...))``: call a C function that takes words and returns an int."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        words = [builder.extract_value(values[1], i) for i in range(len(arguments))]
        function = ir.FunctionType(ir.IntType(32), [word.type for word in words])
        return builder.call(builder.inttoptr(values[0], function.as_pointer()), words)

    words = types.UniTuple(types.uintp, len(arguments))  # type: ignore[no-untyped-call]
    return types.int32(types.uintp, words), generate


call: Any = extending.intrinsic(_call)


@intrinsic(types.void(types.uintp, types.uintp, types.uintp))
def copy(builder: Any, target: Any, source: Any, nbytes: Any) -> None:
    """Call C's memcpy, which bypasses the cache for long copies."""
    byte = ir.IntType(8).as_pointer()
    to, from_ = (builder.inttoptr(value, byte) for value in (target, source))
    cgutils.raw_memcpy(builder, to, from_, nbytes, 1)  # type: ignore[no-untyped-call]


@intrinsic(types.uintp(types.uintp))
def load(builder: Any, address: Any) -> Any:
    """Read a word that other threads may write (load-acquire)."""
    return builder.load_atomic(_pointer(builder, address), "acquire", _WORD)


@intrinsic(types.void(types.uintp, types.uintp))
def store(builder: Any, address: Any, value: Any) -> None:
    """Write a word that other threads may read (store-release)."""
    builder.store_atomic(value, _pointer(builder, address), "release", _WORD)


@intrinsic(types.uintp(types.uintp))
def fetch_add(builder: Any, address: Any) -> Any:
    """Add one to a word atomically, and return its previous value."""
    one = ir.Constant(address.type, 1)
    return builder.atomic_rmw("add", _pointer(builder, address), one, "acq_rel")


@intrinsic(types.void(types.uintp))
def touch(builder: Any, address: Any) -> None:
    """Make the system provide a page, by replacing a byte with itself.

    A read would only map the shared page of zeros, and compilers turn adding 0 into a read.
    """
    zero = ir.Constant(ir.IntType(8), 0)
    pointer = builder.inttoptr(address, zero.type.as_pointer())
    builder.cmpxchg(pointer, zero, zero, "monotonic")


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, address.type.as_pointer())
