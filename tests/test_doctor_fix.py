"""``cupy-compat doctor --fix``, which carries out a cure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import doctor_environments
import pytest
from test_doctor import Subject, problems, site_packages

from cupy_compat.doctor import diagnosis, fix
from cupy_compat.doctor.case import Case
from cupy_compat.doctor.checks import CHECKS
from cupy_compat.doctor.machine import Machine
from cupy_compat.doctor.trial import Attempt, Failure
from cupy_compat.doctor.trial import Interpreter as Examined


@pytest.fixture
def curable(shim: Path, tmp_path: Path) -> Subject:
    """Return a subject that has pip, and a CuPy without fastrlock."""
    origin = doctor_environments.make(sys.executable, "no-fastrlock")
    python = doctor_environments.with_pip(origin, tmp_path / "env")
    (tmp_path / "work").mkdir()
    return Subject(python, shim, tmp_path / "work")


def test_it_carries_out_a_cure_and_tries_cupy_again(curable: Subject) -> None:
    refused = curable.doctor("--fix")
    assert refused.returncode == 1
    assert "  python -m pip install fastrlock\n" in refused.stdout
    assert refused.stdout.endswith("Nothing was changed.\n")
    assert problems(curable.findings(code=1)) == {"dependency"}
    done = curable.doctor("--fix", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "After the cure:" in done.stdout
    assert problems(curable.findings(code=0)) == set()
    assert curable.doctor("--fix", "--yes").stdout.endswith("There is nothing to fix.\n")


def test_a_cure_that_fails_changes_nothing(curable: Subject) -> None:
    done = curable.doctor("--fix", "--yes", PIP_NO_INDEX="1", PIP_FIND_LINKS="/nowhere")
    assert done.returncode == 1
    assert "This step failed: python -m pip install --dry-run fastrlock" in done.stdout


@pytest.mark.parametrize(("kind", "said"), [("conda", "conda manages"), ("pip", "has no pip")])
def test_an_environment_that_pip_must_not_change_is_left_alone(
    curable: Subject, kind: str, said: str
) -> None:
    if kind == "conda":
        (curable.python.parents[1] / "conda-meta").mkdir()
    else:
        (site_packages(curable) / "pip").rename(site_packages(curable) / "gone")
    done = curable.doctor("--fix", "--yes")
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
        # A cure with a condition is left to the user.
        ("ImportError: libcuda.so.1: cannot open shared object file", {"driver": 0}, []),
        ("version `GLIBCXX_3.4.30' not found", {}, []),
    ],
)
def test_it_selects_the_first_cure_that_needs_only_pip(
    said: str, machine: dict[str, object], expected: list[list[str]]
) -> None:
    assert fix.commands(failing(said, **machine), Examined()) == expected


def test_an_interrupted_cure_says_how_to_undo_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for pip: only a machine with a GPU gets a cure of two steps."""
    installed = ["cupy-cuda12x==13.4.1", "numpy==2.2.6"]

    def pip(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        action = command[command.index("pip") + 1]
        if action == "install" and "--dry-run" not in command:
            raise KeyboardInterrupt
        if action == "uninstall":
            del installed[0]
        return subprocess.CompletedProcess(command, 0, "\n".join(installed), "")

    monkeypatch.setattr(subprocess, "run", pip)
    broken = failing(
        "ImportError: cannot import name 'core' from partially initialized module 'cupy._core'",
        distributions=("cupy", "cupy-cuda12x"),
        driver=12080,
    )
    printed: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        fix.run(broken, Examined(), False, 60.0, True, printed.append)
    assert printed[-1] == "\nTo undo this: python -m pip install cupy-cuda12x==13.4.1"


def test_no_selected_cure_contains_a_placeholder() -> None:
    for check in CHECKS:
        if check.example and not check.remark:
            steps = fix.commands(failing(check.example), Examined())
            assert [step[0] for step in steps] in ([], ["install"], ["uninstall", "install"])
            assert not {"NAME", "PACKAGE", "..."} & {word for step in steps for word in step}


def test_it_changes_the_environment_of_the_examined_python(curable: Subject) -> None:
    doctor = Subject(Path(sys.executable), curable.shim, curable.folder)
    done = doctor.doctor("--python", str(curable.python), "--fix", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{curable.python} -m pip install fastrlock" in done.stdout
