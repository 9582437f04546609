"""Apply the checks to an examined environment or to a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Literal

from . import machine as machines
from . import words
from .attempt import LIBRARIES
from .case import Case
from .checks import CHECKS, Check
from .machine import Machine
from .origin import failed_build, library_by_wording, other_library, raising_package
from .reading import Match, Part, Reading, read
from .trial import OLDEST_FOR_SHIM, Attempt, Failure, Interpreter, gather_facts, try_cupy
from .wheels import release

Severity = Literal["problem", "remark"]
RepairState = Literal["off", "armed", "would repair", "repairs"]

#: The checks whose failures the shim repairs.
REPAIRABLE = frozenset({"memoize", "memoize-annotated"})
#: The steps that every CuPy must pass, even without a GPU.
_EVERYWHERE = frozenset({"start", "import", "memoize"})
_WORDINGS = tuple({wording: None for check in CHECKS for wording in check.says})
_TOPIC = "cupy"


@dataclass(frozen=True)
class Finding:
    """The result of a check that applies.

    Attributes
    ----------
    check, about : str
        The check's name, and the failure in one line.
    severity : {'problem', 'remark'}
        A problem prevents the import or the requested use of CuPy. In a text, a problem is what
        ended the program, and a remark is about an earlier message.
    step : str or None
        The failed step of the attempt, None if the failure was found in another way.
    said : str or None
        The message.
    cause : str
        The cause.
    cures : tuple of str
        What to do, the best cure first.
    traceback : str or None
        The place of a crash or a hang.
    """

    check: str
    about: str
    severity: Severity
    step: str | None
    said: str | None
    cause: str
    cures: tuple[str, ...]
    traceback: str | None = None


@dataclass(frozen=True)
class Repair:
    """The state of the shim, and a sentence that says why."""

    state: RepairState
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """The result for an examined environment.

    Attributes
    ----------
    case : Case
        The machine and the attempts.
    findings : tuple of Finding
        The results of the checks, problems first.
    unknown : tuple of Failure
        The failures that match no check.
    repair : Repair
        The state of the shim.
    imports : bool
        Whether ``import cupy`` succeeds.
    works : bool or None
        Whether a kernel was compiled and run, None without a GPU.
    """

    case: Case
    findings: tuple[Finding, ...]
    unknown: tuple[Failure, ...]
    repair: Repair
    imports: bool
    works: bool | None


@dataclass(frozen=True)
class Explanation:
    """The result for a text.

    Attributes
    ----------
    findings : tuple of Finding
        The results of the checks, the root cause first.
    machine : Machine
        The properties of the machine that the text reveals.
    ending : str or None
        The exception that ended the program, if no check matches it.
    owner : str or None
        The library that failed, if it is not CuPy.
    """

    findings: tuple[Finding, ...]
    machine: Machine
    ending: str | None
    owner: str | None = None


def examine(interpreter: Interpreter, gpu: bool, limit: float) -> Diagnosis:
    """Gather facts, try CuPy, and apply the checks.

    Parameters
    ----------
    interpreter : Interpreter
        The Python to examine.
    gpu : bool
        Whether it is a problem if CuPy cannot use a GPU.
    limit : float
        The time limit of each interpreter, in seconds.

    Raises
    ------
    TrialError
        If the interpreter cannot be started, or is too old.
    """
    machine = machines.of_facts(gather_facts(interpreter, limit))
    # A file named cupy that is not CuPy may be a program of the user's. Do not run it.
    foreign = machine.found == "stranger"
    attempt = None if foreign else try_cupy(interpreter, "as it is", limit)
    case = Case(machine, attempt)
    return diagnose(_with_second_attempt(case, interpreter, limit), gpu)


def diagnose(case: Case, gpu: bool) -> Diagnosis:
    """Apply the checks to a case.

    Parameters
    ----------
    case : Case
        The machine and the attempts.
    gpu : bool
        Whether it is a problem if CuPy cannot use a GPU.
    """
    attempt = case.attempt
    needs_gpu = gpu or (attempt is not None and "device" in attempt.values)
    findings: dict[Check, Finding] = {}
    detected = dict(_findings_without_message(case))
    explained = {"import" for check in detected if check.breaks}
    for failure in attempt.failures if attempt is not None else ():
        if failure.type in ("crashed", "timed out"):
            explained.add(failure.step)
            continue
        for check, match in _match_checks(_read(failure.traceback), case.machine)[0]:
            explained.add(failure.step)
            required = needs_gpu or failure.step in _EVERYWHERE
            severity: Severity = "problem" if required and not check.remark else "remark"
            findings.setdefault(check, _finding(check, case, severity, failure.step, match))
    findings = {**detected, **findings}
    if attempt is not None:
        reading = _read(attempt.stderr)
        for check, match in _matches(reading.before, reading, case.machine).items():
            findings.setdefault(check, _finding(check, case, "remark", None, match))
    # Without a driver CuPy cannot be used, so report that first.
    ranked = sorted(
        _root_causes(findings),
        key=lambda check: (findings[check].severity != "problem", check.name != "no-driver"),
    )
    failures = attempt.failures if attempt is not None else []
    return Diagnosis(
        case,
        tuple(findings[check] for check in ranked),
        tuple(each for each in failures if each.step not in explained),
        _repair(case),
        attempt is not None and attempt.imports,
        _works(attempt),
    )


def explain(file: BinaryIO) -> Explanation:
    """Apply the checks to a text: a traceback, or the output of a job or of pip.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    reading = read(file, _WORDINGS, _TOPIC)
    machine = machines.of_text(reading.text)
    problems, remarks, ending = _classify(reading, machine)
    case = Case(machine)
    found = [_finding(check, case, "problem", None, match) for check, match in problems]
    if not problems:
        found = [_finding(check, case, "remark", None, match) for check, match in remarks]
    if problems:
        return Explanation(tuple(found), machine, None)
    return Explanation(tuple(found), machine, ending, _owner(reading))


