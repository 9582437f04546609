"""The import hook, tested on modules of its own, because it knows nothing about CuPy."""

from __future__ import annotations

import contextvars
import copy
import importlib
import importlib.util
import sys
import threading
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

import pytest

from cupy_compat import _hook

NAME = "cupy_compat_awaited"


@pytest.fixture(autouse=True)
def awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Create a module to wait for, and restore the import system afterwards."""
    source = tmp_path / f"{NAME}.py"
    source.write_text("order = ['executed']\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = sys.meta_path
    monkeypatch.setattr(sys, "meta_path", list(before))
    yield source
    sys.modules.pop(NAME, None)


def act(module: ModuleType) -> None:
    module.order.append("acted")


class Delegating:
    """A finder that asks all other finders, as many do."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None


class Asking:
    """A finder that asks all finders through importlib, as that of wrapt does."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name in self.asked:
            return None
        self.asked.append(name)
        try:
            return importlib.util.find_spec(name)
        finally:
            self.asked.remove(name)


class AskingAnew(Asking):
    """The same in a context of its own, as a thread has one: our finder answers twice."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return contextvars.Context().run(super().find_spec, name)


class Silent:
    """A finder that counts how often it is asked."""

    count = 0

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        self.count += name == NAME


def imported() -> list[str]:
    order: list[str] = importlib.import_module(NAME).order
    return order


def finders() -> list[object]:
    return [finder for finder in sys.meta_path if repr(finder).endswith(f"waits for {NAME}>")]


def test_the_action_runs_once_right_after_the_execution() -> None:
    _hook.arm(NAME, act)
    assert _hook.is_armed(NAME)
    assert imported() == ["executed", "acted"]
    del sys.modules[NAME]
    assert imported() == ["executed", "acted"]


def test_arming_twice_leaves_one_finder_with_the_latest_action() -> None:
    _hook.arm(NAME, lambda module: module.order.append("first"))
    _hook.arm(NAME, act)
    assert len(finders()) == 1
    assert imported() == ["executed", "acted"]


def test_disarming_restores_the_meta_path() -> None:
    before = list(sys.meta_path)
    _hook.arm(NAME, act)
    assert sys.meta_path != before
    _hook.disarm(NAME)
    assert sys.meta_path == before
    assert not _hook.is_armed(NAME)
    assert imported() == ["executed"]


def test_disarming_removes_only_the_finder_of_that_name() -> None:
    _hook.arm(NAME, act)
    _hook.arm("another", act)
    _hook.disarm("another")
    assert _hook.is_armed(NAME)
    assert not _hook.is_armed("another")


def test_a_finder_restored_after_disarming_does_nothing_until_it_is_armed() -> None:
    _hook.arm(NAME, act)
    kept = list(sys.meta_path)
    _hook.disarm(NAME)
    sys.meta_path[:] = kept
    assert not _hook.is_armed(NAME)
    assert imported() == ["executed"]
    del sys.modules[NAME]
    _hook.arm(NAME, act)
    assert len(finders()) == 1
    assert imported() == ["executed", "acted"]


def test_copies_of_this_module_share_one_finder() -> None:
    _hook.arm(NAME, lambda module: module.order.append("old"))
    spec = importlib.util.find_spec("cupy_compat._hook")
    assert spec is not None and spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert fresh.is_armed(NAME)
    fresh.arm(NAME, act)
    assert len(finders()) == 1
    assert imported() == ["executed", "acted"]
    fresh.disarm(NAME)
    assert finders() == []


def test_two_finders_run_the_action_once() -> None:
    _hook.arm(NAME, act)
    second = type(finders()[0])(NAME, act)  # type: ignore[call-arg]
    sys.meta_path.insert(0, second)  # type: ignore[arg-type]
    assert imported() == ["executed", "acted"]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("foreign", [Delegating, Asking, AskingAnew, Silent])
def test_other_finders_may_delegate_before_or_after_ours(foreign: type, place: int) -> None:
    _hook.arm(NAME, act)
    finder = foreign()
    sys.meta_path.insert(place, finder)
    assert imported() == ["executed", "acted"]
    if foreign is Silent:
        assert finder.count == 1


@pytest.mark.parametrize("place", [0, 1])
def test_an_error_of_another_finder_is_raised_and_has_no_lasting_effect(place: int) -> None:
    class Raising:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == NAME:
                raise OSError("not now")

    _hook.arm(NAME, act)
    sys.meta_path.insert(place, Raising())  # type: ignore[arg-type]
    with pytest.raises(OSError, match="not now"):
        imported()
    del sys.meta_path[place]
    assert imported() == ["executed", "acted"]


