"""``status()`` on genuine CuPys, and properties of a repaired function."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from conftest import Interpreter

FORCED = "import cupy_compat\ncupy_compat.install(force=True)\n"
SHOW = "\nstatus = cupy_compat.status()\nprint(status.state, status.reason, sep='|')"
PURGE = """
import sys
def purge(package):
    for name in list(sys.modules):
        if name.partition(".")[0] == package:
            del sys.modules[name]
"""
ANSWERING = """
import sys
from importlib.machinery import PathFinder
class Answering:
    def find_spec(self, name, path=None, target=None):
        return PathFinder.find_spec(name, path) if name == "cupy._util" else None
sys.meta_path.insert(0, Answering())
"""
FAILING = """
try:
    import cupy
except AttributeError:
    print("failed")
else:
    raise AssertionError("it was imported")
"""

#: For a broken CuPy: a program, the resulting state, and a part of the reason.
BROKEN = {
    "a purge of the package after a repair": (
        FORCED + "import cupy" + PURGE + "purge('cupy_compat')\nimport cupy_compat",
        "repaired",
        "__name__",
    ),
    "a finder that answers before the hook": (
        FORCED + ANSWERING + FAILING,
        "inactive",
        "was loaded by another finder before the hook was asked",
    ),
    "install() after such a finder": (
        FORCED + ANSWERING + FAILING + "cupy_compat.install(force=True)\nimport cupy",
        "repaired",
        "a wraps that works",
    ),
    "finders that were replaced": (
        "import sys\nfinders = sys.meta_path[:]\n" + FORCED + "sys.meta_path[:] = finders",
        "inactive",
        "CUPY_COMPAT=never is set.",
    ),
    "finders that were replaced, with a policy that arms": (
        "import os, sys\nfinders = sys.meta_path[:]\nos.environ['CUPY_COMPAT'] = 'always'\n"
        "import cupy_compat\nsys.meta_path[:] = finders",
        "inactive",
        "The hook is not in sys.meta_path. Call install() to add it.",
    ),
    "a policy that came after the import": (
        "import os, cupy_compat\nos.environ['CUPY_COMPAT'] = 'always'",
        "inactive",
        "The hook is not in sys.meta_path. Call install() to add it.",
    ),
    "uninstall()": (FORCED + "cupy_compat.uninstall()", "inactive", "uninstall() was called."),
    "uninstall() by one copy and install() by another": (
        FORCED
        + "cupy_compat.uninstall()\nold = cupy_compat"
        + PURGE
        + "purge('cupy_compat')\n"
        + FORCED
        + "cupy_compat = old",
        "armed",
        "has not been imported yet",
    ),
    "a CuPy repaired after its failed import, uninstall() and install()": (
        FAILING + FORCED + "cupy_compat.uninstall()\ncupy_compat.install(force=True)",
        "armed",
        "has not been imported yet",
    ),
    "nothing": ("import cupy_compat", "inactive", "CUPY_COMPAT=never is set."),
    "a lazily loaded CuPy": (
        """
import importlib.util, sys
spec = importlib.util.find_spec("cupy")
spec.loader = importlib.util.LazyLoader(spec.loader)
cupy = sys.modules["cupy"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cupy)
"""
        + FORCED
        + "cupy_compat.status()\ncupy_compat.install(force=True)\n"
        + "assert 'cupy._util' not in sys.modules",
        "armed",
        "has not been imported yet",
    ),
    "status() while cupy._util is being executed": (
        FORCED
        + """
import sys
seen = []
def look(frame, event, argument):
    if not seen and "cupy._util" in sys.modules:
        sys.setprofile(None)
        seen.append((cupy_compat.install(force=True).state, cupy_compat.status().reason))
sys.setprofile(look)
import cupy
assert seen == [("armed", "cupy._util is being imported.")], seen
""",
        "repaired",
        "a wraps that works",
    ),
    "install() by a thread while another executes cupy._util": (
        """
import sys, threading
import cupy_compat
thread = threading.Thread(target=cupy_compat.install, args=(True,))
def look(frame, event, argument):
    if "cupy._util" in sys.modules:
        sys.setprofile(None)
        thread.start()
sys.setprofile(look)
"""
        + FAILING
        + "thread.join()\nimport cupy",
        "repaired",
        "a wraps that works",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_status_of_a_broken_cupy_is_true_after(broken: Interpreter, what: str) -> None:
    code, state, reason = BROKEN[what]
    said = broken.output(code + SHOW, CUPY_COMPAT="never").splitlines()[-1]
    assert said.startswith(f"{state}|")
    assert reason in said


#: The same for a healthy CuPy, after its import with the hook armed.
HEALTHY = {
    "nothing more": ("", "healthy", "nothing was changed"),
    "install() again": ("cupy_compat.install(force=True)", "healthy", "nothing was changed"),
    "uninstall()": ("cupy_compat.uninstall()", "inactive", "uninstall() was called."),
    "a purge of the package": (
        PURGE + "purge('cupy_compat')\nimport cupy_compat",
        "inactive",
        "examined by another copy of this package. Call install(force=True) to examine it.",
    ),
    "a purge of the package, and install()": (
        PURGE + "purge('cupy_compat')\n" + FORCED,
        "healthy",
        "nothing was changed",
    ),
}


@pytest.mark.parametrize("what", HEALTHY)
def test_the_status_of_a_healthy_cupy_is_true_after(reference: Interpreter, what: str) -> None:
    code, state, reason = HEALTHY[what]
    said = reference.output(FORCED + "import cupy\n" + code + SHOW, CUPY_COMPAT="never").strip()
    assert said.startswith(f"{state}|")
    assert reason in said


def test_a_copy_of_the_package_can_undo_a_repair_that_another_made(broken: Interpreter) -> None:
    code = """
