"""The cause matrix: every CuPy, compiled with every Cython, on every Python.

``nox -s matrix`` runs this. Two fresh interpreters import each genuine build, one without the shim
and one with it. The test bed keeps the builds: the first run takes an hour, each later one minutes.
"""

from __future__ import annotations

import datetime
import itertools
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import testbed

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "_data" / "matrix.json"

PYTHONS = ("3.11", "3.12", "3.13")
CUPYS = (
    *testbed.BROKEN_CUPYS,
    *testbed.SOURCE_ONLY,
    testbed.REFERENCE_CUPY,
    *testbed.HEALTHY_CUPYS,
)
#: The last 3.0, the first and the last 3.1, the faulty and the last 3.2, and the newest.
CYTHONS = ("3.0.12", "3.1.1", "3.1.8", "3.2.6", "3.2.9", "3.3.1")
#: In place of a Cython: the published wheel.
WHEEL = "wheel"

Cell = dict[str, Any]

LOOK = """
import json, sys
if "shim" in sys.argv:
    import cupy_compat

def attempt(action):
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "works"

def bring_cupy():
    global cupy
    import cupy

def plain(x):
    "Return the square."
    calls.append(x)
    return x * x

def annotated(x: int) -> int:
    "Return the square."
    calls.append(x)
    return x * x

def memoize(function):
    calls.clear()
    memoized = cupy.memoize()(function)
    assert (memoized(3), memoized(3), calls) == (9, 9, [3]), "does not memoize"
    cupy.clear_memo()
    assert (memoized(3), calls) == (9, [3, 3]), "clear_memo does not reach it"
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(memoized, name) == getattr(function, name), name + " is lost"
    found["type"] = type(memoized).__name__

calls = []
found = {"import": attempt(bring_cupy)}
if found["import"] == "works":
    found["plain"] = attempt(lambda: memoize(plain))
    found["annotated"] = attempt(lambda: memoize(annotated))
# A failed import of CuPy leaves this module behind.
util = sys.modules.get("cupy._util")
found["cython"] = getattr(util, "cython_build_ver", None)
found["util"] = {
    name: type(value).__name__ + " " + repr(value).partition(" at 0x")[0]
    for name, value in vars(util).items()
}
found["state"] = cupy_compat.status().state if "shim" in sys.argv else None
print(json.dumps(found))
"""


def examine(python: Path, cupy: str, cython: str, shim: Path) -> Cell:
    """Make one build and examine it.

    Parameters
    ----------
    python : path
        Its interpreter.
    cupy, cython : str
        Their versions; ``WHEEL`` in place of Cython's for the published wheel.
    shim : path
        A folder with ``cupy_compat`` and its dependencies.

    Returns
    -------
    dict
        The results ``without`` and ``with`` the shim, and as ``touched`` the names of
        ``cupy._util`` that differ.
    """
    if cython == WHEEL:
        built, left_out = testbed.healthy(python, cupy), []
    else:
        built = testbed.compiled(python, cupy, cython)
        left_out = testbed.unknown_directives(python, cupy, cython)
    without, shimmed = (
        json.loads(testbed._run([built, "-c", LOOK, *words], cwd=shim.parent, env=env).stdout)
        for words, env in (
            ([], {}),
            (["shim"], {"PYTHONPATH": str(shim), "CUPY_COMPAT": "always"}),
        )
    )
    before, after = without.pop("util"), shimmed.pop("util")
    return {
        "python": testbed._tag(python).removeprefix("cp"),
        "cupy": cupy,
        "cython": cython,
        "left_out": left_out,
        "without": without,
        "with": shimmed,
        "touched": sorted(k for k in before | after if before.get(k) != after.get(k)),
    }


def is_healthy(cell: Cell) -> bool:
    """Return whether the build works without the shim."""
    return _works(cell.get("without", {}))


