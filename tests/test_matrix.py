"""The cause matrix: a part of it is made anew, and the documented one is complete."""

import copy
import json
import sys
from pathlib import Path

import matrix
import pytest

#: A CuPy to break, with a Cython that does not and one that does; and a fixed CuPy with the latter.
BUILDS = {("13.4.1", "3.0.12"): True, ("13.4.1", "3.3.1"): False, ("13.5.1", "3.3.1"): True}


@pytest.mark.parametrize(("cupy", "cython"), BUILDS)
def test_a_build_is_broken_and_repaired_or_healthy_and_untouched(
    cupy: str, cython: str, shim: Path
) -> None:
    cell = matrix.examine(Path(sys.executable), cupy, cython, shim)
    assert matrix.complaint(cell) == ""
    assert matrix.is_healthy(cell) is BUILDS[cupy, cython]
    assert cell["without"]["cython"] == cell["with"]["cython"] == cython


HEALTHY = {
    "python": "3.13.0",
    "cupy": "13.5.1",
    "cython": "3.3.1",
    "left_out": [],
    "without": {"import": "works", "plain": "works", "annotated": "works", "type": "cyfunction"},
    "with": {
        **{"import": "works", "plain": "works", "annotated": "works", "type": "cyfunction"},
        "state": "healthy",
    },
    "touched": [],
}
BROKEN = {
    **HEALTHY,
    "without": {"import": "AttributeError: not writable"},
    "with": {**HEALTHY["with"], "type": "cython_function_or_method", "state": "repaired"},  # type: ignore[dict-item]
    "touched": ["functools"],
}


@pytest.mark.parametrize(
    ("cell", "changed", "words"),
    [
        (HEALTHY, {}, ""),
        (BROKEN, {}, ""),
        (BROKEN, {"with": {"import": "AttributeError: no"}}, "import: AttributeError: no"),
        (BROKEN, {"with": {"annotated": "TypeError: no"}}, "annotated: TypeError: no"),
        (BROKEN, {"with": {"state": "inactive"}}, "says inactive"),
        (BROKEN, {"touched": ["functools", "memoize"]}, "memoize"),
        (HEALTHY, {"with": {"plain": "AssertionError: no"}}, "plain: AssertionError: no"),
        (HEALTHY, {"with": {"state": "repaired"}}, "touched: repaired"),
        (HEALTHY, {"with": {"type": "cython_function_or_method"}}, "cython_function_or_method"),
        (HEALTHY, {"touched": ["functools"]}, "functools"),
        ({"error": "no compiler"}, {}, "no compiler"),
    ],
)
def test_a_cell_that_is_wrong_is_reported(
    cell: matrix.Cell, changed: matrix.Cell, words: str
) -> None:
    cell = copy.deepcopy(cell)
    for part, value in changed.items():
        cell[part] = {**cell[part], **value} if isinstance(value, dict) else value
    assert bool(matrix.complaint(cell)) is bool(words)
    assert words in matrix.complaint(cell)


def test_the_documented_matrix_is_complete_and_nothing_in_it_is_wrong() -> None:
    data = json.loads(matrix.DATA.read_text())
    cells = data["cells"]
    assert {matrix.complaint(cell) for cell in cells} == {""}
    seen = {(cell["python"].rpartition(".")[0], cell["cupy"], cell["cython"]) for cell in cells}
    assert len(seen) == len(cells)
    assert seen == {
        (python, cupy, cython)
        for python in matrix.PYTHONS
        for cupy in matrix.CUPYS
        for cython in (matrix.WHEEL, *matrix.CYTHONS)
    }
