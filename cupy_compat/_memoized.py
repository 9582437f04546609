"""A function that takes no metadata, and the metadata beside it."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any


def _template(*args: Any, **kwargs: Any) -> Any:
    # Never called: what every memoized function keeps for its metadata is made of this one's code.
    pass


class _Metadata:
    """An attribute that a Python function answers, which is kept for its metadata alone.

    So attributes are read, checked, set and deleted as a function's are.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        # Kept here and not in this module, which may be loaded again while functions live.
        self._slot = vars(owner)["_function"]

    def function_of(self, instance: MemoizedFunction) -> FunctionType:
        function: FunctionType = self._slot.__get__(instance)
        return function

    def set_function(self, instance: MemoizedFunction, function: FunctionType) -> None:
        self._slot.__set__(instance, function)

    def __get__(self, instance: MemoizedFunction | None, owner: type | None = None) -> Any:
        return self if instance is None else getattr(self.function_of(instance), self._name)

    def __set__(self, instance: MemoizedFunction, value: Any) -> None:
        setattr(self.function_of(instance), self._name, value)

    def __delete__(self, instance: MemoizedFunction) -> None:
        delattr(self.function_of(instance), self._name)


class _ModuleName(_Metadata, str):
    """The same for ``__module__``, which people expect to be a string in any class."""


class MemoizedFunction:
    # What ``cupy.memoize`` would have returned, had its inner function taken metadata. CuPy 13.5
    # and later return a function of Cython's, which this resembles. This is no docstring, because
    # a memoized function is asked for its own under that name.

    # The slot __call__ has calls go to the native function with no Python code on their way.
    __slots__ = ("__call__", "__dict__", "__qualname__", "__weakref__", "_function")

    __module__ = _ModuleName(__name__)
    __name__ = _Metadata()
    __doc__ = _Metadata()
    __annotations__ = _Metadata()
    __closure__ = _Metadata()
    __code__ = _Metadata()
    __defaults__ = _Metadata()
    __globals__ = _Metadata()
    __kwdefaults__ = _Metadata()
    if hasattr(FunctionType, "__annotate__"):
        __annotate__ = _Metadata()

    def __init__(self, native: Callable[..., Any], module: dict[str, Any]) -> None:
        # The inner function of ``cupy.memoize``, and the globals that it has. No docstring, as
        # IPython shows that of a function's class and of its __init__ beside the function's own.
        name = native.__name__
        # Named as Cython names it: where no such file is, the memoized function's source is found.
        file = f"{module['__name__'].replace('.', '/')}.pyx"
        code = _template.__code__.replace(co_name=name, co_filename=file)
        type(self).__code__.set_function(self, FunctionType(code, module))
        self.__call__ = native
        self.__qualname__ = f"memoize.<locals>.decorator.<locals>.{name}"

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    # A class cannot hold a descriptor for __qualname__, so it is a slot that these two guard, with
    # the help of another attribute's descriptor. And a function's __dict__ cannot be deleted.
    def __setattr__(self, name: str, value: Any) -> None:
        if name == "__qualname__":
            setattr(type(self).__code__.function_of(self), name, value)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name in ("__qualname__", "__dict__"):
            delattr(type(self).__code__.function_of(self), name)
        object.__delattr__(self, name)

    def __reduce__(self) -> str:
        # Pickled and copied by name, as functions are.
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<cyfunction {self.__qualname__} at {id(self):#x}>"


# Who looks at a memoized function sees no more than at one of Cython's.
for _name in ("_function", "__slots__", "__weakref__", "__firstlineno__", "__static_attributes__"):
    if _name in vars(MemoizedFunction):
        delattr(MemoizedFunction, _name)
