"""The tasks of this project, one nox session each.

``nox`` runs what CI runs, and ``nox -s demo`` shows what the project is for. Both install what they
need, except interpreters. A missing interpreter is reported; in CI it is a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
LATER = ["3.14", "3.15"]
ROOT = Path(__file__).parent
DIST = ROOT / "dist"
BUNDLE = ROOT / "build" / "doctor.pyz"
AUTO = ROOT / "auto"
SITE = "docs/_build/html"
PUBLISHED = ["cupy-compat", "cupy-compat-auto"]
#: The tests of the shim and of the commands that start it.
SHIM = ["auto", "broken_cupy", "enable", "harmless", "healthy_cupy", "hook", "model"]
SHIM += ["policy_and_bad_cases", "repair", "run", "status", "stress", "untouched"]
SORTS = ["compiled", "crew", "plan", "threaded_sort"]
REBUILT = "test_a_rebuilt_cupy_equals_a_fixed_one_and_undo_restores_every_byte"
#: The tests that need no CuPy.
ALONE = ["doctor_checks", "hook", "repair", "untouched", *SORTS]
NEEDS_PYINSTALLER = "--deselect=tests/test_neighbours.py::test_it_works_in_a_packaged_program"
sys.path.insert(0, str(ROOT / "tests"))

from testbed import TestBedError, interpreter  # noqa: E402

# The first version that runs sessions side by side.
nox.needs_version = ">=2026.8.10"
# If uv is installed, it takes a tenth of virtualenv's time.
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = bool(os.environ.get("CI"))
# The longest sessions first.
nox.options.sessions = ["tests", "engines", "lint", "packages", "neighbours", "bench", "docs"]
# Sessions that measure something do not set allow_parallel.
nox.options.parallel = len(PYTHONS)
# The three Pythons are required. Later ones are tested if they are installed.
for version in LATER:
    with contextlib.suppress(TestBedError):
        interpreter(version)
        nox.options.sessions.append(f"later-{version}")


def groups(*names: str) -> list[str]:
    """Return the requirements of dependency groups."""
    project = nox.project.load_toml(ROOT / "pyproject.toml")
    return list(nox.project.dependency_groups(project, *names))


def files(*names: str) -> list[str]:
    """Return the paths of test files, as in tests/test_NAME.py."""
    return [f"tests/test_{name}.py" for name in names]


def install(session: nox.Session, *packages: str) -> None:
    """Install without bytecode: Python compiles the few modules that it imports."""
    session.install("--no-compile", *packages)


def workers(session: nox.Session) -> str:
    """Return how many pytest processes a session starts. The newest Python runs the most tests."""
    if not session.parallel or session.python == PYTHONS[-1]:
        return "auto"
    return str(max(1, (os.cpu_count() or 1) // len(PYTHONS)))


def cupy(session: nox.Session, *arguments: str) -> str:
    """Make an environment with CuPy 13.4.1 on Python 3.13, and return its interpreter."""
    testbed = ["python", "tests/testbed.py", "--python", "3.13", "--cupy", "13.4.1"]
    return str(session.run(*testbed, *arguments, silent=True)).splitlines()[-1]


@nox.session(allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Check style and types."""
    install(session, ".[cudamark]", *groups("lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    # The types as users see them: of the installed package, from outside the checkout.
    session.run("pytest", "tests/typing/check.py")


@nox.session(python="3.13", allow_parallel=True)
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build/html; a warning or a broken link is a failure.

    `nox -s docs -- linkcheck` also follows external links, which needs a network.
    `nox -s docs -- performance` adds airspeed velocity's own pages, in the folder asv. This needs a
    clone with the whole history. Those pages load their scripts from the network.
    """
    install(session, ".[cudamark]", *groups("docs"))
    shutil.rmtree(f"{SITE}/asv", ignore_errors=True)
    strict = ["--fail-on-warning", "--keep-going", "--nitpicky", "--fresh-env"]
    session.run("sphinx-build", *strict, "docs", SITE)
    session.run("python", "tools/check_site.py", SITE)
    for extra in session.posargs:
        if extra == "performance":
            session.install(*groups("bench"))
            session.run("asv", "publish", "--no-pull", "--html-dir", f"{SITE}/asv")
        else:
            session.run("sphinx-build", *strict, "-b", extra, "docs", f"docs/_build/{extra}")


# The newest first, because it runs the most tests.
@nox.session(python=PYTHONS[::-1], allow_parallel=True)
def tests(session: nox.Session) -> None:
    """Run all tests on the newest Python, and on the others the tests that depend on the version.

    The test bed builds broken and healthy CuPys when a test needs them, and caches them.
    """
    install(session, ".[cudamark,cuda12x]", *groups("test"))
    chosen = []
    if session.python != PYTHONS[-1]:
        chosen = files(*SHIM, *SORTS, "cudamark", "doctor", "doctor_fix", "measuring")
        chosen.append(f"{files('rebuild')[0]}::{REBUILT}")
    chosen.append("--deselect=tests/test_doctor_environments.py")
    session.run("pytest", "-n", workers(session), *chosen, *session.posargs)


@nox.session(python=LATER, allow_parallel=True)
def later(session: nox.Session) -> None:
    """Test a Python for which few packages have wheels; ``-- whole`` builds two CuPys for it.

    The first build takes pip five minutes. A whole run writes docs/_data/later.json.
    """
    install(session, ".[cudamark]", *groups("test"))
    run = ["pytest", "-n", workers(session)]
    if session.posargs != ["whole"]:
        repaired = ["tests/test_later.py::test_functions_that_refuse_annotations_get_them"]
        # No CuPy has a wheel for Python 3.15.
        session.run(*run, *files(*ALONE), *repaired[session.python != "3.14" :])
        return
    results = Path(session.create_tmp(), "results.xml")
    run += ["--junitxml", str(results), NEEDS_PYINSTALLER]
    session.run(*run, *files(*SHIM, *SORTS, "neighbours", "later"), success_codes=[0, 1])
    counts = ElementTree.parse(results).getroot()[0].attrib
    version = str(session.run("python", "-V", silent=True)).split()[-1]
    later = ROOT / "docs" / "_data" / "later.json"
    record = json.loads(later.read_text())
    record["pythons"][version] = {
        "date": counts["timestamp"][:10],
        "tests": int(counts["tests"]) - int(counts["skipped"]),
        "failed": int(counts["failures"]) + int(counts["errors"]),
    }
    later.write_text(json.dumps(record, indent=1) + "\n")
    if record["pythons"][version]["failed"]:
        session.error("tests failed")


@nox.session
def alone(session: nox.Session) -> None:
    """Run the tests that need no CuPy, on the Python that runs nox; also on Windows and macOS."""
    install(session, ".[cudamark]", *groups("test"))
    # Without CI, tests may be skipped, as some are on these systems.
    session.run("pytest", "-n", "auto", *files(*ALONE), *session.posargs, env={"CI": None})


@nox.session(python="3.12")
def doctor(session: nox.Session) -> None:
    """Test the doctor in an environment for each of its checks; downloads 3 GB once."""
    # NumPy 1 and the CuPys before 13.4 have no wheels for a later Python.
    install(session, ".", *groups("test"), "rapids-cli")
    session.run("pytest", "tests/test_doctor_environments.py", *session.posargs)


@nox.session(python="3.13", allow_parallel=True)
def engines(session: nox.Session) -> None:
    """Repair CuPy in the workers of Dask, Ray, joblib, multiprocessing and MPI."""
    install(session, ".", *groups("test"))
    session.run("pytest", "tests/engines.py", *session.posargs)


@nox.session(python="3.13", allow_parallel=True)
def neighbours(session: nox.Session) -> None:
    """Test the shim with Ray, Celery, pydantic 1, IPython and three agents; downloads 350 MB."""
    install(session, ".", *groups("test"))
    session.run("pytest", "tests/heavy_neighbours.py", *session.posargs)


@nox.session(python="3.13", allow_parallel=True)
def dependents(session: nox.Session) -> None:
    """Test libraries with broken, repaired and healthy CuPys; writes docs/_data/dependents.json."""
    install(session, ".", *groups("test"))
    session.run("python", "tests/dependents.py")


@nox.session(python="3.13", name="with")
def with_(session: nox.Session) -> None:
    """Measure every library that ``cudamark --compare --with`` knows; downloads 3.2 GB."""
    # One environment for all of them: cuPyNumeric's CUDA holds torch at this version.
    libraries = ["polars==2.1.0", "torch==2.13.0", "parallel-sort==0.2.1"]
    libraries += ["quill-fastsort-parallel==0.5.0", "nvidia-cupynumeric==26.6.1"]
    session.install(".[cudamark]", *groups("test"), *libraries)
    session.run("pytest", "tests/real_contenders.py", *session.posargs)


@nox.session(python="3.13", allow_parallel=True)
def build(session: nox.Session) -> None:
    """Build and check the wheels and source distributions that are published, in dist/."""
    install(session, *groups("build"))
    shutil.rmtree(DIST, ignore_errors=True)
    for project in [ROOT, AUTO]:
        session.run("python", "-m", "build", "--outdir", DIST, project, silent=True)
    for archive in DIST.glob("*.tar.gz"):
        with tarfile.open(archive) as source:
            heavy = [name for name in source.getnames() if re.search(r"\.png$|/results/", name)]
        if heavy:
            session.error(f"{archive.name} holds {heavy}")
    session.run("twine", "check", "--strict", *map(str, DIST.iterdir()))
    session.run("check-wheel-contents", str(DIST))
    (wheel,) = DIST.glob("cupy_compat-*.whl")
    # Not into dist/, all of which is published.
    BUNDLE.parent.mkdir(exist_ok=True)
    session.run("python", "tools/bundle_doctor.py", str(wheel), str(BUNDLE))


@nox.session(python=[PYTHONS[0], PYTHONS[-1]], requires=["build"], allow_parallel=True)
def packages(session: nox.Session) -> None:
    """Install the built distributions next to a broken CuPy, as users would, and use them."""
    python = str(Path(session.bin, "python"))
    install(session, "cupy-cuda12x==13.4.1", "pip", "pytest>=8")
    session.run("python", "tests/testbed.py", "--into", python, "--cython", "3.1.1", silent=True)
    # Arm the shim on every Python, and import no module from the checkout.
    always = {"CUPY_COMPAT": "always", "PYTHONSAFEPATH": "1"}
    for kind in (".whl", ".tar.gz"):
        session.install(*map(str, DIST.glob(f"cupy_compat-*{kind}")), "./examples/gpupoly")
        session.run("pytest", "-q", "tests/installed.py", "--noconftest")
        session.run("pytest", "-q", "examples/gpupoly", "--noconftest", env=always)
        # Last, because it leaves nothing for the library to repair. The shim is named again, or uv
        # would look for it on the index.
        session.install(*map(str, DIST.glob(f"cupy_compat*{kind}")))
        session.run("python", "-c", "import cupy", env=always)
        session.run("pip", "uninstall", "-q", "-y", "gpupoly", *PUBLISHED)
        left = list(Path(session.virtualenv.location).rglob("*cupy_compat*"))
        if left:
            session.error(f"pip uninstall left {left}")


@nox.session(python="3.13")
def audit(session: nox.Session) -> None:
    """Look up known vulnerabilities of everything that the extras install; needs a network."""
    session.install("pip", "pip-audit>=2.7")
    extras = nox.project.load_toml(ROOT / "pyproject.toml")["project"]["optional-dependencies"]
    folder = Path(session.create_tmp())
    report = folder / "report.json"
    dry = ["--dry-run", "--ignore-installed", "--quiet", "--report", str(report)]
    # Our own cupy-compat-auto, which may not be published yet.
    projects = [f".[{','.join(extras)}]", f"./{AUTO.name}"]
    session.run("python", "-m", "pip", "install", *dry, *projects)
    found = [item for item in json.loads(report.read_text())["install"] if not item["is_direct"]]
    pins = [f"{item['metadata']['name']}=={item['metadata']['version']}" for item in found]
    (folder / "pins.txt").write_text("\n".join(pins))
    # Strict: a package that the service does not know must not count as clean.
    known = ["--strict", "--disable-pip", "--no-deps", "--requirement", str(folder / "pins.txt")]
    session.run("pip-audit", *known, *session.posargs)


@nox.session(python="3.13", allow_parallel=True)
def bench(session: nox.Session) -> None:
    """Run each benchmark once on the working tree; or `-- compare A B`, or `-- page`."""
    if session.posargs[:1] == ["compare"]:
        session.run("python", "-m", "tools.history.compare", *session.posargs[1:])
        return
    install(session, ".[cudamark,cuda12x]", *groups("bench"))
    if session.posargs[:1] == ["page"]:
        session.run("python", "-m", "tools.history.page")
        return
    session.run("asv", "machine", "--yes", silent=True)
    installed = ["--config", "asv.installed.conf.json"]
    session.run("asv", "check", *installed)
    session.run("asv", "run", "--quick", "--show-stderr", *installed, *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Show a broken CuPy fail, and work with ``cupy_compat``; then run the sort benchmark."""
    try:
        newest = interpreter("3.13")
    except TestBedError:
        session.error(
            "the demo needs Python 3.13: install it, for example by `uv python install 3.13` or "
            "from https://www.python.org, and see that the PATH has python3.13"
        )
    install(session, ".[cudamark,cuda12x]", "pip")
    session.log("making a CuPy 13.4.1 that is compiled with Cython 3.1.1, as a source build may be")
    python = cupy(session, "--cython", "3.1.1")
    # Not into its environment, which the tests share.
    folder = session.create_tmp()
    pip = ["python", "-m", "pip", "--python", str(newest), "install", "-q"]
    session.run(*pip, "--upgrade", "--target", folder, ".")
    session.log("without cupy_compat:")
    session.run(python, "-c", "import cupy", external=True, success_codes=[1])
    session.log("with it, in the same interpreter:")
    session.run(python, "-c", DEMO, external=True, env={"PYTHONPATH": folder})
    session.run("cupy-compat", "cudamark", "--size", "10000000", *session.posargs)


DEMO = """
import cupy_compat
import cupy

@cupy.memoize()
def square(x):
    print(f"computing the square of {x}")
    return x * x

print(f"square(12) = {square(12)}, and from the cache {square(12)}; it is {square!r}")
print(cupy_compat.status())
"""


@nox.session(python="3.13")
def cost(session: nox.Session) -> None:
    """Measure the cost of the shim; writes docs/_data/cost.json."""
    session.run("python", "tools/measure_cost.py", "docs/_data/cost.json")


@nox.session(python="3.13")
def mutants(session: nox.Session) -> None:
    """Check that a test fails for each small change of the shim; takes half an hour."""
    session.install(".[cudamark]", *groups("test", "mutants"))
    # This folder outlives the session's environment, so a stopped run can be continued.
    work = session.cache_dir / "mutants"
    session.run("python", "tools/mutants.py", "--work", str(work), *session.posargs)


@nox.session(python="3.13")
def matrix(session: nox.Session) -> None:
    """Build every CuPy with every Cython on every Python; writes docs/_data/matrix.json."""
    session.run("python", "tests/matrix.py")


@nox.session(python="3.13", name="cupy-tests")
def cupy_tests(session: nox.Session) -> None:
    """Run CuPy's own tests, or those in the given files; writes docs/_data/cupy-tests.json.

    This compares CuPy's wheel with a broken build and the shim. All tests take an hour.
    """
    session.install(*groups("cupy-tests"))
    wheel, broken = cupy(session), cupy(session, "--cython", "3.1.1")
    source = cupy(session, "--source")
    asked = "import sysconfig; print(sysconfig.get_path('platlib'))"
    tools = str(session.run("python", "-c", asked, silent=True)).strip()
    folder = Path(session.create_tmp())
    shim, work = folder / "shim", folder / "work"
    session.install("--upgrade", "--target", str(shim), ".")
    shutil.rmtree(work, ignore_errors=True)
    # The results of some tests must not replace those of all.
    kept = (folder if session.posargs else ROOT / "docs" / "_data") / "cupy-tests.json"
    session.run(
        *("python", "tools/cupy_suite.py", "--source", source, "--shim", shim),
        *("--wheel", f"{wheel}:{tools}", "--broken", f"{broken}:{tools}"),
        *("--work", work, "--json", kept, *session.posargs),
    )


@nox.session(python=PYTHONS)
def stress(session: nox.Session) -> None:
    """Test the shim with 300 processes of 32 threads, and 2,000 random sequences of calls."""
    install(session, ".[cudamark]", *groups("test"))
    much = {"STRESS_PROCESSES": "300", "MODEL_SEQUENCES": "2000", "MODEL_WALKS": "50"}
    session.run("pytest", "tests/test_stress.py", "tests/test_model.py", *session.posargs, env=much)


@nox.session(python="3.13")
def load(session: nox.Session) -> None:
    """Look for leaks in thousands of repairs, calls and sorts; writes docs/_data/load.json."""
    session.install(".[cudamark]")
    broken, folder = cupy(session, "--cython", "3.1.1"), session.create_tmp()
    session.install("--upgrade", "--target", folder, ".")
    session.run("python", "tools/load.py", "all", "docs/_data/load.json", broken, folder)
