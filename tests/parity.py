"""Inspect memoized functions in every way that Python code can, and print the results as JSON.

The results must be the same with a repaired CuPy and with a healthy one. ``NOT_COMPARED`` lists the
known differences.
"""

from __future__ import annotations

import collections.abc
import contextlib
import copy
import functools
import inspect
import json
import operator
import pickle
import pydoc
import sys
import types
import typing
import warnings
import weakref

try:
    import cupy_compat

    # This does not change a healthy CuPy.
    cupy_compat.install(force=True)
except ModuleNotFoundError:
    pass

import cupy
from cupy import _util

#: The known differences, which are not inspected, and their reasons.
NOT_COMPARED = {
    "type(f)": "Cython's function type cannot be created in Python: its module, metaclass and "
    "contents differ, its name does not",
    "func_name, func_doc, ...": "aliases for Python 2, which only Cython's function type has",
    "_is_coroutine": "only Cython's function type has it; for asyncio, no value means False",
    "type(f.__call__)": "a method; in C, it is a method-wrapper",
    "f.__code__": "its line and local variables, which a build does not reveal",
    "setting __code__, __globals__, __closure__": "the error messages differ",
    "subclasses of type(f)": "Cython 3.2 and later forbid them, earlier versions do not",
    "__annotate__ in vars(f)": "Cython's descriptor also stores the value there, and returns a "
    "built-in function where a Python function has None",
    "depth of memoized recursion": "on 3.11 and 3.12, each call through a Python object uses one "
    "more level of the C recursion limit: 249 levels instead of 332, and 299 instead of 374",
}
#: Names that only Cython's function type has.
CYTHON_ALONE = {
    "_is_coroutine",
    "__annotate_cython__",
    "__vectorcalloffset__",
    *(f"func_{name}" for name in ("closure", "code", "defaults", "dict", "doc", "globals", "name")),
}

#: Calling the function type of Cython 3.1 can crash Python 3.12.
MAKES_ANEW = "cupy_compat" in sys.modules or not _util.cython_build_ver.startswith("3.1.")

WRITTEN = ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__", "__wrapped__")
MORE = ("__defaults__", "__kwdefaults__", "__closure__", "__type_params__", "__dict__")
FROM_3_14 = ("__annotate__",) if sys.version_info >= (3, 14) else ()
ABSENT = ("__self__", "__text_signature__", "__builtins__", "__len__", "__iter__", "__enter__")


def plain(x):
    """Return x."""
    return x


def lavish(a: int, b=2, /, c: str = "c", *args: float, d, e: list[int] | None = None, **kw) -> dict:
    """Return all arguments."""
    return {"a": a, "b": b, "c": c, "args": args, "d": d, "e": e, "kw": kw}


lavish.extra = ["an attribute"]
lavish.__defaults_note__ = "another"


class Callable:
    """A callable without a name."""

    def __call__(self, x):
        """Return x doubled."""
        return x * 2


class Holder:
    """A class with methods to memoize."""

    def method(self, x):
        """Return x and the type of self."""
        return type(self).__name__, x

    @_util.memoize()
    def memoized(self, x):
        """Return the type of self and x, from the cache."""
        return type(self).__name__, x


def bare():
    """Return nothing."""


bare.__doc__ = None
del bare.__module__

SUBJECTS = {
    "plain": plain,
    "lavish": lavish,
    "builtin": len,
    "builtin method": "abc".upper,
    "lambda": lambda x=1: x,
    "method": Holder().method,
    "unbound method": Holder.method,
    "partial": functools.partial(plain, 1),
    "class": Holder,
    "callable object": Callable(),
    "bare": bare,
    "memoized twice": _util.memoize()(plain),
    "cached": functools.cache(plain),
}
if sys.version_info >= (3, 12):
    exec("def generic[T: int](x: T) -> T:\n    'Return x.'\n    return x\n", globals())
    SUBJECTS["generic"] = globals()["generic"]
if sys.version_info >= (3, 14):
    # Compile it without the future import of this file, so that its annotations are lazy.
    code = "def lazy(x: int, y: Undefined = 1) -> list[int]: return [x]"
    exec(compile(code, "<lazy>", "exec", dont_inherit=True), globals())
    SUBJECTS["lazy"] = globals()["lazy"]


def described(value):
    """Return a description of a value that is the same in every process."""
    if isinstance(value, dict):
        return {str(key): described(part) for key, part in value.items()}
    # Addresses differ between processes.
    words = repr(value).split(" at 0x")[0]
    return f"{type(value).__name__}: {words}" if type(value) is not type(memoized) else words


