"""Change the code in one place after the other, and see whether a test notices.

``nox -s mutants -- GROUP [MODULE ...]`` runs this. Every mutant is written into a copy of the tree,
where the tests run, and the interpreters that they start; there are as many copies as jobs. What
a run has found out is kept: a mutant that was killed is not run again, one that survived is, as
soon as the package or its tests have changed. ``--afresh`` forgets all of it.

A mutant meets those tests first that execute its statement, as a run without any mutant has shown.
If none of them notices it, those follow that execute nothing of these modules here: what they
start may. What an import executes, or no test, meets all tests of its part.

A mutant that survives is a hole in the tests, or makes no difference. Those of the second kind
are named with their reason in ``tests/survivors.toml``. A survivor that is not named there fails
the run, and so does a named one that is killed or no longer made.

The mutants are cosmic-ray's: comparisons, arithmetic, numbers, booleans, loops, conditions,
exceptions and decorators, each changed to its neighbours instead of to all others; and two of
this file: a statement that is left out, and a keyword argument that is left out.
"""

from __future__ import annotations

import argparse
import ast
import collections
import concurrent.futures
import contextlib
import difflib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Keyword

ROOT = Path(__file__).parents[1]
NAMED = ROOT / "tests" / "survivors.toml"
FIGURES = ROOT / "docs" / "_data"
PYTEST = (
    *("-x", "-q", "--tb=no", "--no-header", "-p", "no:cacheprovider"),
    # Hypothesis is loaded before pytest can rewrite its assertions, which it does not need.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
#: What no mutant touches and every test run imports.
PRELOADED = ("numpy", "numba", "hypothesis.extra.numpy", "matplotlib.figure", "rich.progress")


@dataclass(frozen=True)
class Part:
    """Modules, by their names below ``folder``, and the tests that are to notice a change."""

    folder: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def paths(self) -> list[str]:
        """Return the modules' files, relative to the root."""
        return [f"{self.folder}/{module}" for module in self.modules]


GROUPS = {
    "shim": [
        Part(
            "cupy_compat",
            (
                "__init__.py",
                "_policy.py",
                "_hook.py",
                "_repair.py",
                "_functools.py",
                "_memoized.py",
                "_status.py",
            ),
            (
                # Those that start no process come first: they find most, and soonest.
                "tests/test_hook.py",
                "tests/test_repair.py",
                "tests/test_model.py",
                "tests/test_policy_and_bad_cases.py",
                "tests/test_untouched.py",
                "tests/test_status.py",
                "tests/test_harmless.py",
                "tests/test_broken_cupy.py",
                "tests/test_healthy_cupy.py",
                # One broken CuPy and one healthy one; the others fail and work in the same way.
                *("-k", "not 13.4.0 and not cython3.3.1 and not 13.6.0 and not public_submodule"),
            ),
        )
    ],
    "measure": [
        Part(
            "cupy_compat/cudamark",
            ("measure.py", "record.py", "compare.py", "contenders.py", "suite.py"),
            (
                "tests/test_honesty.py",
                "tests/test_cudamark.py",
                "tests/test_contenders.py",
                # Those that start processes are slow, and what they prove of these modules is
                # proved without one in the first file. One of them is dangerous: a mutant that is
                # run by root would put a file in the place of /dev/full.
                "-k",
                "not full and not standard_output and not auto_without and not process "
                "and not asked_for_where and not beyond_memory and not missing_package "
                "and not importing and not compare_without and not ctrl_c_ends",
            ),
        ),
        Part(
            "cupy_compat/cudamark",
            ("command.py",),
            # What a process ends with is its business.
            ("tests/test_honesty.py", "tests/test_cudamark.py", "-k", "not full and not beyond"),
        ),
        Part(
            "cupy_compat/cudamark",
            (
                "cpu/sort.py",
                "cpu/plan.py",
                "cpu/rates.py",
                "cpu/serial.py",
                "turns.py",
                "cgroups.py",
                "places.py",
                "crew.py",
                "split.py",
                "cpu/counting.py",
                "cpu/samplesort.py",
                "cpu/quicksort.py",
                "threads.py",
            ),
            (
                "tests/test_plan.py",
                "tests/test_crew.py",
                "tests/test_machine.py",
                "tests/test_threaded_sort.py",
                # Each of these compiles the kernels anew or sorts millions of keys in vain.
                *("-k", "not first_calls and not no_cache and not long_arrays_are_sorted_as"),
            ),
        ),
    ],
    # Where there is no GPU a stand-in takes its place, and what it cannot show is skipped.
    "gpu": [
        Part(
            "cupy_compat/cudamark",
            (
                *("gpu/device.py", "gpu/memory.py", "gpu/limits.py", "gpu/order.py"),
                *("gpu/pinned.py", "gpu/staging.py", "gpu/buckets.py", "gpu/sort.py"),
                *("gpu/native.py", "gpu/driver.py", "gpu/partition.py"),
            ),
            (
                *("tests/test_gpu_device.py", "tests/test_honesty.py"),
                *("tests/test_gpu_staging.py", "tests/test_gpu_sort.py"),
            ),
        )
    ],
}

_COMPARISONS = {
    **{"Eq": ("NotEq",), "NotEq": ("Eq",), "Is": ("IsNot",), "IsNot": ("Is",)},
    **{"Lt": ("LtE", "GtE"), "LtE": ("Lt", "Gt"), "Gt": ("GtE", "LtE"), "GtE": ("Gt", "Lt")},
}
_ARITHMETIC = {
    **{"Add": "Sub", "Sub": "Add", "Mul": "Add", "Div": "Mul", "FloorDiv": "Mul", "Mod": "Mul"},
    **{"Pow": "Mul", "LShift": "RShift", "RShift": "LShift", "BitOr": "BitAnd", "BitAnd": "BitOr"},
}
COSMIC_RAYS = [
    *(
        f"ReplaceComparisonOperator_{before}_{after}"
        for before, others in _COMPARISONS.items()
        for after in others
    ),
    *(f"ReplaceBinaryOperator_{before}_{after}" for before, after in _ARITHMETIC.items()),
    *("ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub"),
    *("AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "NumberReplacer"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
    *("ExceptionReplacer", "RemoveDecorator"),
]


class LeaveOutStatement(Operator):
    """Put ``pass`` in the place of a call, a deletion, a raise, a return or an update."""

    _KINDS = frozenset({"atom_expr", "await", "del_stmt", "raise_stmt", "return_stmt"})

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Yield where such a statement stands."""
        if node.type != "simple_stmt":
            return
        statement = node.children[0]
        # The assignment of a plain name is left alone: without it the next use is an error.
        update = statement.type == "expr_stmt" and (
            statement.children[0].type != "name"
            or (statement.children[1].type == "operator" and statement.children[1] != "=")
        )
        if update or statement.type in self._KINDS:
            yield (statement.start_pos, statement.end_pos)

    def mutate(self, node: Any, index: int) -> Any:
        """Return the line without the statement."""
        statement = node.children[0]
        node.children[0] = Keyword("pass", statement.start_pos, statement.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return what cosmic-ray asks of its operators."""
        return (Example("f()", "pass"),)


class LeaveOutArgument(Operator):
    """Leave out a keyword argument of a call."""

    @staticmethod
    def _named(node: Any) -> list[int]:
        if node.type not in ("arglist", "trailer"):
            return []
        return [
            place
            for place, child in enumerate(node.children)
            if child.type == "argument"
            and child.children[0].type == "name"
            and child.children[1] == "="
        ]

    def mutation_positions(self, node: Any) -> list[tuple[Any, Any]]:
        """Return where such arguments stand."""
        arguments = [node.children[place] for place in self._named(node)]
        return [(argument.start_pos, argument.end_pos) for argument in arguments]

    def mutate(self, node: Any, index: int) -> Any:
        """Return the arguments without that one, and without the comma behind it."""
        place = self._named(node)[index]
        after = place + 1 < len(node.children) and node.children[place + 1] == ","
        del node.children[place : place + (2 if after else 1)]
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return what cosmic-ray asks of its operators."""
        return (Example("f(x, a=1)", "f(x, )"),)


@dataclass(frozen=True)
class Mutant:
    """One change to one module."""

    module: str
    operator: str
    line: int
    was: str
    becomes: str
    source: str

    @property
    def key(self) -> str:
        """What stays the same as long as it is the same mutant of the same module."""
        return hashlib.sha256(f"{self.module}\0{self.source}".encode()).hexdigest()


def mutants_of(module: str) -> list[Mutant]:
    """Return all mutants of a module that can make a difference, each text once."""
    source = (ROOT / module).read_text()
    original = _meaning(source)
    found: dict[str, Mutant] = {}
    operators = [(name, get_operator(f"core/{name}")()) for name in COSMIC_RAYS]
    operators += [(kind.__name__, kind()) for kind in (LeaveOutStatement, LeaveOutArgument)]
    for name, operator in operators:
        places = [
            place
            for node in ast_nodes(get_ast(source))
            for place in operator.mutation_positions(node)
        ]
        for occurrence, ((line, _), _) in enumerate(places):
            changed = mutate_code(source, operator, occurrence)
            if changed is None or changed in found:
                continue
            try:
                same = _meaning(changed) == original
            except SyntaxError:
                continue
            if not same:
                was, becomes = _difference(source, changed)
                found[changed] = Mutant(module, name, line, was, becomes, changed)
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _meaning(source: str) -> str:
    """Return the syntax tree without type hints, which nothing executes."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    return ast.dump(tree)


def _difference(before: str, after: str) -> tuple[str, str]:
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))

    def side(sign: str) -> str:
        return " ".join(line[2:].strip() for line in lines if line.startswith(sign))

    return side("- "), side("+ ")


