"""The command ``cupy-compat``, also ``python -m cupy_compat``."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module

from cupy_compat import __version__

#: The module whose ``main(arguments)`` implements each command, and a summary.
COMMANDS = {
    "run": ("start.run", "run a program as python does, and repair its CuPy"),
    "enable": ("start.enable", "repair CuPy at every start of this environment's Python"),
    "disable": ("start.disable", "undo enable"),
    "rebuild": ("rebuild.command", "recompile the broken module of the installed CuPy"),
    "doctor": ("doctor.command", "find out why CuPy does not import or work, and what to do"),
    "cudamark": ("cudamark.command", "sort an array with 1, 2, 4 ... threads, on the CPU or a GPU"),
}


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
        prog="cupy-compat",
        description="Repair a CuPy that fails to import, find other faults, and measure sorts.",
        epilog="`cupy-compat COMMAND --help` describes a command.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        # Each command parses its own arguments, including --help.
        commands.add_parser(name, add_help=False, help=summary)
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = parser.parse_args(arguments[:1]).command
    if command is None:
        parser.print_help()
        return 0
    # A path that standard output cannot encode must not make a command fail after its work is done.
    # Standard error escapes such characters anyway.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    code: int = import_module(f"cupy_compat.{COMMANDS[command][0]}").main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
