"""Fresh interpreters with real CuPys, healthy and broken."""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import testbed
import wrapt
from environments import clean, editables, installed, start, stranger, venv, wheels  # noqa: F401

import cupy_compat

#: The build for tests that need only one: the one that is reported most often.
TYPICAL = ("13.4.1", "3.1.1")

LATER = sys.version_info >= (3, 14)
collect_ignore = [] if LATER else ["test_later.py"]
#: Only Python 3.13 tests every CuPy. On earlier Pythons they all behave alike, and for later ones
#: the test bed would have to build each of them from source.
EVERY = sys.version_info[:2] == (3, 13)
#: The CuPy that repaired ones are compared with.
REFERENCE_CUPY = "14.2.0" if LATER else testbed.REFERENCE_CUPY
BUILDS = [
    (cupy, cython)
    for cupy in (testbed.BROKEN_CUPYS if EVERY else TYPICAL[:1])
    for cython in (testbed.BREAKING_CYTHONS if EVERY or LATER else TYPICAL[1:])
]


@dataclass(frozen=True)
class Interpreter:
    """A Python to start new processes with. They may or may not find ``cupy_compat``."""

    python: Path
    shim: Path

    def run(
        self, code: str | Path, *, shim: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run code, or a file, in a new process, with additional environment variables."""
        path = {"PYTHONPATH": str(self.shim)} if shim else {}
        program = [str(code)] if isinstance(code, Path) else ["-c", textwrap.dedent(code)]
        command = [self.python, "-W", "error::RuntimeWarning:cupy_compat", *program]
        # With -c, Python puts the working folder first on sys.path. It must not be a checkout,
        # whose cupy_compat is not the one under test.
        return start(*command, env=clean() | path | environment, cwd=self.shim.parent)

    def output(self, code: str | Path, *, shim: bool = True, **environment: str) -> str:
        """Run code that must succeed, and return its output."""
        done = self.run(code, shim=shim, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with only the ``cupy_compat`` under test and wrapt."""
    folder = tmp_path_factory.mktemp("shim")
    for package in (cupy_compat, wrapt):
        (folder / package.__name__).symlink_to(Path(package.__file__).parent)
    return folder


@pytest.fixture
def away(shim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this test's processes import the ``cupy_compat`` under test.

    With ``-c`` and ``-m``, Python puts the working folder first on sys.path. That may be a
    checkout. The installed package may also differ from the one that pytest imported.
    """
    monkeypatch.chdir(shim.parent)
    monkeypatch.setenv("PYTHONPATH", str(shim))


@pytest.fixture(scope="session")
def bare(shim: Path) -> Interpreter:
    """Return this Python without any CuPy."""
    return Interpreter(Path(getattr(sys, "_base_executable", sys.executable)), shim)


@pytest.fixture(scope="session")
def broken(shim: Path) -> Interpreter:
    """Return this Python with the broken CuPy that is most often reported."""
    return Interpreter(testbed.broken(sys.executable, *TYPICAL), shim)


@pytest.fixture(scope="session", params=BUILDS, ids="-cython".join)
def any_broken(request: pytest.FixtureRequest, shim: Path) -> Interpreter:
    """Return this Python with each broken CuPy in turn."""
    return Interpreter(testbed.broken(sys.executable, *request.param), shim)


@pytest.fixture(scope="session")
def reference(shim: Path) -> Interpreter:
    """Return this Python with a CuPy whose source is fixed."""
    if not LATER:
        return Interpreter(testbed.healthy(sys.executable, REFERENCE_CUPY), shim)
    # On these Pythons only Cython 3.2.9 and later keep annotations. The published wheels are older.
    newest = testbed.BREAKING_CYTHONS[-1]
    return Interpreter(testbed.compiled(sys.executable, REFERENCE_CUPY, newest), shim)


@pytest.fixture(scope="session", params=testbed.HEALTHY_CUPYS[0 if EVERY else 1 :])
def healthy(request: pytest.FixtureRequest, shim: Path) -> Interpreter:
    """Return this Python with each healthy CuPy in turn."""
    return Interpreter(testbed.healthy(sys.executable, request.param), shim)


#: The global state that an import could change, compared by identity.
SNAPSHOT = textwrap.dedent("""
    import builtins, functools, json, sys, warnings

    def snapshot():
        return {
            "meta_path": [sys.meta_path, *sys.meta_path],
            "path_hooks": [sys.path_hooks, *sys.path_hooks],
            "path": [sys.path, *sys.path],
            "import": [builtins.__import__, *vars(builtins).values()],
            "functools": [functools, *vars(functools), *vars(functools).values()],
            "filters": [warnings.filters, *warnings.filters],
            "modules": [*sys.modules, *sys.modules.values()],
        }

    def changed(before, after):
        # ``before`` keeps the objects alive, so that no id() is reused.
        return [
            kind for kind in before
            if list(map(id, before[kind])) != list(map(id, after[kind]))
        ]
""")


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """Fail the test if it leaves a thread behind."""
    before = _thread._count()
    yield
    assert_that_no_more(_thread._count, before)


def assert_that_no_more(threads: Callable[[], int], before: int) -> None:
    """Fail unless the number of threads drops to the given one within ten seconds."""
    end = time.monotonic() + 10  # a thread takes a moment to end
    while threads() > before and time.monotonic() < end:
        time.sleep(0.001)
    assert threads() <= before


def threads_of_the_system() -> int:
    """Return the number of threads of this process; outside Linux, only those of Python."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else _thread._count()


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Return, by name, cudamark's progress bars: the number of steps, and of steps done."""
    from cupy_compat.cudamark import progress

    drawn: dict[str, list[int]] = {}

    @contextlib.contextmanager
    def bar(self: object, what: str, steps: int) -> Iterator[Callable[[], None]]:
        drawn[what] = [steps, 0]

        def step() -> None:
            drawn[what][1] += 1

        yield step

    monkeypatch.setattr(progress.Reporter, "bar", bar)
    return drawn


def arming(**environment: str) -> dict[str, str]:
    """Return environment variables that arm the shim on this Python."""
    return {"CUPY_COMPAT": "auto" if sys.version_info >= (3, 13) else "always", **environment}


@functools.cache
def missing_gpu() -> str:
    """Return why no GPU is usable, or an empty string if one is."""
    from cupy_compat.cudamark.gpu import GpuUnavailable, find_gpu

    try:
        find_gpu()
    except GpuUnavailable as error:
        return str(error)
    return ""


def pytest_configure() -> None:
    """Let Ctrl-C reach child processes, even if a shell runs pytest in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that need a GPU if there is none."""
    if item.get_closest_marker("gpu") and missing_gpu():
        pytest.skip(missing_gpu())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, fail if a test was skipped for any reason but a missing GPU."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("CI"):
        return
    skipped = [
        report for report in reporter.stats.get("skipped", []) if "gpu" not in report.keywords
    ]
    if skipped:
        reporter.write_line(f"{len(skipped)} tests that need no GPU were skipped, which CI forbids")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
