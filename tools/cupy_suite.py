r"""Run CuPy's own tests twice, under its wheel and under a broken build with the shim; compare.

Every test must end alike: passed, failed or skipped, in the same phase, with the same type of
exception. Each test file has a process of its own, since some tests poison theirs for all that
follow, and one that hangs or crashes costs its file alone. Nothing is needed but two interpreters
that have pytest and pytest-timeout, and CuPy's unpacked source distribution, which holds the
tests::

    python tools/cupy_suite.py run --source cupy-13.4.1 --shim FOLDER --json suite.json \
        --wheel ENV/bin/python --broken OTHER/bin/python cupy_tests/sorting_tests

Folders that follow an interpreter, each after a colon, are put on its PYTHONPATH. ``nox -s
cupy-tests`` makes all that is needed without a GPU, and runs this.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

#: How a test ended: phase, outcome and type of exception of each phase that says something.
Outcome = list[tuple[str, str, str | None]]


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    name: str
    python: str
    path: list[str]
    #: What stands between the interpreter and pytest's arguments.
    launch: list[str]

    @classmethod
    def parse(cls, name: str, given: str, shim: Path | None = None) -> Side:
        """Read ``PYTHON[:FOLDER...]``; with a shim, it is armed."""
        python, *folders = given.split(os.pathsep)
        path = [str(Path(folder).absolute()) for folder in folders]
        launch = ["-m", "pytest"]
        if shim is not None:
            path.insert(0, str(shim.absolute()))
            launch = ["-m", "cupy_compat", "run", "-m", "pytest"]
        return cls(name, python, path, launch)

    def environment(self, scratch: Path) -> dict[str, str]:
        """Return the environment of its processes, which share a cache of kernels."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CUPY"))}
        return inherited | {
            "PYTHONPATH": os.pathsep.join([*self.path, str(Path(__file__).parent)]),
            # Bytecode is kept, but beside nobody's installation.
            "PYTHONPYCACHEPREFIX": str(scratch / "bytecode"),
            "CUPY_CACHE_DIR": str(scratch / "kernels"),
            # Else the tests try a random part of all combinations of types, in the order of a set
            # of types: what they fail over first is chance, under the same CuPy as well.
            "CUPY_TEST_FULL_COMBINATION": "1",
            # So that files that run side by side do not take each other's cores.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }


def run_file(
    side: Side, scratch: Path, file: str, test_limit: float, file_limit: float
) -> dict[str, Outcome]:
    """Run one file of tests and return how each of its tests ended, as far as it came."""
    record = scratch / "records" / (file.replace("/", ".") + "l")
    if not record.exists():
        record.parent.mkdir(parents=True, exist_ok=True)
        partial = record.with_suffix(".part")
        partial.unlink(missing_ok=True)
        partial.touch()
        _run_pytest(side, scratch, file, partial, test_limit, file_limit)
        # Its name is its own only when it is whole, so that a run that is stopped goes on there.
        partial.rename(record)
    outcomes: dict[str, Outcome] = {}
    for line in record.read_text(encoding="utf-8").splitlines():
        test, when, outcome, raised, _ = json.loads(line)
        outcomes.setdefault(test, []).append((when, outcome, raised))
    return outcomes


def _run_pytest(
    side: Side, scratch: Path, file: str, record: Path, test_limit: float, file_limit: float
) -> None:
    if file_limit <= 0:
        _note_end(record, file, "cut off")
        return
    arguments = ["-q", "--tb=no", "--no-header", "-p", "no:cacheprovider", "-p", "record_outcomes"]
    # What an assertion compared is not asked for, and costs half of a file's time. What CuPy marks
    # as slow wants ten gigabytes and minutes.
    arguments += ["--assert=plain", "-m", "not slow"]
    arguments += [f"--timeout={test_limit:g}", "--continue-on-collection-errors", file]
    with tempfile.TemporaryDirectory() as temporary, open(record.with_suffix(".log"), "wb") as log:
        extra = {"RECORD_OUTCOMES": str(record), "TMPDIR": temporary}
        # Tests draw what they try from here, and both sides must draw the same.
        arguments += ["--hypothesis-seed=0"]
        process = subprocess.Popen(
            [side.python, *side.launch, *arguments],
            cwd=scratch / "tests",
            env=side.environment(scratch) | extra,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own, so that what it started ends with it.
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(timeout=file_limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
    # 0, 1 and 5: all passed, some failed, there were none. All else ends a file before its time.
    if code not in (0, 1, 5):
        _note_end(record, file, "cut off" if code is None else f"exit status {code}")


def _note_end(record: Path, file: str, end: str) -> None:
    with open(record, "a", encoding="utf-8") as lines:
        lines.write(json.dumps([file, "process", end, None, None]) + "\n")


def compare(
    wheel: dict[str, Outcome], broken: dict[str, Outcome]
) -> tuple[Counter[str], list[dict[str, Any]]]:
    """Count the tests of a file by how both sides ended, and list those that differ.

    A test that one side did not come to, because its file was cut off there or its process died,
    is ``not compared``; the process's end is itself compared.
    """
    counts: Counter[str] = Counter()
    different = []
    incomplete = any(
        when == "process" for side in (wheel, broken) for o in side.values() for when, _, _ in o
    )
    for test in sorted(wheel.keys() | broken.keys()):
        a, b = wheel.get(test), broken.get(test)
        if a and b and all(when == "process" and end == "cut off" for when, end, _ in a + b):
            continue
        if (a is None or b is None) and incomplete:
            counts["not compared"] += 1
        elif a == b and a is not None:
            counts[_word(a)] += 1
        else:
            counts["different"] += 1
            different.append({"test": test, "wheel": a, "broken": b})
    return counts, different


def _word(outcome: Outcome) -> str:
    """Return one of passed, failed and skipped for a test; an expected failure counts as passed."""
    ends = {end for _, end, _ in outcome}
    if ends <= {"passed", "xskipped", "xpassed"}:
        return "passed"
    return "skipped" if ends <= {"skipped", "passed"} else "failed"


def run(options: argparse.Namespace) -> int:
    """Run both sides, compare them, write the JSON; return whether any test differs."""
    start = time.monotonic()
    source, work = options.source.absolute(), options.work.absolute()
    sides = (
        Side.parse("wheel", options.wheel),
        Side.parse("broken", options.broken, options.shim),
    )
    data = describe(sides)
    for side in sides:
        # Each side its own copy: some tests write beside themselves.
        scratch = work / side.name
        if not scratch.exists():
            scratch.mkdir(parents=True)
            shutil.copytree(source / "tests", scratch / "tests")
            shutil.copy(source / "setup.cfg", scratch)
    files = find_files(source / "tests", options.groups)
    found: dict[str, dict[str, dict[str, Outcome]]] = {file: {} for file in files}

    def task(file: str, side: Side) -> tuple[str, str, dict[str, Outcome]]:
        left = options.stop_after - (time.monotonic() - start)
        limit = min(options.file_timeout, left)
        scratch = work / side.name
        return file, side.name, run_file(side, scratch, file, options.timeout, limit)

    counts: dict[str, Counter[str]] = {}
    different: list[dict[str, Any]] = []
    with ThreadPoolExecutor(options.workers) as pool:
        futures = [pool.submit(task, file, side) for file in files for side in sides]
        for future in as_completed(futures):
            file, name, outcomes = future.result()
            found[file][name] = outcomes
            if len(found[file]) < len(sides):
                continue
            counts[file], differ = compare(found[file]["wheel"], found[file]["broken"])
            different += differ
            told = ", ".join(f"{n} {word}" for word, n in sorted(counts[file].items()))
            print(f"[{len(counts):3}/{len(files)}] {file}: {told}", file=sys.stderr, flush=True)
    data |= {
        "command": options.command or shlex.join(["python", "tools/cupy_suite.py", *sys.argv[1:]]),
        "seconds": round(time.monotonic() - start),
        "limits": {"test": options.timeout, "file": options.file_timeout},
        "files": {file: dict(counts[file]) for file in sorted(counts)},
        "different": sorted(different, key=lambda item: str(item["test"])),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(data, indent=1) + "\n")
    total = sum(counts.values(), Counter())
    print(", ".join(f"{n} {word}" for word, n in sorted(total.items())))
    return bool(total["different"])


def find_files(tests: Path, groups: list[str]) -> list[str]:
    """Return the test files named, then those in the folders named, or all, the largest first."""
    chosen: dict[Path, bool] = {}
    for group in groups or ["."]:
        place = tests / group
        if not place.exists():
            raise SystemExit(f"{tests} has no {group}")
        chosen |= (
            {place: False} if place.is_file() else dict.fromkeys(place.rglob("test_*.py"), True)
        )
    # The largest first, so that none is begun when all others are done.
    ordered = sorted(chosen, key=lambda file: (chosen[file], -file.stat().st_size, file))
    return [file.relative_to(tests).as_posix() for file in ordered]


LOOK = """
import json, platform, sys
import cupy, numpy
found = {
    "Python": platform.python_version(),
    "CuPy": cupy.__version__,
    "Cython of cupy._util": cupy._util.cython_build_ver,
    "NumPy": numpy.__version__,
}
for name in ("scipy", "pytest"):
    try:
        found[name] = __import__(name).__version__
    except ImportError:
        found[name] = None
if "cupy_compat" in sys.modules:
    found["shim"] = sys.modules["cupy_compat"].status().state
try:
    found["GPU"] = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    found["CUDA that the driver supports"] = cupy.cuda.runtime.driverGetVersion()
    found["CUDA runtime"] = cupy.cuda.runtime.runtimeGetVersion()
    found["NVRTC"] = ".".join(map(str, cupy.cuda.nvrtc.getVersion()))
except Exception as error:
    found.setdefault("GPU", f"none ({type(error).__name__}: {error})")
print(json.dumps(found))
"""


def describe(sides: tuple[Side, ...]) -> dict[str, Any]:
    """Return the date, the machine, and what each side consists of."""
    seen = {}
    for side in sides:
        words = [side.python, *side.launch[:-2], "-c", LOOK]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                words,
                env=side.environment(Path(folder)),
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            raise SystemExit(f"{side.name}: `{shlex.join(words[:-1])} ...` fails:\n{done.stderr}")
        seen[side.name] = json.loads(done.stdout.splitlines()[-1])
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores of {cpu}, {platform.system()} {platform.machine()}",
        "driver": _driver(),
        **seen,
    }


def _driver() -> str | None:
    """Return the version of NVIDIA's driver, None where there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or None


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run", help="run the tests, compare, write a JSON file")
    running.set_defaults(action=run)
    for name in ("wheel", "broken"):
        running.add_argument(f"--{name}", required=True, metavar="PYTHON[:FOLDER...]")
    running.add_argument("--shim", type=Path, required=True, help="a folder with cupy_compat in it")
    running.add_argument("--source", type=Path, required=True, help="CuPy's source distribution")
    running.add_argument("--work", type=Path, required=True, help="goes on with what is done there")
    running.add_argument("--json", type=Path, required=True, help="where the figures go")
    running.add_argument("--workers", type=int, default=2, help="processes at a time")
    running.add_argument("--timeout", type=float, default=60, help="seconds a test")
    running.add_argument("--file-timeout", type=float, default=1800, help="seconds a file")
    running.add_argument("--stop-after", type=float, default=1e6, help="seconds in all")
    running.add_argument("--command", help="what is written down as the command")
    running.add_argument("groups", nargs="*", help="files or folders below tests/; default: all")
    options = parser.parse_args()
    return int(options.action(options))


if __name__ == "__main__":
    sys.exit(main())
