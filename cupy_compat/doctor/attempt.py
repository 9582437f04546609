"""Import CuPy and try it, step by step, reporting what is about to be done and what came of it.

The text of this module is run by ``python -c`` in an interpreter of its own, of any Python from 3.9
on, since a failed import spoils the next one, and CuPy can crash or hang. So it imports nothing of
this package but what the attempt is about.

Each step is reported on standard output, in lines that begin with a token: ``{"begin": name}``
before it, and after it ``{"step": name, "error": None or {...}, "value": ...}``.
"""

# Everything beyond these is loaded after CuPy has been imported: a file of the user's that stands
# in front of a standard module is met by CuPy as it would be met without us.
import faulthandler
import os
import sys

#: The libraries of the CUDA toolkit that CuPy links to.
LIBRARIES = ("cublas", "cufft", "curand", "cusolver", "cusparse")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Attempt:
    """The steps, reported on standard output as they go."""

    def __init__(self, token: str) -> None:
        self.token = token

    def report(self, record: "dict[str, Any]") -> None:
        """Write a record; nothing that CuPy or a start-up file does to sys.stdout matters."""
        text = f"\n{self.token}{record!r}\n".encode("utf-8", "backslashreplace")
        while text:
            text = text[os.write(1, text) :]

    def step(self, name: str, action: "Callable[[], Any]") -> bool:
        """Do one thing, and report how it went."""
        self.report({"begin": name})
        try:
            value = action()
        except BaseException as error:
            self.report({"step": name, "error": _described(error), "value": None})
            return False
        self.report({"step": name, "error": None, "value": value})
        return True


def _described(error: BaseException) -> "dict[str, str]":
    trace = error.__traceback__
    # The frames of this text are none of the user's business.
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    sys.path[:] = [each for each in sys.path if each != ""]
    import traceback

    error.__traceback__ = trace
    whole = "".join(traceback.format_exception(type(error), error, trace))
    return {"type": type(error).__name__, "message": str(error), "traceback": whole}


def shim() -> "dict[str, str] | None":
    """Return what ``cupy_compat`` says of itself if something has loaded it, else None."""
    loaded = sys.modules.get("cupy_compat")
    if loaded is None:
        return None
    status = loaded.status()
    return {"state": status.state, "reason": status.reason}


def arm(folder: str) -> None:
    """Arm the shim, this package's own where the environment has none."""
    try:
        import cupy_compat
    except ImportError:
        sys.path.append(folder)
        import cupy_compat
    cupy_compat.install(force=True)


def disarm() -> None:
    """Take the shim away, if something has armed it."""
    loaded = sys.modules.get("cupy_compat")
    if loaded is not None:
        loaded.uninstall()


def import_cupy() -> "dict[str, Any]":
    """Import CuPy, and see that it is one."""
    import cupy

    return {
        "version": cupy.__version__,
        "array": cupy.ndarray.__name__,
        "cython": getattr(sys.modules.get("cupy._util"), "cython_build_ver", None),
    }


def memoize() -> None:
    """Memoize a function as CuPy does while it is imported, and an annotated one."""
    import cupy

    def plain(x):  # type: ignore[no-untyped-def]
        return x

    def annotated(x: int) -> int:
        return x

    for function in (plain, annotated):
        if cupy.memoize()(function)(1) != 1:
            raise RuntimeError("a memoized function returned something else")


def compiler() -> "Any":
    """Load NVRTC, which compiles CuPy's kernels."""
    from cupy.cuda import nvrtc

    return list(nvrtc.getVersion())


def library(name: str) -> None:
    """Load one library of the CUDA toolkit that CuPy links to."""
    package = "cupy.cuda" if name == "cufft" else "cupy_backends.cuda.libs"
    # As `from package import name`: the package of CuPy 14 finds the library when asked so.
    getattr(__import__(package, fromlist=[name]), name)


def accelerators() -> None:
    """Load cuTENSOR, where the environment asks CuPy to use it."""
    if "cutensor" in os.environ.get("CUPY_ACCELERATORS", ""):
        from cupy.cuda import cutensor  # noqa: F401


def device() -> int:
    """Count the GPUs."""
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())


def kernel() -> None:
    """Compile kernels and run them, with half-precision numbers too, which need more headers."""
    import cupy

    for dtype in ("float32", "float16"):
        doubled = (cupy.arange(4, dtype=dtype) * 2 + 1).get().tolist()
        if doubled != [1, 3, 5, 7]:
            raise RuntimeError(f"a kernel computed {doubled} where [1, 3, 5, 7] is right")


def run(token: str, mode: str, limit: float, folder: str) -> None:
    """Go through the steps as far as they lead."""
    attempt = Attempt(token)
    # Says in which line a crash happened, or where it hangs, even where sys.stderr is gone.
    faulthandler.enable(2)
    faulthandler.dump_traceback_later(limit, exit=True, file=2)
    attempt.step("start", shim)
    if mode == "with" and not attempt.step("arm", lambda: arm(folder)):
        return
    if mode == "without":
        attempt.step("disarm", disarm)
    imported = attempt.step("import", import_cupy)
    attempt.step("shim", shim)
    if not imported:
        return
    attempt.step("memoize", memoize)
    attempt.step("accelerators", accelerators)
    attempt.step("compiler", compiler)
    # One step each: that one is missing says nothing of the others.
    for name in LIBRARIES:
        attempt.step(name, lambda name=name: library(name))  # type: ignore[misc]
    if attempt.step("device", device):
        attempt.step("kernel", kernel)


if __name__ == "__main__":
    arguments, sys.argv[1:] = sys.argv[1:], []
    run(arguments[0], arguments[1], float(arguments[2]), arguments[3])
