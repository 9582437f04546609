"""Start interpreters that gather facts and try CuPy, each with a time limit."""

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

Mode = Literal["as it is", "with", "without", "util"]
End = Literal["finished", "ended", "crashed", "timed out"]

#: The oldest Python whose CuPy the doctor can examine.
OLDEST = (3, 9)
#: The oldest Python on which the shim runs.
OLDEST_FOR_SHIM = (3, 11)
#: Seconds that an interpreter gets after its limit to print where it hangs, or to end when killed.
_GRACE = 2.0
#: Seconds after which a message announces the wait.
_ANNOUNCE_AFTER = 10.0
#: How many bytes of an interpreter's output are kept; the middle of longer output is dropped.
_MAX_OUTPUT = 1 << 22
#: The line of CuPy's banner that precedes the error.
_BANNER = "Original error:"


class TrialError(Exception):
    """An interpreter cannot be started; the message says why."""


@dataclass(frozen=True)
class Interpreter:
    """A Python to examine.

    Attributes
    ----------
    path : str or None
        Its executable. None is the running one, with the flags of this process.
    """

    path: str | None = None

    @property
    def command(self) -> list[str]:
        """The beginning of a command that starts it in the same way as the user's programs."""
        if self.path is not None:
            return [self.path]
        if not sys.executable:
            raise TrialError(
                "this Python does not know its own interpreter (sys.executable is empty)"
            )
        # Assume that the user's programs start with the same flags as this process.
        return [sys.executable, *subprocess._args_from_interpreter_flags()]  # type: ignore[attr-defined]

    @property
    def pip(self) -> str:
        """The command for its pip, to show to people."""
        return "python -m pip" if self.path is None else f"{self.path} -m pip"


@dataclass(frozen=True)
class Failure:
    """The failure of one step.

    Attributes
    ----------
    step : str
        The step.
    type, message : str
        The type and message of the exception, or what ended the process.
    traceback : str
        The traceback, or the error output of the process.
    """

    step: str
    type: str
    message: str
    traceback: str

    @property
    def said(self) -> str:
        """The line of the error that people search the web for."""
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        if _BANNER in lines[:-1]:
            return lines[lines.index(_BANNER) + 1]
        return f"{self.type}: {lines[0]}" if lines else self.type


@dataclass(frozen=True)
class Attempt:
    """An import of CuPy in a new interpreter, with the steps after it.

    Attributes
    ----------
    shim : {'as it is', 'with', 'without', 'util'}
        The mode, see `cupy_compat.doctor.attempt.run`.
    end : {'finished', 'ended', 'crashed', 'timed out'}
        How the interpreter ended. ``'ended'``: the user's code ended it before the last step.
    values : dict
        The results of the successful steps, by step.
    failures : list of Failure
        The failures of the other steps.
    stderr : str
        The error output of the interpreter, including warnings.
    """

    shim: Mode
    end: End
    values: dict[str, Any]
    failures: list[Failure] = field(default_factory=list)
    stderr: str = ""

    def failure(self, step: str) -> Failure | None:
        """Return the failure of a step, None if it succeeded or was not reached."""
        return next((each for each in self.failures if each.step == step), None)

    @property
    def imports(self) -> bool:
        """Whether CuPy was imported."""
        return "import" in self.values

    @property
    def memoizes(self) -> bool:
        """Whether CuPy was imported and its ``memoize`` works."""
        return self.imports and "memoize" in self.values


def gather_facts(interpreter: Interpreter, limit: float) -> dict[str, Any]:
    """Return the facts of `cupy_compat.doctor.facts`, read in a new interpreter.

    That interpreter is isolated, so that it runs no file of the working folder. If it fails, the
    facts contain only the reason, because CuPy can be tried without them.

    Raises
    ------
    TrialError
        If the interpreter cannot be started, or is too old.
    """
    # Describe the search path of the user's programs, which an isolated interpreter does not have.
    python, *options = interpreter.command
    flags = "".join(options)
    arguments = ["isolated" if "-I" in options else "safe" if "-P" in options else "open"]
    arguments += ["no environment" if "-E" in flags else "environment"]
    arguments += ["no user" if "-s" in options else "user", interpreter.pip]
    records, code, stderr = _run_module([python, "-I"], "facts", arguments, limit)
    if records and release(records[0]["python"]["version"], 2) < (*OLDEST, 0):
        raise TrialError(
            f"{python} is Python {records[0]['python']['version']}; Python "
            f"{OLDEST[0]}.{OLDEST[1]} or later is needed"
        )
    if records:
        return records[0]
    reason = "it took too long" if code is None else f"it ended with {_exit_reason(code)}"
    last = stderr.strip().splitlines()[-1:] or ["no message"]
    if interpreter.path is not None and code is not None:
        oldest = ".".join(map(str, OLDEST))
        raise TrialError(f"{python} does not run as Python {oldest} or later: {reason}: {last[0]}")
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


