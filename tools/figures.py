"""Write the tables of the README and the documentation from the files of docs/_data.

A page marks the place of a table by two comments, with the name of a function of this file::

    <!-- figures: matrix -->
    <!-- end of figures -->

Each session writes what it measured to docs/_data. Run this afterwards::

    python tools/figures.py
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "_data"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)

sys.path.insert(0, str(ROOT / "tests"))

import matrix as builds  # noqa: E402


def read(name: str) -> Any:
    """Return the data that a session wrote."""
    content: Any = json.loads((DATA / f"{name}.json").read_text())
    return content


def table(align: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown; `align` has an ``l`` or an ``r`` for each column."""
    rule = ["---:" if side == "r" else "---" for side in align]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))


def cause() -> str:
    """Summarize which CuPys break, whatever the Python."""
    cells = [cell for cell in read("matrix")["cells"] if cell["cython"] != builds.WHEEL]
    alike: dict[tuple[str, ...], list[str]] = {}
    for cupy in dict.fromkeys(cell["cupy"] for cell in cells):
        row = [
            _alternatives(
                builds.outcome(cell).partition(",")[0]
                for cell in cells
                if cell["cupy"] == cupy and cell["cython"].startswith("3.0.") is old
            )
            for old in (True, False)
        ]
        alike.setdefault(tuple(row), []).append(cupy)
    head = ["CuPy", "Cython 3.0", "Cython 3.1 and later"]
    return table("lll", head, [[", ".join(same), *row] for row, same in alike.items()])


def _alternatives(outcomes: Iterable[str]) -> str:
    return " or ".join(sorted(set(outcomes)))


def matrix() -> str:
    """Show every build: healthy and untouched, or broken and repaired."""
    data = read("matrix")
    cells = data["cells"]
    cupys, cythons, pythons = (
        list(dict.fromkeys(cell[name] for cell in cells)) for name in ("cupy", "cython", "python")
    )
    states = [
        builds.complaint(cell) or ("healthy" if builds.is_healthy(cell) else "**repaired**")
        for cell in cells
    ]
    left_out = {cell["cython"]: cell["left_out"] for cell in cells if cell["left_out"]}
    rows = [[cupy] for cupy in cupys]
    for row, cython in itertools.product(rows, cythons):
        here = [
            (state, cell["left_out"])
            for state, cell in zip(states, cells, strict=True)
            if (cell["cupy"], cell["cython"]) == (row[0], cython)
        ]
        mark = " \\*" if any(names for _, names in here) else ""
        row.append(_alternatives(state for state, _ in here) + mark)
    head = ["CuPy", *("wheel" if c == builds.WHEEL else f"Cython {c}" for c in cythons)]
    notes = [
        f"\\* Compiled without `{'` and `'.join(names)}`, which Cython {cython} does not know.\n\n"
        for cython, names in left_out.items()
    ]
    count = Counter(states)
    return (
        table("l" * len(head), head, rows)
        + "\n"
        + "".join(notes)
        + f"{len(cells)} builds on Python {', '.join(pythons)}: {count['healthy']} healthy, "
        f"{count['**repaired**']} repaired. Made on {data['date']} by `{data['command']}`.\n"
    )


def dependents() -> str:
    """Show how libraries behave with a broken CuPy, and with a repaired one."""
    data = read("dependents")
    rows = []
    for one in data["libraries"]:
        repaired = "as with a healthy CuPy" if one["repaired"] == one["healthy"] else "differs"
        if one["healthy"] != "works":
            repaired += f": {_error(one['healthy'])} \\*"
        rows.append([f"{one['name']} {one['version']}", _error(one["broken"]), repaired])
    return (
        table("lll", ["Library", "With the broken CuPy", "With `cupy-compat-auto`"], rows)
        + f"\nCuPy {data['cupy']} compiled with Cython {data['cython']}, Python {data['python']}; "
        f"{data['date']}, by `nox -s dependents`.\n"
    )


def _error(outcome: str) -> str:
    name = outcome.partition(":")[0].rpartition(".")[2]
    return "works" if name == "works" else f"`{name}`"


def cost() -> str:
    """Show the cost of the shim, a row for each measurement."""
    data = read("cost")
    head = ["Measured", "Python", "with", "without", "difference", "middle half"]
    rows = [
        [
            row["what"],
            row["python"],
            *(f"{row[side]:.3g} {row['unit']}" for side in ("with", "without")),
            f"{row['difference']:+.2g} {row['unit']}",
            " to ".join(f"{bound:+.2g}" for bound in row["middle_half"]),
        ]
        for row in data["rows"]
    ]
    return (
        table("llrrrr", head, rows)
        + f"\n{data['date']}, `{data['command']}`, {data['machine']}, CPython "
        f"{', '.join(data['pythons'])}.\n"
    )


def evidence() -> str:
    """List the evidence, one row for each session and machine."""
    return table(
        "lllll", ["What", "Tried", "Result", "Date", "Run it again"], [*_shim_rows(), *_load_rows()]
    )


