"""CuPy's source: where it comes from, which version it is, and how CuPy's own fix changes it."""

from __future__ import annotations

import ast
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

from cupy_compat.rebuild.process import RebuildError, pip

#: The inner function of ``memoize``, whose metadata is read-only unless it is bound.
_WRAPPER = re.compile(r"^( +)@functools\.wraps\(f\)\n(?=\1def ret\()", re.MULTILINE)
_BOUND = "@cython.binding(True)"


def fetch(python: Path | str, version: str, into: Path) -> Path:
    """Download CuPy's source distribution with pip and unpack it.

    Parameters
    ----------
    python : Path or str
        The interpreter whose pip downloads.
    version : str
        The exact version.
    into : Path
        An empty folder for the source.

    Returns
    -------
    Path
        The source's top folder.

    Raises
    ------
    RebuildError
        If pip fails.
    """
    # CuPy's own switch for a build that describes itself without a CUDA toolkit.
    env = {"READTHEDOCS": "True"}
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps", "--no-binary", "cupy", "-d", folder]
        pip(python, "download", *options, f"cupy=={version}", env=env)
        (archive,) = Path(folder).iterdir()
        return unpack(archive, into)


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a tar or zip archive of CuPy's source, and return the source's top folder.

    Raises
    ------
    RebuildError
        If the file is no such archive.
    """
    try:
        if zipfile.is_zipfile(archive):
            shutil.unpack_archive(archive, into, "zip")
        else:
            with tarfile.open(archive) as opened:
                opened.extractall(into, filter="data")
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise RebuildError(f"{archive} cannot be unpacked: {error}") from None
    inner = list(into.iterdir())
    return inner[0] if len(inner) == 1 else into


def version_of(package: Path) -> str:
    """Return the version that a folder ``cupy``, installed or of a source, states.

    Raises
    ------
    RebuildError
        If it states none.
    """
    try:
        text = (package / "_version.py").read_text(encoding="utf-8")
    except OSError:
        raise RebuildError(f"{package} is not a CuPy: it has no _version.py") from None
    found = re.search(r"^__version__ *= *['\"](.+?)['\"]", text, re.MULTILINE)
    if found is None:
        raise RebuildError(f"{package / '_version.py'} states no version")
    return found[1]


def directives(source: Path) -> dict[str, bool]:
    """Return the compiler directives that CuPy's own builder gives to Cython.

    The debugging ones, which are read from the builder's command line, are left out.

    Raises
    ------
    RebuildError
        If the builder cannot be read.
    """
    file = source / "install" / "cupy_builder" / "_command.py"
    try:
        builder = ast.parse(file.read_text(encoding="utf-8"))
        (table,) = (
            node.value
            for node in ast.walk(builder)
            if isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "compiler_directives"
            and isinstance(node.value, ast.Dict)
        )
    except (OSError, SyntaxError, ValueError):
        raise RebuildError(f"{file} does not say how CuPy compiles its modules") from None
    return {
        ast.literal_eval(key): bool(value.value)
        for key, value in zip(table.keys, table.values, strict=True)
        if key is not None and isinstance(value, ast.Constant)
    }


def repaired(text: str) -> str:
    """Return the text of ``_util.pyx`` with CuPy's own fix, which CuPy 13.5 and later contain.

    The fix has Cython make a function with writable metadata, as Cython 3.0 always did. See
    https://github.com/cupy/cupy/pull/9131.

    Raises
    ------
    RebuildError
        If the text has no such function.
    """
    if _BOUND in text:
        return text
    fixed, count = _WRAPPER.subn(rf"\g<0>\1{_BOUND}\n", text)
    if count != 1:
        raise RebuildError("its cupy/_util.pyx has no memoize that CuPy's fix applies to")
    return re.sub(r"^import functools$", r"cimport cython\n\g<0>", fixed, count=1, flags=re.M)
