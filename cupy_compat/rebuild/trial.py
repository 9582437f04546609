"""Try a ``cupy._util``, the installed one or a candidate, in an interpreter of its own."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from cupy_compat.rebuild.process import RebuildError, run, this_python

#: Seconds that CuPy may take to import.
_LIMIT = 300.0
_TOKEN = "cupy-compat-trial "
_TRY = """
import sys

candidate = sys.argv[1]
if candidate:
    import importlib.util

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "cupy._util":
                return importlib.util.spec_from_file_location(name, candidate)

    sys.meta_path.insert(0, Finder())
# A start-up file may have armed it, and it would hide what is tried.
if "cupy_compat" in sys.modules:
    sys.modules["cupy_compat"].uninstall()

def attempt(action):
    try:
        action()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"

def import_cupy():
    import cupy

def memoize():
    def plain(x):
        calls.append(x)
        return [x]

    def annotated(x: int) -> list:
        calls.append(x)
        return [x]

    for function in plain, annotated:
        calls = []
        memoized = util.memoize()(function)
        assert memoized(1) is memoized(1) and calls == [1], "memoize does not keep results"
        assert memoized.__name__ == function.__name__, "memoize loses a function's name"

def described(value):
    plain = isinstance(value, (bool, int, str, tuple, type(None)))
    # Each Cython lays docstrings out in its own way.
    return type(value).__name__, repr(value) if plain else " ".join(str(value.__doc__).split())

error = attempt(import_cupy)
# A failed import of CuPy leaves this module behind.
util = sys.modules.get("cupy._util")
print("\\n" + sys.argv[2] + repr({
    "error": error,
    "file": getattr(util, "__file__", None),
    "memoize": attempt(memoize) if util else "not tried",
    "cython": getattr(util, "cython_build_ver", None),
    "interface": {
        name: described(value)
        for name, value in sorted(vars(util).items())
        if not name.startswith("__") and name != "cython_build_ver"
    } if util else {},
}), flush=True)
"""


@dataclass(frozen=True)
class Trial:
    """What happened when CuPy was imported without the shim.

    Attributes
    ----------
    error : str or None
        What ended ``import cupy``, if anything did.
    file : str or None
        The ``cupy._util`` that was loaded; None if the import did not come that far.
    memoize : str or None
        How CuPy's ``memoize`` failed, if it did.
    cython : str or None
        The Cython that compiled the module.
    interface : dict
        The names in the module, with the type and the docstring or value of each.
    """

    error: str | None
    file: str | None
    memoize: str | None
    cython: str | None
    interface: dict[str, tuple[str, str]]

    def differences(self, other: Trial) -> list[str]:
        """Return the names in which the two modules differ."""
        names = sorted(self.interface.keys() | other.interface.keys())
        return [n for n in names if self.interface.get(n) != other.interface.get(n)]


def try_cupy(candidate: Path | None = None) -> Trial:
    """Import CuPy in a fresh interpreter, and memoize functions.

    Parameters
    ----------
    candidate : Path, optional
        The module to load in the place of the installed ``cupy._util``.

    Raises
    ------
    RebuildError
        If the interpreter crashes or does not end.
    """
    command = [*this_python(), "-c", _TRY, str(candidate or ""), _TOKEN]
    # The working folder is on the path of a user's `python -c`, but CuPy is not installed there.
    done = run(command, check=False, timeout=_LIMIT)
    records = [line for line in done.stdout.splitlines() if line.startswith(_TOKEN)]
    if not records:
        raise RebuildError(
            f"the import of CuPy ended its interpreter ({done.returncode}):\n{done.stderr}"
        )
    return Trial(**ast.literal_eval(records[-1].removeprefix(_TOKEN)))
