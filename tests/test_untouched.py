"""What importing the shim changes in a process: nothing if inactive, one finder if armed."""

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


def test_when_inactive_it_changes_nothing(bare: Interpreter) -> None:
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


def test_when_inactive_it_loads_two_modules(bare: Interpreter) -> None:
    expected = {"cupy_compat", "cupy_compat._policy"}
    assert new_modules(bare, "import cupy_compat", CUPY_COMPAT="never") == expected
    if sys.version_info < (3, 13):
        assert new_modules(bare, "import cupy_compat") == expected
        assert new_modules(bare, "import cupy_compat", CUPY_COMPAT="") == expected


def test_when_armed_it_adds_one_module_and_one_finder(bare: Interpreter) -> None:
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
        # A new list with the same finders: another thread may be iterating over the old one.
        print(changed(before, snapshot()), sys.meta_path == before["meta_path"][1:])
        """),
        CUPY_COMPAT="always",
    )
    assert printed.strip() == "['meta_path'] True"
