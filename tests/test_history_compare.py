"""What changed between two commits, from made-up results in airspeed velocity's own form."""

import json
import math
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# At the end, so that tests find the cupy_compat that is installed.
sys.path.append(str(ROOT))

from tools.history import compare, results  # noqa: E402

BEFORE, AFTER = "a" * 40, "b" * 40
RATIO, YARDSTICK, TIME = (f"sort.Sort.track_{name}" for name in ("ratio", "yardstick", "time"))
COLUMNS = ["result", "params", "version", "started_at", "samples"]


class Made:
    """A folder of made-up results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        known = {"version": "1", "unit": "times as fast", "pretty_name": "threaded_sort"}
        known |= {"param_names": ["threads", "dtype"]}
        benchmarks = {name: known for name in (RATIO, YARDSTICK, TIME)}
        (folder / "benchmarks.json").write_text(json.dumps(benchmarks | {"version": 2}))

    def add(
        self,
        commit: str,
        ratio: list[float] | None,
        yardstick: tuple[float, ...] = (1.00, 1.02),
        machine: str = "small",
        python: str = "3.13",
        version: str = "1",
    ) -> None:
        """Write the samples of a commit on a machine; None is a benchmark that failed."""
        (self.folder / machine).mkdir(exist_ok=True)
        labels = {"python": python, "cupy": "14.2.0", "build": "published", "numpy": "2.2.6"}
        rows = {
            name: [
                None if samples is None else [sum(samples) / len(samples)],
                [["2"], ["'int32'"]],
                version,
                1_700_000_000_000,
                None if samples is None else [samples],
            ]
            for name, samples in ((RATIO, ratio), (YARDSTICK, yardstick), (TIME, [0.1, 0.1]))
        }
        content = {
            "commit_hash": commit,
            "date": 1_700_000_000_000 + ord(commit[0]),
            "params": {"machine": machine, **labels},
            "result_columns": COLUMNS,
            "results": rows,
        }
        path = self.folder / machine / f"{commit[:8]}-py{python}.json"
        path.write_text(json.dumps(content))

    def report(self, machine: str | None = None) -> str:
        """Return the report of the two commits."""
        loaded = results.load(self.folder)
        return compare.report(loaded, compare.compare(loaded, BEFORE, AFTER, machine))


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_runs_at_equal_speed_show_no_change(made: Made) -> None:
    made.add(BEFORE, [4.0, 4.1])
    made.add(AFTER, [4.05, 4.15])
    assert made.report() == (
        "Nothing changed beyond noise between aaaaaaaa and bbbbbbbb: 1 ratios compared."
    )


def test_a_change_beyond_the_yardstick_is_reported_in_words(made: Made) -> None:
    made.add(BEFORE, [4.0, 4.1])
    made.add(AFTER, [3.0, 3.1])
    assert made.report().splitlines() == [
        "1 of 1 ratios changed beyond noise between aaaaaaaa and bbbbbbbb:",
        "",
        "                                                before  after  change  where",
        "threaded_sort, 2 threads, int32, times as fast    4.05   3.05    -25%  small",
    ]


@pytest.mark.parametrize(
    ("after", "yardstick"),
    [
        # The yardstick moved as far.
        ([3.0, 3.1], (1.40, 1.42)),
        # A sample of one commit reaches those of the other.
        ([3.0, 4.0], (1.00, 1.02)),
    ],
)
def test_noise_is_no_change(made: Made, after: list[float], yardstick: tuple[float, ...]) -> None:
    made.add(BEFORE, [4.0, 4.1])
    made.add(AFTER, after, yardstick)
    assert "Nothing changed" in made.report()


def test_the_yardstick_of_another_machine_does_not_count(made: Made) -> None:
    for machine, yardstick in (("small", (1.00, 1.02)), ("large", (1.40, 1.42))):
        made.add(BEFORE, [4.0, 4.1], machine=machine)
        made.add(AFTER, [3.0, 3.1], yardstick, machine=machine)
    assert "small" in made.report()
    assert "large" not in made.report()
    assert "Nothing changed" in made.report(machine="large")


def test_the_largest_change_comes_first_and_a_failure_before_it(made: Made) -> None:
    for machine, after in (("slower", [3.0, 3.1]), ("faster", [8.0, 8.1]), ("broken", None)):
        made.add(BEFORE, [4.0, 4.1], machine=machine)
        made.add(AFTER, after, machine=machine)
    lines = made.report().splitlines()[3:]
    assert [line.split()[-1] for line in lines] == ["broken", "faster", "slower"]
    assert "fails" in lines[0]


def test_environments_that_changed_alike_share_a_line(made: Made) -> None:
    for python, after in (("3.11", 3.0), ("3.12", 3.2), ("3.13", 4.05)):
        made.add(BEFORE, [4.0, 4.1], python=python)
        made.add(AFTER, [after, after + 0.1], python=python)
    line = made.report().splitlines()[-1]
    assert "4.05   3.15    -22%  small, 2 of 3" in line


@pytest.mark.parametrize(
    ("before", "version"),
    [([4.0], "1"), ([math.nan], "1"), ([4.0, 4.1], "0")],
    ids=["one round", "does not apply", "another version"],
)
def test_a_ratio_that_cannot_be_judged_is_not_compared(
    made: Made, before: list[float], version: str
) -> None:
    made.add(BEFORE, before, version=version)
    made.add(AFTER, [3.0, 3.1])
    with pytest.raises(compare.NothingToCompare, match="aaaaaaaa and bbbbbbbb have no ratio"):
        made.report()


def test_a_commit_without_results_is_named_beside_those_that_have_some(made: Made) -> None:
    made.add(BEFORE, [4.0, 4.1])
    with pytest.raises(compare.NothingToCompare, match=r"results of: aaaaaaaa\."):
        made.report()


def test_no_commit_of_the_reference_results_differs_from_itself() -> None:
    loaded = results.load()
    for commit in loaded.commits:
        told = compare.compare(loaded, commit, commit)
        assert told.compared
        assert not told.changes