purge("cupy_compat")
import cupy_compat, functools
cupy_compat.uninstall()
print(cupy._util.functools is functools, cupy_compat.status().state)
"""
    assert broken.output(FORCED + "import cupy" + PURGE + code, CUPY_COMPAT="never").split() == [
        "True",
        "inactive",
    ]


def test_install_keeps_the_modules_after_a_failure_that_it_did_not_repair(
    reference: Interpreter,
) -> None:
    printed = reference.output(
        """
        import sys
        sys.modules["cupy._core._kernel"] = None
        try:
            import cupy
        except ImportError:
            del sys.modules["cupy._core._kernel"]
        left = {name for name in sys.modules if name.startswith("cupy")}
        import cupy_compat
        state = cupy_compat.install(force=True).state
        print(state, "cupy._util" in left, left <= set(sys.modules))
        """,
        CUPY_COMPAT="never",
    )
    assert printed.split() == ["healthy", "True", "True"]


def test_wraps_has_the_arguments_of_functools_wraps(broken: Interpreter) -> None:
    printed = broken.output(
        FORCED
        + """
import cupy
def f(x: int) -> int: "A docstring."
made = cupy._util.functools.wraps(f, assigned=("__doc__",), updated=())(len)
print(made.__doc__, made.__annotations__, made.__name__, made.__wrapped__ is f)
""",
        CUPY_COMPAT="never",
    )
    assert printed.strip() == "A docstring. {} len True"


def test_reloading_the_submodules_keeps_memoized_functions_working(broken: Interpreter) -> None:
    printed = broken.output(
        FORCED
        + """
import cupy, importlib, sys
old = cupy.memoize()(len)
for name in [name for name in sys.modules if name.startswith("cupy_compat.")]:
    importlib.reload(sys.modules[name])
new = cupy.memoize()(abs)
old.__name__ = "renamed"
print(old.__name__, old("abc"), new.__name__, new(-1), cupy_compat.status().state)
print(old.__call__("abc"), type(old).__call__(old, "abc"), new.__call__(-1))
""",
        CUPY_COMPAT="never",
    )
    assert printed.split() == ["renamed", "3", "abs", "1", "repaired", "3", "3", "1"]


@pytest.mark.parametrize("kind", ["broken", "reference"])
def test_status_works_while_another_thread_undoes_the_repair(
    kind: str, request: pytest.FixtureRequest
) -> None:
    # Undo at each line of verdict(), because another thread may do so.
    interpreter: Interpreter = request.getfixturevalue(kind)
    printed = interpreter.output(
        FORCED
        + """
import cupy, sys
from cupy_compat import _repair
lines = 0
def at(number):
    def local(frame, event, argument):
        global lines
        if event == "line":
            lines += 1
            if lines == number:
                _repair.undo(cupy._util)
        return local
    return lambda frame, event, argument: local if frame.f_code is code else None
code = _repair.verdict.__code__
for number in range(1, 9):
    lines = 0
    cupy_compat.install(force=True)
    sys.settrace(at(number))
    try:
        cupy_compat.status()
    finally:
        sys.settrace(None)
print("no error")
""",
        CUPY_COMPAT="never",
    )
    assert printed.strip() == "no error"


@pytest.fixture(scope="session")
def joblib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    for name in ("joblib", "cloudpickle"):
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        (folder / name).symlink_to(Path(spec.origin).parent)
    return folder


MEMORY = """
import sys
sys.path.append(sys.argv[1])
{shim}
import cupy, joblib

@cupy.memoize()
def f(x):
    return x {operation}

print(joblib.Memory(sys.argv[2], verbose=0).cache(f)(10))
"""


@pytest.mark.parametrize("kind", ["broken", "reference"])
def test_joblib_recomputes_results_after_a_function_was_edited(
    kind: str, request: pytest.FixtureRequest, joblib: Path, tmp_path: Path
) -> None:
    interpreter: Interpreter = request.getfixturevalue(kind)
    script = tmp_path / "script.py"
    printed = []
    for operation in ("+ 1", "* 2", "* 2", "+ 1"):
        shim = FORCED if kind == "broken" else ""
        script.write_text(MEMORY.format(shim=shim, operation=operation))
        program = (
            f"import runpy, sys\nsys.argv[1:] = [{str(joblib)!r}, {str(tmp_path / 'cache')!r}]\n"
            f"runpy.run_path({str(script)!r}, run_name='__main__')"
        )
        printed.append(interpreter.output(program).strip())
    assert printed == ["11", "20", "20", "11"]
