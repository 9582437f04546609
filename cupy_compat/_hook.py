"""Call a function on a module between its execution and whatever is imported next.

This module knows how modules are loaded, and nothing of CuPy. ``wrapt`` has post-import hooks too,
but they fire once, cannot be taken away, and cost more to import than the rest of this package.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Action = Callable[[ModuleType], None]


def arm(name: str, action: "Action") -> None:
    """Have ``action(module)`` called whenever the module of that name has been executed."""
    if not is_armed(name):
        sys.meta_path.insert(0, _Finder(name, action))


def disarm(name: str) -> None:
    """Undo ``arm``; without it, nothing happens."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not _waits(finder, name)]


def is_armed(name: str) -> bool:
    """Tell whether a module of that name is waited for."""
    return any(_waits(finder, name) for finder in sys.meta_path)


def _waits(finder: object, name: str) -> bool:
    return isinstance(finder, _Finder) and finder.name == name


class _Finder:
    """Finds one module, through the other finders, and has its loader call the action."""

    def __init__(self, name: str, action: "Action") -> None:
        self.name = name
        self.action = action

    def __repr__(self) -> str:
        return f"<cupy_compat: waits for {self.name}>"

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        # Every import of the process passes here: this comparison is all that it costs.
        if name != self.name:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                loader = spec.loader
                # A finder that asks all finders again, as wrapt's does, may have asked this one.
                if hasattr(loader, "exec_module") and not isinstance(loader, _Loader):
                    spec.loader = _Loader(loader, self.action)  # type: ignore[arg-type, assignment]
                return spec
        return None


class _Loader:
    """The module's real loader, until the module is executed."""

    def __init__(self, real: "Loader", action: "Action") -> None:
        self._real = real
        self._action = action

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._real, name)

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        return self._real.create_module(spec)

    def exec_module(self, module: "ModuleType") -> None:
        # From here on nothing shows that the module was waited for.
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        module.__loader__ = self._real
        try:
            self._real.exec_module(module)
        except BaseException as error:
            # A module that fails by itself does so without this frame in its traceback.
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next
            raise
        self._action(module)
