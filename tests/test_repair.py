"""The repair alone, on modules whose wrapper is a built-in function, as in a broken CuPy.

They stand in for cases that no build of CuPy shows: two CuPys in one process, and a CuPy that
something else has changed. Other test modules use genuine CuPys.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from cupy_compat import _repair


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reset and restore the state of the module."""
    monkeypatch.setattr(_repair, "_tried", None)
    monkeypatch.setattr(_repair, "_undone", None)
    yield


class Cache(dict[Any, Any]):
    """Its ``__getitem__`` is a built-in function, whose metadata are read-only."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __missing__(self, key: Any) -> Any:
        self[key] = self.function(key)
        return self[key]


def broken(name: str = "cupy._util") -> Any:
    """Return a module whose memoize fails and counts its calls."""
    util: Any = ModuleType(name)
    util.functools = functools
    util.trials = 0

    def memoize() -> Callable[[Callable[[Any], Any]], Any]:
        def decorator(function: Callable[[Any], Any]) -> Any:
            util.trials += 1
            return util.functools.wraps(function)(Cache(function).__getitem__)

        return decorator

    util.memoize = memoize
    return util


def test_without_an_examination_there_is_no_verdict() -> None:
    assert _repair.verdict(broken()) is None


def test_a_broken_module_is_tried_before_and_after_the_repair() -> None:
    util = broken()
    _repair.examine(util)
    assert util.trials == 2
    verdict = _repair.verdict(util)
    assert verdict is not None
    assert verdict[0] == "repaired"
    assert "AttributeError: attribute '__name__'" in verdict[1]
    _repair.examine(util)
    assert util.trials == 2


def test_an_undone_repair_is_made_again_without_a_trial() -> None:
    util = broken()
    _repair.examine(util)
    given, said = util.functools, _repair.verdict(util)
    for _ in range(3):
        _repair.undo(util)
        assert util.functools is functools
        assert _repair.verdict(util) is None
        _repair.examine(util)
        assert util.functools is given
        assert _repair.verdict(util) == said
    assert util.trials == 2


def test_each_module_is_tried_separately() -> None:
    first, second = broken("first"), broken("second")
    _repair.examine(first)
    _repair.undo(first)
    _repair.examine(second)
    assert second.trials == 2
    assert second.memoize()(abs).__globals__ is vars(second)
    assert first.functools is functools


def test_a_module_that_was_changed_after_undo_is_tried_unchanged() -> None:
    util = broken()
    _repair.examine(util)
    _repair.undo(util)
    util.functools = others = ModuleType("others")
    with pytest.raises(AttributeError, match="module 'others' has no attribute 'wraps'"):
        _repair.examine(util)
    assert util.functools is others
    assert _repair.verdict(util) is None


def test_a_failure_that_the_repair_does_not_cure_is_left_alone() -> None:
    util = broken()
    # It does not use the functools of its module.
    util.memoize = lambda: lambda function: functools.wraps(function)(Cache(function).__getitem__)
    assert _repair.examine(util) is False
    verdict = _repair.verdict(util)
    assert verdict is not None
    assert verdict[1].startswith("CuPy is left alone: the repair does not cure it (AttributeError")
    assert util.functools is functools


def test_undo_without_a_repair_only_forgets_the_verdict() -> None:
    util = broken()
    util.memoize = lambda: lambda function: function
    before = dict(vars(util))
    _repair.examine(util)
    assert _repair.verdict(util) == ("healthy", "CuPy's own memoize works; nothing was changed.")
    assert _repair.verdict(broken()) is None
    _repair.undo(util)
    assert _repair.verdict(util) is None
    assert vars(util) == before


def test_a_repaired_module_has_a_proxy_of_functools(monkeypatch: pytest.MonkeyPatch) -> None:
    util = broken()
    _repair.examine(util)
    given = util.functools
    assert repr(given) == repr(functools)

    def takes_metadata() -> None: ...

    assert given.wraps(len)(takes_metadata) is takes_metadata
    monkeypatch.setattr(functools, "wraps", functools.wraps)
    given.wraps = another = object()
    assert functools.wraps is another
    del given.wraps
    assert not hasattr(functools, "wraps")


def test_the_type_of_a_repaired_function_is_immutable_and_has_names() -> None:
    util = broken()
    _repair.examine(util)
    function = util.memoize()(abs)
    assert type(function).__module__ == "cupy_compat._memoized"
    assert function.__call__.__qualname__ == "cython_function_or_method.__call__"
    with pytest.raises(TypeError, match="cannot delete '__get__' attribute of immutable type"):
        del type(function).__get__


def test_an_error_from_outside_during_the_second_trial_undoes_the_repair() -> None:
    util = broken()
    own = util.memoize

    def memoize() -> Any:
        if util.trials == 1:
            raise TimeoutError
        return own()

    util.memoize = memoize
    with pytest.raises(TimeoutError):
        _repair.examine(util)
    assert util.functools is functools
