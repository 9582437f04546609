"""What ``CUPY_COMPAT`` means, and what happens where there is nothing to repair."""

import copy
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Interpreter, arming

import cupy_compat
from cupy_compat import _policy


def stand_in(folder: Path, **files: str) -> str:
    """Write a package ``cupy`` that stands in for CuPys that nobody has: far too old, or new."""
    package = folder / "cupy"
    package.mkdir()
    for name, text in {"__init__": "", **files}.items():
        (package / f"{name}.py").write_text(text)
    return str(folder)


def with_stand_in(interpreter: Interpreter, folder: str) -> dict[str, str]:
    return {"PYTHONPATH": f"{interpreter.shim}:{folder}", "CUPY_COMPAT": "always"}


@pytest.mark.parametrize(
    ("value", "armed"),
    [("always", True), ("never", False), ("auto", None), ("", None)],
)
def test_the_variable_decides(bare: Interpreter, value: str, armed: bool | None) -> None:
    if armed is None:
        armed = sys.version_info >= (3, 13)
    code = "import cupy_compat; print(cupy_compat.status().state)"
    assert bare.output(code, CUPY_COMPAT=value).strip() == ("armed" if armed else "inactive")


@pytest.mark.parametrize(
    ("version", "armed"), [((3, 11), False), ((3, 12), False), ((3, 13), True), ((4, 0), True)]
)
def test_unless_told_otherwise_it_arms_from_python_3_13_on(
    version: tuple[int, int], armed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUPY_COMPAT", raising=False)
    monkeypatch.setattr(_policy, "sys", SimpleNamespace(version_info=(*version, 1, "final", 0)))
    arming, reason = _policy.decide()
    assert arming is armed
    assert f"On Python {version[0]}.{version[1]} nothing is done" in reason


def test_a_value_that_means_nothing_warns_once_and_counts_as_auto(bare: Interpreter) -> None:
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


def test_force_arms_whatever_the_variable_says(bare: Interpreter) -> None:
    code = """
        import cupy_compat
        print(cupy_compat.install().state, cupy_compat.install(force=True).state)
        cupy_compat.uninstall()
        print(cupy_compat.status().state)
    """
    assert bare.output(code, CUPY_COMPAT="never").split() == ["inactive", "armed", "inactive"]


def test_the_reason_for_doing_nothing_names_its_cause(bare: Interpreter) -> None:
    code = "import cupy_compat; print(cupy_compat.status())"
    assert "CUPY_COMPAT=never is set" in bare.output(code, CUPY_COMPAT="never")
    if sys.version_info < (3, 13):
        version = "{}.{}".format(*sys.version_info)
        assert f"On Python {version} nothing is done" in bare.output(code)
    uninstalled = "import cupy_compat; cupy_compat.uninstall(); print(cupy_compat.status())"
    assert "uninstall() was called" in bare.output(uninstalled, CUPY_COMPAT="always")


def test_uninstall_without_install_is_harmless(bare: Interpreter) -> None:
    code = """
        import sys
        import cupy_compat
        before = list(sys.meta_path)
        cupy_compat.uninstall()
        print(before == sys.meta_path, cupy_compat.status().state)
    """
    assert bare.output(code, CUPY_COMPAT="never").split() == ["True", "inactive"]


def test_the_status_is_a_frozen_and_printable_record() -> None:
    status = cupy_compat.status()
    assert isinstance(status, cupy_compat.Status)
    for change in (lambda: setattr(status, "state", "healthy"), lambda: delattr(status, "reason")):
        with pytest.raises(AttributeError, match=r"cannot (assign to|delete) field"):
            change()
    with pytest.raises(AttributeError):
        status.more = 1  # type: ignore[attr-defined]
    assert status.__match_args__ == ("state", "reason", "python", "cupy", "cython")
    assert str(status).startswith(f"{status.state}: {status.reason}")
    assert status.python == sys.version.split()[0]


def test_a_status_is_equal_to_its_copies_and_to_no_other() -> None:
    status = cupy_compat.Status("healthy", "Because.", "3.13.0", "13.6.0", "3.0.12")
    for copied in (
        copy.copy(status),
        pickle.loads(pickle.dumps(status)),
        eval(repr(status), {"Status": cupy_compat.Status}),
    ):
        assert copied == status
        assert hash(copied) == hash(status)
    assert status != cupy_compat.Status("armed", "Because.", "3.13.0", "13.6.0", "3.0.12")
    assert status != ("healthy", "Because.", "3.13.0", "13.6.0", "3.0.12")
    assert (
        str(status) == "healthy: Because. (Python 3.13.0, CuPy 13.6.0, compiled with Cython 3.0.12)"
    )
    assert str(cupy_compat.Status("armed", "Why.", "3.13.0")) == (
        "armed: Why. (Python 3.13.0, CuPy not loaded)"
    )


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'stauts'"):
        cupy_compat.stauts  # noqa: B018


def test_without_cupy_the_ordinary_error_comes_with_nothing_of_ours(bare: Interpreter) -> None:
    done = bare.run("import cupy_compat\nimport cupy", CUPY_COMPAT="always")
    # Later Pythons go on to ask whether something else was meant.
    assert "ModuleNotFoundError: No module named 'cupy'" in done.stderr.splitlines()[-1]
    assert "cupy_compat" not in done.stderr


def test_a_cupy_broken_in_another_way_fails_with_its_own_error(
    broken: Interpreter, tmp_path: Path
) -> None:
    # A real CuPy, which lacks a module that it imports after its _util has been repaired.
    code = """
        import sys
        import cupy_compat
        sys.modules["cupy._core._kernel"] = None
        import cupy
    """
    done = broken.run(code, **arming())
    assert "ModuleNotFoundError: import of cupy._core._kernel halted" in done.stderr
    assert "cupy_compat" not in done.stderr


def test_a_cupy_whose_util_itself_fails_fails_without_the_hook_in_its_traceback(
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
def test_a_cupy_too_old_or_too_new_is_left_alone_and_the_status_says_why(
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


def test_a_function_whose_annotations_alone_fail_is_repaired_even_if_they_come_later(
    bare: Interpreter, tmp_path: Path
) -> None:
    # Stands in for Cython 3.2.6 on Python 3.14 (cython/cython issue 7767) on other Pythons: a
    # wrapper that takes a name, and whose setter of annotations raises, without a Python frame.
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
