"""An import hook: call a function on a module right after the module has been executed.

This module knows how Python loads modules, and nothing about CuPy. A process may load it more than
once (reloaded, vendored, or imported again by a test). Therefore an attribute, not a class,
identifies its finder in ``sys.meta_path``, and the copy that arms next takes the finder over.
``wrapt`` has post-import hooks too, but they fire once, cannot be removed, and importing wrapt
costs more than importing this whole package.
"""

import _frozen_importlib
import sys
from _frozen_importlib import ModuleSpec
from _thread import RLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import ContextVar
    from types import ModuleType
    from typing import Any

    Action = Callable[[ModuleType], object]
    SearchedName = ContextVar[str]
else:
    # Run-time type checkers evaluate the hints. These stand-ins need no import.
    ModuleType = type(sys)
    Action = Any = SearchedName = object


def arm(name: str, action: Action) -> None:
    """Call ``action(module)`` each time the module of that name has been executed."""
    # Without the lock, two threads could insert two finders.
    with ImportLock(name):
        finder = _finder_of(name)
        if finder is not None:
            finder.action = action
            return
        finder = _Finder(name, action)
        if isinstance(sys.meta_path, list):
            sys.meta_path.insert(0, finder)
        elif sys.meta_path is not None:
            # Somebody replaced the list by a tuple, which also works for imports. It is None while
            # the interpreter shuts down.
            sys.meta_path = (finder, *sys.meta_path)


def disarm(name: str) -> None:
    """Undo ``arm``, also for a module that was found but has not been executed yet."""
    with ImportLock(name):
        finder = _finder_of(name)
        if finder is not None:
            finder.action = None
            # A new list: if another thread is iterating over the old one, removing an item would
            # make it skip the next finder and miss a module.
            rest = [other for other in _meta_path() if other is not finder]
            sys.meta_path = type(sys.meta_path)(rest)  # type: ignore[arg-type]


def is_armed(name: str) -> bool:
    """Return whether a finder waits for the module of that name."""
    finder = _finder_of(name)
    return finder is not None and finder.action is not None


def namespace(name: str) -> "dict[str, object]":
    """Return the namespace of the module of that name, without loading anything.

    It is empty if there is no such module. A module of ``importlib.util.LazyLoader`` is not loaded
    by this, so its namespace is nearly empty.
    """
    try:
        found: dict[str, object] = object.__getattribute__(sys.modules.get(name), "__dict__")
    except AttributeError:
        return {}
    return found


def executed_module(name: str) -> "ModuleType | None":
    """Return the module of that name if its execution is complete, else None."""
    module = sys.modules.get(name)
    # LazyLoader gives a module that is not loaded yet another class.
    if type(module) is not type(sys) or is_executing(name):
        return None
    return module


def is_executing(name: str) -> bool:
    """Return whether the module of that name exists and its execution is not complete."""
    return bool(getattr(namespace(name).get("__spec__"), "_initializing", False))


# The module that this thread is searching for in the finders after ours.
_searched_name: "SearchedName | None" = None
# A fallback if Python's own lock disappears. It excludes only threads that use this module.
_own_lock = RLock()


class ImportLock:
    """The lock that Python itself holds while it imports the module of that name.

    While this thread holds it, no other thread can import the module. It is reentrant, so the
    thread that is importing the module can take it, too.
    """

    # A private class, but every import uses it.
    _make: "Any" = getattr(_frozen_importlib, "_ModuleLockManager", lambda name: _own_lock)

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = ImportLock._make(name)
        self._held = False

    def __enter__(self) -> None:
        if _is_orphaned(self._name):
            return
        try:
            self._lock.__enter__()
        except RuntimeError:
            # A deadlock: two threads import each other's modules. Python itself continues without
            # the lock in this case.
            return
        self._held = True

    def __exit__(self, *error: object) -> None:
        if self._held:
            self._lock.__exit__(*error)


