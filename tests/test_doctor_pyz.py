"""``doctor.pyz``: the doctor in one file, also for Pythons that the package does not support."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import testbed
from conftest import Interpreter
from environments import clean, start

from cupy_compat.doctor.checks import CHECKS
from tools.bundle_doctor import bundle


@pytest.fixture(scope="module")
def archive(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bundle") / "doctor.pyz"
    bundle(wheels[0], target)
    return target


def ask(
    python: Path | str, *arguments: str | Path, folder: Path
) -> subprocess.CompletedProcess[str]:
    return start(python, *arguments, env=clean() | {"HOME": str(folder)}, cwd=folder)


VERSIONS = ("3.9", "3.10", "3.12", "3.13", "3.14")


def found(version: str) -> bool:
    """Return whether that Python is on the PATH."""
    try:
        testbed.interpreter(version)
    except testbed.TestBedError:
        return False
    return True


@pytest.mark.parametrize("version", list(filter(found, VERSIONS)))
def test_it_runs_on_any_python_and_examines_another_one(
    archive: Path, broken: Interpreter, tmp_path: Path, version: str
) -> None:
    # An environment at the beginning of the PATH may contain a CuPy.
    asked = "import sys; print(getattr(sys, '_base_executable', sys.executable))"
    shim = testbed.interpreter(version)
    python = ask(shim, "-c", asked, folder=Path.cwd()).stdout.strip()
    done = ask(python, archive, "--python", broken.python, folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("problem: memoize: ")
    assert "State of the repair: would repair." in done.stdout
    assert ask(python, archive, folder=tmp_path).stdout.startswith("problem: not-installed: ")
    assert len(ask(python, archive, "--list", folder=tmp_path).stdout.splitlines()) == len(CHECKS)
