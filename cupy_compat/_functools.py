"""A ``functools`` whose ``wraps`` accepts functions with read-only metadata.

It is imported only to repair a broken CuPy, because importing wrapt is slow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import wrapt

from ._memoized import cython_function_or_method, metadata_factory, with_metadata

_READ_ONLY = ("builtin_function_or_method", cython_function_or_method.__name__)


def repaired_functools(namespace: dict[str, Any], explanation: str) -> Any:
    """Return a transparent proxy of ``functools`` with its own ``wraps``.

    Parameters
    ----------
    namespace : dict
        The globals of the module that will use the proxy.
    explanation : str
        The reason for the repair, in a sentence.
    """
    factories: dict[str, Callable[[], FunctionType]] = {}

    def make_writable(wrapper: Callable[..., Any]) -> Any:
        # Replace every Cython function, even one that accepts this metadata: with Cython 3.2.6 it
        # would refuse annotations that a later functools.wraps() sets.
        if type(wrapper).__name__ not in _READ_ONLY:
            return wrapper
        name = wrapper.__name__
        if name not in factories:
            factories[name] = metadata_factory(name, namespace)
        return with_metadata(wrapper, factories[name]())

    # Defined in a function, out of reach of IPython's autoreload, which would otherwise assign the
    # reloaded class to functools.
    class RepairedFunctools(wrapt.ObjectProxy):  # type: ignore[type-arg]
        # Other versions of this package rely on these two names.
        of_cupy_compat = True
        reason = explanation

        def __repr__(self) -> str:
            return repr(self.__wrapped__)

        # A property, so that assigning to `wraps` of the proxy assigns to functools.wraps.
        @property
        def wraps(self) -> Callable[..., Any]:
            def wraps(*args: Any, **kwargs: Any) -> Callable[[Callable[..., Any]], Any]:
                decorate = self.__wrapped__.wraps(*args, **kwargs)
                return lambda wrapper: decorate(make_writable(wrapper))

            return wraps

        @wraps.setter
        def wraps(self, value: object) -> None:
            self.__wrapped__.wraps = value

        @wraps.deleter
        def wraps(self) -> None:
            del self.__wrapped__.wraps

    return RepairedFunctools(functools)
