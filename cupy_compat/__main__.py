"""The command ``cupy-compat``, also ``python -m cupy_compat``."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module

from cupy_compat import __version__

#: Each command, the module whose ``main(arguments)`` does it, and what it does in a line.
COMMANDS = {
    "run": ("cupy_compat.start.run", "run a program as python would, with its CuPy repaired"),
    "enable": ("cupy_compat.start.enable", "have every start of this environment's Python armed"),
    "disable": ("cupy_compat.start.disable", "take back what enable did"),
    "rebuild": (
        "cupy_compat.rebuild.command",
        "compile the broken module of the installed CuPy again",
    ),
    "cudamark": (
        "cupy_compat.cudamark.command",
        "sort one array with 1, 2, 4 ... threads, CPU or GPU",
    ),
    "doctor": ("cupy_compat.doctor.command", "say why CuPy does not import here, and what to do"),
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
        prog="cupy-compat", description="Companion of CuPy: see `import cupy_compat`."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        # A command knows its own arguments, --help among them.
        commands.add_parser(name, add_help=False, help=summary)
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Everything behind the command's name is the command's.
    command = parser.parse_args(arguments[:1]).command
    # A path that standard output cannot encode must not end a command that has done its work.
    # Standard error escapes it anyway.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    code: int = import_module(COMMANDS[command][0]).main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
