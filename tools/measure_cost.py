"""Measure what the shim costs, and write it to a JSON file.

Each row compares two programs that run in turn, each time in a new interpreter. It has the medians
of both, and the median and the middle half of the differences between successive runs. Run it on an
idle machine::

    nox -s cost
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import testbed  # noqa: E402

from cupy_compat.cudamark.machine import cpu_name  # noqa: E402
from cupy_compat.start.files import Startup  # noqa: E402

PYTHONS = ("3.11", "3.12", "3.13")

# Without the garbage collector, which may or may not run within the half millisecond.
IMPORT = """
import gc
from time import perf_counter
gc.disable()
start = perf_counter()
import {modules}
print(perf_counter() - start)
"""

CALL = """
import timeit
{first}
import cupy
@cupy.memoize()
def function(x):
    return x
function(1)
print(min(timeit.repeat("function(1)", globals=globals(), number=100_000, repeat=7)) / 100_000)
"""


Row = dict[str, Any]


def seconds(python: Path, code: str, **environment: str) -> float:
    """Return the number that code prints in a new interpreter."""
    return float(run(python, "-c", code, **environment))


def start(python: Path, *arguments: str) -> float:
    """Return the seconds from the start to the end of a new interpreter."""
    begin = perf_counter()
    run(python, *arguments)
    return perf_counter() - begin


def run(*command: str | Path, **environment: str) -> str:
    """Return what a command prints."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "CUPY_COMPAT"))
    }
    done = subprocess.run(
        command, env=inherited | environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def compare(
    what: str,
    version: str,
    unit: str,
    rounds: int,
    without: Callable[[], float],
    with_: Callable[[], float],
) -> Row:
    """Measure two programs in turn, after an untimed run of each.

    `unit` is ``ms`` or ``ns``; both callables return seconds.
    """
    without(), with_()
    scale = {"ms": 1e3, "ns": 1e9}[unit]
    pairs = [(without() * scale, with_() * scale) for _ in range(rounds)]
    before, after = zip(*pairs, strict=True)
    row: Row = {"what": what, "python": version, "unit": unit}
    row |= {"with": statistics.median(after), "without": statistics.median(before)}
    differences = [b - a for a, b in pairs]
    row["difference"] = statistics.median(differences)
    low, _, high = statistics.quantiles(differences)
    row["middle_half"] = [low, high]
    print(row, flush=True)
    return row


def main() -> None:
    """Measure everything, and write the file that the command line names."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "cupy_compat").symlink_to(ROOT / "cupy_compat")
        (path / "empty").mkdir()
        (path / "empty" / "__init__.py").touch()
        rows = [*measure_imports(path), *measure_repairs(path), *measure_starts(path)]
    rows.sort(key=lambda row: [other["what"] for other in rows].index(row["what"]))
    data = {
        "date": str(datetime.date.today()),
        "command": "nox -s cost",
        "machine": f"{os.cpu_count()} cores of {cpu_name()}, {platform.system()}",
        "pythons": [
            testbed._tag(testbed.interpreter(version)).removeprefix("cp") for version in PYTHONS
        ],
        "rows": rows,
    }
    Path(sys.argv[1]).write_text(json.dumps(data, indent=1) + "\n")


def measure_imports(folder: Path) -> Iterator[Row]:
    """Compare importing the shim with an empty package, and a healthy CuPy with and without it."""
    shim = {"PYTHONPATH": str(folder)}
    for version in PYTHONS:
        python = testbed.interpreter(version)
        yield compare(
            "`import cupy_compat`; without: an empty package",
            version,
            "ms",
            60,
            lambda python=python: seconds(python, IMPORT.format(modules="empty"), **shim),
            lambda python=python: seconds(python, IMPORT.format(modules="cupy_compat"), **shim),
        )
    for cupy in testbed.HEALTHY_CUPYS:
        healthy = testbed.healthy(testbed.interpreter("3.13"), cupy)
        yield compare(
            f"importing a healthy CuPy {cupy}",
            "3.13",
            "ms",
            25,
            lambda healthy=healthy: seconds(healthy, IMPORT.format(modules="cupy"), **shim),
            lambda healthy=healthy: seconds(
                healthy, IMPORT.format(modules="cupy_compat, cupy"), **shim
            ),
        )


def measure_repairs(folder: Path) -> Iterator[Row]:
    """Compare a repaired CuPy with the healthy wheel, and its calls with those of a fixed CuPy."""
    shim = {"PYTHONPATH": str(folder)}
    for version in PYTHONS:
        python = testbed.interpreter(version)
        broken = testbed.broken(python, "13.4.1", "3.1.1")
        wheel = testbed.healthy(python, "13.4.1")
        reference = testbed.healthy(python, testbed.REFERENCE_CUPY)
        # A repair imports it.
        wrapt = folder / f"wrapt-{version}"
        testbed._pip(python, "install", "--target", str(wrapt), "wrapt>=1.14")
        always = {"PYTHONPATH": os.pathsep.join([str(folder), str(wrapt)]), "CUPY_COMPAT": "always"}
        yield compare(
            "importing a repaired CuPy 13.4.1; without: its healthy wheel",
            version,
            "ms",
            25,
            lambda wheel=wheel: seconds(wheel, IMPORT.format(modules="cupy"), **shim),
            lambda broken=broken, always=always: seconds(
                broken, IMPORT.format(modules="cupy_compat, cupy"), **always
            ),
        )
        yield compare(
            f"a call of a memoized function; without: healthy CuPy {testbed.REFERENCE_CUPY}",
            version,
            "ns",
            15,
            lambda reference=reference: seconds(reference, CALL.format(first=""), **shim),
            lambda broken=broken, always=always: seconds(
                broken, CALL.format(first="import cupy_compat"), **always
            ),
        )


def measure_starts(folder: Path) -> Iterator[Row]:
    """Compare starts of Python, in environments created in a folder."""
    for version in PYTHONS:
        plain, auto, enabled = (
            environment(folder / version / kind, testbed.interpreter(version))
            for kind in ("plain", "auto", "enabled")
        )
        site = testbed._site_packages(auto)
        shutil.copy(ROOT / "auto" / "cupy_compat_auto.pth", site)
        shutil.copytree(ROOT / "auto" / "_cupy_compat_auto", site / "_cupy_compat_auto")
        record = testbed._site_packages(enabled) / "cupy_compat.dist-info" / "RECORD"
        for path, content in Startup(record).files().items():
            path.write_bytes(content)
        for what, python, arguments in (
            ("starting Python with `cupy-compat-auto`", auto, []),
            ("starting Python after `cupy-compat enable`", enabled, []),
            ("starting Python by `cupy-compat run`", plain, ["-m", "cupy_compat", "run"]),
        ):
            yield compare(
                what,
                version,
                "ms",
                100,
                lambda plain=plain: start(plain, "-c", "pass"),
                lambda python=python, arguments=arguments: start(python, *arguments, "-c", "pass"),
            )


def environment(folder: Path, python: Path) -> Path:
    """Make a virtual environment that holds ``cupy_compat`` alone, and return its interpreter."""
    run(python, "-m", "venv", "--without-pip", folder)
    made = folder / "bin" / "python"
    package = shutil.ignore_patterns("__pycache__")
    shutil.copytree(
        ROOT / "cupy_compat", testbed._site_packages(made) / "cupy_compat", ignore=package
    )
    return made


if __name__ == "__main__":
    main()
