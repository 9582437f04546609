"""What the shim did, as a record for people and programs."""

import sys

from . import _hook, _policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass
    from types import ModuleType
    from typing import Literal

    State = Literal["inactive", "armed", "healthy", "repaired"]
else:
    # Nothing is imported for the sake of a hint: where every start of Python arms the shim, every
    # start loads this module. For the same reason the record below is no dataclass.
    ModuleType = type(sys)
    State = str

    def dataclass(*, frozen):
        return lambda record: record


@dataclass(frozen=True)  # for type checkers, who would let anybody change it otherwise
class Status:
    """What ``cupy_compat`` has done in this process. It cannot be changed.

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

    __slots__ = __match_args__ = ("state", "reason", "python", "cupy", "cython")

    state: State
    reason: str
    python: str
    cupy: "str | None"
    cython: "str | None"

    def __init__(
        self,
        state: State,
        reason: str,
        python: str,
        cupy: "str | None" = None,
        cython: "str | None" = None,
    ) -> None:
        for name, value in zip(self.__slots__, (state, reason, python, cupy, cython), strict=True):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Status cannot be changed: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Status cannot be changed: {name}")

    def __reduce__(self) -> "tuple[type[Status], tuple[object, ...]]":
        return type(self), self._values()

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Status) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        fields = zip(self.__slots__, self._values(), strict=True)
        return f"Status({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def __str__(self) -> str:
        cupy = "not loaded" if self.cupy is None else self.cupy
        cython = "" if self.cython is None else f", compiled with Cython {self.cython}"
        return f"{self.state}: {self.reason} (Python {self.python}, CuPy {cupy}{cython})"

    def _values(self) -> "tuple[object, ...]":
        return tuple(getattr(self, name) for name in self.__slots__)


def report(util_name: str, util: "ModuleType | None", uninstalled: bool) -> Status:
    """Find out from CuPy itself, from the hook and from the policy what was done.

    Parameters
    ----------
    util_name : str
        ``cupy._util``.
    util : module or None
        The module of that name, if it has been executed.
    uninstalled : bool
        Whether ``uninstall()`` was called last.
    """
    state, reason = _judge(util_name, util, uninstalled)
    cupy = _hook.contents("cupy").get("__version__")
    cython = None if util is None else vars(util).get("cython_build_ver")
    python = sys.version.partition(" ")[0]
    return Status(state, reason, python, _text(cupy), _text(cython))


def _judge(util_name: str, util: "ModuleType | None", uninstalled: bool) -> "tuple[State, str]":
    if util is not None:
        from . import _repair

        verdict = _repair.verdict(util)
        if verdict is not None:
            return verdict
    # Asked first: where this package is loaded twice, another copy may have armed meanwhile.
    if not _hook.is_armed(util_name):
        if uninstalled:
            return "inactive", "uninstall() was called."
        decision = _policy.decide()
        if not decision.arm:
            return "inactive", decision.reason
        return "inactive", "The hook is not in sys.meta_path; install() puts it there."
    # Not so one that was mended after its import had failed, and was given up by uninstall() since.
    if _hook.executed(util_name) is not None:
        return "inactive", (
            f"{util_name} was loaded by another finder before the hook was asked, or examined by "
            "another copy of this package; install(force=True) examines it."
        )
    if _hook.is_executing(util_name):
        return "armed", f"{util_name} is being imported."
    if "__version__" in _hook.contents("cupy"):
        return "inactive", f"CuPy is left alone: it has no {util_name}."
    return "armed", f"{util_name} has not been imported yet."


def _text(value: object) -> "str | None":
    return None if value is None else str(value)
