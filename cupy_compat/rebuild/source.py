"""Get CuPy's source, read its version and build settings, and apply CuPy's own fix."""

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

#: The decorator of the inner function of ``memoize``.
_WRAPPER = re.compile(r"^( +)@functools\.wraps\(f\)\n(?=\1def ret\()", re.MULTILINE)
_BINDING = "@cython.binding(True)"


def fetch(python: Path | str, version: str, into: Path) -> Path:
    """Download CuPy's source distribution with pip, and unpack it.

    Parameters
    ----------
    python : Path or str
        The interpreter whose pip to use.
    version : str
        The exact version of CuPy.
    into : Path
        An empty folder for the source.

    Returns
    -------
    Path
        The top folder of the source.

    Raises
    ------
    RebuildError
        If pip fails.
    """
    # With this variable, CuPy's build provides its metadata without a CUDA toolkit.
    env = {"READTHEDOCS": "True"}
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps", "--no-binary", "cupy", "-d", folder]
        pip(python, "download", *options, f"cupy=={version}", env=env)
        (archive,) = Path(folder).iterdir()
        return unpack(archive, into)


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a tar or zip archive of CuPy's source, and return its top folder.

    Raises
    ------
    RebuildError
        If the file is not such an archive.
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
    """Return the version of a folder ``cupy``, installed or of the source.

    Raises
    ------
    RebuildError
        If the folder does not state a version.
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
    """Return the compiler directives that CuPy's builder passes to Cython.

    Directives that depend on the builder's command line (for debugging) are omitted.

    Raises
    ------
    RebuildError
        If the builder's directives cannot be read.
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
        raise RebuildError(f"{file} contains no compiler directives of CuPy's builder") from None
    return {
        ast.literal_eval(key): bool(value.value)
        for key, value in zip(table.keys, table.values, strict=True)
        if key is not None and isinstance(value, ast.Constant)
    }


def apply_fix(text: str) -> str:
    """Return the text of ``_util.pyx`` with CuPy's own fix, which is in CuPy 13.5 and later.

    The fix makes Cython create a function with writable metadata, as Cython 3.0 always did. See
    https://github.com/cupy/cupy/pull/9131.

    Raises
    ------
    RebuildError
        If the fix does not apply to the text.
    """
    if _BINDING in text:
        return text
    fixed, count = _WRAPPER.subn(rf"\g<0>\1{_BINDING}\n", text)
    if count != 1:
        raise RebuildError("CuPy's fix does not apply to the cupy/_util.pyx of this source")
    return re.sub(r"^import functools$", r"cimport cython\n\g<0>", fixed, count=1, flags=re.M)
