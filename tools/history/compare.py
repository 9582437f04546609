"""Show what changed between two commits beyond noise.

Usage::

    nox -s bench -- compare A B
    nox -s bench -- compare A B --machine NAME

A yardstick measures what no commit can change. A ratio changed if it moved by more than the
yardstick of its benchmark does between any two commits on that machine, and if no sample of one
commit reaches the samples of the other. Figures of one round, and plain times, are not judged.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.history.results import RESULTS, ROOT, Figure, Key, Results, load

YARDSTICK = "track_yardstick"


class NothingToCompare(LookupError):
    """No ratio was measured of both commits; the message says what there is."""


@dataclass(frozen=True)
class Change:
    """A ratio that moved beyond noise, or that a commit broke or repaired."""

    key: Key
    before: Figure
    after: Figure

    @property
    def factor(self) -> float:
        """The new ratio divided by the old one; NaN if either failed."""
        return self.after.value / self.before.value


@dataclass(frozen=True)
class Comparison:
    """The changes between two commits, and how many ratios were compared."""

    before: str
    after: str
    changes: list[Change]
    compared: int


def scatter(results: Results) -> dict[tuple[str, str], float]:
    """Return the largest factor between two commits' yardsticks, by machine and suite."""
    series: dict[Key, list[float]] = {}
    for figures in results.figures.values():
        for key, figure in figures.items():
            if key.method == YARDSTICK and len(figure.samples) > 1:
                series.setdefault(key, []).append(figure.value)
    largest: dict[tuple[str, str], float] = {}
    for key, values in series.items():
        where = key.machine, key.suite
        largest[where] = max(largest.get(where, 1.0), max(values) / min(values))
    return largest


def judged(results: Results, commit: str, machine: str | None = None) -> dict[Key, Figure]:
    """Return the ratios of a commit that have more than one round, or that failed."""
    return {
        key: figure
        for key, figure in results.figures.get(commit, {}).items()
        if machine in (None, key.machine)
        and key.method not in ("track_time", YARDSTICK)
        and len(figure.samples) != 1
    }


def compare(results: Results, before: str, after: str, machine: str | None = None) -> Comparison:
    """Return what changed between two commits.

    Raises
    ------
    NothingToCompare
        If no ratio was measured of both in the same environment.
    """
    old, new = (judged(results, commit, machine) for commit in (before, after))
    common = [key for key in old if key in new]
    if not common:
        there = ", ".join(commit[:8] for commit in results.commits) or "none"
        where = f" on {machine}" if machine else ""
        raise NothingToCompare(
            f"{before[:8]} and {after[:8]} have no ratio in common{where} that was measured in "
            f"two rounds or more. There are results of: {there}. See docs/history.md to measure."
        )
    allowed = scatter(results)
    changes = [
        Change(key, old[key], new[key])
        for key in common
        if _differ(old[key], new[key], allowed.get((key.machine, key.suite), math.inf))
    ]
    return Comparison(before, after, changes, len(common))


def _differ(before: Figure, after: Figure, allowed: float) -> bool:
    if not before.samples or not after.samples:
        return before.samples != after.samples
    low, high = sorted((before, after), key=lambda figure: figure.value)
    return high.value > allowed * low.value and min(high.samples) > max(low.samples)


def report(results: Results, comparison: Comparison) -> str:
    """Return a table of the changes for a terminal, or a sentence if there is none."""
    between = f"between {comparison.before[:8]} and {comparison.after[:8]}"
    if not comparison.changes:
        return f"Nothing changed beyond noise {between}: {comparison.compared} ratios compared."
    counts = f"{len(comparison.changes)} of {comparison.compared} ratios"
    rows = [("", "before", "after", "change", "where"), *table(results, comparison.changes)]
    lines = "\n".join(_aligned(rows))
    return f"{counts} changed beyond noise {between}:\n\n{lines}"


def table(results: Results, changes: Iterable[Change]) -> Iterator[tuple[str, ...]]:
    """Yield the five fields of each change, the largest first."""

    def size(change: Change) -> float:
        # What fails now, or no longer, comes first.
        return -abs(math.log(change.factor)) if change.factor > 0 else -math.inf

    for change in sorted(changes, key=size):
        before, after = (
            f"{figure.value:.3g}" if figure.samples else "fails"
            for figure in (change.before, change.after)
        )
        unit = results.benchmarks[change.key.benchmark]["unit"]
        moved = "" if math.isnan(change.factor) else f"{change.factor - 1:+.0%}"
        python, cupy, build, _ = change.key.labels
        where = f"{change.key.machine}, Python {python}, CuPy {cupy} {build}"
        yield f"{results.subject(change.key)}, {unit}", before, after, moved, where


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for fields in rows:
        # Numbers to the right, words to the left.
        cells = [
            field.rjust(width) if 1 <= column <= 3 else field.ljust(width)
            for column, (field, width) in enumerate(zip(fields, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def commit(name: str) -> str:
    """Return the hash of a branch, a tag or a commit."""
    command = ["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NothingToCompare(f"git knows no commit {name!r}")
    return done.stdout.strip()


def main(arguments: list[str] | None = None) -> int:
    """Print what changed; the exit status is 0 also if something did."""
    parser = argparse.ArgumentParser(prog="compare", description=str(__doc__).partition("\n")[0])
    parser.add_argument("before", metavar="A", help="a commit, branch or tag")
    parser.add_argument("after", metavar="B", help="another")
    parser.add_argument("--machine", metavar="NAME", help="compare on this machine only")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        results = load(options.results)
        before, after = commit(options.before), commit(options.after)
        print(report(results, compare(results, before, after, options.machine)))
    except NothingToCompare as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
