"""``functools`` for one module, with a ``wraps`` for wrappers that refuse metadata.

Only a broken CuPy needs it, and only such a one pays for the import of wrapt.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import wrapt

from ._memoized import cython_function_or_method, maker, with_metadata

_REFUSING = ("builtin_function_or_method", cython_function_or_method.__name__)


def coping_functools(module: dict[str, Any], why: str) -> Any:
    """Return a transparent proxy of ``functools``, which differs from it by ``wraps`` alone.

    Parameters
    ----------
    module : dict
        The globals of the module that gets it.
    why : str
        Why it gets it, in a sentence.
    """
    makers: dict[str, Callable[[], FunctionType]] = {}

    def replaced(wrapper: Callable[..., Any]) -> Any:
        # Cython's functions alone. With Cython 3.2.6 also one that takes what it is given now: it
        # refuses the annotations that it may be given later.
        if type(wrapper).__name__ not in _REFUSING:
            return wrapper
        name = wrapper.__name__
        if name not in makers:
            makers[name] = maker(name, module)
        return with_metadata(wrapper, makers[name]())

    # Within a function, because IPython's autoreload would give the proxy's class to functools.
    class CopingFunctools(wrapt.ObjectProxy):  # type: ignore[type-arg]
        # Other versions of this package recognize it by these two.
        of_cupy_compat = True
        reason = why

        def __repr__(self) -> str:
            return repr(self.__wrapped__)

        # A property, so that replacing wraps by way of this proxy replaces that of functools.
        @property
        def wraps(self) -> Callable[..., Any]:
            def wraps(*args: Any, **kwargs: Any) -> Callable[[Callable[..., Any]], Any]:
                decorate = self.__wrapped__.wraps(*args, **kwargs)
                return lambda wrapper: decorate(replaced(wrapper))

            return wraps

        @wraps.setter
        def wraps(self, value: object) -> None:
            self.__wrapped__.wraps = value

        @wraps.deleter
        def wraps(self) -> None:
            del self.__wrapped__.wraps

    return CopingFunctools(functools)
