"""Measure what the shim costs, and print a page of Markdown.

Every figure is a comparison of two things that were measured alternately in one run, each time in
a fresh interpreter: medians, and the median of the ratios of neighbours. Run it on an idle
machine::

    nox -s cost
"""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import testbed  # noqa: E402

from cupy_compat.cudamark.machine import cpu_name  # noqa: E402
from cupy_compat.start.files import Startup  # noqa: E402

PYTHONS = ("3.11", "3.12", "3.13")

# Without the garbage collector: whether one of its runs falls into half a millisecond is chance.
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


@dataclass(frozen=True)
class Comparison:
    """Two measured alternately; seconds."""

    plain: list[float]
    shimmed: list[float]

    @property
    def ratio(self) -> float:
        """Return the median of the ratios of neighbours."""
        return statistics.median(b / a for a, b in zip(self.plain, self.shimmed, strict=True))

    @property
    def difference(self) -> float:
        """Return the median of the differences of neighbours, in seconds."""
        return statistics.median(b - a for a, b in zip(self.plain, self.shimmed, strict=True))


def seconds(python: Path, code: str, **environment: str) -> float:
    """Return what code prints in a fresh interpreter."""
    return float(run(python, "-c", code, **environment))


def start(python: Path, *arguments: str) -> float:
    """Return what a fresh interpreter takes from its start to its end."""
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


def compare(rounds: int, plain: Callable[[], float], shimmed: Callable[[], float]) -> Comparison:
    """Measure the two alternately, after one of each that does not count."""
    plain(), shimmed()
    pairs = [(plain(), shimmed()) for _ in range(rounds)]
    return Comparison([a for a, _ in pairs], [b for _, b in pairs])


def main() -> None:
    """Measure all of it and print the page."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "cupy_compat").symlink_to(ROOT / "cupy_compat")
        (path / "empty").mkdir()
        (path / "empty" / "__init__.py").touch()
        print_page([*measure(path), *measure_starts(path)])


def measure(folder: Path) -> list[tuple[str, str, str, str]]:
    """Return the rows of the table."""
    rows = []
    shim = {"PYTHONPATH": str(folder)}
    for version in PYTHONS:
        python = testbed.interpreter(version)
        state = "armed" if version == "3.13" else "inactive"
        found = compare(
            60,
            lambda python=python: seconds(python, IMPORT.format(modules="empty"), **shim),
            lambda python=python: seconds(python, IMPORT.format(modules="cupy_compat"), **shim),
        )
        rows.append(
            row(f"`import cupy_compat` ({state}), an empty package", version, found, 1e3, "ms")
        )
    python = testbed.interpreter("3.13")
    for cupy in testbed.HEALTHY_CUPYS:
        healthy = testbed.healthy(python, cupy)
        found = compare(
            25,
            lambda healthy=healthy: seconds(healthy, IMPORT.format(modules="cupy"), **shim),
            lambda healthy=healthy: seconds(
                healthy, IMPORT.format(modules="cupy_compat, cupy"), **shim
            ),
        )
        what = f"`import cupy_compat, cupy`, `import cupy` (healthy {cupy})"
        rows.append(row(what, "3.13", found, 1e3, "ms"))
    for version in PYTHONS:
        python = testbed.interpreter(version)
        broken = testbed.broken(python, "13.4.1", "3.1.1")
        wheel = testbed.healthy(python, "13.4.1")
        # A repair imports it.
        wrapt = folder / f"wrapt-{version}"
        testbed._pip(python, "install", "--target", str(wrapt), "wrapt>=1.14")
        always = {"PYTHONPATH": os.pathsep.join([*shim.values(), str(wrapt)])}
        always["CUPY_COMPAT"] = "always"
        found = compare(
            25,
            lambda wheel=wheel: seconds(wheel, IMPORT.format(modules="cupy"), **shim),
            lambda broken=broken, always=always: seconds(
                broken, IMPORT.format(modules="cupy_compat, cupy"), **always
            ),
        )
        what = "`import cupy_compat, cupy` (repaired 13.4.1), `import cupy` (its healthy wheel)"
        rows.append(row(what, version, found, 1e3, "ms"))
        reference = testbed.healthy(python, testbed.REFERENCE_CUPY)
        found = compare(
            15,
            lambda reference=reference: seconds(reference, CALL.format(first=""), **shim),
            lambda broken=broken, always=always: seconds(
                broken, CALL.format(first="import cupy_compat"), **always
            ),
        )
        what = f"a memoized call, repaired 13.4.1, and healthy {testbed.REFERENCE_CUPY}"
        rows.append(row(what, version, found, 1e9, "ns"))
    return rows


def measure_starts(folder: Path) -> list[tuple[str, str, str, str]]:
    """Return the rows on starts of Python, in environments made below that folder."""
    rows = []
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
        state = "armed" if version == "3.13" else "inactive"
        for what, python, arguments in (
            (f"a start with `cupy-compat-auto` ({state}), without", auto, []),
            ("a start after `cupy-compat enable` (armed), before", enabled, []),
            ("a start by `cupy-compat run`, by `python`", plain, ["-m", "cupy_compat", "run"]),
        ):
            found = compare(
                100,
                lambda plain=plain: start(plain, "-c", "pass"),
                lambda python=python, arguments=arguments: start(python, *arguments, "-c", "pass"),
            )
            rows.append(row(what, version, found, 1e3, "ms"))
    return rows


def environment(folder: Path, python: Path) -> Path:
    """Make a virtual environment that holds ``cupy_compat`` alone, and return its interpreter."""
    run(python, "-m", "venv", "--without-pip", folder)
    made = folder / "bin" / "python"
    package = shutil.ignore_patterns("__pycache__")
    shutil.copytree(
        ROOT / "cupy_compat", testbed._site_packages(made) / "cupy_compat", ignore=package
    )
    return made


def row(
    what: str, python: str, found: Comparison, scale: float, unit: str
) -> tuple[str, str, str, str]:
    """Return one line of the table: what, Python, the two medians, difference and ratio."""
    plain, shimmed = (statistics.median(side) * scale for side in (found.plain, found.shimmed))
    return (
        what,
        python,
        f"{shimmed:.4g} {unit}, {plain:.4g} {unit}",
        f"{found.difference * scale:+.2g} {unit}, {found.ratio:.3f} times",
    )


def print_page(rows: list[tuple[str, str, str, str]]) -> None:
    """Print the table, with what was run and on what."""
    exact = [testbed._tag(testbed.interpreter(version)).removeprefix("cp") for version in PYTHONS]
    print("# What the shim costs\n")
    print(
        f"Measured on {datetime.date.today()} by `{shlex.join(['nox', '-s', 'cost'])}` on "
        f"{os.cpu_count()} cores of {cpu_name()}, {platform.system()} {platform.machine()}, "
        f"CPython {', '.join(exact)}. Both sides of each line were measured alternately, in fresh "
        "interpreters; medians, and the medians of the differences and ratios of neighbours. "
        "Imports are timed with the garbage collector off.\n"
    )
    print("| with the shim, without | Python | medians | difference |")
    print("|---|---|---|---|")
    for cells in rows:
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
