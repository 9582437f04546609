"""Find out which library a failure in a text comes from.

CUDA and Python give many libraries the same messages. Only the wording and the frames of the
failure itself distinguish them; mentions of CuPy elsewhere in the text are irrelevant.
"""

from __future__ import annotations

import re
import sys

#: A line with a file in a traceback of Python or IPython.
_FRAME = re.compile(
    r'^[ |>]*(?:File )?"?((?:[A-Za-z]:|[~/.\w-])[^"\n]{0,300}?\.p(?:yx?|xi|xd)|<[^>\n]{1,80}>)'
    r'"?(?:, line \d+(?:,? in (?!__getattr__)|$)|(?::\d+[:,])? in (?!__getattr__))',
    re.M,
)
_CUPY = re.compile(r"(?:^|[/\\])cupy(?:x|_backends)?[/\\]")
_PACKAGE = re.compile(r"[/\\](?:site|dist)-packages[/\\]([\w.-]+?)(?:\.py)?(?:[/\\]|$)")
_STANDARD = re.compile(
    r"^<frozen|[/\\]lib(?:64)?[/\\]python\d[\d.]*[/\\]|"
    r"[/\\][\w.-]{0,40}(?:python|conda)[\w.-]{0,40}[/\\](?:envs[/\\][\w.-]{1,80}[/\\])?lib[/\\]",
    re.I,
)
#: Packages that fail on behalf of their caller, or only run the failing code.
_IGNORED = {"cuda", "conda", "distutils", "fastrlock", "numpy", "pip", "setuptools", "Cython"}
#: Python 3.9 has no such list. Of its standard modules, these two print exceptions as `_EXCEPTION`
#: expects them.
_STANDARD_MODULES = getattr(sys, "stdlib_module_names", frozenset(("json", "subprocess")))
_EXCEPTION = re.compile(r"(?:^|[\s:\]])(\w+)(?:\.\w+){0,7}\.\w*(?:[Ee]rror|Exception)(?=:|$)")
#: Messages that only other libraries print.
_WORDINGS = (
    (
        re.compile(
            r"(?:^|RuntimeError: |\s)(?:CUDA|CUDA driver|cuDNN|cuFFT) error: |"
            r"RuntimeError: nvrtc: |when calling `cu|[/\\]torch[/\\]|\btorch\.[\w.]*Error"
        ),
        "PyTorch",
    ),
    (re.compile(r"onnxruntime", re.I), "ONNX Runtime"),
    (re.compile(r"tensorflow|stream_executor|dso_loader"), "TensorFlow"),
    (re.compile(r"\bxla\b|jaxlib"), "JAX"),
)
#: Exceptions that only CuPy raises.
_CUPY_EXCEPTION = re.compile(
    r"CUDARuntimeError|CUDADriverError|CompileException|NVRTCError|NcclError|"
    r"(?:CUBLAS|CURAND|CUSOLVER|CuSparse|CuFFT|CuDNN|CuTensor)Error",
    re.I,
)
_BUILD = re.compile(r"(?:building wheel for|build wheels for|failed to build) '?([\w.-]+)", re.I)


def raising_package(text: str) -> str | None:
    """Return the package in whose code a traceback ends.

    Frames of the standard library, NumPy and ``__getattr__`` are ignored, because they fail on
    behalf of their callers.

    Returns
    -------
    str or None
        ``'cupy'`` for all of CuPy's packages, ``''`` for a program that is not an installed
        package, None if the text has no frames.
    """
    found = None
    for frame in _FRAME.finditer(text):
        package = _package(frame.group(1))
        found = (found or "") if package is None else package
    return found


def _package(path: str) -> str | None:
    """Return the package of a file, ``''`` for a program's own file, None for an ignored one."""
    package = _PACKAGE.search(path)
    if package:
        # Other packages may have a subpackage with that name: array_api_compat/cupy.
        name = package.group(1)
        return "cupy" if _CUPY.match(f"{name}/") else None if name in _IGNORED else name
    if _CUPY.search(path):
        return "cupy"
    return None if _STANDARD.search(path) else ""


def other_library(line: str, text: str) -> str | None:
    """Return the library other than CuPy whose failure a line reports, None if there is none.

    Parameters
    ----------
    line : str
        The message.
    text : str
        The traceback or output that contains the line.
    """
    if "cupy" in line.lower():
        return None
    library = library_by_wording(line)
    if library:
        return library
    exception = _EXCEPTION.search(line)
    if exception and exception.group(1) not in _STANDARD_MODULES | _IGNORED:
        return exception.group(1)
    if _CUPY_EXCEPTION.search(line):
        return None
    stack = text.partition(line)[0]
    frames = list(_FRAME.finditer(stack))
    # The text may contain the source line that called CuPy, but no frames of CuPy.
    called = bool(frames) and "cupy" in stack[frames[-1].end() :].lower()
    if called or any(_package(frame.group(1)) == "cupy" for frame in frames):
        return None
    return raising_package(stack) or None


def library_by_wording(line: str) -> str | None:
    """Return the library that a line's wording identifies, None if it identifies none."""
    return next((name for wording, name in _WORDINGS if wording.search(line)), None)


def failed_build(text: str) -> str | None:
    """Return the package other than CuPy whose build fails, None if CuPy's fails or none does."""
    names = [found.group(1).lower() for found in _BUILD.finditer(text)]
    return names[0] if names and not any(name.startswith("cupy") for name in names) else None