def try_cupy(
    interpreter: Interpreter, shim: Mode, limit: float, util: Path | None = None
) -> Attempt:
    """Import CuPy in a new interpreter, and try it.

    Parameters
    ----------
    interpreter : Interpreter
        The interpreter to start.
    shim : {'as it is', 'with', 'without', 'util'}
        The mode, see `cupy_compat.doctor.attempt.run`.
    limit : float
        Seconds after which to kill the interpreter.
    util : Path, optional
        With ``'util'``, a module to load in place of the installed ``cupy._util``.

    Raises
    ------
    TrialError
        If the interpreter cannot be started.
    """
    command = interpreter.command
    if shim == "util":
        # Leave out the working folder, as an installed program does.
        command = [*command, "-P"]
        path = str(util or "")
    else:
        # The folder, or the archive, that contains the shim.
        path = str(Path(__file__).parents[1 + __package__.count(".")])
    arguments = [shim, str(limit), path]
    records, code, stderr = _run_module(command, "attempt", arguments, limit + _GRACE)
    values: dict[str, Any] = {}
    failures = []
    current = "start"
    for record in records:
        if "begin" in record:
            current = record["begin"]
        elif record["error"] is None:
            values[record["step"]] = record["value"]
            current = ""
        else:
            failures.append(Failure(record["step"], **record["error"]))
            current = ""
    if code == 0:
        return Attempt(shim, "finished", values, failures, stderr)
    hung = code is None or "Timeout (" in stderr
    how = f"after {limit:g} seconds" if hung else _exit_reason(code or 0)
    # Python's own exit statuses are small; Windows reports a crash with a large number.
    end: End = "timed out" if hung else "ended" if 0 < (code or 0) < 256 else "crashed"
    failures.append(Failure(current or "end", end, how, stderr))
    return Attempt(shim, end, values, failures, stderr)


def _run_module(
    command: list[str], module: str, arguments: list[str], limit: float
) -> tuple[list[dict[str, Any]], int | None, str]:
    """Run the text of a module; return its records, exit status (None if killed) and errors."""
    text = get_data(__package__, f"{module}.py")
    assert text is not None
    token = f"cupy-compat-{secrets.token_hex(8)} "
    try:
        process = subprocess.Popen(
            [*command, "-c", text.decode(), token, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own, so that its child processes can be killed with it.
            start_new_session=True,
        )
    except OSError as error:
        raise TrialError(f"{command[0]} cannot be started: {error.strerror}") from None
    assert process.stdout is not None and process.stderr is not None
    readers = [_Reader(process.stdout), _Reader(process.stderr)]
    try:
        code = _wait(process, limit)
    except BaseException:
        _kill(process)
        raise
    # Do not wait for child processes that keep the streams open.
    out, err = (reader.finish(_GRACE) for reader in readers)
    _kill(process)
    records = [
        ast.literal_eval(line[len(token) :])
        for line in out.splitlines()
        # Skip an incomplete line of a killed interpreter.
        if line.startswith(token) and line.endswith("}")
    ]
    return records, code, err


class _Reader(threading.Thread):
    """Keeps the beginning and the end of the output of a process, which may never close it."""

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
                if len(self._content) > 2 * _MAX_OUTPUT:
                    del self._content[_MAX_OUTPUT // 2 : -_MAX_OUTPUT // 2]

    def finish(self, limit: float) -> str:
        """Return the output, after waiting at most that many seconds for the rest."""
        self.join(limit)
        return bytes(self._content).decode("utf-8", "backslashreplace")


def _wait(process: subprocess.Popen[bytes], limit: float) -> int | None:
    """Wait for the end of a process, and announce a long wait; None if the limit is reached."""
    until = time.monotonic() + limit
    with suppress(subprocess.TimeoutExpired):
        return process.wait(min(limit, _ANNOUNCE_AFTER))
    if limit > _ANNOUNCE_AFTER and sys.stderr is not None:
        print(
            f"waiting for CuPy, up to {limit - _GRACE:g} seconds ...", file=sys.stderr, flush=True
        )
    with suppress(subprocess.TimeoutExpired):
        return process.wait(max(0.0, until - time.monotonic()))
    _kill(process)
    return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        # The process may have ended by itself.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)


def _exit_reason(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
