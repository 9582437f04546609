"""What importing the shim leaves alone where it is inactive, and what it adds where it is armed."""

import sys
import textwrap

from conftest import SNAPSHOT, Interpreter


def new_modules(interpreter: Interpreter, statement: str, **environment: str) -> set[str]:
    printed = interpreter.output(
        f"""
        import sys
        before = set(sys.modules)
        {statement}
        print(*sorted(set(sys.modules) - before))
        """,
        **environment,
    )
    return set(printed.split())


def test_when_inactive_nothing_at_all_is_changed(bare: Interpreter) -> None:
    # On 3.13 and later that is so when it is told to do nothing.
    environment = {"CUPY_COMPAT": "never"} if sys.version_info >= (3, 13) else {}
    printed = bare.output(
        SNAPSHOT
        + textwrap.dedent("""
        before = snapshot()
        import cupy_compat
        for name in [name for name in sys.modules if name.startswith("cupy_compat")]:
            del sys.modules[name]
        print(changed(before, snapshot()))
        """),
        **environment,
    )
    assert printed.strip() == "[]"


def test_when_inactive_only_two_modules_of_its_own_are_loaded(bare: Interpreter) -> None:
    expected = {"cupy_compat", "cupy_compat._policy"}
    assert new_modules(bare, "import cupy_compat", CUPY_COMPAT="never") == expected
    if sys.version_info < (3, 13):
        assert new_modules(bare, "import cupy_compat") == expected
        assert new_modules(bare, "import cupy_compat", CUPY_COMPAT="") == expected


def test_when_armed_one_module_and_one_finder_come_to_that(bare: Interpreter) -> None:
    expected = {"cupy_compat", "cupy_compat._policy", "cupy_compat._hook"}
    assert new_modules(bare, "import cupy_compat", CUPY_COMPAT="always") == expected
    printed = bare.output(
        SNAPSHOT
        + textwrap.dedent("""
        before = snapshot()
        import cupy_compat
        assert "cupy" in repr(sys.meta_path[0])
        cupy_compat.uninstall()
        for name in [name for name in sys.modules if name.startswith("cupy_compat")]:
            del sys.modules[name]
        # Another list with the same finders: some thread may be going through the old one.
        print(changed(before, snapshot()), sys.meta_path == before["meta_path"][1:])
        """),
        CUPY_COMPAT="always",
    )
    assert printed.strip() == "['meta_path'] True"


def test_armed_by_default_from_python_3_13_on_and_not_before(bare: Interpreter) -> None:
    loaded = new_modules(bare, "import cupy_compat")
    assert ("cupy_compat._hook" in loaded) == (sys.version_info >= (3, 13))