def _shim_rows() -> Iterator[Sequence[str]]:
    data = read("matrix")
    cells = data["cells"]
    broken = [cell for cell in cells if not builds.is_healthy(cell)]
    wrong = sum(bool(builds.complaint(cell)) for cell in broken)
    touched = sum(bool(builds.complaint(cell)) for cell in cells) - wrong
    yield (
        "[The cause](why.md#the-cause-matrix)",
        f"{len(cells)} builds of CuPy, {len(broken)} of them broken",
        f"{wrong} failed to import with the shim; {touched} healthy ones changed",
        data["date"],
        f"`{data['command']}`",
    )
    for name, where, command in (
        ("cupy-tests", "2 cores, no GPU", "nox -s cupy-tests"),
        ("cupy-tests-gpu", "NVIDIA H200", "tools/cupy_suite.py"),
    ):
        data = read(name)
        counts = sum(map(Counter, data["files"].values()), Counter())
        compared = counts.total() - counts["not compared"]
        yield (
            f"[CuPy's own tests](#cupys-own-tests), {where}",
            f"{compared:,} tests, each with a repaired CuPy {data['broken']['CuPy']} and with its "
            "healthy wheel",
            f"{counts['different']} ended differently",
            data["date"],
            f"`{command}`",
        )
    data = read("later")
    for name, one in data["pythons"].items():
        yield (
            f"Python {name}",
            f"{one['tests']:,} tests of the shim, its commands and the sorts",
            f"{one['failed']} failed",
            one["date"],
            f"`{data['command']}`",
        )
    mutants = read("mutants-shim")
    yield (
        "Mutation tests of the shim",
        f"{mutants['mutants']} changes of {len(mutants['modules'])} modules",
        f"a test fails for {mutants['killed']}; {mutants['survivors_named_with_a_reason']} of the "
        f"other {mutants['survived']} change no behaviour",
        mutants["date"],
        f"`{mutants['command']}`",
    )


def _load_rows() -> Iterator[Sequence[str]]:
    data = read("load")
    for name, what in (
        ("repairs", "repairs, each undone"),
        ("calls", "calls of a repaired function"),
        ("sorts", "sorts from eight threads"),
    ):
        one = data["loads"][name]
        yield (
            "Load test",
            f"{one['rounds']:,} {what}",
            f"{one['bytes a round']} bytes leaked by each; {one['threads left']} threads left",
            data["date"],
            f"`{data['command']}`",
        )
    gpu = read("load-gpu")
    yield (
        f"Load test, {gpu['gpu']}",
        f"{gpu['rounds']:,} calls of `gpu_sort` from eight threads",
        f"{gpu['wrong']} wrong; {gpu['bytes a round']} bytes leaked by each; "
        f"{gpu['threads left']} threads left",
        gpu["date"],
        f"`{gpu['command']}`",
    )


SORTS = {
    "np.sort": "`np.sort`",
    "threaded_sort": "`threaded_sort`, {threads} threads",
    "cp.asnumpy(cp.sort(cp.array(a)))": "the usual script, `cp.asnumpy(cp.sort(cp.array(a)))`",
    "gpu_sort": "`gpu_sort`",
    "gpu_sort, page-locked": "`gpu_sort`, page-locked memory",
    "cp.sort": "`cp.sort`, keys already on the GPU",
    "cupynumeric": "cuPyNumeric",
    "parallel-sort": "parallel-sort",
    "polars": "Polars",
    "quill": "quill",
    "torch": "PyTorch",
}


def times(documents: list[dict[str, Any]], name: str) -> list[float | None]:
    """Return the median seconds of a sort for each dtype, None if it was not measured."""
    found: list[float | None] = []
    for dtype in dtypes(documents):
        seconds = [
            run["median_seconds"]
            for document in documents
            if document["dtype"] == dtype
            for run in document["runs"]
            if run["name"] == name
        ]
        found.append(median(seconds) if seconds else None)
    return found


def dtypes(documents: list[dict[str, Any]]) -> list[str]:
    """Return the dtypes that were sorted, in the order of measurement."""
    return list(dict.fromkeys(document["dtype"] for document in documents))


def milliseconds(seconds: float | None) -> str:
    """Return a time in milliseconds with three digits, or an empty text for None."""
    if seconds is None:
        return ""
    number = seconds * 1e3
    return f"{number:,.{2 if number < 10 else 1 if number < 100 else 0}f}"


def _sorts(documents: list[dict[str, Any]], names: Iterable[str]) -> Iterator[Sequence[str]]:
    threads = {run["name"]: run["threads"] for run in documents[0]["runs"]}
    for name in names:
        if name in threads:
            cells = map(milliseconds, times(documents, name))
            yield SORTS[name].format(threads=threads[name]), *cells


