"""Results of airspeed velocity as figures: one for each benchmark, parameters and environment."""

from __future__ import annotations

import datetime
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
#: The labels of a result, in the order in which they are shown.
LABELS = ("python", "cupy", "build", "numpy")


@dataclass(frozen=True)
class Key:
    """What a figure describes: the benchmark with its parameters, and where it ran."""

    machine: str
    labels: tuple[str, ...]
    benchmark: str
    parameters: tuple[str, ...]

    @property
    def suite(self) -> str:
        """The class of the benchmark, as in ``cpu_sort.ThreadedSort``."""
        return self.benchmark.rpartition(".")[0]

    @property
    def method(self) -> str:
        """The rest of the benchmark's name, as in ``track_ratio``."""
        return self.benchmark.rpartition(".")[2]


@dataclass(frozen=True)
class Figure:
    """The samples of a benchmark, one from each run; none if it failed."""

    samples: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median."""
        return median(self.samples) if self.samples else math.nan


@dataclass(frozen=True)
class Results:
    """The results in a folder.

    ``figures`` and ``dates`` are by commit, ``measured`` says when each machine was last measured.
    """

    figures: dict[str, dict[Key, Figure]]
    dates: dict[str, datetime.datetime]
    measured: dict[str, datetime.datetime]
    benchmarks: dict[str, dict[str, Any]]
    machines: dict[str, dict[str, str]]

    @property
    def commits(self) -> list[str]:
        """The commits that were measured, the oldest first."""
        return sorted(self.figures, key=self.dates.__getitem__)

    def title(self, key: Key) -> str:
        """Return what the benchmark measures, as in ``threaded_sort``."""
        return str(self.benchmarks[key.benchmark].get("pretty_name") or key.benchmark)

    def subject(self, key: Key) -> str:
        """Return what was measured, as in ``threaded_sort, 2 threads, int32``."""
        known, words = self.benchmarks[key.benchmark], [self.title(key)]
        for name, value in zip(known["param_names"], key.parameters, strict=True):
            count = value.isdecimal()
            noun = name.removesuffix("s") if value == "1" else name
            words.append(f"{value} {noun}" if count else value.strip("'"))
        return ", ".join(words)


def load(folder: Path = RESULTS) -> Results:
    """Return all results in a folder of airspeed velocity.

    Figures of a benchmark's earlier versions, which measured something else, are left out.
    """
    known = json.loads((folder / "benchmarks.json").read_text())
    results = Results({}, {}, {}, {n: b for n, b in known.items() if n != "version"}, {})
    for path in sorted(folder.glob("*/*.json")):
        content = json.loads(path.read_text())
        if path.name == "machine.json":
            results.machines[path.parent.name] = content
            continue
        commit, machine = content["commit_hash"], content["params"]["machine"]
        labels = tuple(content["params"].get(name, "") for name in LABELS)
        results.dates[commit] = _date(content["date"])
        for name, row in content["results"].items():
            columns = dict(zip(content["result_columns"], row, strict=False))
            if results.benchmarks.get(name, {}).get("version") != columns.get("version"):
                continue
            began = _date(columns["started_at"])
            results.measured[machine] = max(began, results.measured.get(machine, began))
            for parameters, figure in _figures(columns):
                key = Key(machine, labels, name, parameters)
                results.figures.setdefault(commit, {})[key] = figure
    return results


def _date(milliseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)


def _figures(columns: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Figure]]:
    combinations = list(itertools.product(*columns.get("params") or []))
    # asv writes null for a benchmark that failed, and NaN for one that does not apply.
    nothing = [None] * len(combinations)
    rows = zip(
        combinations, columns["result"] or nothing, columns.get("samples") or nothing, strict=True
    )
    for parameters, value, samples in rows:
        if value is None:
            yield parameters, Figure(())
        elif not math.isnan(value):
            # Without recorded samples a result counts as one round.
            yield parameters, Figure(tuple(samples or [value]))