def _is_orphaned(name: str) -> bool:
    """Return whether the thread that holds Python's lock on that name no longer exists.

    That happens if a process is forked while another thread imports the module. The child would
    wait forever.
    """
    reference = getattr(_frozen_importlib, "_module_locks", {}).get(name)
    owner = getattr(reference and reference(), "owner", None)
    try:
        return owner is not None and owner not in sys._current_frames()
    except Exception:
        # An audit hook may forbid the call.
        return False


def _meta_path() -> "list[object]":
    # None while the interpreter shuts down.
    return list(sys.meta_path or ())


def _finder_of(name: str) -> "_Finder | None":
    for finder in _meta_path():
        if _is_ours(finder) and finder.name == name:  # type: ignore[attr-defined]
            return finder  # type: ignore[return-value]
    return None


def _is_ours(finder_or_loader: object) -> bool:
    return getattr(type(finder_or_loader), "of_cupy_compat", False) is True


class _Finder:
    """Finds one module through the finders after it, and wraps its loader to call the action."""

    of_cupy_compat = True

    def __init__(self, name: str, action: Action) -> None:
        self.name = name
        self.action: Action | None = action

    def __repr__(self) -> str:
        return f"<cupy_compat: waits for {self.name}>"

    def find_spec(
        self, fullname: str, path: object = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        # Every import in the process calls this. The comparison is its whole cost.
        if fullname != self.name:
            return None
        global _searched_name
        # NumPy has loaded this by now. At arming it would be a third of the cost.
        from _contextvars import ContextVar, copy_context

        _searched_name = _searched_name or ContextVar("cupy_compat searches for", default="")
        # A finder after this one may ask all finders again, this one included. A context variable
        # detects that recursion. Unlike a flag, it is reset even if Ctrl-C interrupts the search.
        if self.action is None or _searched_name.get() == fullname:
            return None
        spec = copy_context().run(self._search_later_finders, fullname, path, target)
        loader = getattr(spec, "loader", None)
        if hasattr(loader, "exec_module") and not _is_ours(loader):
            try:  # noqa: SIM105 - contextlib would cost more than all of this
                spec.loader = _Loader(loader, self)  # type: ignore
            except AttributeError:
                # Leave a read-only spec unchanged.
                pass
        return spec

    def _search_later_finders(
        self, name: str, path: object, target: "ModuleType | None"
    ) -> "ModuleSpec | None":
        _searched_name.set(name)  # type: ignore[union-attr]
        # The finders before this one have already been asked, without result.
        finders = iter(_meta_path())
        for finder in finders:
            if finder is self:
                break
        for finder in finders:
            find_spec = getattr(finder, "find_spec", None)
            spec = None if find_spec is None else find_spec(name, path, target)
            if spec is not None:
                return spec  # type: ignore[no-any-return]
        return None


class _Loader:
    """Wraps the module's real loader until the module is executed."""

    of_cupy_compat = True

    def __init__(self, real: object, finder: _Finder) -> None:
        self._real = real
        self._finder = finder

    def __getattr__(self, name: str) -> object:
        # copy.copy() asks a new instance for attributes before it has any.
        if name == "_real":
            raise AttributeError(name)
        return getattr(self._real, name)

    def exec_module(self, module: ModuleType) -> None:
        # Restore the real loader, so that the module looks as it does without the hook.
        spec = getattr(module, "__spec__", None)
        if getattr(spec, "loader", None) is self:
            spec.loader = self._real  # type: ignore
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._real
        try:
            self._real.exec_module(module)  # type: ignore[attr-defined]
        except BaseException as error:
            # Remove this frame from the traceback of a module that fails by itself.
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next
            raise
        # Look the action up only now, because disarm() may have cleared it since.
        action = self._finder.action
        if action is not None:
            # A loader may replace the module in sys.modules by another one.
            action(sys.modules.get(self._finder.name, module))
