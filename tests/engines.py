"""Workers of Dask, Ray, joblib, multiprocessing and MPI, each with a genuinely broken CuPy.

``nox -s engines`` runs this. It tests the code of ``docs/workers.md``: a block below
``<!-- engines: NAME -->`` replaces the body or the command that ``USES`` has under that name.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import testbed
from conftest import TYPICAL, arming
from environments import BASE, ROOT, Environment, clean, copy_package, run

PAGE = ROOT / "docs" / "workers.md"
ENGINES = ("distributed==2026.8.0", "joblib==1.6.0", "mpi4py==4.1.2", "ray==2.60.0")

BLOCK = re.compile(r"<!-- engines: ([\w-]+) -->\n+```(\w+)\n(.*?)```", re.DOTALL)
BLOCKS = {name: (language, code) for name, language, code in BLOCK.findall(PAGE.read_text())}

#: Two tasks that wait for each other, so that no process does both. They import CuPy before they
#: look at this package.
PROGRAM = """
{top}
import json
import os
import sys
import time
from pathlib import Path

MEETING = Path({meeting!r})


def task(item):
    (MEETING / str(os.getpid())).touch()
    end = time.monotonic() + 60
    while len(list(MEETING.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    import cupy

    computed = []

    @cupy.memoize()
    def square(x):
        computed.append(x)
        return x * x

    squares = [square(item), square(item)]
    state = sys.modules["cupy_compat"].status().state
    return dict(process=os.getpid(), squares=squares, computed=computed, state=state)


items = [12, 30]

if __name__ == "__main__":
{body}
    if results:
        print(json.dumps(results))
"""


@dataclass(frozen=True)
class Use:
    """A way to use an engine: a program's body, the command that starts it, its first lines."""

    body: str
    shell: str = "python program.py"
    top: str = ""


DASK = Use(
    """
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1) as client:
        results = client.gather(client.map(task, items))
    """
)
#: Each use without any option.
USES = {
    "executor": Use(
        """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            results = list(pool.map(task, items))
        """
    ),
    "pool": Use(
        """
        from multiprocessing import get_context

        with get_context("spawn").Pool(2) as pool:
            results = pool.map(task, items)
        """
    ),
    "joblib": Use(
        """
        from joblib import Parallel, delayed, parallel_config

        with parallel_config("loky", n_jobs=2):
            results = Parallel()(delayed(task)(item) for item in items)
        """
    ),
    "dask": DASK,
    "dask-variable": DASK,
    "dask-command": Use(
        """
        from distributed import Client

        with Client(scheduler_file="scheduler.json") as client:
            client.wait_for_workers(2)
            results = client.gather(client.map(task, items))
        """,
        """
        dask scheduler --port 0 --scheduler-file scheduler.json &
        dask worker --nworkers 2 --scheduler-file scheduler.json &
        python program.py
        """,
    ),
    "ray": Use(
        """
        import ray

        ray.init()
        results = ray.get([ray.remote(task).remote(item) for item in items])
        """
    ),
    "mpi": Use(
        """
        from mpi4py import MPI

        ranks = MPI.COMM_WORLD
        results = ranks.gather(task(items[ranks.rank]))
        """,
        "mpirun -n 2 python -m mpi4py program.py",
    ),
}

#: Only the tests need these, on a machine with two processors or as root.
MACHINE = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "RAY_OVERRIDE_RESOURCES": '{"CPU": 2}',
    "RAY_USAGE_STATS_ENABLED": "0",
}


def broken_with_engines() -> Environment:
    """Return an environment with a broken CuPy and all engines, which the test bed keeps."""
    origin = testbed.broken(sys.executable, *TYPICAL)

    def build(folder: Path) -> None:
        testbed._run([sys.executable, "-m", "venv", "--without-pip", folder])
        made = Environment(folder)
        shutil.copytree(
            testbed._site_packages(origin), made.site, copy_function=os.link, dirs_exist_ok=True
        )
        testbed.install(sys.executable, folder, *ENGINES)

    name = f"{testbed._tag(sys.executable)}-" + "-".join(ENGINES).replace("==", "")
    return Environment(testbed._once(name, build))


def make(folder: Path, *wheels: Path) -> Environment:
    """Make an environment with those wheels and the engines."""
    engines = broken_with_engines()
    run(BASE, "-m", "venv", "--without-pip", folder)
    made = Environment(folder)
    (made.site / "engines.pth").write_text(f"{engines.site}\n")
    for script in ("dask", "ray"):
        # The first line names the interpreter of the other environment.
        _, _, code = (engines.folder / "bin" / script).read_text().partition("\n")
        (made.folder / "bin" / script).write_text(f"#!{made.python}\n{code}")
        (made.folder / "bin" / script).chmod(0o755)
    copy_package("wrapt", made)
    made.install(*wheels)
    return made


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, wheels: list[Path]) -> Environment:
    """Return an environment with ``cupy_compat`` that no start of Python imports."""
    return make(tmp_path_factory.mktemp("installed") / "env", wheels[0])


