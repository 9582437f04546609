"""The page of the history, from made-up results."""

import datetime
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
# At the end, so that tests find the cupy_compat that is installed.
sys.path.append(str(ROOT))

from tools.history import page  # noqa: E402
from tools.history.results import Figure, Key, Results  # noqa: E402

OLD, NEW = "a" * 40, "b" * 40
SMALL, LARGE = "small", "large"
BROKEN = ("3.13", "13.4.1", "Cython 3.1.1, repaired", "2.2.6")
NEWEST = ("3.13", "14.2.0", "published", "2.2.6")


def made(slower: float = 1.0) -> Results:
    """Return results of two commits on two machines; the new one sorts slower by a factor."""
    results = Results({}, {}, {}, {}, {})
    for name, cpus in ((SMALL, "2"), (LARGE, "16")):
        results.machines[name] = {"cpu": "a processor", "num_cpu": cpus}
        results.measured[name] = datetime.datetime(2026, 11, 26)
    for day, commit in enumerate((OLD, NEW), start=1):
        results.dates[commit] = datetime.datetime(2026, 11, day)
        figures = results.figures[commit] = {}

        def add(
            machine: str, labels: tuple[str, ...], name: str, value: float, *words: str
        ) -> None:
            samples = (value, value * 1.01)
            figures[Key(machine, labels, name, words)] = Figure(samples)  # noqa: B023
            names = [f"parameter{n}" for n in range(len(words))]
            results.benchmarks[name] = {"unit": "times", "param_names": names}

        for python in ("3.12", "3.13"):
            labels = (python, *NEWEST[1:])
            for kind, value in (("ratio", 6.0), ("yardstick", 0.9), ("time", 0.0005)):
                add(SMALL, labels, page.SHIM.format(kind), value, "'armed'")
            add(SMALL, labels, page.SHIM.format("ratio"), 3.0, "'off'")
        add(SMALL, NEWEST, page.CALL.format("ratio"), 1.0)
        add(SMALL, BROKEN, page.CALL.format("ratio"), 1.1)
        add(SMALL, BROKEN, page.CALL.format("yardstick"), 1.05)
        add(SMALL, BROKEN, page.CALL.format("time"), 110e-9)
        factor = slower if commit == NEW else 1.0
        for machine, most in ((SMALL, 2), (LARGE, 16)):
            for threads in (1, 2, 16)[: 2 if machine == SMALL else 3]:
                for dtype in ("'int32'", "'float64'"):
                    place = machine, NEWEST
                    value = 0.5 * min(threads, most) / factor
                    add(*place, page.CPU, value, str(threads), dtype)
                    add(*place, page.CPU.replace("ratio", "yardstick"), 1.0, str(threads), dtype)
                    if machine == LARGE:
                        add(*place, page.GPU, float(threads), str(threads), dtype)
                        for way in ("threaded_sort", page.USUAL, "gpu_sort"):
                            add(*place, page.WAYS, 4.0 + len(way), repr(way), dtype)
    return results


def written(results: Results, folder: Path) -> str:
    """Return the page that the results make."""
    page.Page(results, folder).write()
    return (folder / "history.md").read_text()


def test_titles_state_the_results(tmp_path: Path) -> None:
    text = written(made(), tmp_path)
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert [title[3:] for title in titles if "easure" not in title] == [
        "Importing cupy_compat takes 0.5 ms, 6.0 times an empty package",
        "A repair adds 11 ns to a memoized call, 11% more",
        "16 threads sort int32 8.0 times as fast as np.sort",
        "With 16 threads gpu_sort is 16.1 times as fast as the usual script",
        "gpu_sort is 12 times as fast as np.sort, threaded_sort 17.1 times",
        "Commit bbbbbbb changed no ratios beyond noise",
    ]


def test_a_section_without_figures_says_what_was_not_measured(tmp_path: Path) -> None:
    results = made()
    for figures in results.figures.values():
        for key in [key for key in figures if key.suite.startswith("gpu_sort")]:
            del figures[key]
    text = written(results, tmp_path)
    assert "## How threads help the sort through the GPU\n\nNot measured: gpu_sort." in text
    assert "16 threads sort int32 8.0 times as fast as np.sort" in text


def test_changes_are_listed_in_a_table(tmp_path: Path) -> None:
    text = written(made(slower=1.25), tmp_path)
    assert "## Commit bbbbbbb changed 10 ratios beyond noise" in text
    assert f"| bbbbbbb | -20% (6 of 6) | {page.CPU}, times | large |" in text


def test_pictures_use_the_color_scheme_of_the_reader(tmp_path: Path) -> None:
    text = written(made(), tmp_path)
    pictures = sorted(tmp_path.glob("*.svg"))
    assert len(pictures) == 5
    for path in pictures:
        ElementTree.parse(path)
        assert f"({path.name})" in text
        drawn = path.read_text()
        assert "prefers-color-scheme:dark" in drawn
        assert "currentColor" in drawn
        assert page.INK not in drawn