#: Runs in a copy: what takes long to import is imported once, then each test run is a fork. It gets
#: pytest's arguments, the names of the only tests to run or none, and the modules of whose lines
#: it is to tell which tests execute them, or none; "" stands for what runs outside any test.
SERVER = """
import collections, importlib, json, os, sys
import pytest

class Only:
    def __init__(self, names):
        self.names = frozenset(names)

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self.names]

class Lines:
    def __init__(self, modules):
        self.modules = {os.path.abspath(module): module for module in modules}
        self.test, self.tests, self.found = "", [], collections.defaultdict(set)
        events = sys.monitoring
        events.use_tool_id(events.COVERAGE_ID, "mutants")
        events.register_callback(events.COVERAGE_ID, events.events.LINE, self.line)
        events.set_events(events.COVERAGE_ID, events.events.LINE)

    def line(self, code, line):
        if code.co_filename in self.modules:
            self.found[f"{self.modules[code.co_filename]}:{line}"].add(self.test)
        return sys.monitoring.DISABLE  # once a test is enough

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.test = item.nodeid
        self.tests.append(self.test)
        sys.monitoring.restart_events()
        try:
            return (yield)
        finally:
            self.test = ""

for name in sys.argv[1].split(","):
    importlib.import_module(name)
for line in sys.stdin:
    arguments, only, modules = json.loads(line)
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        out = os.open("pytest.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        lines = Lines(modules) if modules else None
        code = pytest.main(arguments, [Only(only)] if only else [lines] if lines else [])
        if lines:
            with open("lines.json", "w") as file:
                found = {line: sorted(tests) for line, tests in lines.found.items()}
                json.dump({"tests": lines.tests, "lines": found}, file)
        sys.stdout.flush()
        os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Reach:
    """Which tests of a part execute what of its modules.

    Parameters
    ----------
    tests : list of str
        All of the part.
    lines : dict of str to list of str
        By ``module:line``, the tests that execute it; "" for what runs outside any test.
    """

    def __init__(self, tests: list[str], lines: dict[str, list[str]]) -> None:
        self._all = set(tests)
        self._lines = lines
        self._elsewhere = self._all.difference(*lines.values())

    def stages(self, mutant: Mutant) -> list[set[str]]:
        """Return the tests that a mutant is to meet, one set after the other."""
        nearest: set[str] = set()
        for line in statement_lines(mutant.module, mutant.line):
            nearest.update(self._lines.get(f"{mutant.module}:{line}", []))
        if not nearest or "" in nearest:
            return [self._all]
        return [nearest, self._elsewhere] if self._elsewhere else [nearest]


def statement_lines(module: str, line: int) -> range:
    """Return the lines of the innermost statement around a line; of one with a body, its head."""
    first = last = line
    for node in _statements(module):
        if node.lineno <= line <= (node.end_lineno or 0):
            first, inner = node.lineno, getattr(node, "body", None)
            last = max(inner[0].lineno - 1, first) if inner else node.end_lineno or first
    return range(min(first, line), max(last, line) + 1)


@functools.cache
def _statements(module: str) -> list[ast.stmt]:
    """Return a module's statements, those within others behind them."""
    tree = ast.parse((ROOT / module).read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]


