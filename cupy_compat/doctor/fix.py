"""``--fix``: run the first cure that pip can carry out in the examined environment."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable

from .diagnosis import Diagnosis, examine
from .report import as_text, printable
from .trial import Interpreter

#: How a cure begins that needs a decision by the user, or is an alternative to a better one.
_CONDITION = re.compile(r"(If|Where|Or|For|With|To|Else|Keep)\b")
_INSTEAD = {
    "conda": "conda manages this environment, and pip would make it inconsistent",
    "externally managed": "the system manages this Python (PEP 668); use a virtual environment",
    "not writable": "you cannot write to this environment; use a virtual environment",
    "without pip": "this environment has no pip",
}

Write = Callable[[str], None]


def commands(diagnosis: Diagnosis, interpreter: Interpreter) -> list[list[str]]:
    """Return the first cure of a problem that consists of pip commands, as arguments of pip.

    Parameters
    ----------
    diagnosis : Diagnosis
        The result of the examination.
    interpreter : Interpreter
        The examined Python.
    """
    for finding in diagnosis.findings:
        if finding.severity != "problem":
            continue
        for cure in finding.cures:
            quoted = re.findall(r"`([^`]+)`", cure)
            start = f"{interpreter.pip} "
            steps = [shlex.split(each[len(start) :]) for each in quoted if each.startswith(start)]
            # Two installations are alternatives. The user must replace a name in capitals.
            one = [step[0] for step in steps] in (["install"], ["uninstall", "install"])
            if one and not _CONDITION.match(cure) and not re.search(r"\b[A-Z]{4,}\b", str(steps)):
                return steps
    return []


def run(
    diagnosis: Diagnosis,
    interpreter: Interpreter,
    gpu: bool,
    limit: float,
    confirmed: bool,
    write: Write,
) -> int:
    """Show the cure, ask, run it, and examine CuPy again.

    Parameters
    ----------
    diagnosis : Diagnosis
        The result of the examination.
    interpreter, gpu, limit
        See `cupy_compat.doctor.diagnosis.examine`.
    confirmed : bool
        Whether to run the cure without asking.
    write : callable
        Prints a text.

    Returns
    -------
    int
        0: CuPy now imports and, with ``gpu``, works; 1: it does not.
    """
    if _well(diagnosis, gpu):
        write("\nThere is nothing to fix.")
        return 0
    steps = commands(diagnosis, interpreter)
    if not steps:
        write("\nNothing was changed: pip cannot carry out any of these cures by itself.")
        return 1
    managed = diagnosis.case.machine.facts.get("managed")
    if managed is not None:
        write(f"\nNothing was changed: {_INSTEAD[managed]}. Carry out the cure there by hand.")
        return 1
    pip = [interpreter.command[0], "-I", "-m", "pip"]
    write("\nThe cure:\n" + "\n".join(f"  {interpreter.pip} {shlex.join(step)}" for step in steps))
    if not confirmed and not _asked():
        write("Nothing was changed.")
        return 1
    before = _installed(pip)
    failed = _carry_out(pip, steps)
    after = _installed(pip)
    back = [each for each in before if each not in after]
    if back:
        # Also after a failed step, which may have removed something.
        write(f"\nTo undo this: {interpreter.pip} install {shlex.join(back)}")
    if failed:
        write(f"\nThis step failed: {interpreter.pip} {shlex.join(failed)}")
    again = examine(interpreter, gpu, limit)
    write("\nAfter the cure:\n" + as_text(again))
    return 0 if _well(again, gpu) and not failed else 1


def _well(diagnosis: Diagnosis, gpu: bool) -> bool:
    return diagnosis.imports and diagnosis.works is not False and bool(diagnosis.works or not gpu)


def _asked() -> bool:
    """Ask on standard error, because standard output may be a pipe. No answer means no."""
    print("Run it? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    return answer.strip().lower() in ("y", "yes")


def _carry_out(pip: list[str], steps: list[list[str]]) -> list[str] | None:
    """Run the steps, and return the one that failed. Test all installations first."""
    dry = [[step[0], "--dry-run", *step[1:]] for step in steps if step[0] == "install"]
    for step in [*dry, *steps]:
        # Print pip's output to standard error; standard output is the doctor's.
        out = subprocess.DEVNULL if "--dry-run" in step else sys.stderr
        done = subprocess.run([*pip, *step], stdin=subprocess.DEVNULL, stdout=out, check=False)
        if done.returncode:
            return step
    return None


def _installed(pip: list[str]) -> list[str]:
    """Return the installed distributions as requirements."""
    done = subprocess.run(
        [*pip, "list", "--format=freeze", "--disable-pip-version-check"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [printable(line) for line in done.stdout.splitlines() if "==" in line]
