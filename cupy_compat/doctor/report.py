"""A diagnosis as text for people, and as JSON for programs."""

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

#: Of the JSON's shape. It grows when something is renamed, removed or given another meaning.
SHAPE = 2

_WIDTH = 88
#: Control characters but the line feed, and those that reorder a line: a terminal obeys them.
_CONTROL = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def own_version() -> str:
    """Return the version of this package."""
    try:
        return version("cupy-compat")
    except PackageNotFoundError:
        # A checkout on the path.
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
        return f"{cupy} imports on {python}, but cannot be used: there is no GPU to try it on."
    if diagnosis.works:
        return f"{cupy} imports on {python}, and works."
    if attempt is not None and "kernel" in attempt.values:
        return f"{cupy} imports on {python}, and runs kernels, but not all of its libraries load."
    return f"{cupy} imports on {python}, but does not work."


def as_text(diagnosis: Diagnosis) -> str:
    """Return what was found, what no check matches, and one closing verdict."""
    parts = [_finding(finding) for finding in diagnosis.findings]
    parts += [_unknown(failure) for failure in diagnosis.unknown]
    if diagnosis.unknown or any(finding.traceback for finding in diagnosis.findings):
        parts.append(_facts(diagnosis))
    repair = diagnosis.repair
    parts.append(
        f"{verdict(diagnosis)}\nThe repair of cupy_compat: {repair.state}. {repair.reason}"
    )
    return printable("\n\n".join(parts))


def explanation_as_text(explanation: Explanation) -> str:
    """Return what was recognized in a text from elsewhere."""
    parts = [_finding(finding) for finding in explanation.findings]
    if explanation.ending is not None:
        parts.append(
            f"This does not match any known problem:\n  {explanation.ending}"
            + ("\nThe remarks above are about what was said before." if parts else "")
        )
    elif not parts:
        parts.append("This does not match any known problem.")
    if explanation.owner is not None:
        parts.append(f"This is a failure of {explanation.owner}, not of CuPy.")
    return printable("\n\n".join(parts))


def as_json(diagnosis: Diagnosis) -> str:
    """Return all of it, in the shape that docs/doctor.md describes."""
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
    """Return what was recognized in a text from elsewhere."""
    return _dump(
        {
            "findings": [asdict(each) for each in explanation.findings],
            "ending": explanation.ending,
            "owner": explanation.owner,
            "machine": _known(explanation.machine),
        }
    )


def printable(text: str) -> str:
    """Return a text without what a terminal would obey; a tab becomes a space."""
    return _CONTROL.sub(
        lambda found: " " if found.group() == "\t" else f"\\x{ord(found.group()):02x}", text
    )


def _dump(content: dict[str, Any]) -> str:
    # ASCII, since a file's name may hold what no encoding can.
    whole = {"version": SHAPE, "cupy_compat": own_version(), **content}
    return json.dumps(whole, indent=2)


def _known(machine: Machine) -> dict[str, Any]:
    names = ("python", "system", "distributions", "versions", "cuda", "rocm", "conda", "frozen")
    return {name: getattr(machine, name) for name in names}


def _finding(finding: Finding) -> str:
    lines = [f"{finding.severity}: {finding.check}: {finding.about}"]
    if finding.said is not None:
        # As it was said, since it is what people search for.
        lines.append(f"  said   {finding.said}")
    lines += _wrapped("cause", finding.cause)
    for number, cure in enumerate(finding.cures, start=1):
        lines += _wrapped("cure" if number == 1 else "", f"{number}. {cure}", hang="   ")
    if finding.traceback:
        lines += ["  where", *(f"    {line}" for line in finding.traceback.splitlines())]
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
        f"unknown: the step {failure.step!r} failed, and no check matches. Paste this whole, with "
        f"the facts\nbelow, into a bug report.\n\n{whole}"
    )


def _facts(diagnosis: Diagnosis) -> str:
    case = diagnosis.case
    lines = ["facts"]
    lines += _listed(case.machine.facts)
    for each in (case.attempt, case.second):
        if each is not None:
            lines.append(_ended(each))
    return "\n".join(lines)


def _listed(facts: Mapping[str, Any], indent: str = "  ") -> Iterator[str]:
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
