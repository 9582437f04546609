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

#: The first words of cures that need a decision by the user, or are second-best.
_CONDITION = re.compile(r"(If|Where|Or|For|With|To|Else|Keep)\b")
#: Why pip must not change an environment, by the fact ``managed``.
_REASONS = {
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
            # Two installations in a cure are alternatives. A name in capitals is a placeholder.
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
        As for `cupy_compat.doctor.diagnosis.examine`.
    confirmed : bool
        Whether to run the cure without asking.
    write : callable
        A function that prints a text.

    Returns
    -------
    int
        The exit status, as ``cupy-compat doctor --help`` describes it.

    Raises
    ------
    TrialError
        If the interpreter cannot be started to examine CuPy again.
    """
    if _is_usable(diagnosis, gpu):
        write("\nThere is nothing to fix.")
        return 0
    steps = commands(diagnosis, interpreter)
    if not steps:
        write("\nNothing was changed: pip cannot carry out any of these cures by itself.")
        return 1
    managed = diagnosis.case.machine.facts.get("managed")
    if managed is not None:
        write(f"\nNothing was changed: {_REASONS[managed]}. Carry out the cure there by hand.")
        return 1
    pip = [interpreter.command[0], "-I", "-m", "pip"]
    write("\nThe cure:\n" + "\n".join(f"  {interpreter.pip} {shlex.join(step)}" for step in steps))
    if not confirmed and not _confirm():
        write("Nothing was changed.")
        return 1
    before = _installed(pip)
    try:
        failed = _run_steps(pip, steps)
    finally:
        # Even after a failure or Ctrl-C, because an earlier step may have removed something.
        after = _installed(pip)
        removed = [each for each in before if each not in after]
        if removed:
            write(f"\nTo undo this: {interpreter.pip} install {shlex.join(removed)}")
    if failed:
        write(f"\nThis step failed: {interpreter.pip} {shlex.join(failed)}")
    result = examine(interpreter, gpu, limit)
    write("\nAfter the cure:\n" + as_text(result))
    return 0 if _is_usable(result, gpu) and not failed else 1


def _is_usable(diagnosis: Diagnosis, gpu: bool) -> bool:
    return diagnosis.imports and diagnosis.works is not False and bool(diagnosis.works or not gpu)


def _confirm() -> bool:
    """Ask on standard error, because standard output may be a pipe. No answer means no."""
    print("Run it? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    return answer.strip().lower() in ("y", "yes")


def _run_steps(pip: list[str], steps: list[list[str]]) -> list[str] | None:
    """Run the steps after a dry run of the installations; return the step that failed."""
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