def test_finders_without_find_spec_and_specs_without_a_loader_are_ignored(awaited: Path) -> None:
    _hook.arm(NAME, act)
    sys.meta_path.insert(1, object())  # type: ignore[arg-type]
    awaited.unlink()
    (awaited.parent / NAME).mkdir()
    assert importlib.import_module(NAME).__path__


def test_a_loader_that_only_knows_load_module_is_left_alone() -> None:
    class Old:
        def load_module(self, name: str) -> None: ...

    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            return importlib.machinery.ModuleSpec(name, Old()) if name == NAME else None  # type: ignore[arg-type]

    _hook.arm(NAME, act)
    sys.meta_path.insert(1, Finder())  # type: ignore[arg-type]
    spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert type(spec.loader) is Old


def test_a_missing_module_is_not_found() -> None:
    _hook.arm("cupy_compat_absent", act)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("cupy_compat_absent")


@pytest.mark.parametrize("kind", [list, tuple])
def test_the_meta_path_keeps_its_type(kind: type) -> None:
    sys.meta_path = kind(sys.meta_path)
    before = sys.meta_path
    _hook.arm(NAME, act)
    assert type(sys.meta_path) is kind
    assert (sys.meta_path is before) == (kind is list)
    assert imported() == ["executed", "acted"]
    _hook.disarm(NAME)
    assert type(sys.meta_path) is kind
    assert finders() == []


def test_at_shutdown_a_missing_meta_path_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", None)
    _hook.arm(NAME, act)
    assert not _hook.is_armed(NAME)
    _hook.disarm(NAME)


def test_arming_and_disarming_during_an_iteration_skips_no_finder() -> None:
    others = list(sys.meta_path)
    asked = []
    for finder in sys.meta_path:
        asked.append(finder)
        _hook.arm(NAME, act)
    # The first one comes again, because ours was inserted before it.
    assert asked == [others[0], *others]
    asked = []
    for finder in sys.meta_path:
        asked.append(finder)
        _hook.disarm(NAME)
    assert asked[1:] == others


def test_disarming_between_finding_and_executing_takes_effect() -> None:
    _hook.arm(NAME, act)
    spec = importlib.util.find_spec(NAME)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _hook.disarm(NAME)
    spec.loader.exec_module(module)
    assert module.order == ["executed"]


def test_the_loader_can_be_copied_and_has_the_attributes_of_the_real_one() -> None:
    _hook.arm(NAME, act)
    spec = importlib.util.find_spec(NAME)
    real = PathFinder.find_spec(NAME)
    assert spec is not None and real is not None
    for loader in (spec.loader, copy.copy(spec.loader), copy.deepcopy(spec.loader)):
        assert loader.path == real.loader.path  # type: ignore[union-attr]
        assert loader.get_source(NAME) == real.loader.get_source(NAME)  # type: ignore[union-attr]
        assert not hasattr(loader, "no_such")
    assert copy.deepcopy(spec).loader.name == NAME  # type: ignore[union-attr]


def test_an_executed_module_has_its_real_loader() -> None:
    _hook.arm(NAME, act)
    module = importlib.import_module(NAME)
    real = PathFinder.find_spec(NAME)
    assert real is not None
    assert module.__spec__ is not None
    assert type(module.__spec__.loader) is type(module.__loader__) is type(real.loader)


def test_a_loader_that_wraps_ours_stays_in_the_spec() -> None:
    class Around:
        def __init__(self, inner: object) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            spec = finders()[0].find_spec(name, path)
            if spec is not None:
                spec.loader = Around(spec.loader)  # type: ignore[assignment]
            return spec

    _hook.arm(NAME, act)
    sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
    module = importlib.import_module(NAME)
    assert module.order == ["executed", "acted"]
    assert type(module.__loader__) is Around
    assert type(module.__spec__.loader) is Around  # type: ignore[union-attr]


def test_a_read_only_spec_is_passed_on() -> None:
    class Fixed:
        def __init__(self, spec: ModuleSpec) -> None:
            self._spec = spec

        def __getattr__(self, name: str) -> object:
            return getattr(self._spec, name)

        loader = property(lambda self: self._spec.loader)

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            spec = PathFinder.find_spec(name) if name == NAME else None
            return spec and Fixed(spec)

    sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]
    _hook.arm(NAME, act)
    assert imported() == ["executed"]


def test_the_action_gets_the_module_that_the_loader_substituted(awaited: Path) -> None:
    awaited.write_text(
        "import sys, types\nother = sys.modules[__name__] = types.ModuleType(__name__)\n"
        "other.order = ['another']\n"
    )
    _hook.arm(NAME, act)
    assert imported() == ["another", "acted"]