def complaint(cell: Cell) -> str:
    """Return what is wrong in a cell, or an empty string."""
    if "error" in cell:
        return str(cell["error"])
    seen = cell["with"]
    if not _works(seen):
        failures = [
            f"{what}: {seen[what]}" for what in _ASKED if seen.get(what, "works") != "works"
        ]
        return "with the shim, " + ", ".join(failures)
    if is_healthy(cell):
        if seen["state"] != "healthy" or cell["touched"] or seen["type"] != cell["without"]["type"]:
            return f"healthy, and touched: {seen['state']}, {cell['touched']}, {seen['type']}"
    elif seen["state"] != "repaired" or cell["touched"] != ["functools"]:
        return f"works, and says {seen['state']}; changed: {cell['touched']}"
    return ""


_ASKED = ("import", "plain", "annotated")


def _works(seen: dict[str, Any]) -> bool:
    return all(seen.get(what) == "works" for what in _ASKED)


def outcome(cell: Cell) -> str:
    """Return the result of a cell in a few words."""
    if complaint(cell):
        return f"**{complaint(cell)}**"
    if is_healthy(cell):
        return "imports, untouched"
    failed = next(what for what in _ASKED if cell["without"][what] != "works")
    error = cell["without"][failed].partition(":")[0]
    where = "" if failed == "import" else f" (memoizing {failed} functions)"
    return f"**{error}**{where}, repaired"


def run(shims: dict[str, Path], workers: int = 2) -> list[Cell]:
    """Fill the matrix, and report each cell on standard error."""
    pythons = {version: testbed.interpreter(version) for version in PYTHONS}
    combinations = list(itertools.product(PYTHONS, CUPYS, (WHEEL, *CYTHONS)))
    cells: dict[tuple[str, str, str], Cell] = {}
    with ThreadPoolExecutor(workers) as pool:
        # The wheels first, since all cells of a CuPy link to its wheel.
        wheels = itertools.product(pythons.values(), CUPYS)
        list(pool.map(lambda wheel: testbed.healthy(*wheel), wheels))
        futures = {
            pool.submit(_examined, pythons[key[0]], *key[1:], shims[key[0]]): key
            for key in combinations
        }
        for future in as_completed(futures):
            key = futures[future]
            cells[key] = future.result()
            words = f"Python {key[0]}, CuPy {key[1]}, Cython {key[2]}: {outcome(cells[key])}"
            print(f"[{len(cells):3}/{len(combinations)}] {words}", file=sys.stderr, flush=True)
    return [cells[key] for key in combinations]


def _examined(python: Path, cupy: str, cython: str, shim: Path) -> Cell:
    try:
        return examine(python, cupy, cython, shim)
    except testbed.TestBedError as error:
        return {"python": python.name, "cupy": cupy, "cython": cython, "error": str(error)}


def main() -> int:
    """Fill the matrix, write the data, and return whether a cell is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        shims = {version: Path(folder) / version for version in PYTHONS}
        for version, shim in shims.items():
            to_shim = ("--no-compile", "--target", str(shim))
            testbed._pip(testbed.interpreter(version), "install", *to_shim, "wrapt>=1.14")
            (shim / "cupy_compat").symlink_to(ROOT / "cupy_compat")
        cells = run(shims)
    data = {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "command": "nox -s matrix",
        "cells": cells,
    }
    wrong = [cell for cell in cells if complaint(cell)]
    for cell in wrong:
        print(f"{cell['python']} {cell['cupy']} {cell['cython']}: {complaint(cell)}")
    DATA.parent.mkdir(parents=True, exist_ok=True)
    # One line for each cell, so that a diff shows what changed.
    lines = ",\n".join(json.dumps(cell) for cell in data.pop("cells"))
    DATA.write_text(f'{json.dumps(data)[:-1]}, "cells": [\n{lines}\n]}}\n')
    print(f"{len(cells)} cells, {len(wrong)} of them wrong; see {DATA.name}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
