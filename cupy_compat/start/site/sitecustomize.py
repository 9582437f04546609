"""Arm ``cupy_compat`` for ``cupy-compat run``, then import the next ``sitecustomize``.

``run`` puts this folder first on ``PYTHONPATH``, so every Python that the program starts executes
this file. It must work on Pythons before 3.11 and on Pythons without ``cupy_compat``, too.
"""

# Empty unless another sitecustomize executes this file in its own module, as New Relic's does.
_FOREIGN = [name for name in globals() if not name.startswith("__")]


# All imports are in functions, where they are never lazy.
def _start():  # type: () -> None
    import os
    import sys

    here = os.path.dirname(os.path.abspath(__file__))
    # Arm before the other sitecustomize runs, because it may import CuPy.
    failure = _arm() if sys.version_info >= (3, 11) else ""
    ours = failure and _is_ours()
    if ours:
        failure = _arm_from(os.path.dirname(os.path.dirname(os.path.dirname(here))))
    try:
        _import_next_sitecustomize(here)
    finally:
        # Try again, because the other sitecustomize may have extended sys.path. A Python of another
        # environment without cupy_compat continues silently.
        if failure and _arm() and ours:
            _warn("cupy-compat run: cannot repair CuPy here: " + failure)


def _is_ours():  # type: () -> bool
    """Return whether this is the Python and the environment in which ``run`` was called."""
    import os
    import sys

    this = sys.implementation.cache_tag + ":" + os.path.realpath(sys.prefix)
    return os.environ.get("CUPY_COMPAT_RUN") == this


def _arm():  # type: () -> str
    """Arm, and return the error as one line, or an empty string."""
    try:
        from cupy_compat import arm

        arm()
    except Exception as error:
        return " ".join([type(error).__name__ + ":"] + str(error).split())  # noqa: RUF005
    return ""


def _arm_from(folder):  # type: (str) -> str
    """Arm with the ``cupy_compat`` that this file belongs to, and return the error, as ``_arm``.

    ``folder`` may contain other packages, so it must not be put on ``sys.path``.
    """
    import sys
    from importlib.machinery import PathFinder

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):  # type: ignore
            # The repair imports wrapt.
            if name in ("cupy_compat", "wrapt"):
                return PathFinder.find_spec(name, [folder])
            return None

    # An uninstallation may leave a folder that imports as an empty package.
    sys.modules.pop("cupy_compat", None)
    sys.meta_path.insert(0, Finder)
    failure = _arm()
    # For later imports, the program's own packages take precedence.
    sys.meta_path.remove(Finder)
    if not failure:
        sys.meta_path.append(Finder)
    return failure


def _warn(line):  # type: (str) -> None
    import os
    import sys

    try:
        # Bypass the stream: if it is full, its unflushed rest would change the exit status.
        if sys.stderr is not None:
            os.write(2, (line + "\n").encode("utf-8", "backslashreplace"))
    except OSError:
        pass


def _import_next_sitecustomize(here):  # type: (str) -> None
    import sys

    # Remove the traces of this file, and let the import end as it would without it: with another
    # sitecustomize, with the error of that, or with a ModuleNotFoundError.
    sys.path[:] = [folder for folder in sys.path if folder != here]
    module = sys.modules.pop("sitecustomize", None)
    if module is None or (vars(module) is globals() and not _FOREIGN):
        __import__("sitecustomize")
        return
    # Another sitecustomize executes this file. Keep its module in sys.modules, and hide the error
    # if there is no further sitecustomize.
    try:
        __import__("sitecustomize")
    except ImportError as error:
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
    finally:
        sys.modules["sitecustomize"] = module


_start()