@pytest.fixture(scope="session")
def automatic(tmp_path_factory: pytest.TempPathFactory, wheels: list[Path]) -> Environment:
    """Return an environment with ``cupy-compat-auto``."""
    return make(tmp_path_factory.mktemp("automatic") / "env", *wheels)


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    status: int
    printed: str
    errors: str


@functools.cache
def outcome(environment: Environment, use: Use) -> Outcome:
    """Run a use of an engine in an environment."""
    if use.shell.startswith("mpirun") and shutil.which("mpirun") is None:
        missing = "mpirun is missing: install Open MPI (Debian's openmpi-bin)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    # Not in pytest's folder: Ray makes a socket there, whose path must be short.
    with tempfile.TemporaryDirectory(prefix="engines-") as name:
        folder = Path(name)
        (folder / "meeting").mkdir()
        body = textwrap.indent(textwrap.dedent(use.body), "    ")
        program = PROGRAM.format(top=use.top, meeting=str(folder / "meeting"), body=body)
        (folder / "program.py").write_text(program)
        variables = clean() | arming() | MACHINE | {"RAY_TMPDIR": name}
        variables["PATH"] = f"{environment.folder / 'bin'}:{variables['PATH']}"
        with open(folder / "out", "w") as out, open(folder / "err", "w") as err:
            started = subprocess.Popen(
                ["bash", "-c", textwrap.dedent(use.shell)],
                env=variables,
                cwd=folder,
                stdout=out,
                stderr=err,
                # A process group, to end what runs in the background.
                start_new_session=True,
            )
            try:
                status = started.wait(timeout=150)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(started.pid, signal.SIGKILL)
        return Outcome(status, (folder / "out").read_text(), (folder / "err").read_text())


def assert_fails(done: Outcome) -> None:
    """Check that the import of CuPy failed with the error of a broken build."""
    assert done.status != 0
    assert "in cupy._util.memoize.decorator" in done.errors
    assert "'__name__' of 'builtin_function_or_method' objects is not writable" in done.errors


def assert_works(done: Outcome) -> None:
    """Check that two processes memoized: each called a function twice and computed it once."""
    assert done.status == 0, done.errors
    results = json.loads(done.printed.splitlines()[-1])
    assert len({result["process"] for result in results}) == 2
    assert [result["squares"] for result in results] == [[144, 144], [900, 900]]
    assert [result["computed"] for result in results] == [[12], [30]]
    assert [result["state"] for result in results] == ["repaired", "repaired"]


@pytest.mark.parametrize("name", USES)
def test_cupy_compat_auto_alone_cures_workers(
    name: str, installed: Environment, automatic: Environment
) -> None:
    assert_fails(outcome(installed, USES[name]))
    assert_works(outcome(automatic, USES[name]))


@pytest.mark.parametrize("name", USES)
def test_the_option_of_the_engine_cures_workers(name: str, installed: Environment) -> None:
    assert_fails(outcome(installed, USES[name]))
    language, code = BLOCKS[name]
    replaced = {"body": code} if language == "python" else {"shell": code}
    assert_works(outcome(installed, replace(USES[name], **replaced)))


@pytest.mark.parametrize("name", ["executor", "pool"])
def test_a_script_that_begins_with_two_imports_needs_no_initializer(
    name: str, installed: Environment
) -> None:
    assert_fails(outcome(installed, replace(USES[name], top="import cupy")))
    _, lines = BLOCKS["script"]
    assert_works(outcome(installed, replace(USES[name], top=lines)))


@pytest.mark.parametrize("name", ["executor", "pool", "joblib", "dask", "ray"])
def test_running_a_program_by_cupy_compat_run_cures_its_workers(
    name: str, installed: Environment
) -> None:
    assert_fails(outcome(installed, USES[name]))
    _, command = BLOCKS["run"]
    assert_works(outcome(installed, replace(USES[name], shell=command)))


def test_the_page_shows_a_block_for_each_use_and_names_the_versions() -> None:
    assert set(BLOCKS) == {"run", "script", *USES}
    text = " ".join(PAGE.read_text().split())
    for name, version in (engine.split("==") for engine in ENGINES):
        assert f"{name} {version}" in text
