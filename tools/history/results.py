"""Results of airspeed velocity as plain figures: one for each benchmark, parameters and labels."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: What results are labelled with, in the order in which people name it.
LABELS = ("python", "cupy", "build", "numpy")


@dataclass(frozen=True)
class Key:
    """What a figure says something of."""

    machine: str
    labels: tuple[str, ...]
    benchmark: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """A median and the quartiles of its samples, NaN where it failed; seconds or bytes."""

    value: float
    low: float
    high: float

    @property
    def failed(self) -> bool:
        """Whether the benchmark ended with an error."""
        return math.isnan(self.value)


def load_benchmarks(folder: Path) -> dict[str, dict[str, object]]:
    """Return what asv knows of the benchmarks, by their names."""
    known = json.loads((folder / "benchmarks.json").read_text())
    return {name: told for name, told in known.items() if name != "version"}


def result_files(folder: Path) -> Iterator[Path]:
    """Yield the files of results of all machines."""
    for path in sorted(folder.glob("*/*.json")):
        if path.name != "machine.json":
            yield path


def measured_commits(folder: Path) -> dict[str, set[str]]:
    """Return the commits that there are results of, and the machines that made them."""
    commits: dict[str, set[str]] = {}
    for path in result_files(folder):
        commits.setdefault(json.loads(path.read_text())["commit_hash"], set()).add(path.parent.name)
    return commits


def load_figures(folder: Path, commit: str) -> dict[Key, Figure]:
    """Return all figures of a commit; what does not apply on a machine is left out."""
    versions = {name: told["version"] for name, told in load_benchmarks(folder).items()}
    figures: dict[Key, Figure] = {}
    for path in result_files(folder):
        content = json.loads(path.read_text())
        if content["commit_hash"] != commit:
            continue
        labels = tuple(content["params"].get(name, "") for name in LABELS)
        for name, row in content["results"].items():
            columns = dict(zip(content["result_columns"], row, strict=False))
            # Another version of a benchmark measured something else under the same name.
            if versions.get(name) != columns.get("version"):
                continue
            for parameters, figure in _figures(columns):
                figures[Key(content["params"]["machine"], labels, name, parameters)] = figure
    return figures


def _figures(columns: dict[str, list[object]]) -> Iterator[tuple[tuple[str, ...], Figure]]:
    combinations = list(itertools.product(*columns.get("params") or []))
    nothing = [None] * len(combinations)
    # asv writes null where a benchmark failed as a whole.
    values = columns["result"] or nothing
    lows = columns.get("stats_q_25") or nothing
    highs = columns.get("stats_q_75") or nothing
    for parameters, value, low, high in zip(combinations, values, lows, highs, strict=True):
        if value is None:
            yield parameters, Figure(math.nan, math.nan, math.nan)
        elif not math.isnan(value):  # NaN stands for what does not apply
            yield (
                parameters,
                Figure(value, value if low is None else low, value if high is None else high),
            )
