"""Let CuPy import where its ``memoize`` dies on a ``__name__`` that is not writable.

``import cupy_compat`` before ``import cupy`` is all. On Python 3.11 and 3.12 it does nothing unless
the environment variable ``CUPY_COMPAT`` says ``always``; on later ones it waits for CuPy, tries
CuPy's own ``memoize``, and repairs it only if it fails.
"""

# Everybody who depends on this package pays for what is imported here at every start of Python:
# nothing but the smallest modules of our own, and not even ``__future__`` or ``typing``. They are
# imported relatively, for those who vendor the package under another name.
import sys

from . import _policy

__version__ = "0.1.0"
__all__ = ["Status", "install", "status", "uninstall"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    import cupy_compat

    from ._status import Status
else:
    # So that hints can be evaluated, by people who have them checked while they run.
    ModuleType = type(sys)
    cupy_compat = sys.modules[__name__]

    # Type checkers would take any name that this might answer. It is defined before what is
    # annotated with Status, because beartype for one reads hints as soon as it can.
    def __getattr__(name: str) -> object:
        if name == "Status":
            from ._status import Status

            return Status
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_UTIL = "cupy._util"
_PACKAGES = ("cupy", "cupy_backends", "cupyx")

_uninstalled = False
# A CuPy that was mended after its import had failed, and waits to be imported again: Python hands
# out the same module then.
_dropped: "ModuleType | None" = None


def install(force: bool = False) -> "cupy_compat.Status":
    """Arm the repair, and mend a CuPy whose import has failed in this process already.

    Importing ``cupy_compat`` does this by itself. Calling it again changes nothing more. While
    another thread imports CuPy, it waits for the end of that.

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
        _install()
    return status()


def uninstall() -> None:
    """Take the hook away, and give a repaired ``cupy._util`` its own ``functools`` back.

    Functions that were memoized meanwhile keep working. Without ``install()`` nothing happens.
    """
    global _uninstalled
    from . import _hook

    _uninstalled = True
    _hook.disarm(_UTIL)
    util = _hook.executed(_UTIL) or _dropped
    if util is not None:
        from . import _repair

        with _hook.ImportLock(_UTIL):
            _repair.undo(util)


def status() -> "cupy_compat.Status":
    """Return what the shim has done in this process so far, and why.

    Nothing is imported for it, and nothing is changed.
    """
    from . import _hook, _status

    return _status.report(_UTIL, _hook.executed(_UTIL) or _dropped, _uninstalled)


def _install() -> None:
    global _dropped, _uninstalled
    from . import _hook

    _uninstalled = False
    # First of all, for whoever imports CuPy at this moment and has not come as far.
    _hook.arm(_UTIL, _examine)
    with _hook.ImportLock("cupy"), _hook.ImportLock(_UTIL):
        util = _hook.executed(_UTIL)
        if util is None:
            return
        # A healthy CuPy is not tried again and again, since each trial leaves a trace in it.
        if status().state != "healthy":
            _examine(util)
        # A failed import of CuPy leaves some of its modules behind, and they keep the next one from
        # succeeding. They are only dropped where that failure was the one mended here.
        if "cupy" not in sys.modules and status().state == "repaired":
            _dropped = util
            for name in list(sys.modules):
                if name.partition(".")[0] in _PACKAGES:
                    del sys.modules[name]


def _examine(util: ModuleType) -> None:
    from . import _repair

    _repair.examine(util)


if _policy.decide().arm:
    _install()
