"""The policy that ``CUPY_COMPAT`` selects, and CuPys that the shim cannot repair."""

import sys
from pathlib import Path

import pytest
from conftest import Interpreter, arming

import cupy_compat


def stand_in(folder: Path, **files: str) -> str:
    """Write a package ``cupy`` that stands in for CuPys that no build produces."""
    package = folder / "cupy"
    package.mkdir()
    for name, text in {"__init__": "", **files}.items():
        (package / f"{name}.py").write_text(text)
    return str(folder)


def with_stand_in(interpreter: Interpreter, folder: str) -> dict[str, str]:
    return {"PYTHONPATH": f"{interpreter.shim}:{folder}", "CUPY_COMPAT": "always"}


@pytest.mark.parametrize(
    ("value", "armed"), [("always", True), ("never", False), ("auto", None), ("", None)]
)
def test_the_variable_decides(bare: Interpreter, value: str, armed: bool | None) -> None:
    if armed is None:
        armed = sys.version_info >= (3, 13)
    code = "import cupy_compat; print(cupy_compat.status().state, cupy_compat.install().state)"
    state = "armed" if armed else "inactive"
    assert bare.output(code, CUPY_COMPAT=value) == f"{state} {state}\n"


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13), (4, 0)])
def test_by_default_it_arms_from_python_3_13_on(
    bare: Interpreter, version: tuple[int, int]
) -> None:
    # Stands in for the Pythons that this test does not run on.
    said = bare.output(f"""
        import sys
        sys.version_info = {(*version, 1, "final", 0)}
        import cupy_compat
        print(cupy_compat.status())
    """)
    if version >= (3, 13):
        assert said.startswith("armed: ")
    else:
        advice = f"On Python {version[0]}.{version[1]}, set CUPY_COMPAT=always or call install"
        assert said.startswith(f"inactive: {advice}(force=True) to repair CuPy.")


def test_an_invalid_value_warns_once_and_means_auto(bare: Interpreter) -> None:
    printed = bare.output(
        """
        import sys, warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import cupy_compat
            cupy_compat.install()
        (warning,) = caught
        print(warning.category.__name__, warning.filename, warning.lineno)
        print(warning.message)
        print(cupy_compat.status().state)
        """,
        CUPY_COMPAT="alwyas",
    )
    origin, message, state = printed.splitlines()
    assert origin == "RuntimeWarning <string> 5"
    assert all(word in message for word in ("'alwyas'", "'auto'", "'always'", "'never'"))
    assert state == ("armed" if sys.version_info >= (3, 13) else "inactive")


def test_uninstall_without_install_changes_nothing(bare: Interpreter) -> None:
    code = """
        import sys
        import cupy_compat
        before = list(sys.meta_path)
        cupy_compat.uninstall()
        print(before == sys.meta_path, cupy_compat.status().state)
    """
    assert bare.output(code, CUPY_COMPAT="never").split() == ["True", "inactive"]


def test_the_status_is_a_read_only_record() -> None:
    status = cupy_compat.status()
    assert isinstance(status, cupy_compat.Status)
    with pytest.raises(AttributeError, match="cannot assign to field"):
        status.state = "healthy"  # type: ignore[misc]
    assert status.python == sys.version.split()[0]


def test_a_status_prints_the_versions_that_it_knows() -> None:
    whole = cupy_compat.Status("healthy", "Because.", "3.13.0", "13.6.0", "3.0.12")
    assert str(whole) == (
        "healthy: Because. (Python 3.13.0, CuPy 13.6.0, compiled with Cython 3.0.12)"
    )
    early = cupy_compat.Status("armed", "Why.", "3.13.0")
    assert str(early) == "armed: Why. (Python 3.13.0, CuPy not loaded)"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'stauts'"):
        cupy_compat.stauts  # noqa: B018


