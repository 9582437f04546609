"""Interpreters started to gather facts and to try CuPy, each with a time limit."""

from __future__ import annotations

import ast
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import get_data
from typing import IO, Any, Literal

from .wheels import release

Shim = Literal["as it is", "with", "without"]
End = Literal["finished", "ended", "crashed", "timed out"]

#: The oldest Python whose CuPy can be examined.
OLDEST = (3, 9)
#: The oldest Python that the shim can be tried in.
SHIM = (3, 11)
#: Seconds beyond its limit in which an interpreter can say where it hangs, or a killed one end.
_GRACE = 2.0
#: Seconds after which a wait is worth a word.
_LONG = 10.0
#: How much of what an interpreter writes is kept, in bytes.
_KEPT = 1 << 22
#: What stands in CuPy's banner before the error that it is about.
_BANNER = "Original error:"


class TrialError(Exception):
    """No interpreter could be started; the message says why."""


@dataclass(frozen=True)
class Interpreter:
    """A Python that is examined.

    Attributes
    ----------
    path : str or None
        Its executable; None stands for the running one, started with the flags of this process.
    """

    path: str | None = None

    @property
    def command(self) -> list[str]:
        """Return the beginning of a command that starts it as a user's program is started."""
        if self.path is not None:
            return [self.path]
        if not sys.executable:
            raise TrialError(
                "this Python does not know its own interpreter (sys.executable is empty)"
            )
        # The flags of this interpreter are those that the user's programs are started with, or -I
        # and the like would be reported to users who do not have them.
        return [sys.executable, *subprocess._args_from_interpreter_flags()]  # type: ignore[attr-defined]

    @property
    def pip(self) -> str:
        """Return how pip of it is called, for people."""
        return "python -m pip" if self.path is None else f"{self.path} -m pip"


@dataclass(frozen=True)
class Failure:
    """What went wrong in one step.

    Attributes
    ----------
    step : str
        Which step.
    type, message : str
        The exception's, or what ended the process.
    traceback : str
        All that can be said about where.
    """

    step: str
    type: str
    message: str
    traceback: str

    @property
    def said(self) -> str:
        """The one line that people search for."""
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        if _BANNER in lines[:-1]:
            return lines[lines.index(_BANNER) + 1]
        return f"{self.type}: {lines[0]}" if lines else self.type


@dataclass(frozen=True)
class Attempt:
    """An import of CuPy in a fresh interpreter, and what was tried after it.

    Attributes
    ----------
    shim : {'as it is', 'with', 'without'}
        Whether ``cupy_compat`` was left to the environment, armed, or disarmed.
    end : {'finished', 'ended', 'crashed', 'timed out'}
        How the interpreter ended: ended, if code of the user's ended it before all was tried.
    values : dict
        What the steps that succeeded returned, by their names.
    failures : list of Failure
        The steps that failed.
    stderr : str
        What the interpreter wrote, warnings among it.
    """

    shim: Shim
    end: End
    values: dict[str, Any]
    failures: list[Failure] = field(default_factory=list)
    stderr: str = ""

    def failure(self, step: str) -> Failure | None:
        """Return how that step failed, None if it did not, or was not reached."""
        return next((each for each in self.failures if each.step == step), None)

    @property
    def imports(self) -> bool:
        """Whether CuPy was imported."""
        return "import" in self.values

    @property
    def works_alone(self) -> bool:
        """Whether it was, and all that needs no GPU works too."""
        return self.imports and "memoize" in self.values


def gather_facts(interpreter: Interpreter, limit: float) -> dict[str, Any]:
    """Return what an interpreter of its own reads, see `cupy_compat.doctor.facts`.

    It is started isolated, so that it runs nothing of the working folder. Where it fails, the facts
    are empty but for the reason: CuPy can be tried without them.

    Raises
    ------
    TrialError
        If the interpreter cannot be started, or is too old.
    """
    # It looks where the user's programs would, which is not where an isolated interpreter looks.
    path = interpreter.command
    flags = "".join(path[1:])
    given = ["isolated" if "-I" in path else "safe" if "-P" in path else "open"]
    given += ["no environment" if "-E" in flags else "environment"]
    given += ["no user" if "-s" in path else "user", interpreter.pip]
    records, code, stderr = _interpret([path[0], "-I"], "facts", given, limit)
    if records and release(records[0]["python"]["version"], 2) < (*OLDEST, 0):
        raise TrialError(
            f"{path[0]} is Python {records[0]['python']['version']}; Python "
            f"{OLDEST[0]}.{OLDEST[1]} or later is needed"
        )
    if records:
        return records[0]
    reason = "it took too long" if code is None else f"it ended with {_meaning(code)}"
    last = stderr.strip().splitlines()[-1:] or ["no message"]
    if interpreter.path is not None and code is not None:
        oldest = ".".join(map(str, OLDEST))
        raise TrialError(f"{path[0]} does not run as Python {oldest} or later: {reason}: {last[0]}")
    return _without_facts(interpreter, f"{reason}: {last[0]}")


