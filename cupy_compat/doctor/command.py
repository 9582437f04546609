"""The command ``cupy-compat doctor``: its arguments and its exit status."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from . import diagnosis, fix, report
from .checks import CHECKS
from .trial import Interpreter, TrialError

_PROG = "cupy-compat doctor" if __package__ == "cupy_compat.doctor" else "doctor.pyz"


def main(argv: Sequence[str] | None = None) -> int:
    """Find out why CuPy does not import or work, and what to do.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after ``doctor``; by default those of the process.

    Returns
    -------
    int
        The exit status, as ``--help`` describes it.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    if options.fix and (options.json or options.explain is not None):
        parser.error("--fix cannot be combined with --json or --explain")
    if options.yes and not options.fix:
        parser.error("--yes needs --fix")
    if options.list:
        width = max(len(check.name) for check in CHECKS)
        _write("\n".join(f"{check.name:<{width}}  {check.about}" for check in CHECKS))
        return 0
    if options.python is not None and shutil.which(options.python) is None:
        _error(f"--python {options.python}: there is no such program")
        return 2
    try:
        if options.explain is not None:
            return _explain(options.explain, options.json)
        interpreter = _interpreter(options.python)
        found = diagnosis.examine(interpreter, options.gpu, options.time_limit)
        _write((report.as_json if options.json else report.as_text)(found))
        if options.fix:
            return fix.run(found, interpreter, options.gpu, options.time_limit, options.yes, _write)
    except TrialError as error:
        _error(str(error))
        return 1
    except KeyboardInterrupt:
        _error("interrupted")
        return 130
    return 0 if found.imports and (found.works or not options.gpu) else 1


def _interpreter(path: str | None) -> Interpreter:
    if path is None:
        return Interpreter()
    return Interpreter(os.path.abspath(shutil.which(path) or path))


def _explain(file: str, as_json: bool) -> int:
    try:
        if file == "-":
            if sys.stdin is None:
                raise OSError(0, "standard input is closed")
            explanation = diagnosis.explain(sys.stdin.buffer)
        else:
            with open(file, "rb") as opened:
                explanation = diagnosis.explain(opened)
    except OSError as error:
        _error(f"{file} cannot be read: {error.strerror}")
        return 2
    _write(
        report.explanation_as_json(explanation)
        if as_json
        else report.explanation_as_text(explanation)
    )
    return 0 if any(each.severity == "problem" for each in explanation.findings) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Find out why CuPy does not import or work, and what to do.",
        epilog="Exit status: 0 CuPy imports and, with --gpu, works on a GPU; 1 it does not, or the "
        "interpreter cannot be started; 2 wrong usage; 130 interrupted. With --explain: 0 the text "
        "matches a known problem; 1 it does not; 2 also if the file cannot be read. With --fix: 0 "
        "CuPy imports and works (a missing GPU counts only with --gpu); 1 it does not, or the cure "
        "failed.",
    )
    parser.add_argument("--json", action="store_true", help="print the complete result as JSON")
    parser.add_argument("--list", action="store_true", help="print the list of checks and exit")
    parser.add_argument(
        "--gpu", action="store_true", help="report it as a problem if CuPy cannot use a GPU"
    )
    parser.add_argument(
        "--python",
        metavar="PATH",
        help="examine the CuPy of another Python (3.9 or later), even without cupy-compat there",
    )
    parser.add_argument(
        "--explain",
        metavar="FILE",
        help="explain a traceback or the output of pip, without trying CuPy here; - is standard "
        "input",
    )
    parser.add_argument(
        "--fix",
        action="store_true",
        help="ask, then run the first cure that pip can carry out in this environment",
    )
    parser.add_argument("--yes", action="store_true", help="with --fix: do not ask")
    parser.add_argument(
        "--time-limit",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="kill an import that takes longer (default 120)",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return seconds


def _write(text: str) -> None:
    """Print in any locale, and also to a closed pipe."""
    if sys.stdout is None:
        return
    encoding = sys.stdout.encoding or "ascii"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # Python flushes again at its exit, which would fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _error(text: str) -> None:
    if sys.stderr is not None:
        print(f"{_PROG}: error: {report.printable(text)}", file=sys.stderr)
