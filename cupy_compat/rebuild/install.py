"""The installed ``cupy._util``: put another in its place, and take that back.

The original is kept beside the module, under a name that holds the hash of the module that took
its place. So the two files alone say what was done, whenever a rebuild was interrupted, and an
original never replaces a module that something else has installed since.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Literal

from cupy_compat.rebuild.process import RebuildError
from cupy_compat.rebuild.source import version_of

State = Literal["as installed", "rebuilt", "interrupted", "replaced since"]

#: Between the module's name and the hash in the name of the kept original.
_KEPT = ".original-"
#: Ends the name of a file that is about to take another's place.
_ASIDE = ".cupy-compat-new"


@dataclass(frozen=True)
class Installation:
    """Where CuPy is installed.

    Attributes
    ----------
    module : Path
        Its ``cupy._util``.
    version : str
        CuPy's version.
    record : Path or None
        The RECORD that lists the module, if the installer wrote one.
    entry : str
        The module's path in that RECORD.
    installer : str
        What installed it, "pip" for example, as far as that is known.
    """

    module: Path
    version: str
    record: Path | None = None
    entry: str = ""
    installer: str = "unknown"

    @classmethod
    def find(cls) -> Installation:
        """Return the CuPy that this Python would import, without importing it.

        Raises
        ------
        RebuildError
            If there is none, or if it is not installed as a package.
        """
        spec = importlib.util.find_spec("cupy")
        if spec is None:
            raise RebuildError(f"CuPy is not installed for {sys.executable}")
        folder = Path(next(iter(spec.submodule_search_locations or []), spec.origin or ""))
        version = version_of(folder)
        if (folder / "_util.pyx").exists():
            raise RebuildError(
                f"{folder} is CuPy's source, not an installed package. Apply CuPy's fix there, "
                "https://github.com/cupy/cupy/pull/9131, and build CuPy again"
            )
        paths = [folder / f"_util{suffix}" for suffix in EXTENSION_SUFFIXES]
        module = next(filter(Path.exists, paths), None)
        if module is None:
            raise RebuildError(f"{folder} has no module _util that this Python can load")
        # In a view of Spack's, for example, files are links into the installation itself.
        module = module.resolve()
        for distribution in importlib.metadata.distributions():
            if "cupy" not in str(distribution.metadata["Name"]).lower():
                continue
            files = distribution.files or []
            listed = [f for f in files if f.name == module.name and _is_file(f.locate(), module)]
            records = [Path(str(f.locate())).resolve() for f in files if f.name == "RECORD"]
            if listed and records:
                installer = (distribution.read_text("INSTALLER") or "unknown").strip()
                return cls(module, version, records[0], str(listed[0]), installer)
        return cls(module, version)

    @property
    def original(self) -> Path:
        """Where the original is, if the module is a rebuilt one."""
        return self._kept_for(self.module.read_bytes())

    def state(self) -> State:
        """Return what was done to the module, as its files tell."""
        if self.original.exists():
            return "rebuilt"
        if any(not _is_same(each, self.module) for each in self._kept()):
            return "replaced since"
        entered = self.record is not None and self._entries() != self.record.read_bytes()
        return "interrupted" if self._left() or entered else "as installed"

    def check_writable(self) -> None:
        """Raise an error if a file that would be changed cannot be.

        Raises
        ------
        RebuildError
            If a folder is not writable.
        """
        for file in filter(None, [self.module, self.record]):
            if not os.access(file.parent, os.W_OK):
                raise RebuildError(
                    f"{file.parent} is not writable. Ask its owner to run this command, or repair "
                    'CuPy when it is imported: `python -m pip install "cupy-compat[auto]"` in an '
                    "environment of your own"
                )

    def replace(self, candidate: bytes, broken: str) -> None:
        """Put another module in place and keep the original; do both or neither.

        Parameters
        ----------
        candidate : bytes
            The module.
        broken : str
            The hash of the installed module that was found to be broken, see `digest`.

        Raises
        ------
        RebuildError
            If a file cannot be written, or if the installed module is another one meanwhile.
        """
        content = self.module.read_bytes()
        if digest(content) != broken:
            raise RebuildError(f"{self.module} has just changed; run the command again")
        original = self._kept_for(candidate)
        # Its own alone: another rebuild may be at work beside this one.
        aside: list[Path] = []
        try:
            aside.append(_aside(self.module, candidate))
            aside.append(_aside(self.module, content))
            shutil.copystat(self.module, aside[1])
            aside[1].replace(original)
            # The record next: a file that it lists too early does no harm.
            if self.record is not None:
                aside.append(_aside(self.record, self._entries(candidate)))
                aside[2].replace(self.record)
            aside[0].replace(self.module)
        except BaseException as error:
            if self.module.read_bytes() == candidate:
                original.replace(self.module)
            self._tidy(aside)
            if isinstance(error, OSError):
                raise _unwritable(error) from None
            raise

    def undo(self) -> None:
        """Bring the original back, or clean up after an interruption.

        Raises
        ------
        RebuildError
            If a file cannot be written, or if something else has replaced the module since.
        """
        if self.state() == "replaced since":
            kept = ", ".join(map(str, self._kept()))
            raise RebuildError(
                f"{self.module} is not the module that was put there: something else has replaced "
                f"it since. The original of that time is {kept}; delete it if you do not need it"
            )
        try:
            if self.original.exists():
                self.original.replace(self.module)
            self._tidy(self._left())
        except OSError as error:
            raise _unwritable(error) from None

    def _tidy(self, left: list[Path]) -> None:
        """Remove those files and needless originals, and have the record list what is there."""
        for each in [*left, *(kept for kept in self._kept() if _is_same(kept, self.module))]:
            each.unlink(missing_ok=True)
        if self.record is not None:
            entries = self._entries(self.module.read_bytes() if self.original.exists() else None)
            if entries != self.record.read_bytes():
                _aside(self.record, entries).replace(self.record)

    def _left(self) -> list[Path]:
        """Return the files that an interrupted run has left."""
        left = [each for each in self._kept() if _is_same(each, self.module)]
        for file in filter(None, [self.module, self.record]):
            left += file.parent.glob(f".{file.name}.*{_ASIDE}")
        return left

    def _kept(self) -> list[Path]:
        return sorted(self.module.parent.glob(f"{self.module.name}{_KEPT}*"))

    def _kept_for(self, module: bytes) -> Path:
        return self.module.with_name(f"{self.module.name}{_KEPT}{digest(module)[:16]}")

    def _entries(self, candidate: bytes | None = None) -> bytes:
        """Return the record as the installer wrote it, or with that module in the original's place.

        The line of the original is the installer's line of the module, under another name. So
        undoing restores it byte for byte.
        """
        assert self.record is not None
        lines = self.record.read_bytes().splitlines(keepends=True)
        module, kept = f"{self.entry},".encode(), f"{self.entry}{_KEPT}".encode()
        if any(line.startswith(kept) for line in lines):
            lines = [line for line in lines if not line.startswith(module)]
        for index, line in enumerate(lines):
            if line.startswith(kept):
                lines[index] = line = module + line.partition(b",")[2]
            if candidate is not None and line.startswith(module):
                digested = hashlib.sha256(candidate).digest()
                hashed = base64.urlsafe_b64encode(digested).rstrip(b"=").decode()
                end = "\r\n" if line.endswith(b"\r\n") else "\n"
                entry = f"{self.entry},sha256={hashed},{len(candidate)}{end}"
                original = self.entry + self._kept_for(candidate).name[len(self.module.name) :]
                lines[index] = entry.encode() + original.encode() + line[len(module) - 1 :]
        return b"".join(lines)


def digest(content: bytes) -> str:
    """Return the SHA-256 of a module, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _is_file(path: object, file: Path) -> bool:
    with suppress(OSError):
        return os.path.samefile(str(path), file)
    return False


def _is_same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


def _aside(target: Path, content: bytes) -> Path:
    """Write a file beside the one whose place it is about to take."""
    descriptor, name = tempfile.mkstemp(f"{_ASIDE}", f".{target.name}.", target.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        shutil.copymode(target, name)
    except BaseException:
        os.unlink(name)
        raise
    return Path(name)


def _unwritable(error: OSError) -> RebuildError:
    return RebuildError(f"cannot write {error.filename}: {error.strerror}")
