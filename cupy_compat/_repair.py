"""What is broken in some builds of CuPy, and how it is repaired.

``cupy.memoize`` ends in ``functools.wraps(f)(ret)`` over its inner function ``ret``. CuPys up to
13.4 are compiled with Cython's ``binding=False``, and since Cython 3.1 that makes ``ret`` a plain
built-in function, whose metadata cannot be written: ``wraps`` raises, although ``ret`` itself is
fine. So the repair touches ``wraps`` alone: the module gets a ``functools`` whose ``wraps`` puts
the metadata beside the function. Cache, per-device keys and ``clear_memo`` stay CuPy's own.

This module knows nothing of how modules are imported. Its caller lets in one thread at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

Verdict = tuple[Literal["inactive", "healthy", "repaired"], str]


# Each trial leaves a trace in CuPy, so both are kept if this module is loaded again.
# A CuPy that was left as it is, and why. What was done to one is read from that CuPy.
_tried: tuple[ModuleType, Verdict] | None = globals().get("_tried")
# A CuPy whose repair was taken back, and what it had been given.
_undone: tuple[ModuleType, object] | None = globals().get("_undone")


def examine(util: ModuleType) -> bool:
    """Try CuPy's own ``memoize``, and repair it only if it fails to copy metadata.

    Parameters
    ----------
    util : module
        ``cupy._util``, executed. It is left as it was if its ``memoize`` works, if it is not as
        this repair knows it, or if it is broken in a way that this repair does not cure.

    Returns
    -------
    bool
        Whether a trial showed the failure just now, and the repair was made.

    Raises
    ------
    Exception
        Whatever ``memoize`` raises that is not the failure which this repair cures.
    """
    global _tried, _undone
    found = vars(util).get("functools")
    if _copes(found):
        return False
    if _undone is not None and _undone[0] is util and found is functools:
        util.functools, _undone = _undone[1], None  # type: ignore[attr-defined]
        return False
    memoize = getattr(util, "memoize", None)
    if not callable(memoize):
        _tried = util, ("inactive", "CuPy is left alone: its cupy._util has no memoize.")
        return False
    failure = _failure_of(memoize)
    if failure is None:
        _tried = util, ("healthy", "CuPy's own memoize works; nothing was changed.")
        return False
    said = f"{type(failure).__name__}: {failure}"
    if found is functools:
        from ._functools import coping_functools

        repaired = False
        util.functools = coping_functools(  # type: ignore[attr-defined]
            vars(util),
            f"CuPy's memoize failed to copy a function's metadata ({said}); "
            "cupy._util was given a functools whose wraps copes.",
        )
        try:
            repaired = _failure_of(memoize) is None
        finally:
            if not repaired:
                util.functools = functools  # type: ignore[attr-defined]
        if repaired:
            return True
    _tried = util, ("inactive", f"CuPy is left alone: the repair does not cure it ({said}).")
    return False


def verdict(util: ModuleType) -> Verdict | None:
    """Return what was done to a ``cupy._util`` and why, or None if nobody has examined it."""
    # Each is read once: status() takes no lock, and another thread may undo the repair meanwhile.
    found, tried = vars(util).get("functools"), _tried
    if _copes(found):
        return "repaired", found.reason  # type: ignore[union-attr]
    if tried is not None and tried[0] is util:
        return tried[1]
    return None


def undo(util: ModuleType) -> None:
    """Give a repaired ``cupy._util`` its own ``functools`` back, and forget what was tried."""
    global _tried, _undone
    _tried = None
    found = vars(util).get("functools")
    if _copes(found):
        _undone = util, found
        util.functools = functools  # type: ignore[attr-defined]


def _copes(found: object) -> bool:
    # By an attribute, not by the class: another copy of this package may have done it.
    return getattr(type(found), "of_cupy_compat", False) is True


def _failure_of(memoize: Callable[..., Any]) -> Exception | None:
    """Return the error of copying metadata that ``memoize`` ends in; any other is raised."""

    # Annotated, because with some Cythons only annotations fail (cython/cython issue 7767).
    def probe(x: int) -> int:
        """Stand in for what CuPy memoizes."""
        return x

    try:
        answer = memoize()(probe)(1)
    except (AttributeError, TypeError) as error:
        if _comes_of_copying(error):
            return error
        raise
    if answer != 1:
        raise RuntimeError("a memoized function returned something else")
    return None


def _comes_of_copying(error: Exception) -> bool:
    """Tell whether ``functools`` raised an error: it is the innermost frame, as Cython has none."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == functools.__name__