class Copy:
    """A copy of the tree, in which one mutant at a time is tested."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self._clock = int(time.time())
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "NOX"))}
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER, ",".join(PRELOADED)],
            cwd=folder,
            # The package is found here by this process and by those that it starts elsewhere.
            env={**inherited, "PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for this program: the tests at work end, and what they say is kept.
            start_new_session=True,
        )

    def close(self) -> None:
        """End what was started."""
        self._server.kill()
        self._server.communicate()

    def test(
        self,
        tests: Iterable[str],
        limit: float | None,
        only: set[str] | frozenset[str] = frozenset(),
        modules: Iterable[str] = (),
    ) -> tuple[str, str]:
        """Run tests; return ``survived``, ``killed`` or ``timed out``, and the test that failed."""
        assert self._server.stdin
        assert self._server.stdout
        order = [[*PYTEST, *tests], sorted(only), sorted(modules)]
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        group = int(self._server.stdout.readline())
        expired = threading.Event()
        timer = threading.Timer(limit or 3600.0, lambda: (expired.set(), _end(group)))
        timer.start()
        code = int(self._server.stdout.readline())
        timer.cancel()
        # Whatever the tests have started ends with them.
        _end(group)
        if expired.is_set():
            return "timed out", ""
        if code == 0:
            return "survived", ""
        out = (self._folder / "pytest.out").read_text(errors="replace")
        noticed = re.search(r"^(?:FAILED|ERROR) (\S+)", out, re.MULTILINE)
        return "killed", noticed[1] if noticed else (out.strip().splitlines() or [""])[-1]

    def reach(self, part: Part) -> Reach:
        """Run a part's tests without any mutant, and return what they execute of its modules."""
        outcome, by = self.test(part.tests, None, modules=part.paths())
        if outcome != "survived":
            raise RuntimeError(f"the tests fail without any mutant: {by}")
        return Reach(**json.loads((self._folder / "lines.json").read_text()))

    def try_out(
        self, mutant: Mutant, tests: Iterable[str], stages: list[set[str]], limit: float
    ) -> tuple[str, str]:
        """Test a mutant by some tests, and if these do not notice it, by others."""
        path = self._folder / mutant.module
        whole = path.read_text()
        try:
            self._write(path, mutant.source)
            for stage in stages:
                outcome, by = self.test(tests, limit, stage)
                if outcome != "survived":
                    break
            return outcome, by
        finally:
            self._write(path, whole)

    def _write(self, path: Path, source: str) -> None:
        path.write_text(source)
        # Two mutants of one length within one second would share a compiled file.
        self._clock += 2
        os.utime(path, (self._clock, self._clock))


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


