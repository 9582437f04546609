"""If the shim fails, CuPy behaves as without it, and ``status()`` says why."""

from __future__ import annotations

import shutil
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from conftest import Interpreter, arming

#: Code that makes late imports of the shim fail, between those of ``cupy_compat`` and CuPy.
TROUBLES = {
    "its files are gone": """
        shutil.rmtree(folder)
        importlib.invalidate_caches()
    """,
    "its files are of another version": """
        for file in folder.glob("*.py"):
            file.write_text("changed = True")
    """,
    "its files are half written": """
        for file in folder.glob("*.py"):
            file.write_text("def (")
    """,
    "an audit hook refuses its imports": """
        def refuse(event, arguments):
            if event == "import" and str(arguments[0]).startswith("cupy_compat"):
                raise PermissionError("not allowed")
        sys.addaudithook(refuse)
    """,
    "a finder refuses its imports": """
        class Guard:
            def find_spec(self, name, path=None, target=None):
                if name.startswith("cupy_compat"):
                    raise RuntimeError("not allowed")
        sys.meta_path.insert(0, Guard())
    """,
    "the package and its path are forgotten": """
        for name in [name for name in sys.modules if name.startswith("cupy_compat")]:
            del sys.modules[name]
        sys.path.remove(str(folder.parent))
    """,
}
BEGIN = """
import importlib, pathlib, shutil, sys
import cupy_compat
folder = pathlib.Path(cupy_compat.__file__).parent
"""
END = """
try:
    import cupy
    print("imports", cupy.memoize()(len)("abc"))
except Exception as error:
    print(type(error).__name__, "__name__" in str(error))
status = cupy_compat.status()
print(status.state, "CuPy is left alone" in str(status))
"""
#: What CuPy does without the shim.
ALONE = {"reference": "imports 3", "broken": "AttributeError True"}


@pytest.fixture
def own(tmp_path: Path, shim: Path) -> Path:
    """Return a folder with wrapt and a copy of ``cupy_compat`` that a test may damage."""
    compiled = shutil.ignore_patterns("__pycache__")
    for package in shim.iterdir():
        shutil.copytree(package, tmp_path / "own" / package.name, ignore=compiled)
    return tmp_path / "own"


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("cupy", ALONE)
def test_cupy_is_left_alone_if(
    cupy: str, trouble: str, own: Path, request: pytest.FixtureRequest
) -> None:
    interpreter: Interpreter = request.getfixturevalue(cupy)
    code = BEGIN + textwrap.dedent(TROUBLES[trouble]) + END
    printed = interpreter.output(code, **arming(PYTHONPATH=str(own), PYTHONDONTWRITEBYTECODE="1"))
    assert printed.splitlines() == [ALONE[cupy], "inactive True"]


def test_uninstall_works_after_a_failed_examination(reference: Interpreter, own: Path) -> None:
    code = BEGIN + "shutil.rmtree(folder)" + END + "cupy_compat.uninstall()"
    reference.output(code, **arming(PYTHONPATH=str(own), PYTHONDONTWRITEBYTECODE="1"))


def test_without_wrapt_a_broken_cupy_fails_with_its_own_error(
    broken: Interpreter, own: Path
) -> None:
    shutil.rmtree(own / "wrapt")
    code = BEGIN + END + "print('No module named \\'wrapt\\'' in status.reason)"
    printed = broken.output(code, **arming(PYTHONPATH=str(own)))
    assert printed.splitlines() == [ALONE["broken"], "inactive True", "True"]


@pytest.mark.parametrize(("cupy", "state"), [("broken", "repaired"), ("reference", "healthy")])
def test_the_status_of_an_examined_cupy_is_true_after_the_files_are_gone(
    cupy: str, state: str, own: Path, request: pytest.FixtureRequest
) -> None:
    interpreter: Interpreter = request.getfixturevalue(cupy)
    code = BEGIN + "import cupy\nshutil.rmtree(folder)" + END
    code += "print(status.python, status.cupy == cupy.__version__)\n"
    code += "print(status.cython == cupy._util.cython_build_ver)"
    printed = interpreter.output(code, **arming(PYTHONPATH=str(own), PYTHONDONTWRITEBYTECODE="1"))
    said = ["imports 3", f"{state} False", f"{sys.version.split()[0]} True", "True"]
    assert printed.splitlines() == said


