"""The command ``cupy-compat disable``, which undoes ``cupy-compat enable``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cupy_compat.start.files import Startup, StartupError


def main(argv: Sequence[str]) -> int:
    """Remove the start-up files of this Python.

    Parameters
    ----------
    argv : sequence of str
        The arguments; only ``--help`` is valid.

    Returns
    -------
    int
        The exit status, as ``--help`` describes it.
    """
    argparse.ArgumentParser(
        prog="cupy-compat disable",
        description="Undo `cupy-compat enable`: remove its start-up files.",
        epilog="Exit status: 0 done, or nothing to do; 1 failed; 2 wrong usage.",
    ).parse_args(argv)
    try:
        startup = Startup.find()
        changed = startup.disable()
    except StartupError as error:
        print(f"cupy-compat disable: {error}", file=sys.stderr)
        return 1
    for path in changed:
        print(f"{'wrote' if path == startup.record else 'removed'} {path}")
    if not changed:
        print(f"Nothing to do: {startup.folder} is not enabled.")
    return 0