def test_a_module_without_a_spec_is_executed() -> None:
    _hook.arm(NAME, act)
    spec = importlib.util.find_spec(NAME)
    assert spec is not None and spec.loader is not None
    module = ModuleType(NAME)
    spec.loader.exec_module(module)
    assert module.order == ["executed", "acted"]


def test_a_module_that_fails_does_so_as_without_the_hook(awaited: Path) -> None:
    acted: list[ModuleType] = []
    awaited.write_text("1 / 0\n")
    _hook.arm(NAME, acted.append)
    with pytest.raises(ZeroDivisionError) as caught:
        importlib.import_module(NAME)
    assert all(str(entry.path) != _hook.__file__ for entry in caught.traceback)
    assert acted == []


def test_the_action_of_a_lazy_module_runs_when_it_is_loaded() -> None:
    _hook.arm(NAME, act)
    spec = importlib.util.find_spec(NAME)
    assert spec is not None and spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    assert "order" not in _hook.namespace(NAME)
    assert _hook.executed_module(NAME) is None
    assert object.__getattribute__(module, "__class__") is not ModuleType
    assert module.order == ["executed", "acted"]
    assert _hook.executed_module(NAME) is module
    assert "order" in _hook.namespace(NAME)


@pytest.mark.parametrize("odd", [None, 1, object()])
def test_an_object_that_is_not_a_module_has_no_namespace_and_is_not_executed(
    odd: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, NAME, odd)  # type: ignore[arg-type]
    assert _hook.namespace(NAME) == {}
    assert _hook.executed_module(NAME) is None
    assert _hook.namespace("cupy_compat_absent") == {}


def test_the_import_lock_waits_until_a_module_is_executed(awaited: Path) -> None:
    awaited.write_text("import sys\nsys.modules['cupy_compat_begin']()\nend = 1\n")
    begun, go = threading.Event(), threading.Event()

    def begin() -> None:
        begun.set()
        assert go.wait(20)

    sys.modules["cupy_compat_begin"] = begin  # type: ignore[assignment]
    try:
        importer = threading.Thread(target=importlib.import_module, args=(NAME,))
        importer.start()
        assert begun.wait(20)
        assert _hook.is_executing(NAME)
        assert _hook.executed_module(NAME) is None
        seen: list[bool] = []

        def wait() -> None:
            with _hook.ImportLock(NAME):
                seen.append("end" in _hook.namespace(NAME))

        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.05)
        assert seen == []
        go.set()
        waiter.join(20)
        importer.join(20)
        assert seen == [True]
        assert not _hook.is_executing(NAME)
        assert _hook.executed_module(NAME) is sys.modules[NAME]
    finally:
        go.set()
        del sys.modules["cupy_compat_begin"]


def test_the_import_lock_is_reentrant_and_excludes_other_threads() -> None:
    inside: list[str] = []

    def enter() -> None:
        with _hook.ImportLock(NAME):
            inside.append("other")

    with _hook.ImportLock(NAME), _hook.ImportLock(NAME):
        other = threading.Thread(target=enter)
        other.start()
        time.sleep(0.05)
        assert inside == []
    other.join(20)
    assert inside == ["other"]


def test_without_pythons_lock_our_own_excludes_other_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_hook.ImportLock, "_make", lambda name: _hook._own_lock)
    test_the_import_lock_is_reentrant_and_excludes_other_threads()


def test_a_sandbox_that_hides_frames_does_not_open_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise PermissionError("sys._current_frames")

    monkeypatch.setattr(sys, "_current_frames", refuse)
    test_the_import_lock_is_reentrant_and_excludes_other_threads()


def test_a_deadlock_is_resolved_without_the_lock() -> None:
    # Each thread holds one lock and wants the other. Python raises an error in one of them.
    barrier = threading.Barrier(2, timeout=20)
    through: list[str] = []

    def take(first: str, second: str) -> None:
        with _hook.ImportLock(first):
            barrier.wait()
            with _hook.ImportLock(second):
                through.append(first)

    threads = [
        threading.Thread(target=take, args=names)
        for names in (("cupy_compat_a", "cupy_compat_b"), ("cupy_compat_b", "cupy_compat_a"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(through) == ["cupy_compat_a", "cupy_compat_b"]


def test_threads_that_arm_simultaneously_insert_one_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    # Let the other threads run at each search for the finder.
    looked = _hook._finder_of

    def slowly(name: str) -> object:
        found = looked(name)
        time.sleep(0.01)
        return found

    monkeypatch.setattr(_hook, "_finder_of", slowly)
    threads = [threading.Thread(target=_hook.arm, args=(NAME, act)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(finders()) == 1