def protocols():
    """Return all protocols of the standard library that support isinstance(), by name."""
    asked = {**vars(collections.abc), **vars(typing), **vars(contextlib)}
    found = {}
    # Some are deprecated and warn when they are accessed.
    warnings.simplefilter("ignore", DeprecationWarning)
    for name, kind in asked.items():
        # Other objects raise a TypeError.
        with contextlib.suppress(TypeError):
            isinstance(None, kind)
            found[name] = kind
    return found


def own(function):
    """Return a function's ``__dict__`` without the entry of Cython's descriptor."""
    return {name: value for name, value in vars(function).items() if name != "__annotate__"}


def by_format(function):
    """Return a function's annotations in each format of this Python."""
    if sys.version_info < (3, 14):
        return {}
    import annotationlib

    return {
        kind.name: tried(lambda k=kind: annotationlib.get_annotations(function, format=k))
        for kind in annotationlib.Format
    }


def tried(action, *, words=True):
    """Return the result of an action, or its exception."""
    try:
        return described(action())
    except Exception as error:
        return [type(error).__name__, str(error) if words else None]


memoized = _util.memoize()(plain)
deleted = object()


def set_and_read(function, name, value):
    """Set an attribute and read it back, or delete it."""
    if value is deleted:
        delattr(function, name)
        return hasattr(function, name)
    setattr(function, name, value)
    return getattr(function, name)


def assigned_call(function):
    """Assign to ``__call__`` and delete it; return the observable effects."""
    function.__call__ = None
    found = function.__call__, "__call__" in vars(function), tried(lambda: function([]))
    del function.__call__
    return *found, "__call__" in vars(function)


def answers(subject):
    """Return all results for one memoized subject."""
    f = cupy.memoize()(subject)
    found = {
        "attributes": {
            name: tried(lambda n=name: own(f) if n == "__dict__" else getattr(f, n), words=False)
            for name in WRITTEN + MORE
        },
        "wraps the subject": tried(lambda: f.__wrapped__ is subject),
        "absent": {name: hasattr(f, name) for name in ABSENT},
        "globals": f.__globals__ is vars(_util),
        "vars": tried(lambda: sorted(own(f))),
        "own dict": tried(lambda: vars(f) is not getattr(subject, "__dict__", None)),
        "signature": tried(lambda: str(inspect.signature(f))),
        "own signature": tried(lambda: str(inspect.signature(f, follow_wrapped=False))),
        "argspec": tried(lambda: inspect.getfullargspec(f)),
        "annotations": tried(lambda: inspect.get_annotations(f)),
        "annotations by format": by_format(f),
        "hints": tried(lambda: typing.get_type_hints(f)),
        "unwrapped": tried(lambda: inspect.unwrap(f)),
        "documented": tried(lambda: inspect.getdoc(f)),
        "source": tried(lambda: inspect.getsource(f)),
        "inspected": {
            name: check(f)
            for name, check in inspect.getmembers(inspect, inspect.isfunction)
            if name.startswith("is") and name != "iskeyword"
        },
        "types": {
            name: isinstance(f, kind)
            for name, kind in vars(types).items()
            if isinstance(kind, type)
        },
        "protocols": {name: isinstance(f, kind) for name, kind in protocols().items()},
        "class": f.__class__ is type(f),
        "callable": callable(f),
        "repr": repr(f).split(" at ")[0],
        "str": str(f) == repr(f) == f"{f}",
        "true": bool(f),
        "equal": [f == f, f != f, f == cupy.memoize()(subject), hash(f) == hash(f), f == subject],
        "ordered": tried(lambda: f < f, words=False),
        "len": tried(lambda: len(f), words=False),
        "iter": tried(lambda: iter(f), words=False),
        "with": tried(lambda: 1 in f, words=False),
        "operators": {
            f"{name} {side}": tried(lambda o=operation, a=arguments: o(*a), words=False)
            for name, operation in vars(operator).items()
            if name.startswith("__") and name.endswith("__") and callable(operation)
            if name not in ("__call__", "__build_class__", "__loader__", "__spec__")
            for side, arguments in {"alone": (f,), "left": (f, 1), "right": (1, f)}.items()
            if name not in ("__eq__", "__ne__", "__is__", "__is_not__") or side != "alone"
        },
        "converted": {
            kind.__name__: tried(lambda k=kind: k(f), words=False)
            for kind in (int, float, complex, bytes, list, dict, bool, abs, round, reversed)
        },
        "reduced": tried(lambda: f.__reduce_ex__(4)),
        "reduced the old way": tried(lambda: f.__reduce__()),
        "copied": [copy.copy(f) is f, copy.deepcopy(f) is f],
        "weakly": weakref.ref(f)() is f,
        "bound": tried(lambda: type(f.__get__(1)).__name__),
        "bound to": tried(lambda: f.__get__(1).__self__),
        "from the class": tried(lambda: f.__get__(None, int) is f),
        "directory": sorted(set(dir(f)) - CYTHON_ALONE),
        "has what it lists": tried(lambda: [n for n in dir(f) if not hasattr(f, n)]),
        "static": {
            name: tried(lambda n=name: inspect.getattr_static(f, n, "absent") != "absent")
            for name in (*WRITTEN, "extra", "no_such")
        },
        "helped": pydoc.plain(pydoc.render_doc(f)).partition("\n")[2],
        "nothing else documented": [
            inspect.getdoc(type(f)),
            inspect.getdoc(f.__init__) == inspect.getdoc(object.__init__),
        ],
        "past all hooks": tried(lambda: object.__getattribute__(f, "__doc__")),
        "source file": f.__code__.co_filename,
        "no such": tried(lambda: f.no_such, words=False),
        "class's name": [type(f).__name__, type(f).__qualname__, inspect.getdoc(type(f))],
        "class is fixed": {
            name: tried(lambda n=name: set_and_read(type(f), n, None), words=False)
            for name in (*WRITTEN, "__call__", "__get__", "new")
        },
        "made anew": MAKES_ANEW and tried(lambda: type(f)(), words=False),
        "another class": tried(lambda: setattr(f, "__class__", int), words=False),
        "called through the class": tried(lambda: type(f).__call__(f, [])),
        "__call__": [
            f.__call__.__self__ is f,
            f.__call__.__name__,
            f.__call__.__doc__,
            str(inspect.signature(f.__call__)),
            tried(lambda: f.__call__([])),
            f.__call__ == f.__call__,
        ],
        "__call__, assigned": tried(lambda: assigned_call(f)),
        "__call__, deleted": tried(lambda: delattr(f, "__call__"), words=False),
    }
    # The following changes the function.
    values = ("text", None, 1, {}, (), deleted)
    found["set"] = {
        f"{name} {index}": tried(lambda n=name, v=value: set_and_read(f, n, v), words=False)
        for name in (*WRITTEN, *MORE, *FROM_3_14, "custom")
        for index, value in enumerate(values)
        if name != "__closure__"
    }
    return found


