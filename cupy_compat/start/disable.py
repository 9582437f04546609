"""The command ``cupy-compat disable``, which takes back what ``cupy-compat enable`` did."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cupy_compat.start.files import Startup, StartupError


def main(argv: Sequence[str]) -> int:
    """Remove what each start of this Python calls.

    Parameters
    ----------
    argv : sequence of str
        The arguments, of which there are none.

    Returns
    -------
    int
        0, or 1 if something could not be removed.
    """
    argparse.ArgumentParser(
        prog="cupy-compat disable",
        description="Take back what `cupy-compat enable` did: no start of Python is armed by it.",
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
        print(f"It was not enabled in {startup.folder}.")
    return 0
