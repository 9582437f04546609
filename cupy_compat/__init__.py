"""Repair CuPy builds whose ``memoize`` fails because a ``__name__`` is not writable.

Write ``import cupy_compat`` before ``import cupy``. On Python 3.11 and 3.12 that does nothing
unless the environment variable ``CUPY_COMPAT`` is ``always``. On later Pythons it waits for CuPy,
tries CuPy's own ``memoize``, and repairs it only if it fails.

(PYTEST_DONT_REWRITE: without this word, pytest warns that it cannot rewrite the assertions of a
package that was imported at the start of Python.)
"""

# Every start of Python pays for what this module imports: two small modules of our own, and not
# even ``__future__`` or ``typing``. The imports are relative so that other projects can vendor the
# package under another name.
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
    # Run-time type checkers evaluate the hints.
    ModuleType = type(sys)
    cupy_compat = sys.modules[__name__]

    def __getattr__(name: str) -> object:
        if name == "Status":
            from ._status import Status

            return Status
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Late imports must work after a chdir(), too. A zip file with a relative name on sys.path leaves
# relative paths here.
if type(__spec__.loader).__name__ == "zipimporter":
    from os.path import abspath

    __path__ = [abspath(folder) for folder in __path__]

_UTIL = "cupy._util"
_PACKAGES = ("cupy", "cupy_backends", "cupyx")

_uninstalled = False
# The cupy._util that was repaired after its import had failed. The next import gets the same
# module object.
_dropped: "ModuleType | None" = None
# The cupy._util that could not be examined, and why.
_failed: "tuple[ModuleType, str] | None" = None


def install(force: bool = False) -> "cupy_compat.Status":
    """Arm the repair: wait for CuPy, or repair a CuPy whose import has already failed.

    Importing ``cupy_compat`` arms as ``force=False`` does. Calling this again is harmless. While
    another thread imports CuPy, the call waits until that import ends.

    Parameters
    ----------
    force : bool, default False
        Arm on every Python and ignore ``CUPY_COMPAT``.

    Returns
    -------
    Status
        The new status, as from ``status()``.

    Warns
    -----
    RuntimeWarning
        Once, if ``CUPY_COMPAT`` is not ``auto``, ``always`` or ``never``. ``auto`` applies then.
    """
    # Always ask the policy, because it warns of an invalid value.
    if _policy.decide()[0] or force:
        arm()
    return status()


def arm() -> None:
    """Do the same as ``install(force=True)``, without building a ``Status``.

    Start-up files of existing environments call this function, so its name must not change.
    """
    global _dropped, _uninstalled
    from . import _hook

    _uninstalled = False
    # Before taking the locks: another thread may be importing CuPy and may not have reached
    # cupy._util yet.
    _hook.arm(_UTIL, _examine)
    with _hook.ImportLock("cupy"), _hook.ImportLock(_UTIL):
        util = _hook.executed_module(_UTIL)
        if util is None or not _examine(util) or {"cupy", "cupy._core"} & sys.modules.keys():
            return
        # This very call repaired a failed import of CuPy. It left some of CuPy's modules behind,
        # without cupy._core, and the next import would fail because of them.
        _dropped = util
        for name in list(sys.modules):
            if name.partition(".")[0] in _PACKAGES:
                del sys.modules[name]


def uninstall() -> None:
    """Remove the hook, and give a repaired ``cupy._util`` its own ``functools`` back.

    Functions that are already memoized keep working. Without a previous ``install()``, nothing
    happens. While another thread imports CuPy, the call waits until that import ends.
    """
    global _uninstalled
    from . import _hook

    _uninstalled = True
    with _hook.ImportLock("cupy"), _hook.ImportLock(_UTIL):
        _hook.disarm(_UTIL)
        util = _hook.executed_module(_UTIL) or _dropped
        # After a failed examination there is nothing to undo, and _repair may not be importable.
        if util is not None and _failed is None:
            from . import _repair

            _repair.undo(util)


def status() -> "cupy_compat.Status":
    """Return what the shim has done in this process so far, and why.

    The call does not import CuPy and changes nothing.
    """
    try:
        from . import _hook, _status

        util = _hook.executed_module(_UTIL) or _dropped
        failure = _failed[1] if _failed is not None and _failed[0] is util else ""
        return _status.report(_UTIL, util, _uninstalled, failure)
    except Exception as error:
        # An upgrade or an uninstallation has removed the files of a running process.
        return _status_without_modules(error)


def _status_without_modules(error: Exception) -> "cupy_compat.Status":
    from types import SimpleNamespace

    util = sys.modules.get(_UTIL)
    failure = f"cupy_compat cannot load its own modules ({type(error).__name__}: {error})."
    verdict = getattr(sys.modules.get(f"{__name__}._repair"), "verdict", None)
    known = None if util is None or verdict is None else verdict(util)
    state, reason = known or ("inactive", failure if _failed is None else f"{_failed[1]} {failure}")
    record = SimpleNamespace(
        state=state,
        reason=reason,
        python=sys.version.partition(" ")[0],
        cupy=getattr(sys.modules.get("cupy"), "__version__", None),
        cython=getattr(util, "cython_build_ver", None),
    )
    return record  # type: ignore[return-value]


def _examine(util: ModuleType) -> bool:
    """Examine a ``cupy._util``, and return whether it was broken and has just been repaired.

    If the shim itself fails, it leaves CuPy alone, and the import of CuPy continues.
    """
    global _failed
    _failed = None
    errors: list[Exception] = []
    while len(errors) < 2:
        try:
            from . import _repair

            repaired = _repair.examine(util)
        except Exception as error:
            errors.append(error)
            continue
        # A fault of the shim or of CuPy occurs at the second attempt, too. Any other error came
        # from outside (a job's time limit, say) and would have ended the import without the shim.
        if errors:
            raise errors[0]
        return repaired
    message = f"{type(errors[1]).__name__}: {errors[1]}"
    _failed = util, f"CuPy is left alone: cupy_compat could not examine it ({message})."
    return False


if _policy.decide()[0]:
    arm()
