"""What changed between two commits beyond noise, in a table.

Usage::

    nox -s bench -- compare A B                     # what has been measured of two commits
    nox -s bench -- compare A B --machine NAME

A change counts where the medians differ by more than ``regressions_thresholds`` in
``asv.conf.json`` allows for that benchmark, and the middle halves of the samples do not touch.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.history.results import Figure, Key, load_benchmarks, load_figures, measured_commits

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
#: Where asv.conf.json says nothing of a benchmark; asv takes the same.
DEFAULT_THRESHOLD = 0.05
UNITS = {
    "seconds": ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")),
    "bytes": ((1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB")),
}


class NothingToCompare(Exception):
    """There are no two results of the same thing; the message says what there is."""


@dataclass(frozen=True)
class Change:
    """A figure that differs beyond noise."""

    key: Key
    before: Figure
    after: Figure

    @property
    def ratio(self) -> float:
        """After by before; what fails now is the worst, what is mended the best."""
        if self.after.failed:
            return float("inf")
        return 0.0 if self.before.failed else self.after.value / self.before.value


@dataclass(frozen=True)
class Comparison:
    """Two commits: what changed, and of how many figures."""

    before: str
    after: str
    changes: list[Change]
    compared: int


def thresholds(configuration: Path) -> dict[str, float]:
    """Return the relative change, by expressions for benchmarks, below which all is noise."""
    text = re.sub(r"^\s*//.*$", "", configuration.read_text(), flags=re.M)
    return dict(json.loads(text).get("regressions_thresholds", {}))


def compare(
    folder: Path, before: str, after: str, allowed: dict[str, float], machine: str | None = None
) -> Comparison:
    """Return what changed between two commits.

    Raises
    ------
    NothingToCompare
        If nothing was measured of both in the same place.
    """
    old, new = load_figures(folder, before), load_figures(folder, after)
    common = [key for key in old if key in new and machine in (None, key.machine)]
    if not common:
        raise NothingToCompare(_what_there_is(folder, before, after, machine))
    changes = [
        Change(key, old[key], new[key])
        for key in common
        if _differ(old[key], new[key], _threshold(key, allowed))
    ]
    return Comparison(before, after, changes, len(common))


def _threshold(key: Key, allowed: dict[str, float]) -> float:
    name = f"{key.benchmark}({', '.join(key.parameters)})" if key.parameters else key.benchmark
    matching = [figure for expression, figure in allowed.items() if re.match(expression, name)]
    return max(matching, default=DEFAULT_THRESHOLD)


def _differ(before: Figure, after: Figure, threshold: float) -> bool:
    if before.failed or after.failed:
        return before.failed != after.failed
    # The same for slower and faster: what takes 1.25 times as long is then as far as 1 / 1.25.
    apart = max(before.value, after.value) > (1 + threshold) * min(before.value, after.value)
    return apart and (before.high < after.low or after.high < before.low)


def _what_there_is(folder: Path, before: str, after: str, machine: str | None) -> str:
    commits = measured_commits(folder)
    where = f" on {machine}" if machine else ""
    missing = [c[:8] for c in (before, after) if not commits.get(c)]
    if missing:
        there = ", ".join(sorted(commit[:8] for commit in commits)) or "none"
        return (
            f"there are no results of {' and '.join(missing)}; there are of: {there}. "
            f"`asv run {missing[0]}^!` makes them"
        )
    return f"{before[:8]} and {after[:8]} were not measured in the same environment{where}"


def quantity(value: float, unit: str) -> str:
    """Return a figure as people write it: three digits and a unit."""
    # Three digits of 999.6 are 1000 of the smaller unit.
    fitting = [(scale, name) for scale, name in UNITS[unit] if value < 999.5 * scale]
    scale, name = fitting[0] if fitting else UNITS[unit][-1]
    return f"{value / scale:#.3g}".rstrip(".") + f" {name}"


def subject(key: Key, benchmarks: dict[str, dict[str, object]]) -> str:
    """Return what was measured, as in ``threaded_sort, 2 threads, int32, 10,000,000 keys``."""
    told = benchmarks[key.benchmark]
    words = [str(told.get("pretty_name") or key.benchmark)]
    for name, value in zip(told["param_names"], key.parameters, strict=True):  # type: ignore[call-overload]
        if value.isdecimal():
            count = int(value)
            noun = "keys" if name == "size" else name
            words.append(f"{count:,} {noun.removesuffix('s') if count == 1 else noun}")
        else:
            words.append(value.strip("'"))
    return ", ".join(words)


def report(comparison: Comparison, benchmarks: dict[str, dict[str, object]]) -> str:
    """Return a table of the changes, the worst first, or a sentence where there is none."""
    between = f"between {comparison.before[:8]} and {comparison.after[:8]}"
    if not comparison.changes:
        return f"Nothing changed beyond noise {between}: {comparison.compared} figures compared."
    lines = [
        f"{len(comparison.changes)} of {comparison.compared} figures changed beyond noise "
        f"{between}:"
    ]
    machines = sorted({change.key.machine for change in comparison.changes})
    for machine in machines:
        rows = [("", "before", "after", "change", "where")]
        of_machine = [change for change in comparison.changes if change.key.machine == machine]
        for change in sorted(of_machine, key=lambda c: (-c.ratio, c.key.benchmark, c.key.labels)):
            rows.append(row(change, benchmarks))
        lines += ["", f"On {machine}", *_table(rows)]
    return "\n".join(lines)


def row(change: Change, benchmarks: dict[str, dict[str, object]]) -> tuple[str, ...]:
    """Return the five fields of a change."""
    unit = str(benchmarks[change.key.benchmark].get("unit", "seconds"))
    before, after = (
        "fails" if figure.failed else quantity(figure.value, unit)
        for figure in (change.before, change.after)
    )
    python, cupy, build, _ = change.key.labels
    where = f"Python {python}, CuPy {cupy} {build}"
    return subject(change.key, benchmarks), before, after, _words(change, unit), where


def _words(change: Change, unit: str) -> str:
    if change.after.failed:
        return "fails now"
    if change.before.failed:
        return "works now"
    # "40% faster" is said of two things; less time and more time of one each.
    noun = "time" if unit == "seconds" else "memory"
    if change.ratio >= 2:
        return f"{change.ratio:.2f} times the {noun}"
    return f"{abs(change.ratio - 1):.0%} {'more' if change.ratio > 1 else 'less'} {noun}"


def _table(rows: list[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(len(fields[i]) for fields in rows) for i in range(len(rows[0]))]
    for fields in rows:
        # Figures to the right, words to the left.
        cells = [
            field.rjust(width) if i in (1, 2) else field.ljust(width)
            for i, (field, width) in enumerate(zip(fields, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def commit(name: str) -> str:
    """Return the hash of a branch, a tag or a commit."""
    done = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NothingToCompare(f"git knows no commit {name!r}")
    return done.stdout.strip()


def main(arguments: list[str] | None = None) -> int:
    """Print what changed; the exit status is 0 also where something did."""
    parser = argparse.ArgumentParser(prog="compare", description=str(__doc__).partition("\n")[0])
    parser.add_argument("before", metavar="A", help="a commit, branch or tag")
    parser.add_argument("after", metavar="B", help="another")
    parser.add_argument("--machine", metavar="NAME", help="of this machine alone")
    options = parser.parse_args(arguments)
    try:
        comparison = compare(
            RESULTS,
            commit(options.before),
            commit(options.after),
            thresholds(ROOT / "asv.conf.json"),
            options.machine,
        )
    except NothingToCompare as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    print(report(comparison, load_benchmarks(RESULTS)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
