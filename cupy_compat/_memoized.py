"""A function that refuses metadata, and the metadata beside it."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, NoReturn


class _Metadata:
    """An attribute that a Python function, kept for its metadata alone, answers.

    It is read, checked, set and deleted as a function's attribute is.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        # Kept here and not in this module, which may be loaded again while functions live.
        self._slot = vars(owner)["_function"]

    def function_of(self, instance: cython_function_or_method) -> FunctionType:
        function: FunctionType = self._slot.__get__(instance)
        return function

    def set_function(self, instance: cython_function_or_method, function: FunctionType) -> None:
        self._slot.__set__(instance, function)

    def __get__(self, instance: cython_function_or_method | None, owner: type | None = None) -> Any:
        return self if instance is None else getattr(self.function_of(instance), self._name)

    def __set__(self, instance: cython_function_or_method, value: Any) -> None:
        setattr(self.function_of(instance), self._name, value)

    def __delete__(self, instance: cython_function_or_method) -> None:
        delattr(self.function_of(instance), self._name)


class _Type(type):
    """What keeps a class written in Python as fixed as one written in C.

    Cython's class can be neither changed nor called. So IPython's autoreload, which changes classes
    in place, leaves functions of an older version of this package intact.
    """

    @property
    def __call__(cls) -> Callable[..., Any]:
        return _call

    @property
    def __module__(cls) -> str:  # type: ignore[override]
        # The class itself keeps the descriptor of its instances' __module__ under this name.
        return __name__

    def __setattr__(cls, name: str, value: object) -> NoReturn:
        raise TypeError(f"cannot set {name!r} attribute of immutable type {cls.__name__!r}")

    def __delattr__(cls, name: str) -> NoReturn:
        raise TypeError(f"cannot delete {name!r} attribute of immutable type {cls.__name__!r}")


class cython_function_or_method(metaclass=_Type):
    # What ``cupy.memoize`` would have returned, had its inner function taken metadata. CuPy 13.5
    # and later return a function of Cython's, which this resembles. Ray, Celery, Sphinx, pydantic
    # and others recognize those by the name of their class. This is no docstring, because a
    # memoized function is asked for its own under that name.

    # Python looks __call__ up in the class and finds this slot, so a call reaches the native
    # function with no Python code on its way. An attribute's name reaches __getattribute__ instead.
    __slots__ = ("__call__", "__dict__", "__qualname__", "__weakref__", "_function")

    __module__ = _Metadata()
    __name__ = _Metadata()
    __doc__ = _Metadata()
    __annotations__ = _Metadata()
    __closure__ = _Metadata()
    __code__ = _Metadata()
    __defaults__ = _Metadata()
    __globals__ = _Metadata()
    __kwdefaults__ = _Metadata()
    # Not hasattr(), which every class answers for itself.
    if "__annotate__" in vars(FunctionType):
        __annotate__ = _Metadata()

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)  # type: ignore[arg-type]

    # f.__call__ is a method like any other: it can be pickled and has a signature, and what is
    # assigned to it lies in __dict__ and changes no call. A class cannot hold a descriptor for
    # __qualname__, so it is a slot that __setattr__ and __delattr__ guard, with the help of another
    # attribute's descriptor. And a function's __dict__ cannot be deleted.
    # No annotations: typeguard checks them by isinstance(), which would call this again.
    def __getattribute__(self, name):  # type: ignore[no-untyped-def]
        if name == "__call__":
            try:
                return self.__dict__[name]
            except KeyError:
                return MethodType(_call, self)
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "__call__":
            self.__dict__[name] = value
            return
        if name == "__qualname__":
            setattr(type(self).__code__.function_of(self), name, value)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name == "__call__":
            try:
                del self.__dict__[name]
            except KeyError:
                raise AttributeError(name) from None
            return
        if name in ("__qualname__", "__dict__"):
            delattr(type(self).__code__.function_of(self), name)
        object.__delattr__(self, name)

    def __reduce__(self) -> str:
        # Pickled and copied by name, as functions are.
        name: str = self.__qualname__
        return name

    def __repr__(self) -> str:
        return f"<cyfunction {self.__qualname__} at {id(self):#x}>"


# Without annotations, since f.__call__ shows its signature.
def _call(self, /, *args, **kwargs):  # type: ignore[no-untyped-def]
    # No name of this module, which may be loaded again: that would give it another class.
    return object.__getattribute__(self, "__call__")(*args, **kwargs)


_call.__doc__ = type.__call__.__doc__
_call.__name__ = "__call__"
_call.__qualname__ = "cython_function_or_method.__call__"


def maker(name: str, module: dict[str, Any]) -> Callable[[], FunctionType]:
    """Return what makes Python functions for metadata alone, which nobody calls.

    Parameters
    ----------
    name : str
        What they are called before they get another name: as Cython's inner function.
    module : dict
        The globals that they have.
    """
    # Named as Cython names it: where no such file is, the memoized function's source is found.
    file = f"{module['__name__'].replace('.', '/')}.pyx"
    source = f"def make():\n def {name}(*args, **kwargs): pass\n return {name}"
    made: dict[str, Callable[[], FunctionType]] = {}
    exec(compile(source, file, "exec"), module, made)
    return made["make"]


def with_metadata(native: Callable[..., Any], metadata: FunctionType) -> Any:
    """Return a function that calls a native one and takes metadata.

    Parameters
    ----------
    native : callable
        The inner function of ``cupy.memoize``.
    metadata : function
        What keeps the metadata.

    Returns
    -------
    cython_function_or_method
        It has no metadata of its own yet, only what Cython's inner function has.
    """
    self = object.__new__(cython_function_or_method)
    cython_function_or_method.__code__.set_function(self, metadata)
    vars(cython_function_or_method)["__call__"].__set__(self, native)
    self.__qualname__ = f"memoize.<locals>.decorator.<locals>.{native.__name__}"
    return self


# Whoever looks at a memoized function sees no more than at one of Cython's.
for _name in ("_function", "__slots__", "__weakref__", "__firstlineno__", "__static_attributes__"):
    if _name in vars(cython_function_or_method):
        type.__delattr__(cython_function_or_method, _name)
