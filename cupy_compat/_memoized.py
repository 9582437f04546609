"""A function that takes no metadata, and the metadata beside it."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from wrapt import CallableObjectProxy

# What Cython's own function type lacks of a Python function's special attributes. If they are
# set, as functools.update_wrapper does since Python 3.12, they go into its ``__dict__``.
_ORDINARY = frozenset({"__builtins__", "__type_params__"})

# What a memoized function answers by itself; all else is metadata.
_OWN = frozenset({"__call__", "__class__", "__get__", "__reduce__", "__reduce_ex__", "__repr__"})


def _template(*args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError("only this function's metadata is used")


class MemoizedFunction(CallableObjectProxy):  # type: ignore[misc]
    """What ``cupy.memoize`` would have returned, had its inner function taken metadata.

    Calls go to the native inner function at the speed of wrapt's C code. Attributes are those of
    a Python function kept for the purpose, so that they are read, checked, set and deleted just
    as a function's are. CuPy 13.5 and later return a Cython function, which this resembles.

    Parameters
    ----------
    native : callable
        The inner function of ``cupy.memoize``.
    module : dict
        The globals of the module that it stands in.
    """

    def __init__(self, native: Callable[..., Any], module: dict[str, Any]) -> None:
        super().__init__(native)
        name = native.__name__
        metadata = FunctionType(_template.__code__.replace(co_name=name), module)
        metadata.__qualname__ = f"memoize.<locals>.decorator.<locals>.{name}"
        # wrapt keeps what begins with _self_ in the proxy.
        super().__setattr__("_self_metadata", metadata)
        super().__setattr__("_self_native", native)

    def __getattribute__(self, name: str) -> Any:
        own = super().__getattribute__
        if name in _OWN:
            return type(self) if name == "__class__" else own(name)
        metadata = own("_self_metadata")
        if name not in _ORDINARY:
            return getattr(metadata, name)
        if name in metadata.__dict__:
            return metadata.__dict__[name]
        raise AttributeError

    def __getattr__(self, name: str) -> Any:
        # Asked when the above raises; wrapt's own would ask the native function.
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
        )

    def __setattr__(self, name: str, value: Any) -> None:
        metadata = super().__getattribute__("_self_metadata")
        if name in _ORDINARY:
            metadata.__dict__[name] = value
        else:
            setattr(metadata, name, value)

    def __delattr__(self, name: str) -> None:
        metadata = super().__getattribute__("_self_metadata")
        if name in _ORDINARY and name in metadata.__dict__:
            del metadata.__dict__[name]
        else:
            delattr(metadata, name)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __reduce_ex__(self, protocol: Any) -> str:
        # Pickled and copied by name, as functions are.
        qualname: str = self.__qualname__
        return qualname

    def __repr__(self) -> str:
        return f"<cyfunction {self.__qualname__} at {id(self):#x}>"

    def __dir__(self) -> Any:
        return dir(super().__getattribute__("_self_metadata"))

    # A function is equal to itself alone, and wrapt would ask the native one.
    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__
    __str__ = object.__str__
    __format__ = object.__format__

    # wrapt's proxy speaks every protocol that some wrapped object might, a function none of them.
    # None says so to collections.abc and to copy, which ask the class and not the instance.
    __contains__ = __iter__ = __len__ = __reversed__ = None
    __copy__ = __deepcopy__ = None

    if isinstance(CallableObjectProxy.__call__, FunctionType):
        # Without its C extension wrapt calls self.__wrapped__, which is the memoized function here.
        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            return super().__getattribute__("_self_native")(*args, **kwargs)
