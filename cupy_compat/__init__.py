"""Let CuPy import where its ``memoize`` dies on a ``__name__`` that is not writable.

``import cupy_compat`` before ``import cupy`` is all. On Python 3.11 and 3.12 it does nothing unless
the environment variable ``CUPY_COMPAT`` says ``always``; on later ones it waits for CuPy, tries
CuPy's own ``memoize``, and repairs it only if it fails.
"""

# Everybody who depends on this package pays for what is imported here at every start of Python:
# nothing but the smallest modules of our own, and not even ``__future__`` or ``typing``.
import sys

from cupy_compat import _policy

__version__ = "0.1.0"
__all__ = ["Status", "install", "status", "uninstall"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from cupy_compat._status import Status

_UTIL = "cupy._util"
_PACKAGES = ("cupy", "cupy_backends", "cupyx")


def install(force: bool = False) -> "Status":
    """Arm the repair, and mend a CuPy whose import has failed in this process already.

    Importing ``cupy_compat`` does this by itself. Calling it again changes nothing more.

    Parameters
    ----------
    force : bool, default False
        Arm on every Python, whatever ``CUPY_COMPAT`` says.

    Returns
    -------
    Status
        What ``status()`` says afterwards.

    Warns
    -----
    RuntimeWarning
        Once, if ``CUPY_COMPAT`` is none of ``auto``, ``always`` and ``never``; it counts as
        ``auto`` then.
    """
    decision = _policy.decide()
    if force or decision.arm:
        _arm()
    return status()


def uninstall() -> None:
    """Take the hook away, and give a repaired ``cupy._util`` its own ``functools`` back.

    Functions that were memoized meanwhile keep working. Without ``install()`` nothing happens.
    """
    # What was never needed was never imported, and has nothing to undo.
    hook = sys.modules.get("cupy_compat._hook")
    if hook is not None:
        hook.disarm(_UTIL)
    repair = sys.modules.get("cupy_compat._repair")
    if repair is not None:
        repair.undo()


def status() -> "Status":
    """Return what the shim has done in this process so far, and why."""
    from cupy_compat import _status

    return _status.report(_UTIL)


def _arm() -> None:
    util = sys.modules.get(_UTIL)
    if util is None:
        from cupy_compat import _hook

        _hook.arm(_UTIL, _examine)
        return
    _examine(util)
    # A failed import of CuPy leaves some of its modules behind, and they keep the next one from
    # succeeding. They are only dropped where that failure was the one mended here.
    if "cupy" not in sys.modules and status().state == "repaired":
        for name in list(sys.modules):
            if name.partition(".")[0] in _PACKAGES:
                del sys.modules[name]
        _arm()


def _examine(util: "ModuleType") -> None:
    from cupy_compat import _repair

    _repair.examine(util)


def __getattr__(name: str) -> object:
    # Status is a dataclass, and dataclasses takes longer to import than all of this package.
    if name == "Status":
        from cupy_compat._status import Status

        return Status
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if _policy.decide().arm:
    _arm()
