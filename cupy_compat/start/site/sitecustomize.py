"""Arms ``cupy_compat`` in the program of ``cupy-compat run`` and in its children, and steps aside.

``run`` puts this folder first on ``PYTHONPATH``, so every Python below it executes this file. Some
of them are older than 3.11, and some have no ``cupy_compat``: the file must suit them all.
"""

# Empty unless another sitecustomize executes this file in its own module, as New Relic's does.
_FOREIGN = [name for name in globals() if not name.startswith("__")]


# In functions, because there no import is put off by a Python with lazy imports.
def _start():  # type: () -> None
    import os
    import sys

    here = os.path.dirname(os.path.abspath(__file__))
    # Before the other sitecustomize, which may import CuPy.
    failure = _arm() if sys.version_info >= (3, 11) else ""
    ours = failure and _is_ours()
    if ours:
        failure = _arm_from(os.path.dirname(os.path.dirname(os.path.dirname(here))))
    try:
        _step_aside(here)
    finally:
        # The other sitecustomize may have extended sys.path. A Python of another environment that
        # has no cupy_compat there either goes on in silence.
        if failure and _arm() and ours:
            _say("cupy-compat run: cannot arm this process: " + failure)


def _is_ours():  # type: () -> bool
    """Tell whether this is the Python, and the environment, that ``run`` was called in."""
    import os
    import sys

    this = sys.implementation.cache_tag + ":" + os.path.realpath(sys.prefix)
    return os.environ.get("CUPY_COMPAT_RUN") == this


def _arm():  # type: () -> str
    """Arm, and return what went wrong, in a line."""
    try:
        from cupy_compat import arm

        arm()
    except Exception as error:
        return " ".join([type(error).__name__ + ":"] + str(error).split())  # noqa: RUF005
    return ""


def _arm_from(home):  # type: (str) -> str
    """Arm with the ``cupy_compat`` that this file belongs to, and return what went wrong.

    ``home`` may be the site-packages of another program, so it does not go on ``sys.path``.
    """
    import sys
    from importlib.machinery import PathFinder

    class Home:
        @staticmethod
        def find_spec(name, path=None, target=None):  # type: ignore
            # The repair imports wrapt.
            if name in ("cupy_compat", "wrapt"):
                return PathFinder.find_spec(name, [home])
            return None

    # What an uninstallation leaves of a package may import as an empty one.
    sys.modules.pop("cupy_compat", None)
    sys.meta_path.insert(0, Home)
    failure = _arm()
    # From here on the program's own packages come first.
    sys.meta_path.remove(Home)
    if not failure:
        sys.meta_path.append(Home)
    return failure


def _say(line):  # type: (str) -> None
    import os
    import sys

    try:
        # Not through the stream: what a full one keeps would change the program's exit status.
        if sys.stderr is not None:
            os.write(2, (line + "\n").encode("utf-8", "backslashreplace"))
    except OSError:
        pass


def _step_aside(here):  # type: (str) -> None
    import sys

    # From here on nothing but PYTHONPATH shows that this folder was searched, and the import ends
    # as it would have without this file: in another sitecustomize, its error, or there is none.
    sys.path[:] = [folder for folder in sys.path if folder != here]
    module = sys.modules.pop("sitecustomize", None)
    if module is None or (vars(module) is globals() and not _FOREIGN):
        __import__("sitecustomize")
        return
    # Another sitecustomize executes this file. It must find its module where it was, and cannot
    # know that there is none behind this one.
    try:
        __import__("sitecustomize")
    except ImportError as error:
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
    finally:
        sys.modules["sitecustomize"] = module


_start()
