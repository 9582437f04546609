"""The fault in some builds of CuPy, and its repair.

``cupy.memoize`` ends with ``functools.wraps(f)(ret)``, where ``ret`` is its inner function. CuPy
up to 13.4 is compiled with Cython's ``binding=False``. Since Cython 3.1, this makes ``ret`` a plain
built-in function, whose metadata is read-only, so ``wraps`` raises. The function itself works.
The repair therefore replaces ``wraps`` alone: it gives the module a ``functools`` whose ``wraps``
stores the metadata beside the function. The cache, the per-device keys and ``clear_memo`` are
CuPy's own code.

This module knows nothing about imports. Its caller must admit one thread at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

Verdict = tuple[Literal["inactive", "healthy", "repaired"], str]


# Each trial leaves a trace in CuPy, so a reload of this module keeps both values.
# The cupy._util that was left unchanged, and why. A repaired one carries its own reason.
_tried: tuple[ModuleType, Verdict] | None = globals().get("_tried")
# The cupy._util whose repair was undone, and the functools that it had.
_undone: tuple[ModuleType, object] | None = globals().get("_undone")


def examine(util: ModuleType) -> bool:
    """Try CuPy's own ``memoize``, and repair it only if it fails to copy metadata.

    Parameters
    ----------
    util : module
        ``cupy._util``, executed. It stays unchanged if its ``memoize`` works, if it has no
        ``memoize``, or if the repair does not help.

    Returns
    -------
    bool
        Whether this call repaired it.

    Raises
    ------
    Exception
        Any other error that ``memoize`` raises.
    """
    global _tried, _undone
    # Each trial leaves a trace in CuPy, so a CuPy is tried once.
    if verdict(util) is not None:
        return False
    current = vars(util).get("functools")
    if _undone is not None and _undone[0] is util and current is functools:
        util.functools, _undone = _undone[1], None  # type: ignore[attr-defined]
        return True
    memoize = getattr(util, "memoize", None)
    if not callable(memoize):
        _tried = util, ("inactive", "CuPy is left alone: its cupy._util has no memoize.")
        return False
    failure = _failure_of(memoize)
    if failure is None:
        _tried = util, ("healthy", "CuPy's own memoize works; nothing was changed.")
        return False
    message = f"{type(failure).__name__}: {failure}"
    if current is functools:
        from ._functools import repaired_functools

        repaired = False
        util.functools = repaired_functools(  # type: ignore[attr-defined]
            vars(util),
            f"CuPy's memoize failed to copy a function's metadata ({message}); "
            "cupy._util now uses a functools with a wraps that works.",
        )
        try:
            repaired = _failure_of(memoize) is None
        finally:
            if not repaired:
                util.functools = functools  # type: ignore[attr-defined]
        if repaired:
            return True
    _tried = util, ("inactive", f"CuPy is left alone: the repair does not cure it ({message}).")
    return False


def verdict(util: ModuleType) -> Verdict | None:
    """Return what was done to a ``cupy._util`` and why, or None if it was not examined."""
    # Read each once: status() takes no lock, so another thread may undo the repair at any time.
    current, tried = vars(util).get("functools"), _tried
    if _is_repaired(current):
        return "repaired", current.reason  # type: ignore[union-attr]
    if tried is not None and tried[0] is util:
        return tried[1]
    return None


def undo(util: ModuleType) -> None:
    """Give a repaired ``cupy._util`` its own ``functools`` back, and forget the verdict."""
    global _tried, _undone
    _tried = None
    current = vars(util).get("functools")
    if _is_repaired(current):
        _undone = util, current
        util.functools = functools  # type: ignore[attr-defined]


def _is_repaired(current: object) -> bool:
    # Check an attribute, not the class: another copy of this package may have made the repair.
    return getattr(type(current), "of_cupy_compat", False) is True


def _failure_of(memoize: Callable[..., Any]) -> Exception | None:
    """Return the error with which ``memoize`` fails to copy metadata; raise any other error."""

    # Annotated, because with some versions of Cython only annotations fail (cython/cython#7767).
    def probe(x: int) -> int:
        """Stand in for a function that CuPy memoizes."""
        return x

    try:
        result = memoize()(probe)(1)
    except (AttributeError, TypeError) as error:
        if _was_raised_in_functools(error):
            return error
        raise
    if result != 1:
        raise RuntimeError("a memoized function returned something else")
    return None


def _was_raised_in_functools(error: Exception) -> bool:
    """Return whether the error was raised in ``functools``: Cython's setters have no frame."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == functools.__name__
