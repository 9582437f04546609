"""The status of the shim is true after any sequence of actions."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import textwrap
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

import model
import pytest
from conftest import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

# A stand-in for CuPy, because thousands of imports in one process must be fast. It fails with the
# same error, because its wrapper is a built-in function, too. Further sequences use genuine CuPys.
SOURCES = {
    "cupy": """
        from cupy._util import memoize
        import cupy.device
        __version__ = "13.4.1"
    """,
    "cupy._util": """
        import functools
        cython_build_ver = "3.1.1"

        class Cache(dict):
            def __init__(self, f):
                self.f = f
            def __missing__(self, key):
                self[key] = self.f(key)
                return self[key]

        def memoize(for_each_device=False):
            def decorator(f):
                cached = Cache(f).__getitem__
                if healthy:
                    def ret(key):
                        return cached(key)
                else:
                    ret = cached
                return functools.wraps(f)(ret)
            return decorator
    """,
    # Like CuPy's own modules, it makes a second import fail if some modules are left behind.
    "cupy.device": """
        import cupy
        @cupy._util.memoize()
        def device(number):
            return number
    """,
}


class StandIn:
    """Finds and loads the stand-in; further imports of a module return the same object."""

    def __init__(self, healthy: bool) -> None:
        self.healthy = healthy
        self.made: dict[str, ModuleType] = {}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in SOURCES:
            return PathFinder.find_spec(name, path, target)  # type: ignore[arg-type]
        return ModuleSpec(name, self, is_package=name == "cupy")  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        # Like Cython. The package cupy itself is ordinary Python.
        return self.made.get(spec.name) if spec.name == model.UTIL else None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        if self.made.get(name) is module:
            return
        vars(module)["healthy"] = self.healthy
        exec(textwrap.dedent(SOURCES[name]), vars(module))
        self.made[name] = module


@contextlib.contextmanager
def without_packages() -> Iterator[None]:
    """Remove CuPy and the shim from this process, and restore them afterwards."""

    def loaded() -> dict[str, ModuleType]:
        names = ("cupy", "cupyx", "cupy_backends", "cupy_compat")
        return {name: sys.modules[name] for name in sys.modules if name.split(".")[0] in names}

    kept, meta_path, variables = loaded(), sys.meta_path, dict(os.environ)
    try:
        for name in kept:
            del sys.modules[name]
        yield
    finally:
        for name in loaded():
            del sys.modules[name]
        sys.modules.update(kept)
        sys.meta_path = meta_path
        os.environ.clear()
        os.environ.update(variables)


#: The number of sequences; the session ``stress`` sets more.
SEQUENCES = int(os.environ.get("MODEL_SEQUENCES", "40"))


@settings(max_examples=SEQUENCES, derandomize=True, deadline=None, database=None)
@given(healthy=st.booleans(), chance=st.randoms(use_true_random=False))
def test_the_status_is_true_after_any_sequence_of_actions(
    healthy: bool, chance: random.Random
) -> None:
    stand_in = StandIn(healthy)
    with without_packages():
        ours = [one for one in sys.meta_path if getattr(one, "of_cupy_compat", False)]
        # It replaces Python's own finder, which may find a genuine CuPy.
        others = [one for one in sys.meta_path if one not in (*ours, PathFinder)]
        sys.meta_path = [*others, stand_in]  # type: ignore[list-item]
        model.walk(model.World(healthy, stand_in.find_spec), chance, 40)


#: The number of random sequences on genuine CuPys, each in a process of its own.
WALKS = int(os.environ.get("MODEL_WALKS", "3"))


@pytest.mark.parametrize("seed", range(WALKS))
@pytest.mark.parametrize(("kind", "cupy"), [("broken", "broken"), ("healthy", "reference")])
def test_the_same_holds_on_genuine_cupys(
    kind: str, cupy: str, seed: int, request: pytest.FixtureRequest
) -> None:
    interpreter: Interpreter = request.getfixturevalue(cupy)
    program = f"import runpy, sys; sys.argv = ['', '{seed}', '40', '{kind}']\n"
    program += f"runpy.run_path({str(Path(model.__file__))!r}, run_name='__main__')"
    done = interpreter.run(program)
    assert done.returncode == 0, done.stdout + done.stderr
