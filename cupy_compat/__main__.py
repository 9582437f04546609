"""The command ``cupy-compat``, also ``python -m cupy_compat``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cupy_compat import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command of ``cupy-compat``.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Returns
    -------
    int
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="cupy-compat", description="Companion of CuPy: see `import cupy_compat`."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # A command knows its own arguments, --help among them.
    commands.add_parser(
        "cudamark", add_help=False, help="sort one array with 1, 2, 4 ... threads, CPU or GPU"
    )
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Everything behind the command's name is the command's.
    parser.parse_args(arguments[:1])
    from cupy_compat.cudamark import command

    return command.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main())
