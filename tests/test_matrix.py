"""The cause matrix: a fixed part of it, made as the whole is, and the whole as it was last seen."""

import copy
import json
import sys
from pathlib import Path

import matrix
import pytest

#: Beside the broken builds of the other tests: what the broken CuPy is without its faulty
#: compiler, and what the faulty compiler makes of a mended CuPy.
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
    ("cell", "changed", "told"),
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
def test_what_is_not_as_it_must_be_is_told(
    cell: matrix.Cell, changed: matrix.Cell, told: str
) -> None:
    cell = copy.deepcopy(cell)
    for part, value in changed.items():
        cell[part] = {**cell[part], **value} if isinstance(value, dict) else value
    assert bool(matrix.complaint(cell)) is bool(told)
    assert told in matrix.complaint(cell)


def test_what_was_seen_is_kept_until_the_shim_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUPY_COMPAT_TESTBED", str(tmp_path / "store"))
    looked: list[str] = []
    monkeypatch.setattr(matrix, "examine", lambda *key: looked.append(key[1]) or dict(HEALTHY))
    package = tmp_path / "cupy_compat"
    package.mkdir()

    def ask() -> None:
        digest = matrix._digest(tmp_path)
        cell = matrix._remembered(Path(sys.executable), "13.5.1", "3.3.1", tmp_path, digest)
        assert cell == HEALTHY

    ask(), ask()
    assert len(looked) == 1
    (package / "_hook.py").write_text("changed = True\n")
    ask(), ask()
    assert len(looked) == 2


def test_the_documented_matrix_is_whole_and_as_it_must_be() -> None:
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
