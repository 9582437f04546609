"""Replace the installed ``cupy._util``, and restore it.

The original is kept beside the module. Its name contains the hash of the module that replaced it.
The two files therefore show the state even after an interruption, and ``--undo`` never overwrites a
module that something else has installed since.
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

#: The part of the original's file name between the module's name and the hash.
_ORIGINAL = ".original-"
#: The suffix of a new file before it replaces another one.
_NEW_SUFFIX = ".cupy-compat-new"


@dataclass(frozen=True)
class Installation:
    """An installed CuPy.

    Attributes
    ----------
    module : Path
        Its ``cupy._util``.
    version : str
        Its version.
    record : Path or None
        The RECORD that lists the module, if there is one.
    entry : str
        The path of the module in the RECORD.
    installer : str
        The tool that installed it, such as "pip", or "unknown".
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
            If there is none, or if it is not an installed package.
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
        # The files may be links to the real installation, as in a Spack view.
        module = module.resolve()
        for distribution in importlib.metadata.distributions():
            if "cupy" not in str(distribution.metadata["Name"]).lower():
                continue
            files = distribution.files or []
            listed = [
                f for f in files if f.name == module.name and _is_same_file(f.locate(), module)
            ]
            records = [Path(str(f.locate())).resolve() for f in files if f.name == "RECORD"]
            if listed and records:
                installer = (distribution.read_text("INSTALLER") or "unknown").strip()
                return cls(module, version, records[0], str(listed[0]), installer)
        return cls(module, version)

    @property
    def original(self) -> Path:
        """The path of the original, if the module is rebuilt."""
        return self._original_for(self.module.read_bytes())

    def state(self) -> State:
        """Return what was done to the module, according to the files."""
        if self.original.exists():
            return "rebuilt"
        if any(not _has_content_of(each, self.module) for each in self._originals()):
            return "replaced since"
        changed = self.record is not None and self._updated_record() != self.record.read_bytes()
        return "interrupted" if self._leftover_files() or changed else "as installed"

    def check_writable(self) -> None:
        """Raise an error if a folder with files to change is not writable.

        Raises
        ------
        RebuildError
            If a folder is not writable.
        """
        for file in filter(None, [self.module, self.record]):
            if not os.access(file.parent, os.W_OK):
                raise RebuildError(
                    f"{file.parent} is not writable. Ask its owner to run this command. Or repair "
                    "CuPy at each import, in your own environment: `python -m pip install "
                    '"cupy-compat[auto]"`'
                )

    def replace(self, candidate: bytes, expected: str) -> None:
        """Replace the module and keep the original, or do neither.

        Parameters
        ----------
        candidate : bytes
            The content of the new module.
        expected : str
            The `digest` of the installed module when it was tried.

        Raises
        ------
        RebuildError
            If a file cannot be written, or if the installed module has changed.
        """
        content = self.module.read_bytes()
        if digest(content) != expected:
            raise RebuildError(f"{self.module} has just changed; run the command again")
        original = self._original_for(candidate)
        # Clean up only files of this process, because another rebuild may be running.
        new: list[Path] = []
        try:
            new.append(_write_new(self.module, candidate))
            new.append(_write_new(self.module, content))
            shutil.copystat(self.module, new[1])
            new[1].replace(original)
            # The record before the module: it may safely list a file that does not exist yet.
            if self.record is not None:
                new.append(_write_new(self.record, self._updated_record(candidate)))
                new[2].replace(self.record)
            new[0].replace(self.module)
        except BaseException as error:
            if self.module.read_bytes() == candidate:
                original.replace(self.module)
            self._clean_up(new)
            if isinstance(error, OSError):
                raise _write_error(error) from None
            raise

    def undo(self) -> None:
        """Restore the original, or clean up after an interruption.

        Raises
        ------
        RebuildError
            If a file cannot be written, or if something else has replaced the module since.
        """
        if self.state() == "replaced since":
            kept = ", ".join(map(str, self._originals()))
            raise RebuildError(
                f"something else has replaced {self.module} since the rebuild. The original of "
                f"that time is {kept}; delete it if you do not need it"
            )
        try:
            if self.original.exists():
                self.original.replace(self.module)
            self._clean_up(self._leftover_files())
        except OSError as error:
            raise _write_error(error) from None

    def _clean_up(self, leftover: list[Path]) -> None:
        """Remove those files and originals that equal the module, and update the record."""
        for each in [
            *leftover,
            *(kept for kept in self._originals() if _has_content_of(kept, self.module)),
        ]:
            each.unlink(missing_ok=True)
        if self.record is not None:
            entries = self._updated_record(
                self.module.read_bytes() if self.original.exists() else None
            )
            if entries != self.record.read_bytes():
                _write_new(self.record, entries).replace(self.record)

    def _leftover_files(self) -> list[Path]:
        """Return the files that an interrupted run has left behind."""
        leftover = [each for each in self._originals() if _has_content_of(each, self.module)]
        for file in filter(None, [self.module, self.record]):
            leftover += file.parent.glob(f".{file.name}.*{_NEW_SUFFIX}")
        return leftover

    def _originals(self) -> list[Path]:
        return sorted(self.module.parent.glob(f"{self.module.name}{_ORIGINAL}*"))

    def _original_for(self, module: bytes) -> Path:
        return self.module.with_name(f"{self.module.name}{_ORIGINAL}{digest(module)[:16]}")

    def _updated_record(self, candidate: bytes | None = None) -> bytes:
        """Return the record as the installer wrote it, or updated for that new module.

        The original keeps the installer's entry of the module, under another name. So undoing
        restores the record byte for byte.
        """
        assert self.record is not None
        lines = self.record.read_bytes().splitlines(keepends=True)
        module, kept = f"{self.entry},".encode(), f"{self.entry}{_ORIGINAL}".encode()
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
                original = self.entry + self._original_for(candidate).name[len(self.module.name) :]
                lines[index] = entry.encode() + original.encode() + line[len(module) - 1 :]
        return b"".join(lines)


def digest(content: bytes) -> str:
    """Return the SHA-256 of a module, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _is_same_file(path: object, file: Path) -> bool:
    with suppress(OSError):
        return os.path.samefile(str(path), file)
    return False


def _has_content_of(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


def _write_new(target: Path, content: bytes) -> Path:
    """Write a new file beside the file that it is about to replace."""
    descriptor, name = tempfile.mkstemp(_NEW_SUFFIX, f".{target.name}.", target.parent)
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


def _write_error(error: OSError) -> RebuildError:
    return RebuildError(f"cannot write {error.filename}: {error.strerror}")
