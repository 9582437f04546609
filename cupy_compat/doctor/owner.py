"""Whose failure a text shows: CuPy's, or that of another library.

Libraries fail in the same words, since CUDA and Python give them. The wording and the frames of the
failure itself tell them apart; that CuPy is named elsewhere in the text tells nothing.
"""

from __future__ import annotations

import re
import sys

#: A line of a traceback of Python or IPython that names a file.
_FRAME = re.compile(
    r'^[ |>]*(?:File )?"?((?:[A-Za-z]:|[~/.\w-])[^"\n]{0,300}?\.p(?:yx?|xi|xd)|<[^>\n]{1,80}>)'
    r'"?(?:, line \d+(?:,? in (?!__getattr__)|$)|(?::\d+,)? in (?!__getattr__))',
    re.M,
)
_CUPY = re.compile(r"(?:^|[/\\])cupy(?:x|_backends)?[/\\]")
_PACKAGE = re.compile(r"[/\\](?:site|dist)-packages[/\\]([\w.-]+?)(?:\.py)?(?:[/\\]|$)")
_STANDARD = re.compile(
    r"^<frozen|[/\\]python3?[\d.]*[/\\]lib[/\\]|[/\\]lib(?:64)?[/\\]python\d[\d.]*[/\\]", re.I
)
#: These run, or are run by, the code whose failure it is.
_NEUTRAL = {"cuda", "conda", "distutils", "fastrlock", "numpy", "pip", "setuptools", "Cython"}
#: Python 3.9 has no list of them; of these, exceptions are printed with their module's name.
_STANDARD_MODULES = getattr(sys, "stdlib_module_names", frozenset(("json", "subprocess")))
_DOTTED = re.compile(r"(?:^|[\s:\]])(\w+)(?:\.\w+){1,8}(?:Error|Exception)\b")
#: What other libraries say, in words that they do not share with CuPy.
_WORDS = (
    (
        re.compile(
            r"(?:^|RuntimeError: |\s)(?:CUDA|CUDA driver|cuDNN|cuFFT) error: |"
            r"RuntimeError: nvrtc: |when calling `cu|[/\\]torch[/\\]"
        ),
        "PyTorch",
    ),
    (re.compile(r"onnxruntime", re.I), "ONNX Runtime"),
    (re.compile(r"tensorflow|stream_executor|dso_loader"), "TensorFlow"),
    (re.compile(r"\bxla\b|jaxlib"), "JAX"),
)
#: Exceptions that CuPy alone raises.
_OWN = re.compile(
    r"CUDARuntimeError|CUDADriverError|CompileException|NVRTCError|NcclError|"
    r"(?:CUBLAS|CURAND|CUSOLVER|CuSparse|CuFFT|CuDNN|CuTensor)Error",
    re.I,
)
_BUILD = re.compile(r"(?:building wheel for|build wheels for|failed to build) '?([\w.-]+)", re.I)


def raiser(text: str) -> str | None:
    """Return the package in whose code a traceback ends.

    Python's standard library, NumPy and ``__getattr__`` are passed over: they fail on behalf of
    their callers.

    Returns
    -------
    str or None
        ``'cupy'`` for all of CuPy's packages, an empty text for a program that is not installed as
        a package, None if the text has no frames.
    """
    found = None
    for frame in _FRAME.finditer(text):
        path = frame.group(1)
        package = _PACKAGE.search(path)
        name = package.group(1) if package else ""
        if _CUPY.search(path):
            found = "cupy"
        elif name in _NEUTRAL or (not package and _STANDARD.search(path)):
            found = found or ""
        else:
            found = name
    return found


def stranger(line: str, text: str) -> str | None:
    """Return the library other than CuPy whose failure a line reports, None if there is none.

    Parameters
    ----------
    line : str
        What was said.
    text : str
        The traceback that it belongs to, or what was printed.
    """
    if "cupy" in line.lower():
        return None
    for wording, name in _WORDS:
        if wording.search(line):
            return name
    dotted = _DOTTED.search(line)
    if dotted and dotted.group(1) not in _STANDARD_MODULES | _NEUTRAL:
        return dotted.group(1)
    if _OWN.search(line):
        return None
    stack = text.partition(line)[0]
    frames = list(_FRAME.finditer(stack))
    # The source line that called CuPy may be all that is left of CuPy's frames.
    called = bool(frames) and "cupy" in stack[frames[-1].end() :].lower()
    if called or any(_CUPY.search(frame.group(1)) for frame in frames):
        return None
    return raiser(stack) or None


def builds(text: str) -> str | None:
    """Return the package other than CuPy whose build fails, None if there is none or CuPy's too."""
    names = [found.group(1).lower() for found in _BUILD.finditer(text)]
    return names[0] if names and not any(name.startswith("cupy") for name in names) else None