def test_it_repairs_from_a_relative_zip_file_after_a_chdir(broken: Interpreter, own: Path) -> None:
    with zipfile.ZipFile(own / "shim.zip", "w") as file:
        for module in (own / "cupy_compat").glob("*.py"):
            file.write(module, f"cupy_compat/{module.name}")
    (own / "cupy_compat").rename(own / "not_the_package")
    code = f"""
        import os, sys
        os.chdir({str(own)!r})
        sys.path.insert(0, "shim.zip")
        import cupy_compat
        os.chdir("/")
        import cupy
        print(cupy_compat.status().state)
    """
    assert broken.output(code, **arming(PYTHONPATH=str(own))) == "repaired\n"


def test_cupy_imports_in_a_sandbox_that_hides_frames(reference: Interpreter) -> None:
    code = textwrap.dedent("""
        import sys

        def refuse(event, arguments):
            if event in ("sys._getframe", "sys._current_frames"):
                raise PermissionError(event)

        sys.addaudithook(refuse)
        import cupy
        print("imported")
    """)
    # On Python 3.11, CuPy itself accesses frames.
    alone = reference.run(code, shim=False)
    shimmed = reference.run("import cupy_compat\n" + code, **arming())
    assert shimmed.stdout == alone.stdout
    assert shimmed.stderr.splitlines()[-1:] == alone.stderr.splitlines()[-1:]


@pytest.mark.parametrize("raised", ["TimeoutError", "AttributeError", "MemoryError"])
@pytest.mark.parametrize("where", ["probe", "examine"])
def test_an_error_from_outside_ends_the_import_and_repairs_nothing(
    reference: Interpreter, where: str, raised: str
) -> None:
    code = f"""
        import signal, sys
        import cupy_compat
        struck = []

        def alarm(number, frame):
            raise {raised}("the job's time is up")

        # Raise the signal at that moment.
        def trace(frame, event, argument):
            if frame.f_code.co_name == "{where}" and not struck:
                struck.append(True)
                sys.settrace(None)
                signal.raise_signal(signal.SIGALRM)

        signal.signal(signal.SIGALRM, alarm)
        sys.settrace(trace)
        try:
            import cupy
        except {raised} as error:
            print(error)
        import cupy
        print(cupy._util.functools is sys.modules["functools"], cupy_compat.status().state)
    """
    printed = reference.output(code, **arming())
    assert printed.splitlines() == ["the job's time is up", "True healthy"]


@pytest.mark.parametrize(
    ("memoize", "trials", "state"),
    [("lambda function: function", 1, "healthy"), ("[].pop()", 2, "inactive"), ("", 0, "inactive")],
)
def test_install_tries_a_cupy_as_often_as_it_must_and_keeps_its_modules(
    bare: Interpreter, memoize: str, trials: int, state: str
) -> None:
    code = f"""
        import sys, types
        import cupy_compat

        def memoize():
            tried.append(True)
            return {memoize or None}

        tried = []
        sys.modules["cupy._util"] = util = types.ModuleType("cupy._util")
        if {bool(memoize)}:
            util.memoize = memoize
        print(cupy_compat.install(force=True).state, len(tried))
        cupy_compat.install(force=True)
        print("cupy._util" in sys.modules)
    """
    assert bare.output(code).split() == [state, str(trials), "True"]


def test_the_reason_names_the_error_of_the_second_attempt(bare: Interpreter) -> None:
    code = """
        import sys, types
        import cupy_compat

        def memoize(errors=iter([ValueError("first"), KeyError("second")])):
            raise next(errors)

        sys.modules["cupy._util"] = util = types.ModuleType("cupy._util")
        util.memoize = memoize
        print(cupy_compat.install(force=True).reason)
    """
    assert "could not examine it (KeyError: 'second')" in bare.output(code)


