"""Type checkers read the installed package as a downstream project's would.

Its name keeps this file out of plain ``pytest``: it needs mypy and pyright, and
``nox -s lint`` runs it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

Found = set[tuple[int, str]]


def run_mypy(program: Path) -> Found:
    """Return the lines and codes of the errors that mypy finds."""
    done = run("mypy", "--strict", "--no-error-summary", "--no-incremental", program)
    found = re.findall(r"^\w+\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    return {(int(line), code) for line, code in found}


def run_pyright(program: Path) -> Found:
    """Return the lines and rules of the errors that pyright finds."""
    done = run("pyright", "--outputjson", "--pythonpath", sys.executable, program)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return {
        (one["range"]["start"]["line"] + 1, one["rule"])
        for one in report["generalDiagnostics"]
        if one["severity"] == "error"
    }


def run(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment beside the program, where no checkout is in the way."""
    program = Path(arguments[-1])
    return subprocess.run(
        [sys.executable, "-m", tool, *map(str, arguments[:-1]), program.name],
        cwd=program.parent,
        capture_output=True,
        text=True,
        check=False,
    )


#: Each checker, and what the names of its errors look like.
CHECKERS = {"mypy": (run_mypy, r"\b(?!report)[a-z-]+"), "pyright": (run_pyright, r"report[A-Z]\w+")}


@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("name", ["accepted.py", "refused.py"])
def test_a_type_checker_finds_the_errors_that_are_there_and_no_others(
    checker: str, name: str, tmp_path: Path
) -> None:
    program = Path(shutil.copy(HERE / name, tmp_path))
    check, pattern = CHECKERS[checker]
    expected = {
        (number, error)
        for number, line in enumerate(program.read_text().splitlines(), 1)
        for error in re.findall(pattern, line.partition("# refused:")[2])
    }
    assert check(program) == expected
    assert bool(expected) == (name == "refused.py")
