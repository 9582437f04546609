"""Healthy CuPys are not changed, on any Python, armed or not."""

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
def test_a_healthy_cupy_keeps_all_its_objects(healthy: Interpreter, policy: str) -> None:
    plain = json.loads(healthy.output(UTIL, shim=False))
    assert "memoize" in plain
    assert json.loads(healthy.output("import cupy_compat\n" + UTIL, CUPY_COMPAT=policy)) == plain


@pytest.mark.parametrize("policy", ["auto", "always"])
def test_importing_a_healthy_cupy_has_the_same_effects_as_without_the_shim(
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


def test_a_healthy_cupy_that_is_already_imported_is_not_changed(healthy: Interpreter) -> None:
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
        """)
    )
    assert printed.strip() == "[] True healthy <cupy_compat: waits for cupy._util>"


def test_modules_for_the_repair_are_loaded_only_for_a_repair(
    healthy: Interpreter, broken: Interpreter
) -> None:
    code = "import cupy_compat, cupy, sys; print('cupy_compat._memoized' in sys.modules)"
    assert healthy.output(code, **arming()).strip() == "False"
    assert broken.output(code, **arming()).strip() == "True"
