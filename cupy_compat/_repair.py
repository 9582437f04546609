"""What is broken in some builds of CuPy, and how it is mended.

``cupy.memoize`` ends in ``functools.wraps(f)(ret)`` over its inner function ``ret``. CuPys up to
13.4 are compiled with Cython's ``binding=False``, and since Cython 3.1 that makes ``ret`` a plain
built-in function, whose metadata cannot be written: ``wraps`` raises, although ``ret`` itself is
fine. So the repair touches ``wraps`` alone: the module gets a ``functools`` whose ``wraps`` puts
the metadata beside the function. Cache, per-device keys and ``clear_memo`` stay CuPy's own.

This module knows nothing of how modules are imported. Whoever calls it sees to it that only one
thread at a time does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

Verdict = tuple[Literal["inactive", "healthy", "repaired"], str]

# Of a CuPy that was left as it is, so that it need not be tried again. What was done to one is
# read from that CuPy.
_tried: tuple[ModuleType, Verdict] | None = None
# A CuPy whose repair was taken back, and what it had been given: each trial leaves a trace in CuPy,
# and this one was found broken.
_undone: tuple[ModuleType, object] | None = None


def examine(util: ModuleType) -> None:
    """Try CuPy's own ``memoize``, and repair it only if it fails to copy metadata.

    Parameters
    ----------
    util : module
        ``cupy._util``, executed. It is left as it was if its ``memoize`` works, if it is not as
        this repair knows it, or if it is broken in a way that this repair does not cure.
    """
    global _tried, _undone
    found = vars(util).get("functools")
    if _copes(found):
        return
    if _undone is not None and _undone[0] is util and found is functools:
        util.functools, _undone = _undone[1], None  # type: ignore[attr-defined]
        return
    memoize = getattr(util, "memoize", None)
    if not callable(memoize):
        _tried = util, ("inactive", "CuPy is left alone: its cupy._util has no memoize.")
        return
    failure = _failure_of(memoize)
    if failure is None:
        _tried = util, ("healthy", "CuPy's own memoize works; nothing was changed.")
        return
    told = f"{type(failure).__name__}: {failure}"
    if found is functools:
        util.functools = _CopingFunctools(  # type: ignore[attr-defined]
            util,
            f"CuPy's memoize failed to copy a function's metadata ({told}); "
            "cupy._util was given a functools whose wraps copes.",
        )
        if _failure_of(memoize) is None:
            return
        util.functools = functools  # type: ignore[attr-defined]
    _tried = (
        util,
        (
            "inactive",
            f"CuPy is left alone: its memoize fails ({told}), but not over functools.wraps.",
        ),
    )


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
    # By an attribute, not by the class: another copy of this module may have done it.
    return getattr(type(found), "of_cupy_compat", False) is True


def _failure_of(memoize: Callable[..., Any]) -> Exception | None:
    # Annotated, because with some Cythons only annotations fail (cython/cython issue 7767).
    def probe(x: int) -> int:
        """Stand in for what CuPy memoizes."""
        return x

    try:
        if memoize()(probe)(1) != 1:
            raise RuntimeError("a memoized function returned something else")
    except Exception as error:
        return error
    return None


class _CopingFunctools:
    """``functools`` for one module, with a ``wraps`` for wrappers that refuse metadata."""

    of_cupy_compat = True

    def __init__(self, module: ModuleType, reason: str) -> None:
        # Imported here, because a healthy CuPy never needs it.
        from ._memoized import MemoizedFunction

        self._make = functools.partial(MemoizedFunction, module=vars(module))
        self.reason = reason

    def __getattr__(self, name: str) -> Any:
        return getattr(functools, name)

    def __repr__(self) -> str:
        return "<module 'functools' with a wraps that copes, by cupy_compat>"

    def wraps(
        self, wrapped: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Do as ``functools.wraps``, with a wrapper that takes any metadata.

        Every wrapper is replaced, not only one that refuses: with Cython 3.2.6 one that takes what
        it is given now refuses the annotations that somebody else may give it later.
        """

        def decorate(wrapper: Callable[..., Any]) -> Callable[..., Any]:
            return functools.update_wrapper(self._make(wrapper), wrapped, *args, **kwargs)

        return decorate
