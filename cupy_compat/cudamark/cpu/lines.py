"""Whole cache lines written past the cache, for the scattering of keys.

An ordinary store reads the line first that it is about to change, and keeps it in the cache, where
nobody wants it soon. A non-temporal store of a whole line does neither, which saves a third of the
traffic (https://en.wikipedia.org/wiki/Cache_control_instruction).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, types

LINE_BYTES = 64
"""What processors of today move at once; where lines are longer, nothing but time is lost."""


def _write_line(typing_context: Any, target: Any, source: Any) -> Any:
    """``write_line(target, source)``: copy a line between two addresses, multiples of 64."""
    del typing_context, target, source

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        line = ir.VectorType(ir.IntType(64), LINE_BYTES // 8).as_pointer()
        to, from_ = (builder.inttoptr(value, line) for value in values)
        store = builder.store(builder.load(from_, align=LINE_BYTES), to, align=LINE_BYTES)
        flag = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        store.set_metadata("nontemporal", flag)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), emit


def _finish_lines(typing_context: Any) -> Any:
    """``finish_lines()``: have other threads see all that this one has written."""
    del typing_context

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), emit


# What compiled code calls has one argument less, of which no type checker knows.
write_line: Any = extending.intrinsic(_write_line)
finish_lines: Any = extending.intrinsic(_finish_lines)
