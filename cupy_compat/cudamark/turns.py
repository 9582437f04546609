"""Let one thread at a time use Numba's compiler."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

_Arguments = TypeVarTuple("_Arguments")
_R = TypeVar("_R")


class CompilerBusy(RuntimeError):
    """The compiler cannot be used here and now, see `compiling`."""


_lock = threading.Lock()
_compiles = threading.local()
_lost_in_fork = False


def compiling(function: Callable[[*_Arguments], _R]) -> Callable[[*_Arguments], _R]:
    """Make a function that compiles run in one thread at a time, and cache its results.

    Numba's compiler sometimes raises AttributeError if several threads wait for it
    (https://github.com/numba/numba/issues/10564). A call whose result is cached does not wait.

    The function raises `CompilerBusy` where it would deadlock: in a signal handler that interrupted
    a compiling thread, and in a process that was forked while another thread compiled. It also does
    so after the main thread has ended, because some modules cannot be imported then.
    """
    made: dict[Any, _R] = {}

    @functools.wraps(function)
    def in_turn(*args: *_Arguments) -> _R:
        if args in made:
            return made[args]
        ended = not threading.main_thread().is_alive()
        if getattr(_compiles, "here", False) or _lost_in_fork or ended:
            raise CompilerBusy("Numba's compiler cannot be used here and now")
        _compiles.here = True
        try:
            with _lock:
                if args not in made:
                    made[args] = function(*args)
                return made[args]
        finally:
            _compiles.here = False

    return in_turn


def _after_fork_in_child() -> None:
    global _lost_in_fork
    _lost_in_fork |= _lock.locked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork_in_child)
