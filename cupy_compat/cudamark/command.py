"""The command ``cupy-compat cudamark``: its arguments, its exit status and its errors."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from cupy_compat.cudamark.options import BadArgument, Options

_PROG = "cupy-compat cudamark"
_MOST_THREADS = 1 << 20


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with one line, without the usage."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    positive = partial(_integer, least=1)
    add(
        "--device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="where to sort; auto (the default) means a GPU if one is usable, otherwise the CPU",
    )
    add("--size", type=positive, default=50_000_000, help="number of keys (default 50000000)")
    add("--dtype", default="int32", help="NumPy dtype of the keys (default int32)")
    add(
        "--threads",
        type=_thread_counts,
        default=(1, 2, 4, 8, 16, 32, 64, 128),
        metavar="N,N,...",
        help="numbers of CPU threads (default 1,2,4,8,16,32,64,128)",
    )
    add("--repeat", type=positive, default=5, help="timed calls for each figure (default 5)")
    add("--seed", type=partial(_integer, least=0), default=0, help="seed of the keys (default 0)")
    add(
        "--distribution",
        default="uniform",
        metavar="NAME",
        help="uniform (the default), sorted, reversed, nearly-sorted, constant, few-values, skewed",
    )
    add(
        "--compare",
        action="store_true",
        help="instead, print every sort beside the time that the hardware allows",
    )
    add(
        "--with",
        dest="contenders",
        type=lambda text: tuple(part.strip() for part in text.split(",")),
        default=(),
        metavar="NAME,NAME,...",
        help="with --compare: measure other libraries too: polars, torch, parallel-sort, quill, "
        "cupynumeric",
    )
    add("--quiet", action="store_true", help="print only errors to standard error")
    add("--csv", metavar="FILE", help="also write the table to FILE as CSV")
    add("--json", metavar="FILE", help="write every repeat, the machine and all versions to FILE")
    add(
        "--plot",
        metavar="FILE",
        help="plot time against threads to FILE (.png or .svg); on a GPU, also for the CPU",
    )


def main(argv: Sequence[str]) -> int:
    """Run the command with the arguments after ``cudamark``, and return its exit status.

    Every failure prints one line on standard error.
    """
    _open_streams()
    parser = _Parser(
        prog=_PROG,
        description="Sort one array with 1, 2, 4 ... threads, and print a table.",
        epilog="Exit status: 0 done; 1 failed; 2 wrong usage; 130 interrupted.",
    )
    _add_arguments(parser)
    try:
        options = Options(**vars(parser.parse_args(argv)))
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        from cupy_compat.cudamark.suite import run

        run(options, [*_PROG.split(), *argv])
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _report_error("interrupted", 130)
    except BadArgument as error:
        return _report_error(str(error), 2)
    except ImportError as error:
        from cupy_compat.cudamark import explain_missing

        return _report_error(str(explain_missing(error)), 1)
    except BrokenPipeError:
        # At exit Python flushes standard output again, which would fail and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _report_error("standard output was closed", 1)
    except (MemoryError, OSError, RuntimeError) as error:
        return _report_error(str(error) or type(error).__name__, 1)
    return 0


def _open_streams() -> None:
    """Make both streams accept any text, even if they are closed or ASCII."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed: the next file to be opened must not get its descriptor
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _report_error(text: str, code: int) -> int:
    print(f"{_PROG}: error: {' '.join(text.split())}", file=sys.stderr)
    return code


def _thread_counts(text: str) -> tuple[int, ...]:
    return tuple(_integer(part, least=1, most=_MOST_THREADS) for part in text.split(","))


def _integer(text: str, least: int, most: float = math.inf) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"{number} is below {least}")
    if number > most:
        raise argparse.ArgumentTypeError(f"{number} is above {most}")
    return number
