"""Write docs/evidence.md: what was tried on the shim, what came of it, and how to try it again.

The figures come from the files that the sessions write to docs/_data. Run it after one of them::

    python tools/evidence.py
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "evidence.md"

HEAD = """# What was tried

Each line of the table names what tries it again, in a session of its own. What is below the table
runs in every `nox`, unless it names a session.

| what | tried | came of it | date | again by |
|---|---|---|---|---|
"""

ALWAYS = """
In addition, on Python 3.11, 3.12 and 3.13, in every `nox`:

- **Parity**: 5,542 (Python 3.11) to 6,249 (3.13) answers of repaired functions are those of CuPy
  13.5.1's, for four builds that are really broken. `tests/parity.py` names what is not compared,
  and why.
- **Neighbours and switches**: import hooks of pytest, coverage, beartype, typeguard, wrapt and
  lazy_loader, foreign finders before and after ours, switches of Python, closed streams, an
  empty environment; installed editable, zipped and vendored; frozen by PyInstaller, on 3.13;
  `run` from EasyBuild's layout and from shiv and zipapp archives; memoized functions under
  beartype, pytest's `-p` and `monkeypatch`; uninstalled under a running program.
  `tests/test_neighbours.py` is the table.
- **A model** of what `status()` must say, against sequences of installing, importing, failing,
  purging and reloading: 40 of them, and six on real CuPys. The session `stress` takes 2,000 and
  a hundred: on 2026-11-21, on Python 3.13, the shim did as the model said in all of them.
- **Threads**: 6 processes of 32 threads that import, arm and disarm in any order. The session
  `stress` takes 300: on 2026-11-21 none of them failed, on any of the three Pythons.
- **The doctor** in those of its environments that cost no download; `nox -s doctor` makes all of
  them.
- **The rebuild** of six broken CuPys: it imports without the shim, answers as CuPy 13.5.1 does when
  the same Cython compiles it, and is undone byte for byte. Each step that changes a file is
  killed, interrupted and made to fail; two rebuilds run at once; the disk is full.
- **Thirteen libraries** that use CuPy, by `nox -s dependents`: [the table](dependents.md).
- **Workers** of Dask, Ray, joblib, multiprocessing and MPI, by `nox -s engines`, on Python 3.13.
- **Heavier neighbours**, by `nox -s neighbours`, on Python 3.13: Ray's functions and actors,
  Celery's tasks, models of pydantic 1, IPython's autoreload after an upgrade, and the agents of
  OpenTelemetry, Datadog and New Relic.

What these found and what became of it stands in the messages of the commits.
"""


def data(name: str) -> dict[str, Any]:
    """Return what a session wrote."""
    found: dict[str, Any] = json.loads((DOCS / "_data" / f"{name}.json").read_text())
    return found


def rows() -> list[tuple[str, str, str, str, str]]:
    """Return the lines of the table."""
    matrix = data("matrix")
    cells = matrix["cells"]
    broken = sum(cell["without"]["import"] != "works" for cell in cells)
    wrong = sum(cell["with"]["import"] != "works" for cell in cells)
    touched = sum(cell["without"]["import"] == "works" and bool(cell["touched"]) for cell in cells)
    found = [
        (
            "[The cause](matrix.md)",
            f"{len(cells)} builds of CuPy, {broken} of them broken",
            f"{wrong} do not import with the shim, {touched} healthy ones were touched",
            matrix["date"],
            f"`{matrix['command']}`",
        )
    ]
    for name, where in (("cupy-tests", "2 cores, no GPU"), ("cupy-tests-gpu", "an H200")):
        suite = data(name)
        counts: Counter[str] = Counter()
        for outcomes in suite["files"].values():
            counts.update(outcomes)
        compared = counts["passed"] + counts["failed"] + counts["skipped"]
        different = len(suite["different"])
        found.append(
            (
                f"[CuPy's own tests](cupy-tests.md), {where}",
                f"{compared + different:,} tests under a broken 13.4.1 with the shim and its wheel",
                f"{different} end differently"
                + (", for a reason that the page gives" if different else ""),
                suite["date"],
                "`nox -s cupy-tests`" if name == "cupy-tests" else "`tools/cupy_suite.py`",
            )
        )
    later = data("later")
    for name, one in later["pythons"].items():
        found.append(
            (
                f"Python {name}",
                f"{one['tests']:,} tests of {one['of']}, with {one['cupys']}",
                f"{one['failed']} fail; {one['answers']:,} answers of a repaired function are "
                "those of a healthy one",
                later["date"],
                f"parts of `{later['command']}`",
            )
        )
    load = data("load")
    loads = load["loads"]
    for name, what in (
        ("repairs", "repairs, taken back and made again"),
        ("calls", "calls of a repaired function"),
        ("sorts", "sorts from eight threads"),
    ):
        one = loads[name]
        found.append(
            (
                "Load",
                f"{one['rounds']:,} {what}",
                f"{one['bytes a round']} bytes a round and {one['threads left']} threads stay",
                load["date"],
                f"`{load['command']}`",
            )
        )
    gpu = data("load-gpu")
    found.append(
        (
            f"Load, {gpu['gpu']}",
            f"{gpu['rounds']:,} sorts by `gpu_sort` from eight threads, at commit {gpu['commit']}",
            f"{gpu['wrong']} wrong, {gpu['bytes a round']} bytes a round, "
            f"{gpu['threads left']} threads and {gpu['page-locked buffers left']} of "
            f"{gpu['page-locked buffers kept between calls']} page-locked buffers stay",
            gpu["date"],
            f"`{gpu['command']}`",
        )
    )
    for group, what in (
        ("shim", "the shim"),
        ("measure", "the command, its measuring and the CPU sort"),
    ):
        mutants = data(f"mutants-{group}")
        found.append(
            (
                f"Mutants of {what}: {len(mutants['modules'])} modules",
                f"{mutants['mutants']} changes of the code",
                f"{mutants['killed']} noticed by a test, {mutants['survived']} not, of which "
                f"{mutants['survivors_named_with_a_reason']} make no difference "
                "(`tests/survivors.toml`)",
                mutants["date"],
                f"`{mutants['command']}`",
            )
        )
    return found


def page() -> str:
    """Return the page."""
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows()) + ALWAYS


if __name__ == "__main__":
    PAGE.write_text(page())
