"""The start-up files, which arm every start of an environment's Python.

At its start, Python reads the ``.pth`` files in the root of ``site-packages``; from Python 3.18 on,
it reads ``.start`` files instead. Ours calls a small module beside it, which does nothing once
``cupy_compat`` is gone. The RECORD of ``cupy_compat`` lists both files, so uninstalling the package
removes them, too.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import shutil
import site
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_MODULE = """\
\"\"\"Written by `cupy-compat enable`, called at each start of Python.\"\"\"


def start():
    try:
        # An uninstallation may leave a folder that imports as an empty package without this name.
        from cupy_compat import arm
    except ImportError:
        return
    arm()
"""
#: The first Python that runs no code from .pth files. Python 3.15 to 3.17 support both, but there a
#: .start file takes several times as long and disables the .pth file of the same name.
_FIRST_WITHOUT_PTH = (3, 18)
_PTH = "import _cupy_compat_enabled; _cupy_compat_enabled.start()\n"
_START = "_cupy_compat_enabled:start\n"
# Python reads .pth files in alphabetical order. The one of an editable cupy_compat begins with an
# underscore, and must come first.
_NAMES = ("_cupy_compat_enabled.py", "cupy_compat_enabled.pth", "cupy_compat_enabled.start")
# The bytecode that Python may write. The RECORD lists it, because uv removes only recorded files.
_BYTECODE = tuple(
    f"__pycache__/_cupy_compat_enabled.{sys.implementation.cache_tag}{level}.pyc"
    for level in ("", ".opt-1", ".opt-2")
)


class StartupError(Exception):
    """The start-up files cannot be found, written or removed; the message says why."""


@dataclass(frozen=True)
class Startup:
    """The start-up files of an environment.

    Attributes
    ----------
    record : Path
        The RECORD of the installed ``cupy_compat``.
    """

    record: Path

    @classmethod
    def find(cls) -> Startup:
        """Return the start-up files of this Python.

        Raises
        ------
        StartupError
            If ``cupy_compat`` is not installed where this Python reads start-up files.
        """
        try:
            distribution = importlib.metadata.distribution("cupy-compat")
        except importlib.metadata.PackageNotFoundError:
            raise StartupError(
                f"cupy-compat is not installed in {sys.prefix}; install it with pip or uv"
            ) from None
        listed = (file for file in distribution.files or () if file.name == "RECORD")
        record = next(listed, None)
        if record is None:
            raise StartupError(
                "the installed cupy-compat has no RECORD, so pip could not remove the start-up "
                "files later; install it with pip or uv"
            )
        found = cls(Path(str(record.locate())))
        if os.path.realpath(found.folder) not in map(os.path.realpath, _site_folders()):
            raise StartupError(
                f"cupy-compat is installed in {found.folder}, which is not a site-packages folder "
                f"of {sys.prefix}; install it there with pip or uv"
            )
        return found

    @property
    def folder(self) -> Path:
        """The ``site-packages`` folder."""
        return self.record.parent.parent

    def files(self, python: tuple[int, int] = sys.version_info[:2]) -> dict[Path, bytes]:
        """Return the start-up files for that version of Python; the file that it reads is last."""
        module, pth, start = (self.folder / name for name in _NAMES)
        if python < _FIRST_WITHOUT_PTH:
            return {module: _MODULE.encode(), pth: _PTH.encode()}
        return {module: _MODULE.encode(), start: _START.encode()}

    def is_enabled(self) -> bool:
        """Return whether the files exist unchanged and are recorded."""
        files = self.files()
        return self._updated_record(files) == self.record.read_bytes() and all(
            path.is_file() and path.read_bytes() == content for path, content in files.items()
        )

    def enable(self) -> list[Path]:
        """Write the files, all or none, and return the paths of those written.

        Raises
        ------
        StartupError
            If a file cannot be written.
        """
        if self.is_enabled():
            return []
        files = self.files()
        # The record first: it may safely list a file that does not exist yet.
        _write({self.record: self._updated_record(files), **files}, mode_of=self.record)
        return [*files, self.record]

    def disable(self) -> list[Path]:
        """Remove the files, restore the record, and return the paths of all that changed.

        Raises
        ------
        StartupError
            If a file cannot be removed, or the record cannot be written.
        """
        module, pth, start = (self.folder / name for name in _NAMES)
        # Remove the file that calls the module before the module itself.
        existing = [path for path in (pth, start, module) if path.exists()]
        restored = self._updated_record({})
        if not existing and restored == self.record.read_bytes():
            return []
        try:
            for path in [*existing, *(self.folder / name for name in _BYTECODE)]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StartupError(f"cannot remove {error.filename}: {error.strerror}") from None
        _write({self.record: restored}, mode_of=self.record)
        return [*existing, self.record]

    def _updated_record(self, files: Mapping[Path, bytes]) -> bytes:
        """Return the record with lines for these files, and no other line of start-up files."""
        lines = self.record.read_bytes().splitlines(keepends=True)
        ours = tuple(f"{name},".encode() for name in (*_NAMES, *_BYTECODE))
        kept = [line for line in lines if not line.startswith(ours)]
        end = b"\r\n" if kept and kept[-1].endswith(b"\r\n") else b"\n"
        if files and kept and not kept[-1].endswith(b"\n"):
            kept[-1] += end
        for path, content in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            kept.append(b"%s,sha256=%s,%d%s" % (path.name.encode(), digest, len(content), end))
        kept += [name.encode() + b",," + end for name in _BYTECODE if files]
        return b"".join(kept)


def _site_folders() -> list[str]:
    # For a virtual environment, only its own folder: others would arm other environments, too.
    if sys.prefix != sys.base_prefix:
        return site.getsitepackages([sys.prefix])
    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [*site.getsitepackages(), *user]


def _write(files: Mapping[Path, bytes], mode_of: Path) -> None:
    """Write the files in order, each atomically, or none if one of them cannot be written."""
    temporary: dict[Path, Path] = {}
    path = mode_of
    try:
        for path, content in files.items():
            descriptor, name = tempfile.mkstemp(prefix=".cupy_compat-", dir=path.parent)
            temporary[path] = Path(name)
            with open(descriptor, "wb") as file:
                file.write(content)
            shutil.copymode(mode_of, name)
        for path, new in temporary.items():
            new.replace(path)
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}") from None
    finally:
        for new in temporary.values():
            new.unlink(missing_ok=True)
