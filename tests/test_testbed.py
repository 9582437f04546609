"""The test bed says what is wrong, and keeps nothing half-made."""

import sys
from pathlib import Path

import pytest
import testbed


def test_a_missing_interpreter_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert testbed.main(["--python", "2.99", "--cupy", "13.4.1"]) == 1
    assert "no python2.99 on the PATH" in capsys.readouterr().err


def test_the_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        testbed.main(["--help"])
    assert "python tests/testbed.py --into ENV/bin/python" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--python", "3.13"],
        ["--into", "python"],
        ["--into", "python", "--cupy", "13.4.1", "--cython", "3.1.1"],
    ],
)
def test_arguments_that_contradict_each_other_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        testbed.main(arguments)


def test_a_version_that_does_not_exist_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUPY_COMPAT_TESTBED", str(tmp_path))
    with pytest.raises(testbed.TestBedError, match=r"cupy==0\.0\.1"):
        testbed.healthy(sys.executable, "0.0.1")
    assert list(tmp_path.iterdir()) == []


def test_breaking_one_environment_leaves_the_wheel_it_shares_files_with_healthy() -> None:
    broken = testbed.broken(sys.executable, "13.4.1", "3.1.1")
    wheel = testbed.healthy(sys.executable, "13.4.1")
    assert testbed._run([wheel, "-c", "import cupy"]).returncode == 0
    assert testbed._run([broken, "-c", "import cupy"], check=False).returncode == 1