def test_the_hook_works_after_ctrl_c_at_any_moment_of_the_search(broken: Interpreter) -> None:
    code = """
        import functools, sys
        import cupy_compat

        def import_interrupted_at(moment):
            passed = 0

            def lines(frame, event, argument):
                nonlocal passed
                passed += event == "line"
                if passed == moment:
                    sys.settrace(None)
                    raise KeyboardInterrupt
                return lines

            def calls(frame, event, argument):
                if frame.f_code.co_filename == cupy_compat._hook.__file__:
                    searched.append(frame.f_locals.get("name") == "cupy._util")
                    return lines if any(searched) else None

            searched = []
            sys.settrace(calls)
            try:
                import cupy
            finally:
                sys.settrace(None)

        interrupted = 0
        for moment in range(1, 15):
            try:
                import_interrupted_at(moment)
                break
            except KeyboardInterrupt:
                interrupted += 1
        import cupy
        print(interrupted > 3, cupy_compat.status().state)
    """
    assert broken.output(code, **arming()) == "True repaired\n"


def test_install_does_not_hang_in_a_child_forked_during_an_import(reference: Interpreter) -> None:
    code = """
        import importlib.machinery, os, signal, sys, threading, warnings
        import cupy_compat
        warnings.simplefilter("ignore")
        begun, forked = threading.Event(), threading.Event()

        class Slow:
            def find_spec(self, name, path=None, target=None):
                if name != "cupy._util":
                    return None
                spec = importlib.machinery.PathFinder.find_spec(name, path)
                execute = spec.loader.exec_module

                def wait(module):
                    begun.set()
                    forked.wait(30)
                    execute(module)

                spec.loader.exec_module = wait
                return spec

        # After the shim's own finder.
        sys.meta_path.insert(1, Slow())
        thread = threading.Thread(target=lambda: __import__("cupy"))
        thread.start()
        assert begun.wait(30)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            cupy_compat.install(force=True)
            os._exit(0)
        print(os.waitpid(child, 0)[1])
        forked.set()
        thread.join()
    """
    assert reference.output(code, **arming()) == "0\n"


def test_install_keeps_the_modules_of_a_working_cupy_without_its_entry_in_sys_modules(
    broken: Interpreter,
) -> None:
    code = """
        import sys
        import cupy_compat
        import cupy
        held = sys.modules.pop("cupy")
        before = set(sys.modules)
        print(cupy_compat.install(force=True).state, before <= set(sys.modules))
        cupy_compat.uninstall()
        print(cupy_compat.install(force=True).state, before <= set(sys.modules))
        import cupy
        print(cupy.ndarray is held.ndarray)
    """
    assert broken.output(code, **arming()).split() == ["repaired", "True"] * 2 + ["True"]


def test_install_repairs_a_failed_cupy_again_after_uninstall(broken: Interpreter) -> None:
    code = """
        def import_cupy():
            try:
                import cupy
                print(cupy.memoize()(len)("abc"))
            except AttributeError as error:
                print("__name__" in str(error))

        import_cupy()
        import cupy_compat
        cupy_compat.install(force=True)
        cupy_compat.uninstall()
        import_cupy()
        cupy_compat.install(force=True)
        import_cupy()
    """
    assert broken.output(code, CUPY_COMPAT="never").split() == ["True", "True", "3"]


def test_install_does_not_try_a_healthy_cupy_again(reference: Interpreter) -> None:
    code = """
        import cupy_compat
        import cupy
        tried = []

        def memoize(*arguments, own=cupy._util.memoize):
            tried.append(arguments)
            return own(*arguments)

        cupy._util.memoize = memoize
        print(cupy_compat.install(force=True).state, tried)
    """
    assert reference.output(code, **arming()) == "healthy []\n"


def test_patching_wraps_through_a_repaired_cupy_patches_functools(broken: Interpreter) -> None:
    code = """
        import functools
        from unittest import mock
        import cupy_compat, cupy
        own = functools.wraps
        with mock.patch("cupy._util.functools.wraps") as replaced:
            print(functools.wraps is replaced)
        print(functools.wraps is own)
        with mock.patch("functools.wraps", side_effect=own) as replaced:
            print(cupy.memoize()(len).__name__, replaced.call_count)
    """
    assert broken.output(code, **arming()).split() == ["True", "True", "len", "1"]


def test_arm_does_not_build_a_status(bare: Interpreter) -> None:
    code = """
        import sys
        import cupy_compat
        cupy_compat.arm()
        print([name for name in ("cupy_compat._status", "dataclasses") if name in sys.modules])
    """
    assert bare.output(code) == "[]\n"
