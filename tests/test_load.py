"""A small part of what ``nox -s load`` measures."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

from conftest import Interpreter

TOOL = Path(__file__).parents[1] / "tools" / "load.py"


def load(interpreter: Interpreter, name: str, rounds: int) -> dict[str, Any]:
    program = f"import runpy, sys\nsys.argv[1:] = [{name!r}, '{rounds}']\n"
    program += f"runpy.run_path({str(TOOL)!r}, run_name='__main__')"
    found: dict[str, Any] = json.loads(interpreter.output(program))
    return found


def test_repairs_leave_nothing(broken: Interpreter) -> None:
    found = load(broken, "repairs", 500)
    # Trying CuPy once more in each round would be four hundred bytes.
    assert found["bytes a round"] < 5
    assert found["finders"] == 1


def test_calls_of_a_repaired_function_leave_nothing(broken: Interpreter) -> None:
    found = load(broken, "calls", 50_000)
    assert found["bytes a round"] < 1


def test_sorts_from_eight_threads_leave_no_thread_and_no_buffer() -> None:
    found = runpy.run_path(str(TOOL))["sorts"](40)
    assert found["wrong"] == 0
    assert found["threads left"] == 0
    # A result, or a working copy of the keys, that stayed would be two million bytes a round.
    assert found["bytes a round"] < 20_000
