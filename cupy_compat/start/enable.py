"""The command ``cupy-compat enable``: every start of this environment's Python is armed."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cupy_compat.start.files import Startup, StartupError


def main(argv: Sequence[str]) -> int:
    """Write what each start of this Python calls; only show it with ``--status`` or ``--show``.

    Parameters
    ----------
    argv : sequence of str
        The arguments.

    Returns
    -------
    int
        0, or 1 if nothing could be written; with ``--status`` 1 if it is not enabled.
    """
    parser = argparse.ArgumentParser(
        prog="cupy-compat enable",
        description="Have every start of this environment's Python repair a broken CuPy. "
        "`cupy-compat disable` takes it back.",
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument(
        "--status", action="store_true", help="only say whether it is so; exit 1 if not"
    )
    only.add_argument(
        "--show",
        action="store_true",
        help="only print each file that runs at a start, with its hash and its content",
    )
    options = parser.parse_args(argv)
    try:
        startup = Startup.find()
        if options.status:
            return _tell(startup)
        if options.show:
            return _show(startup.files() | _files_of_auto())
        written = startup.enable()
    except StartupError as error:
        print(f"cupy-compat enable: {error}", file=sys.stderr)
        return 1
    for path in written:
        print(f"wrote {path}")
    done = "arms cupy_compat from now on" if written else "arms cupy_compat already"
    print(f"Each start of {sys.executable} {done}.")
    return 0


def _tell(startup: Startup) -> int:
    enabled = startup.is_enabled()
    for path in startup.files():
        if path.exists():
            print(path)
    print("enabled" if enabled else "not enabled")
    try:
        version = importlib.metadata.version("cupy-compat-auto")
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        print(f"cupy-compat-auto {version} is installed: each start arms as CUPY_COMPAT says")
    return 0 if enabled else 1


def _files_of_auto() -> dict[Path, bytes]:
    """Return the files by which ``cupy-compat-auto`` runs at a start, if it is installed."""
    try:
        listed = importlib.metadata.files("cupy-compat-auto") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    paths = [Path(str(file.locate())) for file in listed]
    runs = [path for path in paths if path.suffix in (".pth", ".py", ".start") and path.exists()]
    return {path: path.read_bytes() for path in runs}


def _show(files: Mapping[Path, bytes]) -> int:
    for path, content in files.items():
        there = path.exists() and path.read_bytes() == content
        print(f"{path} ({'present' if there else 'would be written'})")
        print(f"sha256 {hashlib.sha256(content).hexdigest()}")
        for line in content.decode().splitlines():
            print(f"    {line}".rstrip())
    return 0
