"""The command ``cupy-compat enable``, which arms every start of this environment's Python."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cupy_compat.start.files import Startup, StartupError


def main(argv: Sequence[str]) -> int:
    """Write the start-up files of this Python, or print information about them.

    Parameters
    ----------
    argv : sequence of str
        The arguments.

    Returns
    -------
    int
        The exit status, as ``--help`` describes it.
    """
    parser = argparse.ArgumentParser(
        prog="cupy-compat enable",
        description="Repair a broken CuPy at every start of this environment's Python. "
        "Undo it with `cupy-compat disable`.",
        epilog="Exit status: 0 done, or nothing to do; 1 failed; 2 wrong usage. With --status: 0 "
        "enabled; 1 not.",
    )
    query = parser.add_mutually_exclusive_group()
    query.add_argument(
        "--status",
        action="store_true",
        help="change nothing, and print whether it is enabled",
    )
    query.add_argument(
        "--show",
        action="store_true",
        help="change nothing, and print each start-up file with its SHA-256 hash and content",
    )
    options = parser.parse_args(argv)
    try:
        startup = Startup.find()
        if options.status:
            return _status(startup)
        if options.show:
            return _show(startup.files() | _files_of_auto())
        written = startup.enable()
    except StartupError as error:
        print(f"cupy-compat enable: {error}", file=sys.stderr)
        return 1
    for path in written:
        print(f"wrote {path}")
    verb = "now activates" if written else "already activates"
    print(f"{sys.executable} {verb} cupy_compat at every start.")
    return 0


def _status(startup: Startup) -> int:
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
        print(f"cupy-compat-auto {version} is installed: each start follows CUPY_COMPAT")
    return 0 if enabled else 1


def _files_of_auto() -> dict[Path, bytes]:
    """Return the start-up files of ``cupy-compat-auto``; empty if it is not installed."""
    try:
        listed = importlib.metadata.files("cupy-compat-auto") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    paths = [Path(str(file.locate())) for file in listed]
    suffixes = (".pth", ".py", ".start")
    return {path: path.read_bytes() for path in paths if path.suffix in suffixes and path.exists()}


def _show(files: Mapping[Path, bytes]) -> int:
    for path, content in files.items():
        present = path.exists() and path.read_bytes() == content
        print(f"{path} ({'present' if present else 'would be written'})")
        print(f"sha256 {hashlib.sha256(content).hexdigest()}")
        for line in content.decode().splitlines():
            print(f"    {line}".rstrip())
    return 0
