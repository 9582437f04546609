"""Benchmarks run only under labels that match the interpreter."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from conftest import TYPICAL, Interpreter

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "{}.{}".format(*sys.version_info[:2])


@pytest.fixture
def suite(tmp_path: Path, shim: Path) -> str:
    """Return a path for modules that holds the benchmarks and the shim under test."""
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    return os.pathsep.join([str(shim), str(tmp_path)])


def found(interpreter: Interpreter, suite: str) -> dict[str, str]:
    """Return what the interpreter is found to be."""
    told = interpreter.output(ROOT / "benchmarks" / "labels.py", shim=False, PYTHONPATH=suite)
    return dict(json.loads(told))


def configuration(name: str) -> dict[str, object]:
    """Return a configuration of airspeed velocity, which is JSON with comments."""
    return dict(json.loads(re.sub(r"^\s*//.*$", "", (ROOT / name).read_text(), flags=re.M)))


def test_a_repaired_cupy_is_labelled_with_its_cython(broken: Interpreter, suite: str) -> None:
    labels = found(broken, suite)
    assert labels["cupy"] == TYPICAL[0]
    assert labels["build"] == f"Cython {TYPICAL[1]}, repaired"
    assert labels["python"] == PYTHON


def test_a_published_wheel_gets_the_label_published(reference: Interpreter, suite: str) -> None:
    assert found(reference, suite)["build"] == "published"


def test_an_interpreter_without_cupy_gets_the_label_none(bare: Interpreter, suite: str) -> None:
    # -I and -S: the interpreter itself may have packages installed.
    labels = json.loads(
        bare.output(
            "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
            "import json; from benchmarks import labels; print(json.dumps(labels.found()))",
            shim=False,
            PYTHONPATH=suite,
        )
    )
    assert (labels["cupy"], labels["build"], labels["numpy"]) == ("none", "none", "none")


def test_a_run_under_the_right_labels_goes_on(broken: Interpreter, suite: str) -> None:
    labels = json.dumps(found(broken, suite))
    told = broken.output(
        "from benchmarks import environment; print(environment.REPAIRED)",
        shim=False,
        PYTHONPATH=suite,
        ASV_LABELS=labels,
    )
    assert told.strip() == "True"


@pytest.mark.parametrize(
    ("label", "false"),
    [
        ("python", "3.10"),
        ("cupy", "14.2.0"),
        ("build", "published"),
        ("build", "Cython 3.1.8, repaired"),
        ("numpy", "1.26.4"),
    ],
)
def test_a_run_under_a_false_label_ends_with_an_error(
    label: str, false: str, broken: Interpreter, suite: str
) -> None:
    labels = json.dumps(found(broken, suite) | {label: false})
    done = broken.run(
        "from benchmarks import memoize", shim=False, PYTHONPATH=suite, ASV_LABELS=labels
    )
    assert done.returncode != 0
    assert "WrongLabels: " in done.stderr
    assert f"{label} {false!r} (found " in done.stderr


def test_a_healthy_cupy_cannot_pass_for_a_repaired_one(reference: Interpreter, suite: str) -> None:
    labels = json.dumps(found(reference, suite) | {"build": "Cython 3.1.1, repaired"})
    done = reference.run(
        "from benchmarks import memoize", shim=False, PYTHONPATH=suite, ASV_LABELS=labels
    )
    assert "build 'Cython 3.1.1, repaired' (found 'published')" in done.stderr


def test_a_run_without_labels_ends_with_an_error(reference: Interpreter, suite: str) -> None:
    done = reference.run("from benchmarks import memoize", shim=False, PYTHONPATH=suite)
    assert "WrongLabels: no labels for the results" in done.stderr


def test_the_configuration_for_installed_packages_has_no_matrix() -> None:
    installed = configuration("asv.installed.conf.json")
    assert installed["environment_type"] == "installed"
    assert not {"matrix", "include", "requirements"} & set(installed)