class Record:
    """What is known of each mutant, kept in a file line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self._known[entry["key"]] = entry

    def get(self, mutant: Mutant, tree: str) -> dict[str, Any] | None:
        """Return what is known, unless the mutant survived and may be killed by now."""
        entry = self._known.get(mutant.key)
        if entry and (entry["outcome"] != "survived" or entry["tree"] == tree):
            return entry
        return None

    def add(
        self, mutant: Mutant, tree: str, outcome: str, by: str, seconds: float
    ) -> dict[str, Any]:
        """Write down an outcome."""
        entry: dict[str, Any] = {"key": mutant.key, "tree": tree, "outcome": outcome, "by": by}
        entry |= {"seconds": round(seconds, 2)}
        entry |= {name: value for name, value in asdict(mutant).items() if name != "source"}
        with self._lock:
            self._known[mutant.key] = entry
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        return entry


def tree_digest(part: Part) -> str:
    """Return a digest of the package, of a part's tests and of what these have in common."""
    digest = hashlib.sha256()
    for folder in ("cupy_compat", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name in part.tests or not path.name.startswith("test_"):
                digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()


def run(group: str, only: list[str], jobs: int, work: Path) -> tuple[list[dict[str, Any]], int]:
    """Test the mutants of a group, or of some of its modules.

    Returns
    -------
    outcomes : list of dict
        One for each mutant.
    known : int
        How many of them an earlier run has brought.
    """
    record = Record(work / f"{group}.jsonl")
    trees = {part: tree_digest(part) for part in GROUPS[group]}
    tasks = [
        (mutant, part)
        for part in GROUPS[group]
        for path in part.paths()
        if not only or Path(path).name in only
        for mutant in mutants_of(path)
    ]
    known = [entry for mutant, part in tasks if (entry := record.get(mutant, trees[part]))]
    open_ = [(mutant, part) for mutant, part in tasks if not record.get(mutant, trees[part])]
    print(f"{len(tasks)} mutants, {len(known)} of them known; {jobs} jobs", flush=True)
    if not open_:
        return known, len(known)
    ready: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    copies = [Copy(work / f"copy-{number}") for number in range(jobs)]
    limits: dict[Part, float] = {}
    reach: dict[Part, Reach] = {}

    def prepare(copy: Copy) -> None:
        for part in dict.fromkeys(part for _, part in open_):
            start = time.monotonic()
            reach[part] = copy.reach(part)
            seconds = time.monotonic() - start
            print(f"without a mutant {part.tests[0]} ... take {seconds:.0f} s", flush=True)
            limits[part] = max(limits.get(part, 0.0), 60 + 4 * seconds)
        ready.put(copy)

    begun = time.monotonic()
    done = list(known)

    def examine(task: tuple[Mutant, Part]) -> dict[str, Any]:
        mutant, part = task
        stages = reach[part].stages(mutant)
        copy = ready.get()
        start = time.monotonic()
        try:
            outcome, by = copy.try_out(mutant, part.tests, stages, limits[part])
        finally:
            ready.put(copy)
        return record.add(mutant, trees[part], outcome, by, time.monotonic() - start)

    with contextlib.ExitStack() as stack:
        for copy in copies:
            stack.callback(copy.close)
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(jobs))
        list(pool.map(prepare, copies))
        futures = [pool.submit(examine, task) for task in open_]
        try:
            for count, future in enumerate(concurrent.futures.as_completed(futures), 1):
                entry = future.result()
                done.append(entry)
                if entry["outcome"] == "survived":
                    print("survived: " + describe(entry), flush=True)
                if count % 20 == 0 or count == len(open_):
                    minutes = (time.monotonic() - begun) / 60
                    left = minutes / count * (len(open_) - count)
                    print(f"{count} of {len(open_)}, {left:.0f} minutes left", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return done, len(known)


def describe(entry: dict[str, Any]) -> str:
    """Return a survivor as it would be named."""
    return f"{entry['module']}:{entry['line']}: {entry['was']}  ->  {entry['becomes']}"


def judge(group: str, done: list[dict[str, Any]]) -> tuple[list[str], int]:
    """Return what is wrong with the survivors, and how many of them are named."""
    modules = {entry["module"] for entry in done}
    survivors = collections.Counter(
        (entry["module"], entry["was"], entry["becomes"])
        for entry in done
        if entry["outcome"] == "survived"
    )
    made = {(entry["module"], entry["was"], entry["becomes"]) for entry in done}
    named: set[tuple[str, str, str]] = set()
    for entry in tomllib.loads(NAMED.read_text()).get(group, []):
        if entry["module"] in modules:
            named |= {(entry["module"], entry["was"], text) for text in entry["becomes"]}
    complaints = [
        f"survived, and is not named: {module}: {was}  ->  {becomes}"
        for module, was, becomes in sorted(survivors.keys() - named)
    ]
    complaints += [
        f"named, but {'killed' if name in made else 'not made any more'}: {'  ->  '.join(name[1:])}"
        for name in sorted(named - survivors.keys())
    ]
    return complaints, sum(survivors[name] for name in named)


def figures(
    group: str, done: list[dict[str, Any]], known: int, named: int, command: str
) -> dict[str, Any]:
    """Return what the documentation quotes."""

    def counts(entries: list[dict[str, Any]]) -> dict[str, int]:
        outcomes = collections.Counter(entry["outcome"] for entry in entries)
        return {
            "mutants": len(entries),
            "killed": outcomes["killed"] + outcomes["timed out"],
            "of_these_by_time_limit": outcomes["timed out"],
            "survived": outcomes["survived"],
        }

    modules = sorted({entry["module"] for entry in done})
    packages = ("cosmic-ray", "pytest", "numpy", "numba")
    return {
        "group": group,
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
        **counts(done),
        "survivors_named_with_a_reason": named,
        "known_from_an_earlier_run": known,
        "seconds_of_tests": round(sum(entry["seconds"] for entry in done)),
        "modules": {
            module: counts([entry for entry in done if entry["module"] == module])
            for module in modules
        },
        "tests": [list(part.tests) for part in GROUPS[group]],
        "operators": [*COSMIC_RAYS, LeaveOutStatement.__name__, LeaveOutArgument.__name__],
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in packages},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main(arguments: list[str] | None = None) -> int:
    """Run the mutants that the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="nox -s mutants --", description=str(__doc__).partition("\n")[0]
    )
    parser.add_argument("group", choices=GROUPS)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as record.py")
    parser.add_argument("--jobs", type=int, default=2, help="copies at work at once (default 2)")
    parser.add_argument("--afresh", action="store_true", help="forget what is known")
    parser.add_argument("--work", type=Path, required=True, help="folder for copies and outcomes")
    options = parser.parse_args(arguments)
    if options.afresh:
        (options.work / f"{options.group}.jsonl").unlink(missing_ok=True)
    done, known = run(options.group, options.modules, options.jobs, options.work)
    if not done:
        parser.error(f"no such module in the group {options.group}")
    complaints, named = judge(options.group, done)
    command = f"nox -s mutants -- {options.group}"
    summary = figures(options.group, done, known, named, command)
    print(*complaints, sep="\n")
    print(
        f"{summary['mutants']} mutants: {summary['killed']} killed, "
        f"{summary['survived']} survived, of which {named} are named with a reason"
    )
    if not options.modules:
        FIGURES.mkdir(parents=True, exist_ok=True)
        target = FIGURES / f"mutants-{options.group}.json"
        target.write_text(json.dumps(summary, indent=2) + "\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
