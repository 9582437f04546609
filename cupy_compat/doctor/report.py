"""A diagnosis as text for people, and as JSON for programs."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from cupy_compat import __version__
from cupy_compat.doctor.diagnosis import Diagnosis, Finding
from cupy_compat.doctor.trial import Attempt, Failure

#: Of the JSON's shape. It grows when something is renamed, removed or given another meaning.
SHAPE = 1

_WIDTH = 88


def verdict(diagnosis: Diagnosis) -> str:
    """Return the closing sentence."""
    attempt = diagnosis.case.attempt
    cupy = "CuPy"
    if attempt is not None and attempt.imports:
        cupy = f"CuPy {attempt.values['import']['version']}"
    python = diagnosis.case.words["python"]
    if not diagnosis.imports:
        return f"{cupy} does not import on Python {python}."
    if diagnosis.works is None:
        return f"{cupy} imports on Python {python}; there is no GPU to try it on."
    if diagnosis.works:
        return f"{cupy} imports on Python {python}, and works."
    return f"{cupy} imports on Python {python}, but does not work."


def as_text(diagnosis: Diagnosis) -> str:
    """Return what was found, what nobody knows, and one closing verdict."""
    parts = [_told(finding) for finding in diagnosis.findings]
    parts += [_unknown(failure) for failure in diagnosis.unknown]
    if diagnosis.unknown:
        parts.append(_facts(diagnosis))
    repair = diagnosis.repair
    parts.append(
        f"{verdict(diagnosis)}\nThe repair of cupy_compat: {repair.state}. {repair.reason}"
    )
    return "\n\n".join(parts)


def findings_as_text(findings: Sequence[Finding]) -> str:
    """Return what was recognised in a text from elsewhere."""
    if not findings:
        return "No check knows what this is about."
    return "\n\n".join(_told(finding) for finding in findings)


def as_json(diagnosis: Diagnosis) -> str:
    """Return all of it, in the shape that docs/doctor.md tells."""
    case = diagnosis.case
    attempts = [each for each in (case.attempt, case.second) if each is not None]
    return _dump(
        {
            "version": SHAPE,
            "cupy_compat": __version__,
            "imports": diagnosis.imports,
            "works": diagnosis.works,
            "verdict": verdict(diagnosis),
            "repair": asdict(diagnosis.repair),
            "findings": [asdict(each) for each in diagnosis.findings],
            "unknown": [asdict(each) for each in diagnosis.unknown],
            "facts": case.facts,
            "attempts": [asdict(each) for each in attempts],
        }
    )


def findings_as_json(findings: Sequence[Finding]) -> str:
    """Return what was recognised in a text from elsewhere."""
    return _dump(
        {
            "version": SHAPE,
            "cupy_compat": __version__,
            "findings": [asdict(each) for each in findings],
        }
    )


def _dump(content: dict[str, Any]) -> str:
    # ASCII, since a file's name may hold what no encoding can.
    return json.dumps(content, indent=2)


def _told(finding: Finding) -> str:
    mark = "problem" if finding.severity == "problem" else "remark"
    lines = [f"{mark}: {finding.check}: {finding.about}"]
    if finding.said is not None:
        # As it was said, since it is what people search for.
        lines.append(f"  said   {finding.said}")
    lines += _wrapped("cause", finding.cause)
    for number, cure in enumerate(finding.cures, start=1):
        lines += _wrapped("cure" if number == 1 else "", f"{number}. {cure}", hang="   ")
    return "\n".join(lines)


def _wrapped(label: str, text: str, hang: str = "") -> Iterator[str]:
    lead = f"  {label:<7}"
    # A command or a path that is cut cannot be pasted.
    whole = re.sub(r"`[^`]*`", lambda command: command.group().replace(" ", "\0"), text)
    for line in textwrap.wrap(
        whole,
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead) + hang,
        break_long_words=False,
        break_on_hyphens=False,
    ):
        yield line.replace("\0", " ")


def _unknown(failure: Failure) -> str:
    whole = failure.traceback.rstrip() or failure.said
    return (
        f"unknown: no check knows this failure of the step {failure.step!r}. Paste it whole, with "
        f"the facts\nbelow, into a bug report.\n\n{whole}"
    )


def _facts(diagnosis: Diagnosis) -> str:
    case = diagnosis.case
    lines = ["facts"]
    lines += _listed(case.facts)
    for each in (case.attempt, case.second):
        if each is not None:
            lines.append(_ended(each))
    return "\n".join(lines)


def _listed(facts: Any, indent: str = "  ") -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{name}"
            yield from _listed(value, indent + "  ")
        else:
            yield f"{indent}{name}: {value}"


def _ended(attempt: Attempt) -> str:
    passed = ", ".join(name for name in attempt.values) or "nothing"
    failed = ", ".join(each.step for each in attempt.failures) or "nothing"
    return f"  attempt {attempt.shim}: {attempt.end}; passed: {passed}; failed: {failed}"
