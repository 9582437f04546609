"""What the shim did, as a record for people and programs."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from typing import Literal

from cupy_compat import _hook, _policy, _repair

State = Literal["inactive", "armed", "healthy", "repaired"]


@dataclass(frozen=True)
class Status:
    """What ``cupy_compat`` has done in this process.

    Attributes
    ----------
    state : {'inactive', 'armed', 'healthy', 'repaired'}
        ``inactive``: nothing is done; ``armed``: CuPy is waited for; ``healthy``: CuPy was loaded
        and needed nothing; ``repaired``: CuPy was loaded, or found broken, and mended.
    reason : str
        Why, in a sentence.
    python : str
        The version of Python.
    cupy : str or None
        The version of CuPy, None before it is loaded.
    cython : str or None
        The version of the Cython that compiled CuPy, None before it is loaded, or if it does not
        say.
    """

    state: State
    reason: str
    python: str
    cupy: str | None
    cython: str | None

    def __str__(self) -> str:
        cupy = "not loaded" if self.cupy is None else self.cupy
        cython = "" if self.cython is None else f", compiled with Cython {self.cython}"
        return f"{self.state}: {self.reason} (Python {self.python}, CuPy {cupy}{cython})"


def report(util_name: str) -> Status:
    """Put together what policy, hook and repair know."""
    # A CuPy that is still being imported has no version yet.
    cupy = getattr(sys.modules.get("cupy"), "__version__", None)
    util = sys.modules.get(util_name)
    state, reason = _judge(cupy is not None and util is None, util_name)
    cython = getattr(util, "cython_build_ver", None)
    return Status(state, reason, platform.python_version(), cupy, cython)


def _judge(unknown_cupy: bool, util_name: str) -> tuple[State, str]:
    if _repair.outcome is not None:
        return _repair.outcome
    if not _hook.is_armed(util_name):
        decision = _policy.decide()
        return "inactive", "uninstall() was called." if decision.arm else decision.reason
    if unknown_cupy:
        return "inactive", f"CuPy is left alone: it has no {util_name}."
    return "armed", f"{util_name} has not been imported yet."
