"""Import CuPy and try it, step by step, and report each step.

`cupy_compat.doctor.trial` runs the text of this module with ``python -c`` in a new interpreter, of
any Python from 3.9 on, because a failed import affects the next one, and because CuPy may crash or
hang. The module therefore imports nothing from this package except the shim.

Each step writes two lines to standard output, each after a token: ``{"begin": name}`` before the
step, and ``{"step": name, "error": None or {...}, "value": ...}`` after it.
"""

# Import anything else only after CuPy: if a user's file shadows a standard module, CuPy must import
# that file as it would without the doctor.
import faulthandler
import os
import sys

#: The libraries of the CUDA toolkit that CuPy uses.
LIBRARIES = ("cublas", "cufft", "curand", "cusolver", "cusparse")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Attempt:
    """Runs steps and reports them on standard output."""

    def __init__(self, token: str) -> None:
        self.token = token

    def report(self, record: "dict[str, Any]") -> None:
        """Write a record; bypass sys.stdout, which CuPy or a start-up file may change."""
        text = f"\n{self.token}{record!r}\n".encode("utf-8", "backslashreplace")
        while text:
            text = text[os.write(1, text) :]

    def step(self, name: str, action: "Callable[[], Any]") -> bool:
        """Call a function, report its result or error, and return whether it succeeded."""
        self.report({"begin": name})
        try:
            value = action()
        except BaseException as error:
            self.report({"step": name, "error": _error_record(error), "value": None})
            return False
        self.report({"step": name, "error": None, "value": value})
        return True


def _error_record(error: BaseException) -> "dict[str, str]":
    trace = error.__traceback__
    # Hide the frames of this module from the user.
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    # Do not load a traceback.py of the working folder.
    sys.path[:] = [each for each in sys.path if each != ""]
    import traceback

    error.__traceback__ = trace
    whole = "".join(traceback.format_exception(type(error), error, trace))
    return {"type": type(error).__name__, "message": str(error), "traceback": whole}


def shim() -> "dict[str, str] | None":
    """Return the status of ``cupy_compat`` if something has loaded it, else None."""
    loaded = sys.modules.get("cupy_compat")
    if loaded is None:
        return None
    status = loaded.status()
    return {"state": status.state, "reason": status.reason}


def arm(folder: str) -> None:
    """Arm the shim of the environment; if it has none, the one in that folder."""
    try:
        import cupy_compat
    except ImportError:
        sys.path.append(folder)
        import cupy_compat
    cupy_compat.install(force=True)


def disarm() -> None:
    """Remove the shim, if something has armed it."""
    loaded = sys.modules.get("cupy_compat")
    if loaded is not None:
        loaded.uninstall()


def substitute(file: str) -> None:
    """Make Python load ``cupy._util`` from that file."""
    import importlib.util

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> "Any":
            if name == "cupy._util":
                return importlib.util.spec_from_file_location(name, file)
            return None

    sys.meta_path.insert(0, Finder)


def describe_util() -> "dict[str, Any]":
    """Return the file of ``cupy._util``, its Cython, and the type and docstring of each name."""
    util = sys.modules["cupy._util"]
    names = {}
    for name, value in vars(util).items():
        if not name.startswith("__") and name != "cython_build_ver":
            plain = isinstance(value, (bool, int, str, tuple, type(None)))
            # Cython versions differ in the white space of docstrings.
            text = repr(value) if plain else " ".join(str(value.__doc__).split())
            names[name] = (type(value).__name__, text)
    return {
        "file": util.__file__,
        "cython": getattr(util, "cython_build_ver", None),
        "names": names,
    }


def import_cupy() -> "dict[str, Any]":
    """Import CuPy, and check that it is CuPy."""
    import cupy

    return {
        "version": cupy.__version__,
        "array": cupy.ndarray.__name__,
        "cython": getattr(sys.modules.get("cupy._util"), "cython_build_ver", None),
    }


def memoize(module: str) -> None:
    """Memoize functions with and without annotations, by the ``memoize`` of that module."""
    calls = []

    def plain(x):  # type: ignore[no-untyped-def]
        calls.append(x)
        return [x]

    def annotated(x: int) -> "list[int]":
        calls.append(x)
        return [x]

    for function in (plain, annotated):
        memoized = sys.modules[module].memoize()(function)
        if memoized(1) is not memoized(1) or calls.pop() != 1 or calls:
            raise RuntimeError("memoize does not keep results")
        if memoized.__name__ != function.__name__:
            raise RuntimeError("memoize loses a function's name")


def compiler() -> "Any":
    """Load NVRTC, which compiles CuPy's kernels."""
    from cupy.cuda import nvrtc

    return list(nvrtc.getVersion())


def library(name: str) -> None:
    """Load a library of the CUDA toolkit that CuPy uses."""
    package = "cupy.cuda" if name == "cufft" else "cupy_backends.cuda.libs"
    # Equivalent to `from package import name`, which makes CuPy 14 find the library.
    getattr(__import__(package, fromlist=[name]), name)


def accelerators() -> None:
    """Load cuTENSOR, if the environment selects it as an accelerator."""
    if "cutensor" in os.environ.get("CUPY_ACCELERATORS", ""):
        from cupy.cuda import cutensor  # noqa: F401


def device() -> int:
    """Count the GPUs."""
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())


def kernel() -> None:
    """Compile and run kernels, one of them in half precision, which needs more headers."""
    import cupy

    for dtype in ("float32", "float16"):
        doubled = (cupy.arange(4, dtype=dtype) * 2 + 1).get().tolist()
        if doubled != [1, 3, 5, 7]:
            raise RuntimeError(f"a kernel computed {doubled} where [1, 3, 5, 7] is right")


def run(token: str, mode: str, limit: float, path: str) -> None:
    """Run the steps as far as possible.

    Parameters
    ----------
    token : str
        The text that begins the line of each record.
    mode : {'as it is', 'with', 'without', 'util'}
        Whether to leave the shim as it is, to arm it, or to disarm it. ``'util'`` disarms it, too,
        and tries only ``cupy._util``.
    limit : float
        Seconds after which to exit.
    path : str
        For ``'with'``, the folder of the shim. For ``'util'``, the file to load in place of the
        installed ``cupy._util``, or an empty string to keep that. Otherwise not used.
    """
    attempt = Attempt(token)
    # Print the line of a crash or a hang, even if sys.stderr is closed.
    faulthandler.enable(2)
    faulthandler.dump_traceback_later(limit, exit=True, file=2)
    attempt.step("start", shim)
    if mode == "with" and not attempt.step("arm", lambda: arm(path)):
        return
    if mode in ("without", "util"):
        attempt.step("disarm", disarm)
    if mode == "util" and path:
        substitute(path)
    imported = attempt.step("import", import_cupy)
    # A failed import of CuPy leaves cupy._util behind.
    if mode == "util":
        if attempt.step("util", describe_util):
            attempt.step("memoize", lambda: memoize("cupy._util"))
        return
    attempt.step("shim", shim)
    if not imported:
        return
    attempt.step("memoize", lambda: memoize("cupy"))
    attempt.step("accelerators", accelerators)
    attempt.step("compiler", compiler)
    # A step for each library, because the others may load if one is missing.
    for name in LIBRARIES:
        attempt.step(name, lambda name=name: library(name))  # type: ignore[misc]
    if attempt.step("device", device):
        attempt.step("kernel", kernel)


if __name__ == "__main__":
    arguments, sys.argv[1:] = sys.argv[1:], []
    run(arguments[0], arguments[1], float(arguments[2]), arguments[3])
