"""A class that combines a native function with metadata of its own."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, NoReturn


class _Metadata:
    """A descriptor that forwards an attribute to a Python function.

    The function exists only for its metadata. It validates values as any Python function does.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        # Stored here because this module may be reloaded while memoized functions exist.
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
    """A metaclass that makes a Python class immutable, as Cython's function type is.

    The class can be neither changed nor called. IPython's autoreload, which changes classes in
    place, therefore leaves the functions of an older version of this package intact.
    """

    @property
    def __call__(cls) -> Callable[..., Any]:
        return _call

    @property
    def __module__(cls) -> str:  # type: ignore[override]
        # In the class itself, this name holds the descriptor for the instances' __module__.
        return __name__

    def __setattr__(cls, name: str, value: object) -> NoReturn:
        raise TypeError(f"cannot set {name!r} attribute of immutable type {cls.__name__!r}")

    def __delattr__(cls, name: str) -> NoReturn:
        raise TypeError(f"cannot delete {name!r} attribute of immutable type {cls.__name__!r}")


class cython_function_or_method(metaclass=_Type):
    # Resembles the Cython function that ``cupy.memoize`` returns in CuPy 13.5 and later. Ray,
    # Celery, Sphinx, pydantic and others recognize such a function by the name of its class. This
    # is a comment because `__doc__` holds the descriptor for the instances' docstrings.

    # For a call, Python looks __call__ up in the class and finds this slot, so the native function
    # runs without any Python code in between. Reading f.__call__ uses __getattribute__ instead.
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
    # Not hasattr(FunctionType, ...), which finds the attribute of the metaclass.
    if "__annotate__" in vars(FunctionType):
        __annotate__ = _Metadata()

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)  # type: ignore[arg-type]

    # f.__call__ is an ordinary method: it can be pickled and has a signature. A value assigned to
    # it goes into __dict__ and does not change calls. A class cannot have a descriptor named
    # __qualname__, so that is a slot, and __setattr__ and __delattr__ check its values through
    # another attribute's descriptor. The __dict__ of a function cannot be deleted.
    # No annotations here: typeguard checks them with isinstance(), which would recurse.
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
        # Pickle and copy by name, as for functions.
        name: str = self.__qualname__
        return name

    def __repr__(self) -> str:
        return f"<cyfunction {self.__qualname__} at {id(self):#x}>"


# Without annotations, because inspect.signature(f.__call__) shows them.
def _call(self, /, *args, **kwargs):  # type: ignore[no-untyped-def]
    # Use no global name: after a reload of this module it would be another class.
    return object.__getattribute__(self, "__call__")(*args, **kwargs)


_call.__doc__ = type.__call__.__doc__
_call.__name__ = "__call__"
_call.__qualname__ = "cython_function_or_method.__call__"


def metadata_factory(name: str, namespace: dict[str, Any]) -> Callable[[], FunctionType]:
    """Return a factory of Python functions that hold metadata and are never called.

    Parameters
    ----------
    name : str
        Their initial name, that of Cython's inner function.
    namespace : dict
        Their globals.
    """
    # Cython uses the same file name. As no such file exists, inspect finds the wrapped function's
    # source instead.
    file = f"{namespace['__name__'].replace('.', '/')}.pyx"
    source = f"def make():\n def {name}(*args, **kwargs): pass\n return {name}"
    definitions: dict[str, Callable[[], FunctionType]] = {}
    exec(compile(source, file, "exec"), namespace, definitions)
    return definitions["make"]


def with_metadata(native: Callable[..., Any], metadata: FunctionType) -> Any:
    """Return an object that calls a native function and has writable metadata.

    Parameters
    ----------
    native : callable
        The inner function of ``cupy.memoize``.
    metadata : function
        A Python function that stores the metadata.

    Returns
    -------
    cython_function_or_method
        Its metadata is initially that of Cython's inner function.
    """
    self = object.__new__(cython_function_or_method)
    cython_function_or_method.__code__.set_function(self, metadata)
    vars(cython_function_or_method)["__call__"].__set__(self, native)
    self.__qualname__ = f"memoize.<locals>.decorator.<locals>.{native.__name__}"
    return self


# Remove names that a Cython function does not have.
for _name in ("_function", "__slots__", "__weakref__", "__firstlineno__", "__static_attributes__"):
    if _name in vars(cython_function_or_method):
        type.__delattr__(cython_function_or_method, _name)
