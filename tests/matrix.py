"""The cause matrix: every CuPy, compiled with every Cython, on every Python, with and without us.

Each cell is a genuine build (see ``testbed.py``) that two fresh interpreters look at, one without
the shim and one with it. The builds are kept, and so is what was seen, under the versions and a
hash of the shim, so that a run that was stopped goes on where it was, and a run after a change of
the shim builds nothing anew.

Usage::

    nox -s matrix
"""

from __future__ import annotations

import datetime
import hashlib
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
#: The last 3.0, the first and the last 3.1, the faulty 3.2 and the last one, and the newest.
CYTHONS = ("3.0.12", "3.1.1", "3.1.8", "3.2.6", "3.2.9", "3.3.1")
#: Stands where a Cython stands, for a wheel as it is published.
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
# A failed import of CuPy leaves this module behind, so that both outcomes can be compared.
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
    """Make one build and look at it.

    Parameters
    ----------
    python : path
        The interpreter to make it for.
    cupy, cython : str
        Their versions; instead of Cython's, ``WHEEL`` for the wheel as it is published.
    shim : path
        A folder that holds ``cupy_compat`` and what it depends on.

    Returns
    -------
    dict
        What was seen ``without`` and ``with`` the shim, and which names of ``cupy._util`` the two
        differ in, as ``touched``.
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
    """Tell whether the build needs no shim."""
    return _works(cell.get("without", {}))


def complaint(cell: Cell) -> str:
    """Return what is not as it must be in a cell, or nothing."""
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
    """Return what a cell shows, in a few words."""
    if complaint(cell):
        return f"**{complaint(cell)}**"
    if is_healthy(cell):
        return "imports, untouched"
    failed = next(what for what in _ASKED if cell["without"][what] != "works")
    error = cell["without"][failed].partition(":")[0]
    where = "" if failed == "import" else f" (memoizing {failed} functions)"
    return f"**{error}**{where}, repaired"


def run(shims: dict[str, Path], workers: int = 2) -> list[Cell]:
    """Fill the matrix, and say so cell by cell on standard error."""
    digest = _digest(shims[PYTHONS[0]])
    pythons = {version: testbed.interpreter(version) for version in PYTHONS}
    combinations = list(itertools.product(PYTHONS, CUPYS, (WHEEL, *CYTHONS)))
    cells: dict[tuple[str, str, str], Cell] = {}
    with ThreadPoolExecutor(workers) as pool:
        # The wheels first and each once: all cells of a CuPy are linked to its wheel.
        wheels = itertools.product(pythons.values(), CUPYS)
        list(pool.map(lambda wheel: testbed.healthy(*wheel), wheels))
        futures = {
            pool.submit(_remembered, pythons[python], cupy, cython, shims[python], digest): (
                python,
                cupy,
                cython,
            )
            for python, cupy, cython in combinations
        }
        for future in as_completed(futures):
            python, cupy, cython = key = futures[future]
            cells[key] = cell = future.result()
            print(
                f"[{len(cells):3}/{len(combinations)}] Python {python}, CuPy {cupy}, "
                f"Cython {cython}: {outcome(cell)}",
                file=sys.stderr,
                flush=True,
            )
    return [cells[key] for key in combinations]


def _remembered(python: Path, cupy: str, cython: str, shim: Path, digest: str) -> Cell:
    kept = testbed.store() / "matrix"
    kept.mkdir(parents=True, exist_ok=True)
    file = kept / f"{testbed._tag(python)}-cupy{cupy}-cython{cython}-{digest}.json"
    if file.exists():
        return dict(json.loads(file.read_text()))
    try:
        cell = examine(python, cupy, cython, shim)
    except testbed.TestBedError as error:
        # Not kept: the next run tries again.
        return {"python": python.name, "cupy": cupy, "cython": cython, "error": str(error)}
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(cell))
    fresh.replace(file)
    return cell


def _digest(shim: Path) -> str:
    """Return a hash of all that a cell's outcome depends on, but for the versions."""
    digest = hashlib.sha256(LOOK.encode())
    for file in sorted((shim / "cupy_compat").glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def main() -> int:
    """Fill the matrix, write the data, and return how many cells are not as they must be."""
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
    # A line for each cell, so that what becomes different can be seen.
    lines = ",\n".join(json.dumps(cell) for cell in data.pop("cells"))
    DATA.write_text(f'{json.dumps(data)[:-1]}, "cells": [\n{lines}\n]}}\n')
    print(f"{len(cells)} cells, {len(wrong)} of them not as they must be; see {DATA.name}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
