"""Let CuPy import where its ``memoize`` dies on a ``__name__`` that is not writable.

``import cupy_compat`` before ``import cupy`` is all. On Python 3.11 and 3.12 it does nothing unless
the environment variable ``CUPY_COMPAT`` says ``always``; on later ones it waits for CuPy, tries
CuPy's own ``memoize``, and repairs it only if it fails.

(For pytest, which would warn that it cannot rewrite this package's assertions where the start of
Python has imported it already: PYTEST_DONT_REWRITE.)
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

    def __getattr__(name: str) -> object:
        if name == "Status":
            from ._status import Status

            return Status
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# What is imported late must be found after a chdir(), too, and a zip file that sys.path names
# relatively leaves relative paths here.
if type(__spec__.loader).__name__ == "zipimporter":
    from os.path import abspath

    __path__ = [abspath(folder) for folder in __path__]

_UTIL = "cupy._util"
_PACKAGES = ("cupy", "cupy_backends", "cupyx")

_uninstalled = False
# A CuPy that was repaired after its import had failed, and waits to be imported again: Python hands
# out the same module then.
_dropped: "ModuleType | None" = None
# A CuPy that could not be examined, and why.
_failed: "tuple[ModuleType, str] | None" = None


def install(force: bool = False) -> "cupy_compat.Status":
    """Arm the repair, and repair a CuPy whose import has failed in this process already.

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
    # The policy decides in any case, because a wrong value warns.
    if _policy.decide()[0] or force:
        arm()
    return status()


def arm() -> None:
    """Do what ``install(force=True)`` does, and build no ``Status``.

    Start-up files of environments call this, so its name must stay.
    """
    global _dropped, _uninstalled
    from . import _hook

    _uninstalled = False
    # First of all, for whoever imports CuPy at this moment and has not come as far.
    _hook.arm(_UTIL, _examine)
    with _hook.ImportLock("cupy"), _hook.ImportLock(_UTIL):
        util = _hook.executed(_UTIL)
        # A failed import of CuPy leaves some of its modules behind, and they keep the next one from
        # succeeding. They are dropped only where that failure is the one repaired here.
        if util is not None and _examine(util, again=False) and "cupy" not in sys.modules:
            _dropped = util
            for name in list(sys.modules):
                if name.partition(".")[0] in _PACKAGES:
                    del sys.modules[name]


def uninstall() -> None:
    """Take the hook away, and give a repaired ``cupy._util`` its own ``functools`` back.

    Functions that were memoized meanwhile keep working. Without ``install()`` nothing happens.
    While another thread imports CuPy, it waits for the end of that.
    """
    global _uninstalled
    from . import _hook

    _uninstalled = True
    with _hook.ImportLock("cupy"), _hook.ImportLock(_UTIL):
        _hook.disarm(_UTIL)
        util = _hook.executed(_UTIL) or _dropped
        # Who examined nothing has nothing to undo, and may have lost what undoes it.
        if util is not None and _failed is None:
            from . import _repair

            _repair.undo(util)


def status() -> "cupy_compat.Status":
    """Return what the shim has done in this process so far, and why.

    Nothing is imported of CuPy for it, and nothing is changed.
    """
    try:
        from . import _hook, _status

        util = _hook.executed(_UTIL) or _dropped
        failure = _failed[1] if _failed is not None and _failed[0] is util else ""
        return _status.report(_UTIL, util, _uninstalled, failure)
    except Exception as error:
        # An upgrade or an uninstallation took its files away from under a running process.
        return _last_words(error)


def _last_words(error: Exception) -> "cupy_compat.Status":
    from types import SimpleNamespace

    util = sys.modules.get(_UTIL)
    said = f"cupy_compat cannot load its own modules ({type(error).__name__}: {error})."
    verdict = getattr(sys.modules.get(f"{__name__}._repair"), "verdict", None)
    known = None if util is None or verdict is None else verdict(util)
    state, reason = known or ("inactive", said if _failed is None else f"{_failed[1]} {said}")
    answer = SimpleNamespace(
        state=state,
        reason=reason,
        python=sys.version.partition(" ")[0],
        cupy=getattr(sys.modules.get("cupy"), "__version__", None),
        cython=getattr(util, "cython_build_ver", None),
    )
    return answer  # type: ignore[return-value]


def _examine(util: ModuleType, again: bool = True) -> bool:
    """Examine a ``cupy._util``, and tell whether it was found broken and was repaired.

    Whatever goes wrong with the shim itself, CuPy is left alone and its import goes on.
    """
    global _failed
    _failed = None
    try:
        return _find_out(util, again)
    except Exception as error:
        struck = error
    # What is wrong with the shim or with CuPy is wrong at a second attempt. A job's time limit is
    # not, and without the shim the import would have ended with it.
    try:
        _find_out(util, again)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        _failed = util, f"CuPy is left alone: cupy_compat could not examine it ({said})."
        return False
    raise struck


def _find_out(util: ModuleType, again: bool) -> bool:
    from . import _repair

    # A healthy CuPy is not tried again and again, since each trial leaves a trace in it.
    if not again and _repair.verdict(util) is not None:
        return False
    return _repair.examine(util)


if _policy.decide()[0]:
    arm()
