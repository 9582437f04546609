"""The status record. It is imported only when ``status()`` is called."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

from . import _hook, _policy

State = Literal["inactive", "armed", "healthy", "repaired"]


@dataclass(frozen=True)
class Status:
    """A read-only record of what ``cupy_compat`` has done in this process.

    Attributes
    ----------
    state : {'inactive', 'armed', 'healthy', 'repaired'}
        ``inactive``: the shim does nothing. ``armed``: it waits for CuPy. ``healthy``: CuPy is
        loaded and needs no repair. ``repaired``: CuPy was broken, and the shim repaired it.
    reason : str
        The reason for the state, in a sentence.
    python : str
        The version of Python.
    cupy : str or None
        The version of CuPy; None before CuPy is loaded.
    cython : str or None
        The version of Cython that compiled CuPy; None before CuPy is loaded, or if unknown.
    """

    state: State
    reason: str
    python: str
    cupy: str | None = None
    cython: str | None = None

    def __str__(self) -> str:
        cupy = "not loaded" if self.cupy is None else self.cupy
        cython = "" if self.cython is None else f", compiled with Cython {self.cython}"
        return f"{self.state}: {self.reason} (Python {self.python}, CuPy {cupy}{cython})"


def report(util_name: str, util: ModuleType | None, uninstalled: bool, failure: str) -> Status:
    """Build the record from CuPy itself, the hook and the policy.

    Parameters
    ----------
    util_name : str
        ``cupy._util``.
    util : module or None
        The executed module of that name, if there is one.
    uninstalled : bool
        Whether ``uninstall()`` was called after the last ``install()``.
    failure : str
        Why the shim could not examine the module; empty if it could.
    """
    state, reason = _state_and_reason(util_name, util, uninstalled, failure)
    cupy = _hook.namespace("cupy").get("__version__")
    cython = None if util is None else vars(util).get("cython_build_ver")
    python = sys.version.partition(" ")[0]
    return Status(state, reason, python, _text(cupy), _text(cython))


def _state_and_reason(
    util_name: str, util: ModuleType | None, uninstalled: bool, failure: str
) -> tuple[State, str]:
    if failure:
        return "inactive", failure
    if util is not None:
        from . import _repair

        verdict = _repair.verdict(util)
        if verdict is not None:
            return verdict
    # Ask the hook first: another copy of this package may have armed it.
    if not _hook.is_armed(util_name):
        if uninstalled:
            return "inactive", "uninstall() was called."
        armed, reason = _policy.decide()
        if not armed:
            return "inactive", reason
        return "inactive", "The hook is not in sys.meta_path. Call install() to add it."
    # Do not use `util` here: it may be a repaired module that uninstall() has given up.
    if _hook.executed_module(util_name) is not None:
        return "inactive", (
            f"{util_name} was loaded by another finder before the hook was asked, or examined by "
            "another copy of this package. Call install(force=True) to examine it."
        )
    if _hook.is_executing(util_name):
        return "armed", f"{util_name} is being imported."
    if "__version__" in _hook.namespace("cupy"):
        return "inactive", f"CuPy is left alone: it has no {util_name}."
    return "armed", f"{util_name} has not been imported yet."


def _text(value: object) -> str | None:
    return None if value is None else str(value)
