"""The ways to the doctor other than the command: one file, a cure that it carries out itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import doctor_environments
import pytest
import testbed
from conftest import Interpreter
from test_doctor import Patient, problems, site_packages

from cupy_compat.doctor import diagnosis, fix
from cupy_compat.doctor.case import Case
from cupy_compat.doctor.checks import CHECKS
from cupy_compat.doctor.machine import Machine
from cupy_compat.doctor.trial import Attempt, Failure
from cupy_compat.doctor.trial import Interpreter as Examined
from tools.bundle_doctor import bundle

# One file, for Pythons that the package is not for.


@pytest.fixture(scope="module")
def archive(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bundle") / "doctor.pyz"
    bundle(wheels[0], target)
    return target


def ask(
    python: Path | str, *arguments: str | Path, folder: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


VERSIONS = ("3.9", "3.10", "3.12", "3.13", "3.14")


def found(version: str) -> bool:
    """Tell whether that Python is on the PATH."""
    try:
        testbed.interpreter(version)
    except testbed.TestBedError:
        return False
    return True


@pytest.mark.parametrize("version", list(filter(found, VERSIONS)))
def test_one_file_examines_another_python_from_any_python(
    archive: Path, broken: Interpreter, tmp_path: Path, version: str
) -> None:
    # An environment that comes first on the PATH may hold a CuPy.
    asked = "import sys; print(getattr(sys, '_base_executable', sys.executable))"
    shim = testbed.interpreter(version)
    python = ask(shim, "-c", asked, folder=Path.cwd()).stdout.strip()
    done = ask(python, archive, "--python", broken.python, folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("problem: memoize: ")
    assert "The repair of cupy_compat: would repair." in done.stdout
    assert ask(python, archive, folder=tmp_path).stdout.startswith("problem: not-installed: ")
    assert len(ask(python, archive, "--list", folder=tmp_path).stdout.splitlines()) == len(CHECKS)


# --fix.


@pytest.fixture
def curable(reference: Interpreter, tmp_path: Path) -> Patient:
    """Return one with pip, that lacks nothing but fastrlock."""
    env = tmp_path / "env"
    testbed._run([reference.python, "-m", "venv", env])
    python = testbed._python(env)
    doctor_environments.link(reference.python, python)
    testbed._run([python, "-m", "pip", "uninstall", "-q", "-y", "fastrlock"])
    (tmp_path / "work").mkdir()
    return Patient(python, reference.shim, tmp_path / "work")


def test_a_cure_is_carried_out_and_cupy_tried_again(curable: Patient) -> None:
    refused = curable.consult("--fix")
    assert refused.returncode == 1
    assert "  python -m pip install fastrlock\n" in refused.stdout
    assert refused.stdout.endswith("Nothing was changed.\n")
    assert problems(curable.findings(code=1)) == {"dependency"}
    done = curable.consult("--fix", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "After the cure:" in done.stdout
    assert problems(curable.findings(code=0)) == set()
    assert curable.consult("--fix", "--yes").stdout.endswith("There is nothing to fix.\n")


def test_a_cure_that_pip_cannot_carry_out_changes_nothing(curable: Patient) -> None:
    done = curable.consult("--fix", "--yes", PIP_NO_INDEX="1", PIP_FIND_LINKS="/nowhere")
    assert done.returncode == 1
    assert "This step failed: python -m pip install --dry-run fastrlock" in done.stdout


@pytest.mark.parametrize(("kind", "said"), [("conda", "conda manages"), ("pip", "has no pip")])
def test_an_environment_that_pip_must_not_change_is_left_alone(
    curable: Patient, kind: str, said: str
) -> None:
    if kind == "conda":
        (curable.python.parents[1] / "conda-meta").mkdir()
    else:
        (site_packages(curable) / "pip").rename(site_packages(curable) / "gone")
    done = curable.consult("--fix", "--yes")
    assert done.returncode == 1
    assert "Nothing was changed: " in done.stdout
    assert said in done.stdout


def failing(said: str, **machine: object) -> diagnosis.Diagnosis:
    attempt = Attempt("as it is", "finished", {}, [Failure("import", "ImportError", said, said)])
    here = Machine(here=True, python="3.12.1", **machine)  # type: ignore[arg-type]
    return diagnosis.diagnose(Case(here, attempt), gpu=False)


@pytest.mark.parametrize(
    ("said", "machine", "expected"),
    [
        (
            "ImportError: cannot import name 'core' from partially initialized module 'cupy._core'",
            {"distributions": ("cupy", "cupy-cuda12x"), "driver": 12080},
            [["uninstall", "-y", "cupy", "cupy-cuda12x"], ["install", "cupy-cuda12x"]],
        ),
        (
            "ImportError: numpy.core.multiarray failed to import, in init cupy",
            {"distributions": ("cupy-cuda12x",)},
            [["install", "--upgrade", "numpy>=2,<2.6"]],
        ),
        # What depends on a condition is for people.
        ("ImportError: libcuda.so.1: cannot open shared object file", {"driver": 0}, []),
        ("version `GLIBCXX_3.4.30' not found", {}, []),
    ],
)
def test_the_first_cure_that_is_for_pip_alone_is_chosen(
    said: str, machine: dict[str, object], expected: list[list[str]]
) -> None:
    assert fix.commands(failing(said, **machine), Examined()) == expected


def test_no_name_is_left_for_the_reader_to_fill_in() -> None:
    for check in CHECKS:
        if check.example and not check.remark:
            steps = fix.commands(failing(check.example), Examined())
            assert [step[0] for step in steps] in ([], ["install"], ["uninstall", "install"])
            assert not {"NAME", "PACKAGE", "..."} & {word for step in steps for word in step}


def test_only_the_python_in_question_is_changed(curable: Patient) -> None:
    doctor = Patient(Path(sys.executable), curable.shim, curable.folder)
    done = doctor.consult("--python", str(curable.python), "--fix", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{curable.python} -m pip install fastrlock" in done.stdout
