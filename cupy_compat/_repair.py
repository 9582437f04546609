"""What is broken in some builds of CuPy, and how it is mended.

``cupy.memoize`` ends in ``functools.wraps(f)(ret)`` over its inner function ``ret``. CuPys up to
13.4 are compiled with Cython's ``binding=False``, and since Cython 3.1 that makes ``ret`` a plain
built-in function, whose metadata cannot be written: ``wraps`` raises, although ``ret`` itself is
fine. So the repair touches ``wraps`` alone: the module gets a ``functools`` whose ``wraps`` puts
the metadata beside a function that does not take it. Cache, per-device keys and ``clear_memo``
stay CuPy's own.

This module knows nothing of how modules are imported.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal, NamedTuple


class Outcome(NamedTuple):
    """What was found in ``cupy._util``, and done."""

    state: Literal["inactive", "healthy", "repaired"]
    reason: str


#: Of the latest examination, None before the first.
outcome: Outcome | None = None
_repaired: ModuleType | None = None


def examine(util: ModuleType) -> None:
    """Try CuPy's own ``memoize``, repair it only if it fails to copy metadata, set ``outcome``.

    Parameters
    ----------
    util : module
        ``cupy._util``, executed. It is left as it was if its ``memoize`` works, if it is not as
        this repair knows it, or if it is broken in a way that this repair does not cure.
    """
    global outcome, _repaired
    if isinstance(getattr(util, "functools", None), _CopingFunctools):
        return
    memoize = getattr(util, "memoize", None)
    if not callable(memoize):
        outcome = Outcome("inactive", "CuPy is left alone: its cupy._util has no memoize.")
        return
    failure = _failure_of(memoize)
    if failure is None:
        outcome = Outcome("healthy", "CuPy's own memoize works; nothing was changed.")
        return
    told = f"{type(failure).__name__}: {failure}"
    if vars(util).get("functools") is functools:
        util.functools = _CopingFunctools(util)  # type: ignore[attr-defined]
        if _failure_of(memoize) is None:
            _repaired = util
            outcome = Outcome(
                "repaired",
                f"CuPy's memoize failed to copy a function's metadata ({told}); "
                "cupy._util was given a functools whose wraps copes.",
            )
            return
        util.functools = functools  # type: ignore[attr-defined]
    outcome = Outcome(
        "inactive",
        f"CuPy is left alone: its memoize fails ({told}), but not over functools.wraps.",
    )


def undo() -> None:
    """Give a repaired ``cupy._util`` its own ``functools`` back, and forget the outcome."""
    global outcome, _repaired
    if _repaired is not None:
        _repaired.functools = functools  # type: ignore[attr-defined]
    outcome = _repaired = None


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

    def __init__(self, module: ModuleType) -> None:
        self._globals = vars(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(functools, name)

    def __repr__(self) -> str:
        return "<module 'functools' with a wraps that copes, by cupy_compat>"

    def wraps(
        self, wrapped: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Do as ``functools.wraps``; where that raises, wrap the wrapper once more."""

        def decorate(wrapper: Callable[..., Any]) -> Callable[..., Any]:
            try:
                return functools.update_wrapper(wrapper, wrapped, *args, **kwargs)
            except Exception:
                # wrapt is imported here, because a healthy CuPy never needs it.
                from cupy_compat._memoized import MemoizedFunction

                memoized = MemoizedFunction(wrapper, self._globals)
                return functools.update_wrapper(memoized, wrapped, *args, **kwargs)

        return decorate
