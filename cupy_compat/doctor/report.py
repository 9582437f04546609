"""Format a diagnosis as text for people or as JSON for programs."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .diagnosis import Diagnosis, Explanation, Finding
from .machine import Machine
from .trial import Attempt, Failure

#: The version of the JSON format. It is incremented when a key is renamed, removed or redefined.
FORMAT_VERSION = 2

_WIDTH = 88
#: Characters that terminals interpret: control characters except the line feed, and characters
#: that change the direction of text.
_CONTROL = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def own_version() -> str:
    """Return the version of this package."""
    try:
        return version("cupy-compat")
    except PackageNotFoundError:
        # It is not installed, but a checkout on the path.
        from cupy_compat import __version__

        return __version__


def verdict(diagnosis: Diagnosis) -> str:
    """Return the closing sentence."""
    attempt = diagnosis.case.attempt
    cupy = "CuPy"
    if attempt is not None and attempt.imports:
        cupy = f"CuPy {attempt.values['import']['version']}"
    python = f"Python {diagnosis.case.machine.python or ''}".strip()
    if not diagnosis.imports:
        return f"{cupy} does not import on {python}."
    if diagnosis.works is None:
        return f"{cupy} imports on {python}, but cannot be used: there is no GPU."
    if diagnosis.works:
        return f"{cupy} imports and works on {python}."
    if attempt is not None and "kernel" in attempt.values:
        return f"{cupy} imports and runs kernels on {python}, but not all of its libraries load."
    return f"{cupy} imports on {python}, but does not work."


def as_text(diagnosis: Diagnosis) -> str:
    """Return the findings, the unknown failures and the verdict as text."""
    parts = [_finding(finding) for finding in diagnosis.findings]
    parts += [_unknown(failure) for failure in diagnosis.unknown]
    if diagnosis.unknown or any(finding.traceback for finding in diagnosis.findings):
        parts.append(_facts_section(diagnosis))
    repair = diagnosis.repair
    parts.append(f"{verdict(diagnosis)}\nState of the repair: {repair.state}. {repair.reason}")
    return printable("\n\n".join(parts))


def explanation_as_text(explanation: Explanation) -> str:
    """Return the explanation of a text as text."""
    parts = [_finding(finding) for finding in explanation.findings]
    if explanation.ending is not None:
        parts.append(
            f"This does not match any known problem:\n  {explanation.ending}"
            + ("\nThe remarks above are about earlier messages." if parts else "")
        )
    elif not parts:
        parts.append("This does not match any known problem.")
    if explanation.owner is not None:
        parts.append(f"This is a failure of {explanation.owner}, not of CuPy.")
    return printable("\n\n".join(parts))


def as_json(diagnosis: Diagnosis) -> str:
    """Return the complete diagnosis as JSON, in the format that docs/doctor.md describes."""
    case = diagnosis.case
    attempts = [each for each in (case.attempt, case.second) if each is not None]
    return _dump(
        {
            "imports": diagnosis.imports,
            "works": diagnosis.works,
            "verdict": verdict(diagnosis),
            "repair": asdict(diagnosis.repair),
            "findings": [asdict(each) for each in diagnosis.findings],
            "unknown": [asdict(each) for each in diagnosis.unknown],
            "facts": case.machine.facts,
            "attempts": [asdict(each) for each in attempts],
        }
    )


def explanation_as_json(explanation: Explanation) -> str:
    """Return the explanation of a text as JSON."""
    return _dump(
        {
            "findings": [asdict(each) for each in explanation.findings],
            "ending": explanation.ending,
            "owner": explanation.owner,
            "machine": _machine_properties(explanation.machine),
        }
    )


def printable(text: str) -> str:
    """Escape the characters that terminals interpret, and replace tabs by spaces."""
    return _CONTROL.sub(
        lambda found: " " if found.group() == "\t" else f"\\x{ord(found.group()):02x}", text
    )


def _dump(content: dict[str, Any]) -> str:
    # In ASCII, because a file name may contain characters that cannot be encoded.
    whole = {"version": FORMAT_VERSION, "cupy_compat": own_version(), **content}
    return json.dumps(whole, indent=2)


def _machine_properties(machine: Machine) -> dict[str, Any]:
    names = ("python", "system", "distributions", "versions", "cuda", "rocm", "conda", "frozen")
    return {name: getattr(machine, name) for name in names}


def _finding(finding: Finding) -> str:
    lines = [f"{finding.severity}: {finding.check}: {finding.about}"]
    if finding.said is not None:
        # Unchanged and in one line, because people search for it.
        lines.append(f"  said   {finding.said}")
    lines += _wrapped("cause", finding.cause)
    for number, cure in enumerate(finding.cures, start=1):
        lines += _wrapped("cure" if number == 1 else "", f"{number}. {cure}", hang="   ")
    if finding.traceback:
        lines += ["  where", *(f"    {line}" for line in finding.traceback.splitlines())]
    return "\n".join(lines)


def _wrapped(label: str, text: str, hang: str = "") -> Iterator[str]:
    lead = f"  {label:<7}"
    # Do not break commands and paths, so that they can be copied.
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
        f"unknown: the step {failure.step!r} failed, and no check matches. Paste all of this, with "
        f"the facts\nbelow, into a bug report.\n\n{whole}"
    )


def _facts_section(diagnosis: Diagnosis) -> str:
    case = diagnosis.case
    lines = ["facts"]
    lines += _fact_lines(case.machine.facts)
    for each in (case.attempt, case.second):
        if each is not None:
            lines.append(_attempt_line(each))
    return "\n".join(lines)


def _fact_lines(facts: Mapping[str, Any], indent: str = "  ") -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{name}"
            yield from _fact_lines(value, indent + "  ")
        else:
            yield f"{indent}{name}: {value}"


def _attempt_line(attempt: Attempt) -> str:
    passed = ", ".join(name for name in attempt.values) or "nothing"
    failed = ", ".join(each.step for each in attempt.failures) or "nothing"
    return f"  attempt {attempt.shim}: {attempt.end}; passed: {passed}; failed: {failed}"
