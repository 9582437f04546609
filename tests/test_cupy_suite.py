"""The comparison of CuPy's own tests finds what differs, and loses nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"
sys.path.append(str(TOOLS))

import cupy_suite  # noqa: E402

PASSED: cupy_suite.Outcome = [("call", "passed", None)]
FAILED: cupy_suite.Outcome = [("call", "failed", "builtins.AssertionError")]
SKIPPED: cupy_suite.Outcome = [("setup", "skipped", "builtins.Skipped")]
DIED: cupy_suite.Outcome = [("process", "exit status -11", None)]
CUT: cupy_suite.Outcome = [("process", "cut off", None)]


@pytest.mark.parametrize(
    ("wheel", "broken", "counts"),
    [
        ({"a": PASSED, "b": PASSED}, {"a": PASSED, "b": PASSED}, {"passed": 2}),
        ({"a": FAILED, "b": SKIPPED}, {"a": FAILED, "b": SKIPPED}, {"failed": 1, "skipped": 1}),
        ({"a": PASSED}, {"a": FAILED}, {"different": 1}),
        ({"a": FAILED}, {"a": PASSED}, {"different": 1}),
        ({"a": FAILED}, {"a": [("call", "failed", "builtins.TypeError")]}, {"different": 1}),
        ({"a": FAILED}, {"a": [("setup", "failed", FAILED[0][2])]}, {"different": 1}),
        ({"a": PASSED}, {"a": [*PASSED, ("teardown", "failed", "x.Y")]}, {"different": 1}),
        ({"a": [*PASSED, ("teardown", "failed", "x.Y")]},) * 2 + ({"failed": 1},),
        ({"a": [("call", "xskipped", "builtins.ValueError")]},) * 2 + ({"passed": 1},),
        # A test that only one side has differs, unless the other side ended early.
        ({"a": PASSED, "b": PASSED}, {"a": PASSED}, {"passed": 1, "different": 1}),
        ({"a": PASSED}, {"f": CUT}, {"not compared": 2}),
        ({"a": PASSED, "f": CUT}, {}, {"different": 1, "not compared": 1}),
        ({"a": PASSED}, {"f": DIED}, {"not compared": 1, "different": 1}),
        ({"f": DIED}, {"a": PASSED}, {"not compared": 1, "different": 1}),
        ({"f": CUT}, {"f": CUT}, {}),
        ({"a": PASSED, "f": DIED}, {"a": PASSED, "f": DIED}, {"passed": 1, "failed": 1}),
        ({"f": DIED}, {"f": CUT}, {"different": 1}),
    ],
)
def test_only_tests_that_end_alike_count_as_such(
    wheel: dict[str, cupy_suite.Outcome],
    broken: dict[str, cupy_suite.Outcome],
    counts: dict[str, int],
) -> None:
    found, different = cupy_suite.compare(wheel, broken)
    assert found == counts
    assert len(different) == counts.get("different", 0)


def test_an_incomplete_copy_of_the_tests_is_copied_again(tmp_path: Path) -> None:
    source, scratch = tmp_path / "source", tmp_path / "scratch"
    (source / "tests").mkdir(parents=True)
    for name in ("tests/one", "tests/two", "setup.cfg"):
        (source / name).touch()
    (scratch / "tests").mkdir(parents=True)
    (scratch / "tests" / "one").touch()
    cupy_suite.Side.prepare("python", None, scratch, source)
    assert {path.name for path in scratch.rglob("*")} == {"tests", "one", "two", "setup.cfg"}


TESTS = """
import pytest

def test_passes():
    pass

def test_fails():
    raise LookupError("no\\nsuch thing")

def test_is_skipped():
    pytest.skip("not here")

@pytest.mark.xfail
def test_fails_as_expected():
    raise ValueError

@pytest.fixture
def unfit():
    raise OSError("unfit")

def test_cannot_begin(unfit):
    pass

@pytest.fixture
def untidy():
    yield
    raise KeyError("left")

def test_leaves_something(untidy):
    pass

def test_speaks_for_others():
    import traceback
    texts = []
    for error in (TypeError("a: b"), StopIteration(), LookupError()):
        texts.append("".join(traceback.format_exception(error)))
    raise AssertionError("Both raise\\n\\n" + "\\n".join(texts))
"""


OVER = "builtins.AssertionError over TypeError and LookupError"
NO_MODULE = "_pytest.nodes.Collector.CollectError over ModuleNotFoundError"


def test_each_way_to_end_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "test_ways.py").write_text(TESTS)
    (tmp_path / "test_whole.py").write_text("import no_such_module")
    record = tmp_path / "record"
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors"),
            *("-p", "no:cacheprovider", "-p", "record_outcomes", "test_ways.py", "test_whole.py"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TOOLS), "RECORD_OUTCOMES": str(record)},
        capture_output=True,
        check=False,
    )
    found = [json.loads(line) for line in record.read_text().splitlines()]
    assert [[test.rpartition(":")[2], *rest] for test, *rest in found] == [
        ["test_whole.py", "collect", "failed", NO_MODULE],
        ["test_passes", "call", "passed", None],
        ["test_fails", "call", "failed", "builtins.LookupError"],
        ["test_is_skipped", "call", "skipped", "builtins.Skipped"],
        ["test_fails_as_expected", "call", "xskipped", "builtins.ValueError"],
        ["test_cannot_begin", "setup", "failed", "builtins.OSError"],
        ["test_leaves_something", "call", "passed", None],
        ["test_leaves_something", "teardown", "failed", "builtins.KeyError"],
        ["test_speaks_for_others", "call", "failed", OVER],
    ]
