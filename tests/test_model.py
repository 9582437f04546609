"""What the shim says stays true whatever is done, in whatever order."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

import model
import pytest
from conftest import Interpreter
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

# A stand-in for CuPy, for speed: thousands of imports in one process. The refusal is the real one
# all the same, since its wrapper is a built-in function too. The same walks are made on genuine
# CuPys below.
SOURCES = {
    "cupy": """
        from cupy import _util
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
    # As CuPy's own modules do: so an import cannot be tried again with some of them there.
    "cupy.device": """
        import cupy
        @cupy._util.memoize()
        def device(number):
            return number
    """,
}


class StandIn:
    """Finds and loads the stand-in; a module is executed once and then handed out again."""

    def __init__(self, healthy: bool) -> None:
        self.healthy = healthy
        self.made: dict[str, ModuleType] = {}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in SOURCES:
            return PathFinder.find_spec(name, path, target)  # type: ignore[arg-type]
        return ModuleSpec(name, self, is_package=name == "cupy")  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        # As Cython does it; CuPy's own package is ordinary Python.
        return self.made.get(spec.name) if spec.name == model.UTIL else None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        if self.made.get(name) is module:
            return
        vars(module)["healthy"] = self.healthy
        exec(textwrap.dedent(SOURCES[name]), vars(module))
        self.made[name] = module


class Shim(RuleBasedStateMachine):
    """Everything that people do to the shim and around it."""

    @initialize(healthy=st.booleans())
    def begin(self, healthy: bool) -> None:
        self.kept = {
            name: module
            for name, module in sys.modules.items()
            if name.partition(".")[0] in ("cupy", "cupyx", "cupy_backends", "cupy_compat")
        }
        self.meta_path, self.variable = sys.meta_path, os.environ.get("CUPY_COMPAT")
        for name in self.kept:
            del sys.modules[name]
        stand_in = StandIn(healthy)
        # Last, where Python's own finder was, since that one may know a CuPy of its own.
        others = [
            one
            for one in self.meta_path
            if one is not PathFinder and not getattr(one, "of_cupy_compat", False)
        ]
        sys.meta_path = [*others, stand_in]  # type: ignore[list-item]
        self.world = model.World(healthy, stand_in.find_spec)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for name in list(sys.modules):
            if name.partition(".")[0] in ("cupy", "cupyx", "cupy_backends", "cupy_compat"):
                del sys.modules[name]
        sys.modules.update(self.kept)
        sys.meta_path = self.meta_path
        os.environ.pop("CUPY_COMPAT", None)
        if self.variable is not None:
            os.environ["CUPY_COMPAT"] = self.variable

    def copy(self, number: int) -> model.Copy:
        return self.world.copies[number % len(self.world.copies)]

    @rule(number=st.integers(0, 3), force=st.booleans())
    def install(self, number: int, force: bool) -> None:
        self.world.install(self.copy(number), force)

    @rule(number=st.integers(0, 3))
    def uninstall(self, number: int) -> None:
        self.world.uninstall(self.copy(number))

    @rule()
    def import_cupy(self) -> None:
        self.world.import_cupy()

    @rule()
    def purge_cupy(self) -> None:
        self.world.purge_cupy()

    @rule()
    def load_anew(self) -> None:
        self.world.load_anew()

    @rule(submodule=st.sampled_from(model.SUBMODULES))
    def reload(self, submodule: str) -> None:
        self.world.reload(submodule)

    @rule(value=st.sampled_from(model.VALUES))
    def set_variable(self, value: str | None) -> None:
        self.world.set_variable(value)

    @rule(kind=st.sampled_from(model.FOREIGN), first=st.booleans())
    def add_foreign(self, kind: str, first: bool) -> None:
        self.world.add_foreign(kind, first)

    @rule()
    def remove_foreign(self) -> None:
        self.world.remove_foreign()

    @rule()
    def take_snapshot(self) -> None:
        self.world.take_snapshot()

    @rule(number=st.integers(0, 9))
    def restore_snapshot(self, number: int) -> None:
        self.world.restore_snapshot(number)

    @invariant()
    def what_every_copy_says_is_true(self) -> None:
        if hasattr(self, "world"):
            self.world.check()


#: How many sequences, and how long; the session ``stress`` asks for more.
SEQUENCES = int(os.environ.get("MODEL_SEQUENCES", "40"))
Shim.TestCase.settings = settings(
    max_examples=SEQUENCES, stateful_step_count=40, derandomize=True, deadline=None, database=None
)
test_whatever_is_done_the_status_is_true: Callable[..., object] = Shim.TestCase


#: Walks on genuine CuPys: each a process of its own.
WALKS = int(os.environ.get("MODEL_WALKS", "3"))


def made_walk(interpreter: Interpreter, seed: int, kind: str) -> subprocess.CompletedProcess[str]:
    program = f"import runpy, sys; sys.argv = ['', '{seed}', '40', '{kind}']\n"
    program += f"runpy.run_path({str(Path(model.__file__))!r}, run_name='__main__')"
    return interpreter.run(program)


@pytest.mark.parametrize("seed", range(WALKS))
def test_the_same_holds_on_a_genuinely_broken_cupy(broken: Interpreter, seed: int) -> None:
    done = made_walk(broken, seed, "broken")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", range(WALKS))
def test_the_same_holds_on_a_healthy_cupy(reference: Interpreter, seed: int) -> None:
    done = made_walk(reference, 1000 + seed, "healthy")
    assert done.returncode == 0, done.stdout + done.stderr