def explain_check(check: Check, case: Case) -> Finding:
    """Return the finding of a check for a case, even if the check does not apply."""
    return _finding(check, case, "remark" if check.remark else "problem", None, None)


def _owner(reading: Reading) -> str | None:
    """Return the library other than CuPy whose message or code ends a text."""
    parts = reading.chains[-1] if reading.chains else [reading.before]
    lines = [
        (match.line, part.text)
        for part in parts
        for each in part.matches.values()
        for match in each
    ]
    found = (other_library(line, text) for line, text in lines)
    ending = reading.chains[-1][-1].exception if reading.chains else None
    more = [
        library_by_wording(ending or ""),
        failed_build(reading.text) if reading.printed else None,
    ]
    return next(filter(None, (*found, *more)), None)


CheckMatches = list[tuple[Check, Match]]


def _classify(reading: Reading, machine: Machine) -> tuple[CheckMatches, CheckMatches, str | None]:
    """Return the checks for the final failure, those for earlier messages, and the exception."""
    problems, earlier = _match_checks(reading, machine)
    ending = reading.chains[-1][-1].exception if reading.chains else None
    warnings = [(check, match) for check, match in earlier if check.remark or match.is_warning]
    # Next to an unknown failure, a warning would be mistaken for its cause.
    if ending is not None:
        earlier = [each for each in earlier if each not in warnings]
    return problems, earlier, ending


def _match_checks(reading: Reading, machine: Machine) -> tuple[CheckMatches, CheckMatches]:
    """Return the checks that match the final failure, and all others."""
    final: dict[Check, Match] = {}
    earlier: dict[Check, Match] = {}
    if not reading.chains:
        final = _matches(reading.before, reading, machine)
    for chain in reversed(reading.chains):
        found: dict[Check, Match] = {}
        for part in reversed(chain):
            found |= _matches(part, reading, machine)
        ended = chain is reading.chains[-1] and _is_final(chain, reading, machine)
        (final if ended else earlier).update(found)
        if found or _TOPIC in "".join(part.text for part in chain).lower():
            break
    for check, match in _accepting_checks(reading.printed.items(), reading, machine, None).items():
        if check.printed:
            final.setdefault(check, match)
    if not final and reading.chains:
        for check, match in _matches(reading.before, reading, machine).items():
            earlier.setdefault(check, match)
    problems = {
        check: match
        for check, match in final.items()
        if not check.remark and (check.printed or not match.is_warning)
    }
    others = {check: final[check] for check in final.keys() - problems.keys()} | earlier
    return (
        [(check, problems[check]) for check in _root_causes(problems)],
        [(check, others[check]) for check in _root_causes(others)],
    )


def _is_final(chain: list[Part], reading: Reading, machine: Machine) -> bool:
    """Return whether the failure in a chain ended the program, and was not being handled."""
    last = chain[-1]
    if last.link != "handling" or _matches(last, reading, machine):
        return True
    return _TOPIC in last.text.lower()


def _matches(part: Part, reading: Reading, machine: Machine) -> dict[Check, Match]:
    pairs = ((wording, match) for wording, lines in part.matches.items() for match in lines)
    return _accepting_checks(pairs, reading, machine, part)


def _accepting_checks(
    pairs: Iterable[tuple[str, Match]], reading: Reading, machine: Machine, part: Part | None
) -> dict[Check, Match]:
    """Return the checks that accept the matches, each with the first line that it accepts.

    Without a part, the lines come from anywhere in the text and have no traceback.
    """
    context = reading.text.lower()
    text = part.text if part is not None else ""
    other = None if machine.built else failed_build(context)
    found: dict[Check, Match] = {}
    by_wording: dict[str, list[Match]] = {}
    for wording, match in pairs:
        by_wording.setdefault(wording, []).append(match)
    for check in CHECKS:
        if other and check.group == "build":
            continue
        for match in (each for wording in check.says for each in by_wording.get(wording, ())):
            if not check.shared and other_library(match.line, text):
                continue
            accepted = _accepted_match(check, match, context, machine)
            if accepted is not None and _has_required_origin(check, match, text):
                found[check] = accepted
                break
    return found


