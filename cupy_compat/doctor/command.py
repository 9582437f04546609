"""The command ``cupy-compat doctor``: its arguments and its exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from cupy_compat.doctor import diagnosis, report
from cupy_compat.doctor.checks import CHECKS
from cupy_compat.doctor.trial import TrialError

_PROG = "cupy-compat doctor"


def main(argv: Sequence[str]) -> int:
    """Say why CuPy does not import here, and what to do.

    Parameters
    ----------
    argv : sequence of str
        The arguments behind ``doctor``.

    Returns
    -------
    int
        0: CuPy imports, and, with ``--gpu``, works; 1: it does not; 2: usage.
    """
    options = _parser().parse_args(argv)
    if options.list:
        width = max(len(check.name) for check in CHECKS)
        _write("\n".join(f"{check.name:<{width}}  {check.about}" for check in CHECKS))
        return 0
    if options.explain is not None:
        return _explain(options.explain, options.json)
    try:
        found = diagnosis.examine(options.gpu, options.time_limit)
    except TrialError as error:
        _complain(str(error))
        return 1
    _write((report.as_json if options.json else report.as_text)(found))
    return 0 if found.imports and (found.works or not options.gpu) else 1


def _explain(file: str, as_json: bool) -> int:
    try:
        if file == "-":
            content = sys.stdin.buffer.read() if sys.stdin is not None else b""
        else:
            with open(file, "rb") as opened:
                content = opened.read()
    except OSError as error:
        _complain(f"{file} cannot be read: {error.strerror}")
        return 2
    findings = diagnosis.explain(content.decode("utf-8", "backslashreplace"))
    _write((report.findings_as_json if as_json else report.findings_as_text)(findings))
    return 0 if findings else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Say why CuPy does not import here, or does not work, and what to do.",
        epilog="Exit status: 0 CuPy imports, 1 it does not, 2 wrong usage.",
    )
    parser.add_argument("--json", action="store_true", help="print all that is known, as JSON")
    parser.add_argument("--list", action="store_true", help="print the checks, and do nothing")
    parser.add_argument(
        "--gpu", action="store_true", help="exit with 1 also where CuPy cannot use a GPU"
    )
    parser.add_argument(
        "--explain",
        metavar="FILE",
        help="say what a traceback, or pip's output, is about, instead of trying; - reads it from "
        "standard input; exit status 1 if no check knows it",
    )
    parser.add_argument(
        "--time-limit",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="end an import that takes longer (default 120)",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise ValueError
    return seconds


def _write(text: str) -> None:
    """Print, in any locale, and also into a pipe that nobody reads any more."""
    if sys.stdout is None:
        return
    encoding = sys.stdout.encoding or "ascii"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(text: str) -> None:
    if sys.stderr is not None:
        print(f"{_PROG}: error: {text}", file=sys.stderr)
