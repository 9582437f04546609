"""The report of what changed between two commits.

The result files here are made up, in asv's own form; the reference results are read as well.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
# At the end, so that the cupy_compat that is installed stays the one that is found.
sys.path.append(str(ROOT))

from tools.history import compare, results  # noqa: E402

BEFORE, AFTER = "a" * 40, "b" * 40
BENCHMARKS = {
    "sort.time": {
        "version": "1",
        "unit": "seconds",
        "pretty_name": "threaded_sort",
        "param_names": ["threads", "dtype", "size"],
    },
    "sort.peakmem": {
        "version": "1",
        "unit": "bytes",
        "pretty_name": "threaded_sort, peak memory",
        "param_names": [],
    },
}
COLUMNS = ["result", "params", "version", "started_at", "duration", "stats_q_25", "stats_q_75"]


class Made:
    """A folder of made-up results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "benchmarks.json").write_text(json.dumps(BENCHMARKS | {"version": 2}))

    def add(
        self,
        commit: str,
        seconds: float | None = 0.050,
        spread: float = 0.01,
        memory: float = 200e6,
        machine: str = "made-up",
        python: str = "3.13",
        version: str = "1",
    ) -> None:
        """Write the results of one commit on one machine; None is a benchmark that failed."""
        (self.folder / machine).mkdir(exist_ok=True)
        low, high = (
            (None, None) if seconds is None else (seconds * (1 - spread), seconds * (1 + spread))
        )
        parameters = [["2"], ["'int32'"], ["10000000"]]
        content = {
            "commit_hash": commit,
            "params": {
                "machine": machine,
                "python": python,
                "cupy": "14.2.0",
                "build": "published",
                "numpy": "2.2.6",
            },
            "result_columns": COLUMNS,
            "results": {
                "sort.time": [[seconds], parameters, version, 0, 0, [low], [high]],
                "sort.peakmem": [[memory], [], "1", 0, 0],
            },
        }
        path = self.folder / machine / f"{commit[:8]}-py{python}.json"
        path.write_text(json.dumps(content))

    def report(self, allowed: dict[str, float] | None = None, machine: str | None = None) -> str:
        """Return the report of the two commits."""
        allowed = {"sort.*": 0.2} if allowed is None else allowed
        told = compare.compare(self.folder, BEFORE, AFTER, allowed, machine)
        return compare.report(told, results.load_benchmarks(self.folder))


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_two_runs_of_the_same_speed_changed_nothing(made: Made) -> None:
    made.add(BEFORE)
    made.add(AFTER, seconds=0.051)
    assert made.report() == (
        "Nothing changed beyond noise between aaaaaaaa and bbbbbbbb: 2 figures compared."
    )


def test_what_became_slower_is_named_as_people_name_it(made: Made) -> None:
    made.add(BEFORE, seconds=0.050)
    made.add(AFTER, seconds=0.075)
    assert made.report().splitlines() == [
        "1 of 2 figures changed beyond noise between aaaaaaaa and bbbbbbbb:",
        "",
        "On made-up",
        "                                                   before    after  change         where",
        "threaded_sort, 2 threads, int32, 10,000,000 keys  50.0 ms  75.0 ms  50% more time  "
        "Python 3.13, CuPy 14.2.0 published",
    ]


def test_memory_is_told_in_megabytes(made: Made) -> None:
    made.add(BEFORE, memory=200e6)
    made.add(AFTER, memory=500e6)
    assert "200 MB  500 MB  2.50 times the memory" in made.report()


def test_a_change_within_the_threshold_of_its_benchmark_is_noise(made: Made) -> None:
    made.add(BEFORE, seconds=0.050)
    made.add(AFTER, seconds=0.065)
    assert "Nothing changed" in made.report({"sort.time": 0.35, "sort.*": 0.1})
    assert "30% more time" in made.report({"sort.time": 0.25})


def test_samples_that_overlap_are_noise(made: Made) -> None:
    made.add(BEFORE, seconds=0.050, spread=0.3)
    made.add(AFTER, seconds=0.065, spread=0.3)
    assert "Nothing changed" in made.report()


def test_what_became_faster_is_told_after_what_became_slower(made: Made) -> None:
    for python, after in (("3.11", 0.025), ("3.12", 0.100)):
        made.add(BEFORE, seconds=0.050, python=python)
        made.add(AFTER, seconds=after, python=python)
    slower, faster = made.report().splitlines()[-2:]
    assert "2.00 times the time" in slower
    assert "Python 3.12" in slower
    assert "50% less time" in faster


def test_what_fails_now_comes_first(made: Made) -> None:
    made.add(BEFORE, memory=200e6)
    made.add(AFTER, seconds=None, memory=500e6)
    row = made.report().splitlines()[4]
    assert row.split()[-10:-4] == ["50.0", "ms", "fails", "fails", "now", "Python"]


def test_what_does_not_apply_on_a_machine_is_not_told(made: Made) -> None:
    made.add(BEFORE, seconds=math.nan)
    made.add(AFTER, seconds=0.050)
    assert "1 figures compared" in made.report()


def test_another_version_of_a_benchmark_is_not_compared(made: Made) -> None:
    made.add(BEFORE, seconds=0.050, version="0")
    made.add(AFTER, seconds=0.100)
    assert "1 figures compared" in made.report()


def test_one_machine_can_be_chosen(made: Made) -> None:
    for machine, after in (("small", 0.050), ("large", 0.100)):
        made.add(BEFORE, machine=machine)
        made.add(AFTER, seconds=after, machine=machine)
    assert "Nothing changed" in made.report(machine="small")
    assert "On large" in made.report(machine="large")


def test_a_commit_without_results_is_named_with_what_to_do(made: Made) -> None:
    made.add(BEFORE)
    with pytest.raises(compare.NothingToCompare, match=r"no results of bbbbbbbb.*asv run bbbb"):
        made.report()


def test_results_of_different_machines_are_not_compared(made: Made) -> None:
    made.add(BEFORE, machine="one")
    made.add(AFTER, machine="other")
    with pytest.raises(compare.NothingToCompare, match="not measured in the same environment"):
        made.report()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.234e-7, "seconds", "123 ns"),
        (9.999e-4, "seconds", "1.00 ms"),
        (0.01234, "seconds", "12.3 ms"),
        (75.0, "seconds", "75.0 s"),
        (1.5e9, "bytes", "1.50 GB"),
    ],
)
def test_a_figure_has_three_digits_and_a_unit(value: float, unit: str, text: str) -> None:
    assert compare.quantity(value, unit) == text


def test_a_commit_is_the_same_as_itself_in_the_reference_results() -> None:
    commits = results.measured_commits(compare.RESULTS)
    allowed = compare.thresholds(ROOT / "asv.conf.json")
    for commit in commits:
        told = compare.compare(compare.RESULTS, commit, commit, allowed)
        # As many as three CuPys have on one Python, before there were sorts.
        assert told.compared >= 20
        assert not told.changes


def test_every_figure_of_the_reference_results_has_a_name_and_a_unit() -> None:
    known: dict[str, Any] = results.load_benchmarks(compare.RESULTS)
    for commit in results.measured_commits(compare.RESULTS):
        for key, figure in results.load_figures(compare.RESULTS, commit).items():
            assert compare.subject(key, known)
            assert compare.quantity(figure.value, known[key.benchmark]["unit"])
            assert all(key.labels)
