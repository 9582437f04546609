"""What the checks find in a case, and the verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cupy_compat.doctor.case import Case
from cupy_compat.doctor.checks import CHECKS, Check
from cupy_compat.doctor.trial import Attempt, Failure, gather_facts, try_cupy

Severity = Literal["problem", "remark"]
RepairState = Literal["off", "armed", "would repair", "repairs"]

#: What the shim cures, by the names of the checks that find it.
REPAIRABLE = frozenset({"memoize", "memoize-annotated"})
#: The steps that a CuPy has to pass wherever it is.
_EVERYWHERE = frozenset({"start", "import", "memoize"})


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    check, about : str
        The check's name, and its line.
    severity : {'problem', 'remark'}
        Whether it keeps CuPy from being imported, or from what is asked of it.
    step : str or None
        The step of the attempt that failed by it, None if it was seen in another way.
    said : str or None
        What was said.
    cause : str
        Why.
    cures : tuple of str
        What to do, the best first.
    """

    check: str
    about: str
    severity: Severity
    step: str | None
    said: str | None
    cause: str
    cures: tuple[str, ...]


@dataclass(frozen=True)
class Repair:
    """The shim's own state here, and why, in a sentence."""

    state: RepairState
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """The whole of it.

    Attributes
    ----------
    case : Case
        The facts and attempts.
    findings : tuple of Finding
        What was recognised, problems first.
    unknown : tuple of Failure
        The failures that no check knows.
    repair : Repair
        The shim's own state.
    imports : bool
        Whether ``import cupy`` succeeds.
    works : bool or None
        Whether a kernel was compiled and run, None without a GPU to try it on.
    """

    case: Case
    findings: tuple[Finding, ...]
    unknown: tuple[Failure, ...]
    repair: Repair
    imports: bool
    works: bool | None


def examine(gpu: bool, limit: float) -> Diagnosis:
    """Gather facts, try CuPy, and say what is found.

    Parameters
    ----------
    gpu : bool
        Whether a CuPy that cannot use a GPU is a problem.
    limit : float
        Seconds that each interpreter may take.
    """
    facts = gather_facts(limit)
    # A file that is not CuPy is some program of the user's, and would be run.
    stranger = facts["cupy"]["found"]["kind"] == "stranger"
    attempt = None if stranger else try_cupy("as it is", limit)
    return diagnose(_second_opinion(Case(facts, attempt), limit), gpu)


def diagnose(case: Case, gpu: bool) -> Diagnosis:
    """Hold every check against a case."""
    attempt = case.attempt
    failures = attempt.failures if attempt is not None else []
    present = attempt is not None and "device" in attempt.values
    known: set[str] = set()
    findings = []
    for check in CHECKS:
        evidence = list(_evidence(check, case))
        known.update(failure.step for failure, _ in evidence if failure is not None)
        if check.breaks and any(match is None for _, match in evidence):
            known.add("import")
        if evidence:
            # One is enough to tell: the first, since what fails first may bring the others about.
            failure, match = evidence[0]
            severity = _severity(check, failure, match, gpu or present)
            findings.append(_finding(check, case, severity, failure, match))
    imports = attempt is not None and attempt.imports
    return Diagnosis(
        case,
        tuple(sorted(findings, key=lambda each: each.severity != "problem")),
        tuple(each for each in failures if each.step not in known),
        _repair(case),
        imports,
        _works(attempt),
    )


def explain(text: str) -> tuple[Finding, ...]:
    """Say what a text is about that came from elsewhere: a traceback, a job's or pip's output."""
    case = Case()
    matches = ((check, re.search(check.says, text)) for check in CHECKS if check.says)
    return tuple(_finding(check, case, "problem", None, match) for check, match in matches if match)


def _evidence(check: Check, case: Case) -> Iterator[tuple[Failure | None, re.Match[str] | None]]:
    """Yield the failures, warnings and facts in which a check sees what it looks for."""
    if check.given is not None and not check.given(case):
        return
    attempt = case.attempt
    if check.says is not None and attempt is not None:
        for failure in attempt.failures:
            match = re.search(check.says, failure.traceback)
            if match:
                yield failure, match
        match = re.search(check.says, attempt.stderr)
        if match:
            yield None, match
    if check.shows is not None and check.shows(case):
        ended = attempt is not None and attempt.end != "finished" and check.says is None
        yield attempt.failures[-1] if attempt and ended else None, None


def _severity(
    check: Check, failure: Failure | None, match: re.Match[str] | None, use: bool
) -> Severity:
    if failure is not None:
        return "problem" if use or failure.step in _EVERYWHERE else "remark"
    return "problem" if match is None and check.breaks else "remark"


def _finding(
    check: Check,
    case: Case,
    severity: Severity,
    failure: Failure | None,
    match: re.Match[str] | None,
) -> Finding:
    groups = match.groupdict() if match is not None else {}
    words = {**case.words, **{name: text for name, text in groups.items() if text is not None}}
    said = failure.said if failure is not None else None
    # A message of many lines need not begin with the one that tells.
    if match is not None and (said is None or not re.search(match.re, said)):
        said = _line(match)
    return Finding(
        check.name,
        check.about,
        severity,
        failure.step if failure is not None else None,
        said,
        check.cause.format_map(words),
        tuple(cure.format_map(words) for cure in check.cures),
    )


def _line(match: re.Match[str]) -> str:
    """Return the line in which a match ends, whole."""
    before, after = match.string[: match.end()], match.string[match.end() :]
    return (before.rpartition("\n")[2] + after.partition("\n")[0]).strip()


def _second_opinion(case: Case, limit: float) -> Case:
    """Try once more with the shim where that may help, or without it where it has helped."""
    attempt = case.attempt
    if attempt is None:
        return case
    if _shim(attempt, "shim") == "repaired":
        return Case(case.facts, attempt, try_cupy("without", limit))
    names = {finding.check for finding in diagnose(case, False).findings}
    if names & REPAIRABLE:
        return Case(case.facts, attempt, try_cupy("with", limit))
    return case


def _repair(case: Case) -> Repair:
    first, second = case.attempt, case.second
    if first is None:
        return Repair("off", "CuPy was not tried.")
    if _shim(first, "shim") == "repaired":
        if second is not None and not second.works_alone:
            return Repair("repairs", f"Without it: {second.failures[0].said}.")
        return Repair("repairs", str(first.values["shim"]["reason"]))
    if second is not None and second.works_alone:
        return Repair("would repair", "With it armed, CuPy was imported, and its memoize works.")
    if _shim(first, "start") == "armed":
        return Repair("armed", "Each start of this Python arms it.")
    told = first.values.get("start")
    return Repair("off", told["reason"] if told else "Nothing here loads it at the start.")


def _shim(attempt: Attempt, step: str) -> str | None:
    told = attempt.values.get(step)
    return None if told is None else str(told["state"])


def _works(attempt: Attempt | None) -> bool | None:
    if attempt is None or not attempt.imports:
        return False
    if attempt.end != "finished" or attempt.failure("memoize"):
        return False
    return "kernel" in attempt.values if "device" in attempt.values else None