def test_without_cupy_the_import_fails_as_usual(bare: Interpreter) -> None:
    done = bare.run("import cupy_compat\nimport cupy", CUPY_COMPAT="always")
    # Later Pythons add a suggestion to the message.
    assert "ModuleNotFoundError: No module named 'cupy'" in done.stderr.splitlines()[-1]
    assert "cupy_compat" not in done.stderr


def test_a_cupy_with_another_fault_fails_with_its_own_error(broken: Interpreter) -> None:
    # A genuine CuPy that lacks a module, which it imports after the repair of its _util.
    code = """
        import sys
        import cupy_compat
        sys.modules["cupy._core._kernel"] = None
        import cupy
    """
    done = broken.run(code, **arming())
    assert "ModuleNotFoundError: import of cupy._core._kernel halted" in done.stderr
    assert "cupy_compat" not in done.stderr


def test_if_util_itself_fails_the_hook_is_not_in_the_traceback(
    bare: Interpreter, tmp_path: Path
) -> None:
    folder = stand_in(tmp_path, __init__="import cupy._util", _util="1 / 0")
    done = bare.run("import cupy_compat\nimport cupy", **with_stand_in(bare, folder))
    assert done.stderr.strip().endswith("ZeroDivisionError: division by zero")
    assert "_util.py" in done.stderr
    assert "cupy_compat" not in done.stderr


@pytest.mark.parametrize(
    ("util", "reason"),
    [
        (None, "it has no cupy._util"),
        ("x = 1", "has no memoize"),
        ("memoize = 1", "has no memoize"),
        ("def memoize(): raise OSError('other')", "OSError: other"),
        ("import functools\ndef memoize(): raise OSError('other')", "OSError: other"),
        ("memoize = lambda: lambda f: lambda x: 7", "returned something else"),
    ],
)
def test_a_cupy_that_is_too_old_or_too_new_is_left_alone_and_the_status_says_why(
    bare: Interpreter, tmp_path: Path, util: str | None, reason: str
) -> None:
    files = {"__init__": "__version__ = '99.0'"}
    if util is not None:
        files = {"__init__": "from cupy import _util\n__version__ = '99.0'", "_util": util}
    folder = stand_in(tmp_path, **files)
    printed = bare.output(
        """
        import cupy_compat, cupy
        util = getattr(cupy, "_util", None)
        print(cupy_compat.status())
        if hasattr(util, "functools"):
            import functools
            print(util.functools is functools)
        """,
        **with_stand_in(bare, folder),
    )
    lines = printed.splitlines()
    assert lines[0].startswith("inactive: CuPy is left alone")
    assert reason in lines[0]
    assert "CuPy 99.0" in lines[0]
    assert lines[1:] in ([], ["True"])


def test_functions_that_refuse_only_annotations_are_repaired(
    bare: Interpreter, tmp_path: Path
) -> None:
    # Stands in on all Pythons for Cython 3.2.6 on Python 3.14 (cython/cython#7767): the name of the
    # function is writable, and the setter of its annotations raises without a Python frame.
    folder = stand_in(
        tmp_path,
        __init__="from cupy import _util\n__version__ = '14.1.1'",
        _util="""
import functools

class cython_function_or_method:
    def __init__(self, call): self.call = call
    __name__ = __qualname__ = "ret"
    __annotations__ = __annotate__ = property(None, len)
    def __call__(self, *args): return self.call(*args)

def memoize():
    def decorator(f):
        return functools.wraps(f)(cython_function_or_method(f))
    return decorator
""",
    )
    printed = bare.output(
        """
        import functools
        import cupy_compat, cupy
        def annotated(x: int) -> int: return x
        def plain(x): return x
        f = cupy._util.memoize()(annotated)
        print(f.__annotations__ == annotated.__annotations__, f(2), f.__name__)
        print(cupy_compat.status().state)
        later = functools.wraps(annotated)(cupy._util.memoize()(plain))
        print(later.__annotations__ == annotated.__annotations__, later(2), later.__name__)
        """,
        **with_stand_in(bare, folder),
    )
    assert printed.splitlines() == ["True 2 annotated", "repaired", "True 2 annotated"]
