"""Interpreters started to gather facts and to try CuPy, each with a time limit."""

from __future__ import annotations

import ast
import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import get_data
from typing import Any, Literal

Shim = Literal["as it is", "with", "without"]
End = Literal["finished", "crashed", "timed out"]

#: Seconds beyond its limit in which an interpreter can say where it hangs.
_GRACE = 5.0
#: What stands in CuPy's banner before the error that it is about.
_BANNER = "Original error:"


class TrialError(Exception):
    """No interpreter could be started; the message says why."""


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
    end : {'finished', 'crashed', 'timed out'}
        How the interpreter ended.
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


def gather_facts(limit: float) -> dict[str, Any]:
    """Return what an interpreter of its own reads, see `cupy_compat.doctor.facts`."""
    records, code, stderr = _interpret("facts", [], limit)
    if not records:
        raise TrialError(f"the interpreter that gathers facts ended with {code}:\n{stderr}")
    return records[0]


def try_cupy(shim: Shim, limit: float) -> Attempt:
    """Import CuPy in a fresh interpreter, see `cupy_compat.doctor.attempt`.

    Parameters
    ----------
    shim : {'as it is', 'with', 'without'}
        What to do about ``cupy_compat`` before.
    limit : float
        Seconds after which the interpreter is ended.
    """
    ours = str(Path(__file__).parents[2])
    records, code, stderr = _interpret("attempt", [shim, str(limit), ours], limit + _GRACE)
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
    told = f"after {limit:g} seconds" if hung else _meaning(code or 0)
    end: End = "timed out" if hung else "crashed"
    failures.append(Failure(begun or "end", end, told, stderr))
    return Attempt(shim, end, values, failures, stderr)


def _interpret(
    module: str, arguments: list[str], limit: float
) -> tuple[list[dict[str, Any]], int | None, str]:
    """Run a module's text; return its records, its exit status (None: ended), its errors."""
    if not sys.executable:
        raise TrialError("this Python does not know its own interpreter (sys.executable is empty)")
    text = get_data(__package__, f"{module}.py")
    assert text is not None
    token = f"cupy-compat-{secrets.token_hex(8)} "
    # The flags of this interpreter are those that the user's programs are started with, or -I
    # and the like would be a finding that nobody has. `python -c` has the path that they have.
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    command = [sys.executable, *flags, "-c", text.decode(), token, *arguments]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # What it starts is to end with it.
            start_new_session=True,
        )
    except OSError as error:
        raise TrialError(f"{sys.executable} cannot be started: {error}") from None
    code: int | None
    try:
        out, err = process.communicate(timeout=limit)
        code = process.returncode
    except subprocess.TimeoutExpired:
        _end(process)
        out, err = process.communicate()
        code = None
    except BaseException:
        _end(process)
        raise
    lines = out.decode("utf-8", "backslashreplace").splitlines()
    records = [
        ast.literal_eval(line.removeprefix(token))
        for line in lines
        # An interpreter that was ended may have been in the middle of a line.
        if line.startswith(token) and line.endswith("}")
    ]
    return records, code, err.decode("utf-8", "backslashreplace")


def _end(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        # It may have ended by itself meanwhile.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _meaning(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
