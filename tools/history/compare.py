"""Show what changed between two commits beyond noise.

Usage::

    nox -s bench -- compare A B
    nox -s bench -- compare A B --machine NAME

A yardstick is a benchmark that no commit can change. A ratio counts as changed if two conditions
hold. It differs by more than the yardstick of its benchmark does between any two rounds on that
machine, and the rounds of the two commits do not overlap. The script ignores plain times and
figures of one round.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from tools.history.results import RESULTS, ROOT, Figure, Key, Results, load

YARDSTICK = "track_yardstick"


class NothingToCompare(LookupError):
    """No ratio was measured for both commits. The message lists the existing results."""


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
    """The changes between two commits, and the ratios that were compared."""

    before: str
    after: str
    changes: list[Change]
    compared: list[Key]


def scatter(results: Results) -> dict[Key, float]:
    """Return the largest factor between any two rounds, by yardstick and machine."""
    series: dict[Key, list[float]] = {}
    for figures in results.figures.values():
        for key, figure in figures.items():
            if key.method == YARDSTICK and len(figure.samples) > 1:
                series.setdefault(key, []).extend(figure.samples)
    largest: dict[Key, float] = {}
    for key, values in series.items():
        anywhere = replace(key, labels=())
        largest[anywhere] = max(largest.get(anywhere, 1.0), max(values) / min(values))
    return largest


def allowed(key: Key, scattered: dict[Key, float]) -> float:
    """Return what the yardsticks of a ratio, with the parameters that they share, scatter by."""
    return max(
        (
            factor
            for yardstick, factor in scattered.items()
            if (yardstick.machine, yardstick.suite) == (key.machine, key.suite)
            and set(yardstick.parameters) <= set(key.parameters)
        ),
        default=math.inf,
    )


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
    scattered = scatter(results)
    changes = [
        Change(key, old[key], new[key])
        for key in common
        if _differ(old[key], new[key], allowed(key, scattered))
    ]
    return Comparison(before, after, changes, common)


def _differ(before: Figure, after: Figure, factor: float) -> bool:
    if not before.samples or not after.samples:
        return before.samples != after.samples
    low, high = sorted((before, after), key=lambda figure: figure.value)
    return high.value > factor * low.value and min(high.samples) > max(low.samples)


def report(results: Results, comparison: Comparison) -> str:
    """Return a table of the changes for a terminal, or a sentence if there is none."""
    between = f"between {comparison.before[:8]} and {comparison.after[:8]}"
    if not comparison.changes:
        return (
            f"Nothing changed beyond noise {between}: {len(comparison.compared)} ratios compared."
        )
    counts = f"{len(comparison.changes)} of {len(comparison.compared)} ratios"
    rows = [("", "before", "after", "change", "where"), *table(results, comparison)]
    lines = "\n".join(_aligned(rows))
    return f"{counts} changed beyond noise {between}:\n\n{lines}"


def table(results: Results, comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Yield five fields for each ratio that changed, the largest change first.

    A line has all environments of a machine: the medians of those that changed. If there are
    several, its last field says how many changed.
    """
    groups: dict[Key, list[Change]] = {}
    for change in comparison.changes:
        groups.setdefault(replace(change.key, labels=()), []).append(change)

    def size(key: Key) -> float:
        # What fails now, or no longer, comes first.
        factors = [abs(math.log(c.factor)) if c.factor > 0 else math.inf for c in groups[key]]
        return -max(factors)

    for key in sorted(groups, key=size):
        before, after = (
            median(figure.value for figure in figures)
            for figures in zip(*((c.before, c.after) for c in groups[key]), strict=True)
        )
        all_of_them = sum(replace(compared, labels=()) == key for compared in comparison.compared)
        yield (
            f"{results.subject(key)}, {results.benchmarks[key.benchmark]['unit']}",
            *("fails" if math.isnan(value) else f"{value:.3g}" for value in (before, after)),
            "" if math.isnan(after / before) else f"{after / before - 1:+.0%}",
            f"{key.machine}, {len(groups[key])} of {all_of_them}".removesuffix(", 1 of 1"),
        )


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
