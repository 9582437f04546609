r"""Run CuPy's own tests under its wheel and under a broken build with the shim, and compare them.

Every test must end in the same way on both sides: passed, failed or skipped, in the same phase,
with the same type of exception. Each test file runs in a process of its own, because some tests
affect all that follow. If a file hangs or crashes, only its own tests are lost. ``nox -s
cupy-tests`` runs this without a GPU. It needs two interpreters with pytest, pytest-timeout and
hypothesis, and CuPy's unpacked source distribution::

    python tools/cupy_suite.py --source cupy-13.4.1 --shim FOLDER --work SCRATCH --json suite.json \
        --wheel ENV/bin/python --broken OTHER/bin/python cupy_tests/sorting_tests

Folders may follow an interpreter, each after a colon. They are added to its PYTHONPATH. A stopped
run can be continued with the same SCRATCH.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
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

#: In seconds.
TEST_LIMIT, FILE_LIMIT = 60, 1800

#: How a test ended: phase, outcome and type of exception of each phase that did not just pass.
Outcome = list[tuple[str, str, str | None]]
#: The outcome of a file that reached its limit.
CUT_OFF: Outcome = [("process", "cut off", None)]

RUNNING: set[subprocess.Popen[str]] = set()

VERSIONS = """
import json, platform, sys
import cupy, hypothesis, numpy, pytest, pytest_timeout
try:
    gpu = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
except Exception as error:
    gpu = f"none ({type(error).__name__}: {error})"
