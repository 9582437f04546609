"""A model of the shim, which predicts its behaviour and its status.

A ``World`` performs actions on the shim and its surroundings, and checks the results.
``test_model.py`` lets Hypothesis select the actions, on a fast stand-in for CuPy. As a script, this
module selects actions at random and performs them on the CuPy of its interpreter::

    python tests/model.py SEED STEPS broken|healthy
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

UTIL = "cupy._util"
SHIM = "cupy_compat"
SUBMODULES = ("", "._hook", "._policy", "._repair", "._functools", "._status", "._memoized")
VALUES = (None, "auto", "always", "never", "nonsense")
FOREIGN = ("delegating", "answering", "raising")
ARMED_BY_DEFAULT = sys.version_info >= (3, 13)


class Foreign:
    """Another package's finder, of one of three kinds."""

    def __init__(self, kind: str, answer: Callable[..., ModuleSpec | None]) -> None:
        self.kind = kind
        self.answer = answer

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find a module according to the kind."""
        if self.kind == "raising" and name == UTIL:
            raise OSError("not now")
        if self.kind == "answering" and name == UTIL:
            return self.answer(name, path, target)
        if self.kind == "delegating":
            for finder in list(sys.meta_path):
                if finder is not self and hasattr(finder, "find_spec"):
                    spec = finder.find_spec(name, path, target)
                    if spec is not None:
                        return spec
        return None


class Copy:
    """One copy of ``cupy_compat``; several are loaded, one after another."""

    def __init__(self) -> None:
        self.package = importlib.import_module(SHIM)
        self.uninstalled = False
        self.dropped: ModuleType | None = None


class World:
    """The shim, its surroundings, and their model."""

    def __init__(self, healthy: bool, answer: Callable[..., ModuleSpec | None]) -> None:
        self.healthy = healthy
        self.answer = answer
        self.done: list[str] = []
        self.snapshots = [list(sys.meta_path)]
        # The cupy._util that the loaded package has found healthy.
        self.examined: ModuleType | None = None
        os.environ.pop("CUPY_COMPAT", None)
        self.copies: list[Copy] = []
        self.load_again()

    # Observations, without the help of the shim.

    @property
    def ours(self) -> list[object]:
        """The shim's finders."""
        return [one for one in sys.meta_path if repr(one) == f"<cupy_compat: waits for {UTIL}>"]

    @property
    def armed(self) -> bool:
        """Whether the shim waits for CuPy."""
        return any(one.action is not None for one in self.ours)  # type: ignore[attr-defined]

    @property
    def util(self) -> ModuleType | None:
        """``cupy._util``, if it is loaded."""
        return sys.modules.get(UTIL)

    def is_repaired(self, util: ModuleType | None) -> bool:
        """Return whether a ``cupy._util`` has a replaced functools."""
        return util is not None and util.functools is not functools

    def policy_arms(self) -> bool:
        """Return whether the policy arms."""
        value = os.environ.get("CUPY_COMPAT", "auto")
        return value == "always" or (value != "never" and ARMED_BY_DEFAULT)

    # Actions.

    def install(self, copy: Copy, force: bool) -> None:
        """Call ``install()`` of a copy, and check the result."""
        with quiet():
            returned = copy.package.install(force=force)
            assert returned == copy.package.status()
        if force or self.policy_arms():
            self._installed(copy)

    def _installed(self, copy: Copy) -> None:
        copy.uninstalled = False
        assert self.armed, "install() did not arm"
        assert self.util is None or self.healthy or self.is_repaired(self.util), "not repaired"
        if self.util is not None and self.healthy:
            self.examined = self.util

    def uninstall(self, copy: Copy) -> None:
        """Call ``uninstall()`` of a copy, and check that nothing is left."""
        copy.package.uninstall()
        copy.uninstalled = True
        assert not self.armed
        assert not self.ours
        # A purged module is out of reach and not changed.
        if self.util or copy.dropped:
            assert not self.is_repaired(self.util or copy.dropped)
            self.examined = None

    def import_cupy(self) -> None:
        """Import CuPy, which must succeed or fail as predicted."""
        expected = self._prediction()
        before = self.util
        try:
            with quiet():
                import cupy
        except (AttributeError, OSError) as error:
            assert type(error) is expected, (expected, error)
        else:
            assert expected is None, (expected, "but it was imported")
            if self.healthy or self.is_repaired(self.util):
                assert cupy.memoize()(len)((1, 2)) == 2
        if before is None and self.util is not None and self.healthy and self.was_hooked:
            self.examined = self.util

    def _prediction(self) -> type[Exception] | None:
        self.was_hooked = False
        if "cupy" in sys.modules:
            return None
        if self.util is not None:
            # A failed import has left it behind.
            return AttributeError
        outcome = self._found(list(sys.meta_path), asking=False)
        if outcome == "raises":
            return OSError
        self.was_hooked = outcome == "hooked"
        kept = self.kept_util
        if self.healthy or self.was_hooked or self.is_repaired(kept):
            return None
        return AttributeError

    #: Cython returns the same module object at each import.
    kept_util: ModuleType | None = None

    def _found(self, finders: list[object], asking: bool) -> str | None:
        for place, finder in enumerate(finders):
            if isinstance(finder, Foreign):
                if finder.kind == "raising":
                    return "raises"
                if finder.kind == "answering":
                    return "plain"
                others = [one for one in sys.meta_path if one is not finder]
                found = self._found(others, asking)
                if found is not None:
                    return found
            elif finder in self.ours:
                if asking or finder.action is None:  # type: ignore[attr-defined]
                    continue
                found = self._found(self._behind(finder), asking=True)
                return "hooked" if found in ("plain", "hooked") else found
            elif place == len(finders) - 1:
                return "plain"
        return None

    def _behind(self, finder: object) -> list[object]:
        finders = list(sys.meta_path)
        return finders[finders.index(finder) + 1 :]  # type: ignore[arg-type]

    def purge_cupy(self) -> None:
        """Remove all modules of CuPy, to import it again."""
        for name in list(sys.modules):
            if name.partition(".")[0] in ("cupy", "cupyx", "cupy_backends"):
                del sys.modules[name]

    def load_again(self) -> None:
        """Remove all modules of the shim, and import it again."""
        for name in list(sys.modules):
            if name.partition(".")[0] == SHIM:
                del sys.modules[name]
        self.examined = None
        with quiet():
            self.copies.append(Copy())
        self._by_policy(self.copies[-1])

    def reload(self, submodule: str) -> None:
        """Reload a module of the last loaded shim."""
        module = sys.modules.get(SHIM + submodule)
        if module is None:
            return
        copy = self.copies[-1]
        if submodule == "":
            copy.uninstalled, copy.dropped = False, None
        with quiet():
            importlib.reload(module)
        if submodule == "":
            self._by_policy(copy)

    def _by_policy(self, copy: Copy) -> None:
        if self.policy_arms():
            self._installed(copy)

    def set_variable(self, value: str | None) -> None:
        """Change ``CUPY_COMPAT``, which takes effect at the next use of the policy."""
        if value is None:
            os.environ.pop("CUPY_COMPAT", None)
        else:
            os.environ["CUPY_COMPAT"] = value

    def add_foreign(self, kind: str, first: bool) -> None:
        """Insert another finder. Two that delegate would recurse forever."""
        if kind == "delegating" and any(getattr(one, "kind", "") == kind for one in sys.meta_path):
            return
        place = 0 if first else len(sys.meta_path) - 1
        sys.meta_path.insert(place, Foreign(kind, self.answer))

    def remove_foreign(self) -> None:
        """Remove all other finders."""
        sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, Foreign)]

    def take_snapshot(self) -> None:
        """Save the finders, as ``mock.patch`` does."""
        self.snapshots.append(list(sys.meta_path))

    def restore_snapshot(self, number: int) -> None:
        """Restore saved finders in a new list."""
        sys.meta_path = list(self.snapshots[number % len(self.snapshots)])

    # Checks.

    def check(self) -> None:
        """Check the status of every copy."""
        util = self.util
        self.kept_util = util or self.kept_util
        assert len(self.ours) <= 1, self.ours
        for copy in self.copies:
            finders, modules = list(sys.meta_path), set(sys.modules)
            with quiet():
                status = copy.package.status()
            assert sys.meta_path == finders
            loaded = {name.partition(".")[0] for name in modules ^ set(sys.modules)}
            assert loaded <= {SHIM, *sys.stdlib_module_names}, "status() loaded other modules"
            copy.dropped = copy.package._dropped
            about = util or copy.dropped
            assert status.state == self._state(about), status
            self._check_reason(status, copy)

    def _state(self, about: ModuleType | None) -> str:
        if self.is_repaired(about):
            return "repaired"
        if self.util is not None:
            return "healthy" if self.examined is self.util else "inactive"
        return "armed" if self.armed else "inactive"

    def _check_reason(self, status: object, copy: Copy) -> None:
        reason: str = status.reason  # type: ignore[attr-defined]
        if status.state != "inactive":  # type: ignore[attr-defined]
            return
        value = os.environ.get("CUPY_COMPAT", "auto")
        unhooked = not self.armed
        truth = {
            "uninstall() was called": copy.uninstalled and unhooked,
            "CUPY_COMPAT=never is set.": value == "never" and unhooked,
            "On Python ": not self.policy_arms() and unhooked,
            "The hook is not in sys.meta_path": self.policy_arms() and unhooked,
            f"{UTIL} was loaded by another finder": self.util is not None and self.armed,
        }
        said = [true for words, true in truth.items() if words in reason]
        assert said == [True], (reason, truth)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings; other tests check them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def walk(world: World, chance: random.Random, steps: int) -> None:
    """Perform random actions, and check the status after each."""
    world.check()
    for _ in range(steps):
        copy = chance.choice(world.copies)
        yes = chance.random() < 0.5
        possible: list[tuple[Callable[..., None], tuple[object, ...]]] = [
            (world.install, (copy, yes)),
            (world.uninstall, (copy,)),
            *[(world.import_cupy, ())] * 3,
            (world.purge_cupy, ()),
            (world.load_again, ()),
            (world.reload, (chance.choice(SUBMODULES),)),
            (world.set_variable, (chance.choice(VALUES),)),
            (world.add_foreign, (chance.choice(FOREIGN), yes)),
            (world.remove_foreign, ()),
            (world.take_snapshot, ()),
            (world.restore_snapshot, (chance.randrange(99),)),
        ]
        step, arguments = chance.choice(possible)
        world.done.append(f"{step.__name__}{arguments}")
        step(*arguments)
        world.check()


if __name__ == "__main__":
    this = World(sys.argv[3] == "healthy", lambda name, path, _: PathFinder.find_spec(name, path))
    try:
        walk(this, random.Random(int(sys.argv[1])), int(sys.argv[2]))
    except BaseException:
        print(*this.done, sep="\n")
        raise