def _accepted_match(check: Check, match: Match, context: str, machine: Machine) -> Match | None:
    line = match.line.lower()
    # Ignore source lines in a traceback; the message is at its end.
    if line.startswith("raise ") or any(text.lower() in line for text in check.unless):
        return None
    if check.needs and not any(text in context for text in check.needs):
        return None
    if check.condition is not None and not check.condition(machine):
        return None
    if check.details is None:
        return match
    more = check.details(machine, match.words)
    return None if more is None else Match(match.line, {**match.words, **more})


def _has_required_origin(check: Check, match: Match, text: str) -> bool:
    """Return whether the code that a check requires raised a line."""
    if not check.raised_by:
        return True
    package = raising_package(text.partition(match.line)[0])
    place = "" if package is None else "cupy" if package == "cupy" else "other"
    return place in check.raised_by


def _root_causes(found: Mapping[Check, object]) -> list[Check]:
    """Return the checks that are not consequences of others, in the order of the table."""
    return [
        check
        for check in CHECKS
        if check in found and not any(check.follows(other) for other in found)
    ]


def _read(text: str) -> Reading:
    return read(BytesIO(text.encode("utf-8", "backslashreplace")), _WORDINGS, _TOPIC)


def _findings_without_message(case: Case) -> Iterator[tuple[Check, Finding]]:
    """Yield the results of the checks that need no message."""
    failures = case.attempt.failures if case.attempt is not None else []
    ended = next((each for each in failures if each.type in ("crashed", "timed out")), None)
    for check in CHECKS:
        if check.detects is None or not check.detects(case):
            continue
        if check.name in ("crash", "hang") and ended is not None:
            required = ended.step in _EVERYWHERE or ended.step in ("device", "kernel")
            finding = _finding(check, case, "problem" if required else "remark", ended.step, None)
            yield check, _with_traceback(finding, ended)
        else:
            yield check, _finding(check, case, "problem" if check.breaks else "remark", None, None)


def _with_traceback(finding: Finding, ended: Failure) -> Finding:
    lines = ended.traceback.strip().splitlines()
    return Finding(**{**finding.__dict__, "said": ended.said, "traceback": "\n".join(lines[-40:])})


def _finding(
    check: Check, case: Case, severity: Severity, step: str | None, match: Match | None
) -> Finding:
    texts = {
        **words.DEFAULTS,
        **words.of(case.machine),
        "repair_failure": case.repair_failure,
        **(match.words if match is not None else {}),
    }
    cures = (cure.format_map(texts) for cure in check.cures)
    return Finding(
        check.name,
        check.about,
        severity,
        step,
        match.line if match is not None else None,
        check.cause.format_map(texts),
        tuple(cure[0].upper() + cure[1:] for cure in cures if cure),
    )


def _with_second_attempt(case: Case, interpreter: Interpreter, limit: float) -> Case:
    """Try again with the shim if that may help, or without the shim if it has helped."""
    attempt = case.attempt
    if attempt is None:
        return case
    if _shim_state(attempt, "shim") == "repaired":
        return Case(case.machine, attempt, try_cupy(interpreter, "without", limit))
    names = {finding.check for finding in diagnose(case, False).findings}
    version = case.machine.python
    if names & REPAIRABLE and (version is None or release(version, 2) >= (*OLDEST_FOR_SHIM, 0)):
        return Case(case.machine, attempt, try_cupy(interpreter, "with", limit))
    return case


def _repair(case: Case) -> Repair:
    first, second = case.attempt, case.second
    if first is None:
        return Repair("off", "CuPy was not tried.")
    if _shim_state(first, "shim") == "repaired":
        if second is not None and not second.memoizes:
            return Repair("repairs", f"Without cupy_compat: {second.failures[0].said}.")
        return Repair("repairs", str(first.values["shim"]["reason"]))
    if second is not None and second.memoizes:
        return Repair("would repair", "With cupy_compat, CuPy imports and its memoize works.")
    if _shim_state(first, "start") == "armed":
        return Repair("armed", "This Python activates cupy_compat at every start.")
    status = first.values.get("start")
    return Repair("off", status["reason"] if status else "No start-up file activates cupy_compat.")


def _shim_state(attempt: Attempt, step: str) -> str | None:
    status = attempt.values.get(step)
    return None if status is None else str(status["state"])


def _works(attempt: Attempt | None) -> bool | None:
    if attempt is None or not attempt.imports:
        return False
    if attempt.end != "finished" or attempt.failure("memoize"):
        return False
    if "device" not in attempt.values:
        return None
    return "kernel" in attempt.values and not any(map(attempt.failure, LIBRARIES))
