"""``functools`` for one module, with a ``wraps`` for wrappers that refuse metadata.

Only a broken CuPy needs it, and only such a one pays for the import of wrapt.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import wrapt

from ._memoized import with_metadata


def coping_functools(module: dict[str, Any], reason: str) -> Any:
    """Return a transparent proxy of ``functools``, which differs from it by ``wraps`` alone.

    Parameters
    ----------
    module : dict
        The globals of the module that gets it.
    reason : str
        Why it gets it, in a sentence.
    """

    # Within a function, because IPython's autoreload would give the proxy's class to functools.
    class CopingFunctools(wrapt.ObjectProxy):  # type: ignore[type-arg]
        # Other copies of this package recognize it by this.
        of_cupy_compat = True
        # wrapt keeps what is called so on the proxy itself.
        _self_reason: str

        def __repr__(self) -> str:
            return repr(self.__wrapped__)

        # A property, so that who replaces functools.wraps by way of this module replaces that.
        @property
        def wraps(self) -> Callable[..., Any]:
            def wraps(*args: Any, **kwargs: Any) -> Callable[[Callable[..., Any]], Any]:
                decorate = self.__wrapped__.wraps(*args, **kwargs)
                # Every wrapper is replaced, not only one that refuses: with Cython 3.2.6 one that
                # takes what it is given now refuses the annotations that it may be given later.
                return lambda wrapper: decorate(with_metadata(wrapper, module))

            return wraps

        @wraps.setter
        def wraps(self, value: object) -> None:
            self.__wrapped__.wraps = value

        @wraps.deleter
        def wraps(self) -> None:
            del self.__wrapped__.wraps

    proxy = CopingFunctools(functools)
    proxy._self_reason = reason
    return proxy
