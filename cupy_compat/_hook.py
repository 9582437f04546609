"""Call a function on a module between its execution and whatever is imported next.

This module knows how modules are loaded, and nothing of CuPy. It may be loaded more than once in a
process (reloaded, vendored, imported afresh by a test), so what it leaves in ``sys.meta_path`` is
recognized by an attribute and not by its class, and is taken over by whichever copy arms next.
``wrapt`` has post-import hooks too, but they fire once, cannot be taken away, and cost more to
import than all of this package.
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
    Asking = ContextVar[str]
else:
    # Hints that can be evaluated, since some people have all imports checked by them while they
    # run, and that need no import.
    ModuleType = type(sys)
    Action = Any = Asking = object


def arm(name: str, action: Action) -> None:
    """Have ``action(module)`` called whenever the module of that name has been executed."""
    # Two threads that look and then insert would leave two finders.
    with ImportLock(name):
        finder = _finder_of(name)
        if finder is not None:
            finder.action = action
            return
        finder = _Finder(name, action)
        if isinstance(sys.meta_path, list):
            sys.meta_path.insert(0, finder)
        elif sys.meta_path is not None:
            # Somebody replaced it by a tuple, which imports go through as well. It is None while
            # the interpreter shuts down, and then nothing is imported any more.
            sys.meta_path = (finder, *sys.meta_path)


def disarm(name: str) -> None:
    """Undo ``arm``, also for a module that has been found and not been executed yet."""
    with ImportLock(name):
        finder = _finder_of(name)
        if finder is not None:
            finder.action = None
            # A new list, since other threads may be going through the old one: what is taken out of
            # that makes them miss a finder, and so a module that is there.
            rest = [other for other in _meta_path() if other is not finder]
            sys.meta_path = type(sys.meta_path)(rest)  # type: ignore[arg-type]


def is_armed(name: str) -> bool:
    """Tell whether a module of that name is waited for."""
    finder = _finder_of(name)
    return finder is not None and finder.action is not None


def contents(name: str) -> "dict[str, object]":
    """Return what the module of that name holds; nothing is loaded for it.

    It is empty without such a module, and nearly so for one that ``importlib.util.LazyLoader``
    loads when it is first asked for an attribute: it is not asked here.
    """
    try:
        found: dict[str, object] = object.__getattribute__(sys.modules.get(name), "__dict__")
    except AttributeError:
        return {}
    return found


def executed(name: str) -> "ModuleType | None":
    """Return the module of that name if it has been executed, to its end."""
    module = sys.modules.get(name)
    # A module of another class is one that waits to be loaded.
    if type(module) is not type(sys) or is_executing(name):
        return None
    return module


def is_executing(name: str) -> bool:
    """Tell whether the module of that name is there and has not been executed to its end."""
    return bool(getattr(contents(name).get("__spec__"), "_initializing", False))


# The module that this thread asks the finders behind ours for.
_asking: "Asking | None" = None
# Stands in should Python's own vanish: it keeps out only those who ask for it.
_own_lock = RLock()


class ImportLock:
    """The lock that Python itself holds while it imports the module of a name.

    While this thread has it, no other thread imports the module. The thread that is importing the
    module gets it too.
    """

    # Private, but every import of Python goes through it.
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
            # Two threads import each other's modules. Python then goes on without the lock.
            return
        self._held = True

    def __exit__(self, *error: object) -> None:
        if self._held:
            self._lock.__exit__(*error)


def _is_orphaned(name: str) -> bool:
    """Tell whether the thread that holds Python's lock on that name does not exist any more.

    A process that was forked while another thread imported the module would wait for ever.
    """
    reference = getattr(_frozen_importlib, "_module_locks", {}).get(name)
    owner = getattr(reference and reference(), "owner", None)
    try:
        return owner is not None and owner not in sys._current_frames()
    except Exception:
        # An audit hook may refuse the question.
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
    """Finds one module, through the finders behind it, and has its loader call the action."""

    of_cupy_compat = True

    def __init__(self, name: str, action: Action) -> None:
        self.name = name
        self.action: Action | None = action

    def __repr__(self) -> str:
        return f"<cupy_compat: waits for {self.name}>"

    def find_spec(
        self, fullname: str, path: object = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        # Every import of the process passes here: this comparison is all that it costs.
        if fullname != self.name:
            return None
        global _asking
        # NumPy has loaded this. Before, it would be a third of what arming costs.
        from _contextvars import ContextVar, copy_context

        _asking = _asking or ContextVar("cupy_compat asks for", default="")
        # Finders behind this one may ask all finders again, and so this one. A variable of the
        # context says so, because Ctrl-C at whatever moment leaves nothing of it behind.
        if self.action is None or _asking.get() == fullname:
            return None
        spec = copy_context().run(self._ask_behind, fullname, path, target)
        loader = getattr(spec, "loader", None)
        if hasattr(loader, "exec_module") and not _is_ours(loader):
            try:  # noqa: SIM105 - contextlib would cost more than all of this
                spec.loader = _Loader(loader, self)  # type: ignore
            except AttributeError:
                # A spec that cannot be changed stays as it is.
                pass
        return spec

    def _ask_behind(
        self, name: str, path: object, target: "ModuleType | None"
    ) -> "ModuleSpec | None":
        _asking.set(name)  # type: ignore[union-attr]
        # Those before it have been asked, and answered nothing.
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
    """The module's real loader, until the module is executed."""

    of_cupy_compat = True

    def __init__(self, real: object, finder: _Finder) -> None:
        self._real = real
        self._finder = finder

    def __getattr__(self, name: str) -> object:
        # A copy is asked for attributes before it has any.
        if name == "_real":
            raise AttributeError(name)
        return getattr(self._real, name)

    def exec_module(self, module: ModuleType) -> None:
        # From here on nothing shows that the module was waited for.
        spec = getattr(module, "__spec__", None)
        if getattr(spec, "loader", None) is self:
            spec.loader = self._real  # type: ignore
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._real
        try:
            self._real.exec_module(module)  # type: ignore[attr-defined]
        except BaseException as error:
            # A module that fails by itself does so without this frame in its traceback.
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next
            raise
        # Asked now, since the finder may have been taken away since it found the module.
        action = self._finder.action
        if action is not None:
            # A loader may put another module in the place of the one that it is given.
            action(sys.modules.get(self._finder.name, module))
