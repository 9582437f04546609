"""Change the shim in one place after another, and check that a test fails each time.

``nox -s mutants`` runs this. cosmic-ray makes the mutants and tests them, each job in its own copy
of the tree. A session file keeps the outcomes: the next run skips every mutant that a test has
killed, unless ``--afresh`` forgets them.

A mutant that survives is a gap in the tests, or makes no difference. ``tests/survivors.toml`` names
those that make no difference, each with its reason. Any other survivor fails the run, and so does a
named one that a test kills or that no operator makes any more. cosmic-ray skips lines that end in
``# pragma: no mutate``.

The operators are cosmic-ray's, but a comparison or an arithmetic operator becomes only its
neighbours; two more leave out a statement or a keyword argument. To try other modules::

    nox -s mutants -- cupy_compat/cudamark/split.py --tests tests/test_threaded_sort.py
"""

from __future__ import annotations

import argparse
import ast
import collections
import concurrent.futures
import hashlib
import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_and_test, mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import OPERATOR_PROVIDERS, get_operator
from cosmic_ray.testing import run_tests
from cosmic_ray.tools.filters.pragma_no_mutate import PragmaNoMutateFilter
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult
from parso.python.tree import Keyword

ROOT = Path(__file__).parents[1]
NAMED = ROOT / "tests" / "survivors.toml"
FIGURES = ROOT / "docs" / "_data" / "mutants-shim.json"

NAMES = ("__init__", "_policy", "_hook", "_repair", "_functools", "_memoized", "_status")
MODULES = [f"cupy_compat/{name}.py" for name in NAMES]
TESTS = [
    # Those that start no process come first: they kill most mutants, and soonest.
    *("tests/test_hook.py", "tests/test_repair.py", "tests/test_model.py"),
    *("tests/test_policy_and_bad_cases.py", "tests/test_untouched.py", "tests/test_status.py"),
    *("tests/test_harmless.py", "tests/test_broken_cupy.py", "tests/test_healthy_cupy.py"),
    # One broken CuPy and one healthy one are enough: the others fail and work in the same way.
    *("-k", "not 13.4.0 and not cython3.3.1 and not 13.6.0 and not public_submodule"),
]
#: The tests that failed last come first, since neighbouring mutants often fail the same one.
PYTEST = ["-m", "pytest", "-x", "-q", "--ff", "--tb=no", "--no-header", "-p", "unshrunk"]
#: A failure is enough. Finding its shortest example would take minutes.
UNSHRUNK = """
def pytest_configure():
    from hypothesis import Phase, settings
    settings.register_profile("unshrunk", phases=[Phase.generate])
    settings.load_profile("unshrunk")
"""