def _table_of_times(documents: list[dict[str, Any]], rows: Iterable[Sequence[str]]) -> str:
    first = documents[0]
    head = [f"{first['size']:,} keys, milliseconds", *dtypes(documents)]
    parts = [f"{first['cpu_name'].replace('(R)', '')}, {first['cpu_usable']} CPUs"]
    if first.get("gpu_name"):
        parts.append(f"{first['gpu_name']}, driver {first['driver_version']}")
        parts.append(f"CuPy {first['cupy_version']}")
    parts += [f"Python {first['python_version']}", f"NumPy {first['numpy_version']}"]
    parts += [f"{name} {version}" for name, version in first.get("with_versions", {}).items()]
    shown = table("l" + "r" * (len(head) - 1), head, rows)
    return f"{shown}\n{', '.join(parts)}; {first['date'][:10]}.\n"


def compare() -> str:
    """Show every sort of one array, and the limit of the bus."""
    documents = read("compare-gpu")
    names = [name for name in SORTS if name != "cp.sort"]
    rows = list(_sorts(documents, names))
    for name, field in (
        ("copying to the GPU, sorting and copying back: sum of the times", "gpu_serial_seconds"),
        ("the limit: copying to the GPU and back", "gpu_floor_seconds"),
    ):
        limits = [document[field] for document in documents]
        if all(limits):
            rows.append([name, *map(milliseconds, limits)])
    rows += _sorts(documents, ["cp.sort"])
    return _table_of_times(documents, rows)


def libraries() -> str:
    """Show other libraries on a CPU."""
    documents = read("with-2-cores")
    return _table_of_times(documents, _sorts(documents, SORTS))


def cupynumeric() -> str:
    """Show cuPyNumeric on one and on two GPUs, and the other sorts on one."""
    runs = read("with-cupynumeric-2-h200")["runs"]
    one, two = ([run for run in runs if run["gpus_for_cupynumeric"] == n] for n in (1, 2))
    rows = [
        [f"cuPyNumeric, {gpus}", *map(milliseconds, times(documents, "cupynumeric"))]
        for gpus, documents in (("one GPU", one), ("two GPUs", two))
    ]
    rows += _sorts(one, ["cp.sort", "gpu_sort", "threaded_sort"])
    return _table_of_times(one, rows)


#: The kinds of keys whose names do not say enough.
KEYS = {
    "missing": "all NaN, NaT or 1",
    "exceptions": "constant, but every hundredth uniform",
    "half": "first half uniform, then constant",
    "column": "every third uniform, the others constant",
    "blocks": "sorted blocks of 1,000",
}

SWEEPS = {
    "sweep-2-cores": "2 cores",
    "sweep-2-cores-no-vectors": "2 cores, no vector sort",
    "sweep-16-cores": "16 cores",
    "sweep-16-cores-no-vectors": "16 cores, no vector sort",
}


def never_slower() -> str:
    """Show the time of `threaded_sort` over that of `np.sort`, and the noise of such a ratio."""
    sweeps = {name: read(name) for name in SWEEPS if (DATA / f"{name}.json").exists()}
    ratios: dict[str, dict[str, list[float]]] = {}
    for name, data in sweeps.items():
        for cell in data["cells"]:
            noise = cell["threads"] is None
            kind = cell["distribution"]
            row = "*`np.sort` beside itself*" if noise else KEYS.get(kind, kind)
            ratios.setdefault(row, {}).setdefault(name, []).append(cell["ratio"])
    head = ["Keys"]
    for name in sweeps:
        head += [f"{SWEEPS[name]}: median", "worst"]
    rows = []
    for row, found in ratios.items():
        cells = [row]
        for name in sweeps:
            each = found.get(name)
            cells += [f"{median(each):.2f}", f"{max(each):.2f}"] if each else ["", ""]
        rows.append(cells)
    notes = []
    for name, data in sweeps.items():
        machine = data["machine"]
        cells = [cell for cell in data["cells"] if cell["threads"] is not None]
        noise = [cell["ratio"] for cell in data["cells"] if cell["threads"] is None]
        slower = sum(cell["ratio"] > 1.05 for cell in cells)
        noisy = sum(ratio > 1.05 for ratio in noise)
        notes.append(
            f"- {SWEEPS[name]} ({machine['cpu_name'].replace('(R)', '')}, "
            f"NumPy {machine['numpy_version']}, {data['date']}): {slower:,} of {len(cells):,} "
            f"ratios above 1.05; of `np.sort` beside itself, {noisy} of {len(noise)}.\n"
        )
    return table("l" + "rr" * len(sweeps), head, rows) + "\n" + "".join(notes)


BLOCKS: dict[str, Callable[[], str]] = {
    "cause": cause,
    "matrix": matrix,
    "dependents": dependents,
    "cost": cost,
    "evidence": evidence,
    "compare": compare,
    "libraries": libraries,
    "cupynumeric": cupynumeric,
    "never-slower": never_slower,
}


def written(page: str) -> str:
    """Return a page with its tables rewritten from the data."""
    return BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}{found[3]}", page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(written(path.read_text()))
