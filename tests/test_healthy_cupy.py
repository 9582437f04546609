"""CuPys that need no repair stay as they are, on every Python and whether armed or not."""

import json
import sys
import textwrap

import pytest
from conftest import SNAPSHOT, Interpreter, arming

UTIL = textwrap.dedent("""
    import cupy, json
    print(json.dumps({
        name: type(value).__name__ + " " + repr(value).partition(" at 0x")[0]
        for name, value in vars(cupy._util).items()
    }))
""")


@pytest.mark.parametrize("policy", ["auto", "always"])
def test_a_healthy_cupy_keeps_every_object_that_it_came_with(
    healthy: Interpreter, policy: str
) -> None:
    plain = json.loads(healthy.output(UTIL, shim=False))
    assert "memoize" in plain
    assert json.loads(healthy.output("import cupy_compat\n" + UTIL, CUPY_COMPAT=policy)) == plain


@pytest.mark.parametrize("policy", ["auto", "always"])
def test_importing_a_healthy_cupy_changes_what_it_changes_without_the_shim(
    healthy: Interpreter, policy: str
) -> None:
    code = SNAPSHOT + textwrap.dedent("""
        before = snapshot()
        import_shim()
        finders = sys.meta_path[: len(sys.meta_path) - len(before["meta_path"]) + 1]
        import cupy
        after = snapshot()
        after["meta_path"] = [item for item in after["meta_path"] if item not in finders]
        print(json.dumps({
            "changed": changed(before, after),
            "modules": sorted(name for name in sys.modules if not name.startswith("cupy_compat")),
            "finders": [repr(finder) for finder in finders],
            "functools": cupy._util.functools is functools,
        }))
    """)
    plain = json.loads(
        healthy.output(code.replace("import_shim()", ""), shim=False, CUPY_COMPAT=policy)
    )
    shimmed = json.loads(
        healthy.output(code.replace("import_shim()", "import cupy_compat"), CUPY_COMPAT=policy)
    )
    armed = policy == "always" or sys.version_info >= (3, 13)
    assert shimmed.pop("finders") == ["<cupy_compat: waits for cupy._util>"] * armed
    assert plain.pop("finders") == []
    assert shimmed == plain


def test_a_healthy_cupy_that_is_there_already_changes_nothing(healthy: Interpreter) -> None:
    printed = healthy.output(
        SNAPSHOT
        + textwrap.dedent("""
        import cupy
        util = dict(vars(cupy._util))
        before = snapshot()
        import cupy_compat
        state = cupy_compat.install(force=True).state
        after = snapshot()
        after["modules"] = before["modules"]
        hook = after["meta_path"].pop(1)
        print(changed(before, after), util == vars(cupy._util), state, hook)
        """),
    )
    assert printed.strip() == "[] True healthy <cupy_compat: waits for cupy._util>"


def test_what_only_a_repair_needs_is_loaded_for_a_repair_alone(
    healthy: Interpreter, broken: Interpreter
) -> None:
    code = "import cupy_compat, cupy, sys; print('cupy_compat._memoized' in sys.modules)"
    assert healthy.output(code, **arming()).strip() == "False"
    assert broken.output(code, **arming()).strip() == "True"


def test_status_tells_of_a_healthy_cupy(healthy: Interpreter) -> None:
    printed = healthy.output(
        """
        import cupy_compat, cupy
        status = cupy_compat.status()
        print(status.state, status.cupy == cupy.__version__, status.cython, status.python)
        """,
        CUPY_COMPAT="always",
    )
    state, version, cython, python = printed.split()
    assert (state, version, python) == ("healthy", "True", sys.version.split()[0])
    assert cython.count(".") == 2