shim = sys.modules.get("cupy_compat")
print(json.dumps({
    "Python": platform.python_version(),
    "CuPy": cupy.__version__,
    "Cython of cupy._util": cupy._util.cython_build_ver,
    "NumPy": numpy.__version__,
    "shim": shim and shim.status().state,
    "GPU": gpu,
}))
"""


@dataclass(frozen=True)
class Side:
    """One of the two compared installations, with its own scratch folder."""

    python: str
    path: list[str]
    #: The arguments of the interpreter before those of the program.
    launch: list[str]
    scratch: Path

    @classmethod
    def prepare(cls, given: str, shim: Path | None, scratch: Path, source: Path) -> Side:
        """Read ``PYTHON[:FOLDER...]``, arm the shim if there is one, and copy CuPy's tests."""
        python, *folders = given.split(os.pathsep)
        path = [str(Path(folder).absolute()) for folder in folders]
        if shim is not None:
            path.insert(0, str(shim.absolute()))
        # A copy, because some tests write to their own folder. An incomplete one is copied again.
        if not (scratch / "setup.cfg").exists():
            shutil.copytree(source / "tests", scratch / "tests", dirs_exist_ok=True)
            shutil.copy(source / "setup.cfg", scratch)
        return cls(python, path, [] if shim is None else ["-m", "cupy_compat", "run"], scratch)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start the interpreter in the folder of the tests."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CUPY"))}
        environment = inherited | {
            "PYTHONPATH": os.pathsep.join([*self.path, str(Path(__file__).parent)]),
            # Do not write to anybody's installation.
            "PYTHONPYCACHEPREFIX": str(self.scratch / "bytecode"),
            "CUPY_CACHE_DIR": str(self.scratch / "kernels"),
            # Otherwise each run tries a random part of all combinations of types.
            "CUPY_TEST_FULL_COMBINATION": "1",
            # Test files run in parallel, so each gets one core.
            **{"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        }
        command = [self.python, *self.launch, *arguments]
        environment |= options.pop("environment", {})
        folder = self.scratch / "tests"
        return subprocess.Popen(command, cwd=folder, env=environment, text=True, **options)

    def versions(self) -> dict[str, Any]:
        """Return the versions of Python and the packages on this side."""
        process = self.start("-c", VERSIONS, stdout=subprocess.PIPE)
        printed, _ = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"{self.python} cannot import CuPy, or a package that its tests need")
        return dict(json.loads(printed.splitlines()[-1]))

    def outcomes(self, file: str) -> dict[str, Outcome]:
        """Run one test file, and return the outcome of each test that ended."""
        record = self.scratch / "records" / (file.replace("/", ".") + "l")
        if not record.exists():
            record.parent.mkdir(exist_ok=True)
            partial = record.with_suffix(".part")
            partial.write_text("")
            self._run_pytest(file, partial)
            partial.rename(record)
        found: dict[str, Outcome] = {}
        for line in record.read_text(encoding="utf-8").splitlines():
            test, *outcome = json.loads(line)
            found.setdefault(test, []).append(tuple(outcome))
        return found

    def _run_pytest(self, file: str, record: Path) -> None:
        arguments = ["-m", "pytest", "-q", "--tb=no", "--no-header", "-p", "no:cacheprovider"]
        arguments += ["-p", "record_outcomes", "--continue-on-collection-errors"]
        # Rewriting assertions would take half of a file's time. What CuPy marks as slow needs ten
        # gigabytes and minutes. Both sides must draw the same examples.
        arguments += ["--assert=plain", "-m", "not slow", "--hypothesis-seed=0"]
        with tempfile.TemporaryDirectory() as folder, open(record.with_suffix(".log"), "w") as log:
            process = self.start(
                *(*arguments, f"--timeout={TEST_LIMIT}", file),
                environment={"RECORD_OUTCOMES": str(record), "TMPDIR": folder},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # In a process group, so that its child processes can be killed with it.
                start_new_session=True,
            )
            RUNNING.add(process)
            try:
                end = f"exit status {process.wait(timeout=FILE_LIMIT)}"
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                end = "cut off"
            # This fails after Ctrl-C, so the record stays incomplete.
            RUNNING.remove(process)
        # All passed, some failed, or there were none. Anything else ended the file early.
        if end not in ("exit status 0", "exit status 1", "exit status 5"):
            with open(record, "a", encoding="utf-8") as lines:
                lines.write(json.dumps([file, "process", end, None]) + "\n")


def compare(
    wheel: dict[str, Outcome], broken: dict[str, Outcome]
) -> tuple[Counter[str], list[dict[str, Any]]]:
    """Count the tests of a file by how both sides ended, and list those that differ.

    A test is ``not compared`` if one side did not reach it, because its file was cut off or its
    process died. A process that died is compared like a test.
    """
    counts: Counter[str] = Counter()
    different = []
    wheel_ended, broken_ended = (
        any(when == "process" for outcome in side.values() for when, _, _ in outcome)
        for side in (wheel, broken)
    )
    for test in sorted(wheel.keys() | broken.keys()):
        a, b = wheel.get(test), broken.get(test)
        if a == b == CUT_OFF:
            continue
        if a is None or b is None:
            ended = wheel_ended if a is None else broken_ended
            kind = "not compared" if ended or CUT_OFF in (a, b) else "different"
        else:
            kind = _word(a) if a == b else "different"
        counts[kind] += 1
        if kind == "different":
            different.append({"test": test, "wheel": a, "broken": b})
    return counts, different


def _word(outcome: Outcome) -> str:
    """Return passed, failed or skipped; an expected failure counts as passed."""
    ends = {end for _, end, _ in outcome}
    if ends <= {"passed", "xskipped", "xpassed"}:
        return "passed"
    return "skipped" if ends <= {"skipped", "passed"} else "failed"


def find_files(tests: Path, groups: list[str]) -> list[str]:
    """Return the test files in those files or folders, or all, the largest first."""
    found = set()
    for group in groups or ["."]:
        place = tests / group
        if not place.exists():
            raise SystemExit(f"{tests} has no {group}")
        found |= {place} if place.is_file() else set(place.rglob("test_*.py"))
    ordered = sorted(found, key=lambda file: (-file.stat().st_size, file))
    return [file.relative_to(tests).as_posix() for file in ordered]


def main() -> int:
    """Run both sides, compare them, write the JSON; return whether any test differs."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    for name in ("wheel", "broken"):
        parser.add_argument(f"--{name}", required=True, metavar="PYTHON[:FOLDER...]")
    parser.add_argument("--shim", type=Path, required=True, help="a folder with cupy_compat in it")
    parser.add_argument("--source", type=Path, required=True, help="CuPy's source distribution")
    parser.add_argument(
        "--work", type=Path, required=True, help="the folder for copies and records"
    )
    parser.add_argument("--json", type=Path, required=True, help="the file for the figures")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("groups", nargs="*", help="files or folders below tests/; default: all")
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    source, work = options.source.absolute(), options.work.absolute()
    sides = (
        Side.prepare(options.wheel, None, work / "wheel", source),
        Side.prepare(options.broken, options.shim, work / "broken", source),
    )
    wheel, broken = (side.versions() for side in sides)
    files = find_files(source / "tests", options.groups)
    counts: dict[str, Counter[str]] = {}
    different: list[dict[str, Any]] = []
    with ThreadPoolExecutor(options.workers) as pool:
        futures = {
            pool.submit(lambda file: compare(*(side.outcomes(file) for side in sides)), file): file
            for file in files
        }
        try:
            for future in as_completed(futures):
                file = futures[future]
                counts[file], differ = future.result()
                different += differ
                summary = ", ".join(f"{n} {word}" for word, n in sorted(counts[file].items()))
                done = f"[{len(counts):3}/{len(files)}]"
                print(f"{done} {file}: {summary}", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while RUNNING:
                os.killpg(RUNNING.pop().pid, signal.SIGKILL)
            raise
    data = {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "wheel": wheel,
        "broken": broken,
        "seconds": round(time.monotonic() - begun),
        "limits": {"test": TEST_LIMIT, "file": FILE_LIMIT},
        "files": {file: dict(counts[file]) for file in sorted(counts)},
        "different": sorted(different, key=lambda item: str(item["test"])),
    }
    options.json.write_text(json.dumps(data, indent=1) + "\n")
    total = sum(counts.values(), Counter())
    print(", ".join(f"{n} {word}" for word, n in sorted(total.items())))
    return bool(total["different"])


if __name__ == "__main__":
    sys.exit(main())
