"""The command ``cupy-compat enable``: every start of this environment's Python is armed."""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from collections.abc import Sequence

from cupy_compat.start.files import Startup, StartupError


def main(argv: Sequence[str]) -> int:
    """Write what each start of this Python calls, or say with ``--status`` whether it is there.

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
    parser.add_argument(
        "--status", action="store_true", help="only say whether it is so; exit 1 if not"
    )
    options = parser.parse_args(argv)
    try:
        startup = Startup.find()
        if options.status:
            return _tell(startup)
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