COMPARISONS = {
    **{"Eq": ("NotEq",), "NotEq": ("Eq",), "Is": ("IsNot",), "IsNot": ("Is",)},
    **{"Lt": ("LtE", "GtE"), "LtE": ("Lt", "Gt"), "Gt": ("GtE", "LtE"), "GtE": ("Gt", "Lt")},
}
ARITHMETIC = {
    **{"Add": "Sub", "Sub": "Add", "Mul": "Add", "Div": "Mul", "FloorDiv": "Mul", "Mod": "Mul"},
    **{"Pow": "Mul", "LShift": "RShift", "RShift": "LShift", "BitOr": "BitAnd", "BitAnd": "BitOr"},
}
CORE = [
    *(f"ReplaceComparisonOperator_{old}_{new}" for old, all in COMPARISONS.items() for new in all),
    *(f"ReplaceBinaryOperator_{old}_{new}" for old, new in ARITHMETIC.items()),
    *("ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub"),
    *("AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "NumberReplacer"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
    *("ExceptionReplacer", "RemoveDecorator"),
]


class LeaveOutStatement(Operator):  # type: ignore[misc]
    """Replace a call, a deletion, a raise, a return or an update by ``pass``."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the positions of such statements."""
        if node.type != "simple_stmt":
            return
        statement = node.children[0]
        # Do not leave out the assignment of a plain name: its next use would fail anyway.
        update = statement.type == "expr_stmt" and (
            statement.children[0].type != "name"
            or (statement.children[1].type == "operator" and statement.children[1] != "=")
        )
        if update or statement.type in {"atom_expr", "del_stmt", "raise_stmt", "return_stmt"}:
            yield (statement.start_pos, statement.end_pos)

    def mutate(self, node: Any, index: int) -> Any:
        """Return the line without the statement."""
        statement = node.children[0]
        node.children[0] = Keyword("pass", statement.start_pos, statement.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """Return no examples, which only cosmic-ray's own tests need."""
        return ()


class LeaveOutArgument(LeaveOutStatement):
    """Leave out a keyword argument of a call."""

    def mutation_positions(self, node: Any) -> list[tuple[Any, Any]]:
        """Return the positions of such arguments."""
        return [(node.children[at].start_pos, node.children[at].end_pos) for at in self._at(node)]

    def mutate(self, node: Any, index: int) -> Any:
        """Return the arguments without that one and the comma behind it."""
        at = self._at(node)[index]
        after = at + 1 < len(node.children) and node.children[at + 1] == ","
        del node.children[at : at + (2 if after else 1)]
        return node

    def _at(self, node: Any) -> list[int]:
        children = node.children if node.type in ("arglist", "trailer") else []
        return [
            at
            for at, child in enumerate(children)
            if child.type == "argument" and child.children[1] == "="
        ]


OPERATOR_PROVIDERS["here"] = {kind.__name__: kind for kind in (LeaveOutStatement, LeaveOutArgument)}
OPERATORS = [
    *(f"core/{name}" for name in CORE),
    *(f"here/{name}" for name in OPERATOR_PROVIDERS["here"]),
]


def mutants_of(module: str) -> Iterator[WorkItem]:
    """Yield the mutants of a module that differ in what they execute, under reproducible names."""
    source = (ROOT / module).read_text()
    seen = {_executed(source)}
    for name in OPERATORS:
        operator = get_operator(name)()
        places = [
            place
            for node in ast_nodes(get_ast(source))
            for place in operator.mutation_positions(node)
        ]
        for occurrence, (start, end) in enumerate(places):
            changed = mutate_code(source, operator, occurrence)
            try:
                executed = _executed(changed)
            except SyntaxError:
                continue
            if executed not in seen:
                seen.add(executed)
                key = hashlib.sha256(f"{module}\0{changed}".encode()).hexdigest()
                yield WorkItem.single(key, MutationSpec(module, name, occurrence, start, end))


def _executed(source: str) -> str:
    """Return the syntax tree without type hints."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.dump(tree)


def begin(session: WorkDB, modules: list[str]) -> int:
    """Fill a session with all mutants, and return how many of them tests are known to kill."""
    known = {item.job_id: result for item, result in session.completed_work_items}
    items = [item for module in modules for item in mutants_of(module)]
    session.clear()
    session.add_work_items(items)
    PragmaNoMutateFilter().filter(session, None)
    killed = [item.job_id for item in items if _is_killed(known.get(item.job_id))]
    for key in killed:
        session.set_result(key, known[key])
    return len(killed)


def _is_killed(result: WorkResult | None) -> bool:
    return result is not None and result.test_outcome == TestOutcome.KILLED


def copy_tree(into: str) -> None:
    """Copy the tree for this process, and have its tests import the package from there."""
    folder = Path(into) / str(os.getpid())
    ignored = shutil.ignore_patterns(".*", "__pycache__", "_build", "build", "dist", "results")
    shutil.copytree(ROOT, folder, ignore=ignored)
    (folder / "unshrunk.py").write_text(UNSHRUNK)
    # A file in place of the folder, so that no bytecode of one mutant is used for the next.
    (folder / "cupy_compat" / "__pycache__").touch()
    os.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("PYTHON", "NOX"))]:
        del os.environ[name]
    os.environ["PYTHONPATH"] = str(folder)


def baseline(command: str) -> float:
    """Run the tests without a mutant, and return how many seconds they may take with one."""
    start = time.monotonic()
    outcome, output = run_tests(command, None)
    if outcome != TestOutcome.SURVIVED:
        raise RuntimeError(f"the tests fail without any mutant:\n{output}")
    return 20 + 3 * (time.monotonic() - start)


def run(session: WorkDB, tests: list[str], jobs: int) -> None:
    """Test every mutant that has no outcome, and write the outcomes into the session."""
    command = shlex.join([sys.executable, *PYTEST, *tests])
    # cosmic-ray shuffles them; neighbours come one after the other here.
    pending = sorted(session.pending_work_items, key=_position)
    with (
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ProcessPoolExecutor(jobs, None, copy_tree, (folder,)) as pool,
    ):
        limit = pool.submit(baseline, command).result() if pending else 0
        futures = {
            pool.submit(mutate_and_test, item.mutations, command, limit): item for item in pending
        }
        for count, future in enumerate(concurrent.futures.as_completed(futures), 1):
            result = future.result()
            if result.worker_outcome != WorkerOutcome.NORMAL:
                raise RuntimeError(result.output)
            session.set_result(futures[future].job_id, result)
            print(f"{count} of {len(pending)}: {result.test_outcome.value}", flush=True)


def _position(item: WorkItem) -> tuple[str, tuple[int, int]]:
    return str(item.mutations[0].module_path), item.mutations[0].start_pos


def difference(result: WorkResult) -> tuple[str, str]:
    """Return the lines that a mutant changes, and what they become."""
    lines = str(result.diff).splitlines()[3:]
    was, becomes = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return was, becomes


def named_survivors(modules: list[str]) -> set[tuple[str, str, str]]:
    """Return the mutants of those modules that ``tests/survivors.toml`` names."""
    return {
        (entry["module"], entry["was"], becomes)
        for entry in tomllib.loads(NAMED.read_text())["survivor"]
        if entry["module"] in modules
        for becomes in entry["becomes"]
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the mutants that the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="nox -s mutants --",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="other modules than the shim's"
    )
    parser.add_argument(
        "--tests", nargs="+", metavar="ARGUMENT", default=TESTS, help="what pytest is given"
    )
    parser.add_argument("--jobs", type=int, default=2, help="mutants tested at once (default 2)")
    parser.add_argument("--afresh", action="store_true", help="forget earlier outcomes")
    parser.add_argument("--work", type=Path, required=True, help="the folder of the session file")
    options = parser.parse_args(arguments)
    modules = options.modules or MODULES
    name = "-".join(Path(each).stem for each in options.modules) or "shim"
    file = options.work / f"{name}.sqlite"
    os.chdir(ROOT)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.afresh:
        file.unlink(missing_ok=True)
    with use_db(file) as session:
        known = begin(session, modules)
        run(session, options.tests, options.jobs)
        done = [
            (str(item.mutations[0].module_path), result)
            for item, result in session.completed_work_items
            if result.worker_outcome != WorkerOutcome.SKIPPED
        ]
    survivors = collections.Counter(
        (module, *difference(result)) for module, result in done if not _is_killed(result)
    )
    named = named_survivors(modules)
    complaints = [f"survived: {' -> '.join(each)}" for each in survivors.keys() - named]
    complaints += [f"named, but no survivor: {each}" for each in named - survivors.keys()]
    counts = {
        "mutants": len(done),
        "killed": len(done) - survivors.total(),
        "of_these_by_time_limit": sum(result.output == "timeout" for _, result in done),
        "survived": survivors.total(),
        "survivors_named_with_a_reason": sum(survivors[each] for each in named),
        "known_from_an_earlier_run": known,
    }
    print(*complaints, json.dumps(counts), sep="\n")
    if not options.modules:
        record = {
            "date": datetime.now(UTC).date().isoformat(),
            "command": "nox -s mutants",
            **counts,
            "modules": dict(collections.Counter(module for module, _ in done)),
            "python": platform.python_version(),
            "cosmic-ray": version("cosmic-ray"),
        }
        FIGURES.write_text(json.dumps(record, indent=1) + "\n")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