def behaviour():
    """Return the behaviour of memoize: cache, exceptions, arguments, clear_memo."""
    calls = []

    def fails(x, **named):
        calls.append((x, named))
        if x == "raise":
            raise KeyError(x)
        return [x]

    f = cupy.memoize()(fails)
    found = {
        "cached": f(1) is f(1),
        "not for other arguments": f(1) is f(2),
        "1 and 1.0": f(1) is f(1.0),
        "by name": f(1, a=1) is f(1, a=1),
        "order of names": f(1, a=1, b=2) is f(1, b=2, a=1),
        "unhashable": tried(lambda: f([])),
        "unhashable by name": tried(lambda: f(1, a=[])),
        "too few": tried(lambda: f()),
        "raises": [tried(lambda: f("raise")), tried(lambda: f("raise"))],
    }
    before = f(1)
    cupy.clear_memo()
    found["cleared"] = f(1) is not before
    found["calls"] = described(calls)
    per_device = cupy.memoize(for_each_device=True)(fails)
    # A build without CUDA has a stand-in device; a wheel raises without a GPU.
    found["per device"] = tried(lambda: per_device(1)) == tried(
        lambda: [1, cupy.cuda.runtime.getDevice()][:1]
    )
    holder = Holder()
    found["as a method"] = [
        holder.memoized(1),
        holder.memoized(1) is holder.memoized(1),
        Holder.memoized(holder, 1) is holder.memoized(1),
        tried(lambda: type(holder.memoized).__name__),
    ]
    found["pickled"] = [
        pickle.loads(pickle.dumps(one, protocol)) == one
        for one in (global_one, Holder.memoized, global_one.__call__)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    found["not pickled"] = tried(lambda: pickle.dumps(f), words=False)
    return found


@cupy.memoize()
def global_one(x):
    """Return x."""
    return x


if __name__ == "__main__":
    json.dump(
        {"behaviour": behaviour(), **{name: answers(s) for name, s in SUBJECTS.items()}},
        sys.stdout,
        indent=1,
        sort_keys=True,
    )