def _without_facts(interpreter: Interpreter, reason: str) -> dict[str, Any]:
    own = interpreter.path is None
    return {
        "error": reason,
        "python": {
            "version": "{}.{}.{}".format(*sys.version_info) if own else None,
            "executable": interpreter.command[0],
            "system": sys.platform,
            "extension_suffixes": [],
        },
        "cupy": {"found": {"kind": "cupy", "path": None}, "distributions": [], "wheel": None,
                 "extension_suffixes": [], "cache": {"path": None, "writable": None}},
        "packages": {},
        "driver": {"library": None, "cuda": None},
        "environment": {},
        "managed": None,
        "pip": interpreter.pip,
    }  # fmt: skip


def try_cupy(interpreter: Interpreter, shim: Shim, limit: float) -> Attempt:
    """Import CuPy in a fresh interpreter, see `cupy_compat.doctor.attempt`.

    Parameters
    ----------
    interpreter : Interpreter
        Which one.
    shim : {'as it is', 'with', 'without'}
        What to do about ``cupy_compat`` before.
    limit : float
        Seconds after which the interpreter is ended.

    Raises
    ------
    TrialError
        If the interpreter cannot be started.
    """
    # The folder, or the archive, that holds the shim.
    ours = str(Path(__file__).parents[1 + __package__.count(".")])
    given = [shim, str(limit), ours]
    records, code, stderr = _interpret(interpreter.command, "attempt", given, limit + _GRACE)
    values: dict[str, Any] = {}
    failures = []
    begun = "start"
    for record in records:
        if "begin" in record:
            begun = record["begin"]
        elif record["error"] is None:
            values[record["step"]] = record["value"]
            begun = ""
        else:
            failures.append(Failure(record["step"], **record["error"]))
            begun = ""
    if code == 0:
        return Attempt(shim, "finished", values, failures, stderr)
    hung = code is None or "Timeout (" in stderr
    how = f"after {limit:g} seconds" if hung else _meaning(code or 0)
    # An exit status of Python's own; Windows reports a crash by a large number.
    end: End = "timed out" if hung else "ended" if 0 < (code or 0) < 256 else "crashed"
    failures.append(Failure(begun or "end", end, how, stderr))
    return Attempt(shim, end, values, failures, stderr)


def _interpret(
    command: list[str], module: str, arguments: list[str], limit: float
) -> tuple[list[dict[str, Any]], int | None, str]:
    """Run a module's text; return its records, its exit status (None: ended), its errors."""
    text = get_data(__package__, f"{module}.py")
    assert text is not None
    token = f"cupy-compat-{secrets.token_hex(8)} "
    try:
        process = subprocess.Popen(
            [*command, "-c", text.decode(), token, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # What it starts is to end with it.
            start_new_session=True,
        )
    except OSError as error:
        raise TrialError(f"{command[0]} cannot be started: {error.strerror}") from None
    assert process.stdout is not None and process.stderr is not None
    readers = [_Reader(process.stdout), _Reader(process.stderr)]
    try:
        code = _wait(process, limit)
    except BaseException:
        _end(process)
        raise
    # What the process started may live on and hold the streams; it is not waited for.
    out, err = (reader.finish(_GRACE) for reader in readers)
    _end(process)
    records = [
        ast.literal_eval(line[len(token) :])
        for line in out.splitlines()
        # An interpreter that was ended may have been in the middle of a line.
        if line.startswith(token) and line.endswith("}")
    ]
    return records, code, err


class _Reader(threading.Thread):
    """The beginning and the end of what a process writes, which may never close the stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._content = bytearray()
        self.start()

    def run(self) -> None:
        with suppress(OSError, ValueError), self._stream:
            while True:
                block = os.read(self._stream.fileno(), 1 << 16)
                if not block:
                    return
                self._content += block
                if len(self._content) > 2 * _KEPT:
                    del self._content[_KEPT // 2 : -_KEPT // 2]

    def finish(self, limit: float) -> str:
        """Return what was written, waiting no longer than so many seconds for the rest."""
        self.join(limit)
        return bytes(self._content).decode("utf-8", "backslashreplace")


def _wait(process: subprocess.Popen[bytes], limit: float) -> int | None:
    """Wait for the end, and say so where it takes long; None if the limit is reached."""
    until = time.monotonic() + limit
    with suppress(subprocess.TimeoutExpired):
        return process.wait(min(limit, _LONG))
    if limit > _LONG and sys.stderr is not None:
        print(
            f"waiting for CuPy, up to {limit - _GRACE:g} seconds ...", file=sys.stderr, flush=True
        )
    with suppress(subprocess.TimeoutExpired):
        return process.wait(max(0.0, until - time.monotonic()))
    _end(process)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        # It may have ended by itself meanwhile.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)


def _meaning(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
