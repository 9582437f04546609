"""The shim together with packages too large for the test suite: ``nox -s neighbours``.

Each package has its own folder in the test bed's store, because Ray and pydantic 1 exclude each
other.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import testbed
from conftest import Interpreter
from environments import ROOT, clean, make, run
from test_neighbours import FAILURE, assert_same_output_as_on_a_healthy_cupy

#: A requirement, and a program whose output must be the same as on a healthy CuPy.
PROGRAMS = {
    "Celery": (
        "celery==5.7.0",
        """
        import cupy
        from celery import Celery

        app = Celery("mine")
        app.conf.task_always_eager = True

        @app.task
        @cupy.memoize()
        def double(x):
            return 2 * x

        print(double.name, double.delay(2).get(), double(3))
        """,
    ),
    "IPython's autoreload after an upgrade": (
        "ipython==9.18.1",
        r"""
        import os, sys, time
        from pathlib import Path

        os.environ["IPYTHONDIR"] = os.getcwd()
        from IPython.core.interactiveshell import InteractiveShell

        shell = InteractiveShell.instance()
        shell.run_line_magic("load_ext", "autoreload")
        shell.run_line_magic("autoreload", "2")

        def cell(code):
            done = shell.run_cell(code)
            print(done.error_in_exec or done.error_before_exec or done.result)

        cell("import cupy\n@cupy.memoize()\ndef old(x): return x\nold(1), old.__name__")
        later = time.time() + 60
        for path in Path("shim").glob("cupy_compat/*.py"):
            path.write_text(path.read_text() + "\n_of_the_next_version = 1\n")
            os.utime(path, (later, later))
        cell("old(2), old.__name__")
        cell("@cupy.memoize()\ndef new(x): return x\nnew(1), new.__name__")
        cell("import cupyx.scipy.ndimage")
        """,
    ),
    "pydantic 1": (
        "pydantic==1.10.27",
        """
        import cupy
        import pydantic

        class Model(pydantic.BaseModel):
            a: int

            @cupy.memoize()
            def double(self, x):
                return 2 * x

        print(pydantic.VERSION, list(Model.__fields__), Model(a=1).a)
        """,
    ),
    "Ray": (
        "ray==2.60.0",
        """
        import os, sys, tempfile
        from pathlib import Path
        import ray

        # A worker process imports the module again.
        arm = "import cupy_compat; cupy_compat.install(True)"
        Path("mine.py").write_text((arm if "cupy_compat" in sys.modules else "") + '''
        import cupy

        @cupy.memoize()
        def double(x):
            return 2 * x

        class Actor:
            @cupy.memoize()
            def method(self, x):
                return x + 1
        ''')
        import mine

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        quiet = dict(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        # Ray creates a socket there, whose path must be short.
        with tempfile.TemporaryDirectory(prefix="ray-") as folder:
            ray.init(num_cpus=1, _temp_dir=folder, **quiet)
            print(ray.get(ray.remote(mine.double).remote(2)))
            actor = ray.remote(mine.Actor).remote()
            print([name for name in dir(actor) if name[0] != "_"])
            print(ray.get(actor.method.remote(1)))
            ray.shutdown()
        """,
    ),
}


def libraries(requirement: str) -> Path:
    """Return a folder for ``sys.path`` with that requirement."""
    pip = (sys.executable, "-m", "pip", "-q", "install", "--no-compile", "--target")
    name = f"{testbed._tag(sys.executable)}-{requirement.replace('==', '')}"
    return testbed._once(name, lambda folder: run(*pip, folder, requirement))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_the_same_output_as_on_a_healthy_cupy(
    name: str, broken: Interpreter, reference: Interpreter, tmp_path: Path
) -> None:
    requirement, code = PROGRAMS[name]
    folder = libraries(requirement)
    assert_same_output_as_on_a_healthy_cupy(code, broken, reference, folder, tmp_path)


#: Monitoring agents, by the first word of their lines in ``docs/drop-in.md``.
AGENTS = {
    "opentelemetry-instrument": ("opentelemetry-distro==0.66b2", "opentelemetry"),
    "ddtrace-run": ("ddtrace==4.16.0", "ddtrace"),
    "newrelic-admin": ("newrelic==14.1.0", "newrelic"),
}
#: Variables that stop them from sending data.
OFFLINE = {
    **dict.fromkeys(
        ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "none"
    ),
    **dict.fromkeys(("DD_TRACE_ENABLED", "DD_INSTRUMENTATION_TELEMETRY_ENABLED"), "false"),
    "NEW_RELIC_DEVELOPER_MODE": "true",
}
APP = """
import sys
import cupy
print(sys.argv[1] in sys.modules, sys.modules["cupy_compat"].status().state)
"""


@pytest.mark.parametrize("agent", AGENTS)
def test_run_arms_a_program_under_an_agent(agent: str, tmp_path: Path, wheels: list[Path]) -> None:
    venv = make(tmp_path / "env")
    requirement, module = AGENTS[agent]
    folder = libraries(requirement)
    (venv.site / "agent.pth").write_text(f"{folder}\n")
    venv.install(wheels[0])
    # Replace the interpreter in the first line.
    _, _, code = (folder / "bin" / agent).read_text().partition("\n")
    (venv.folder / "bin" / agent).write_text(f"#!{venv.python}\n{code}")
    (venv.folder / "bin" / agent).chmod(0o755)
    (venv.folder / "app.py").write_text(APP)
    variables = {**OFFLINE, "PATH": f"{venv.folder / 'bin'}:{clean()['PATH']}"}

    def start(line: str) -> tuple[str, str]:
        done = venv.start("-c", f"{line} {module}", program=Path("/bin/sh"), environment=variables)
        return done.stdout, done.stderr

    page = (ROOT / "docs" / "drop-in.md").read_text()
    (line,) = (line for line in page.splitlines() if line.startswith(f"{agent} "))
    assert FAILURE in start(line.replace("cupy-compat run", "python"))[1]
    assert start(line)[0] == "True repaired\n"
    # The other order.
    words = line.partition(" cupy-compat run")[0]
    other = start(f'cupy-compat run "$(command -v {agent})"{words[len(agent) :]} python app.py')
    if agent == "opentelemetry-instrument":
        assert FAILURE in other[1]
    else:
        assert other[0] == "True repaired\n"
