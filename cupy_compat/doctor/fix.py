"""``--fix``: run the first cure that pip can carry out in this very environment."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable

from .diagnosis import Diagnosis, examine
from .report import as_text, printable
from .trial import Interpreter

#: What a cure begins with that depends on what only people know, or that is not the best one.
_CONDITION = re.compile(r"(If|Where|Or|For|With|To|Else|Keep)\b")
_INSTEAD = {
    "conda": "conda manages this environment; pip would change it behind conda's back",
    "externally managed": "the system manages this Python (PEP 668); use a virtual environment",
    "not writable": "you may not write to this environment; use a virtual environment",
    "without pip": "this environment has no pip",
}

Write = Callable[[str], None]


def commands(diagnosis: Diagnosis, interpreter: Interpreter) -> list[list[str]]:
    """Return the first cure of a problem that is pip's alone, as the arguments of pip.

    Parameters
    ----------
    diagnosis : Diagnosis
        What was found.
    interpreter : Interpreter
        The Python that was examined, whose pip the cures name.
    """
    for finding in diagnosis.findings:
        if finding.severity != "problem":
            continue
        for cure in finding.cures:
            quoted = re.findall(r"`([^`]+)`", cure)
            start = f"{interpreter.pip} "
            steps = [shlex.split(each[len(start) :]) for each in quoted if each.startswith(start)]
            # Two installations are a choice, and a name in capitals is for the reader to fill in.
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
    """Show the cure, ask, run it, try CuPy again, and say what became of it.

    Parameters
    ----------
    diagnosis : Diagnosis
        What was found.
    interpreter, gpu, limit
        As for `cupy_compat.doctor.diagnosis.examine`.
    confirmed : bool
        Whether not to ask.
    write : callable
        Where to print.

    Returns
    -------
    int
        0: CuPy imports (with ``gpu``: works) now; 1: it does not.
    """
    if _well(diagnosis, gpu):
        write("\nThere is nothing to fix.")
        return 0
    steps = commands(diagnosis, interpreter)
    if not steps:
        write("\nNo cure above is one that pip can carry out by itself; nothing was changed.")
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
        # What a failed step has removed can be brought back by name.
        write(f"\nTo go back: {interpreter.pip} install {shlex.join(back)}")
    if failed:
        write(f"\nThis step failed: {interpreter.pip} {shlex.join(failed)}")
    again = examine(interpreter, gpu, limit)
    write("\nAfter the cure:\n" + as_text(again))
    return 0 if _well(again, gpu) and not failed else 1


def _well(diagnosis: Diagnosis, gpu: bool) -> bool:
    return diagnosis.imports and diagnosis.works is not False and bool(diagnosis.works or not gpu)


def _asked() -> bool:
    """Ask on standard error, since standard output may be a pipe; no answer is a no."""
    print("Run it? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    return answer.strip().lower() in ("y", "yes")


def _carry_out(pip: list[str], steps: list[list[str]]) -> list[str] | None:
    """Run the steps; return the one that failed. What cannot be installed is found out first."""
    dry = [[step[0], "--dry-run", *step[1:]] for step in steps if step[0] == "install"]
    for step in [*dry, *steps]:
        # What pip says goes to standard error: standard output is the doctor's.
        out = subprocess.DEVNULL if "--dry-run" in step else sys.stderr
        done = subprocess.run([*pip, *step], stdin=subprocess.DEVNULL, stdout=out, check=False)
        if done.returncode:
            return step
    return None


def _installed(pip: list[str]) -> list[str]:
    """Return what is installed, as pip's requirements."""
    done = subprocess.run(
        [*pip, "list", "--format=freeze", "--disable-pip-version-check"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [printable(line) for line in done.stdout.splitlines() if "==" in line]
