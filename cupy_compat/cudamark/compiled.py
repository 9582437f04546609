"""How loops are compiled: with Numba, to run without the GIL, and kept on disk."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple, cast

try:
    import numba
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "these sorts need Numba: pip install 'cupy-compat[cudamark]', or use numpy.sort",
        name=error.name,
    ) from error

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Arguments = TypeVarTuple("_Arguments")
_R = TypeVar("_R")
_c_functions: list[Any] = []
_turn = threading.RLock()


def compiled(function: _Function) -> _Function:
    """``numba.njit`` without the GIL, kept on disk where Numba finds a place to write."""
    return cast(_Function, _kept(lambda **kept: numba.njit(nogil=True, **kept)(function)))


def c_function(signature: Any, function: Callable[..., Any]) -> int:
    """Compile a function for C's callers, kept on disk likewise, and return its address.

    It stays there as long as the process.
    """
    made = _kept(lambda **kept: numba.cfunc(signature, **kept)(function))
    _c_functions.append(made)
    return int(made.address)


def compiling(function: Callable[[*_Arguments], _R]) -> Callable[[*_Arguments], _R]:
    """``functools.cache`` for what compiles: one thread at a time.

    Numba times its compiler with clocks that all threads share, and now and then raises
    AttributeError where several wait for it (https://github.com/numba/numba/issues/10564).
    """
    made: dict[Any, _R] = {}

    @functools.wraps(function)
    def in_turn(*args: *_Arguments) -> _R:
        # What is there waits for nobody, not even in a process that was forked in somebody's turn.
        if args not in made:
            with _turn:
                if args not in made:
                    made[args] = function(*args)
        return made[args]

    return in_turn


def _kept(make: Callable[..., Any]) -> Any:
    try:
        return make(cache=True)
    except RuntimeError:
        # Numba refuses a cache when neither the package's folder nor the user's is writable.
        return make()
