"""Everything that is done with this project, each by one command.

``nox`` runs the whole test suite, ``nox -s demo`` shows what the project is for. Both make all that
they need. Where an interpreter is missing, nox says so; in CI that is a failure.
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

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
LATER = ["3.14", "3.15"]
ROOT = Path(__file__).parent
DIST = ROOT / "dist"
BUNDLE = ROOT / "build" / "doctor.pyz"
AUTO = ROOT / "auto"
SITE = "docs/_build/html"
PUBLISHED = ["cupy-compat", "cupy-compat-auto"]
sys.path.insert(0, str(ROOT / "tests"))

from testbed import TestBedError, interpreter  # noqa: E402

# The first that runs sessions beside each other.
nox.needs_version = ">=2026.8.10"
# Some sessions call pip, which an environment that uv makes does not hold.
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = bool(os.environ.get("CI"))
nox.options.sessions = ["lint", "tests", "docs", "packages", "engines", "neighbours", "bench"]
# Most of a session is one process after another, pip's above all. Where something is measured,
# nothing runs beside it: that is for those sessions alone that allow it.
nox.options.parallel = len(PYTHONS)
# The three Pythons must be there; these count where they are.
for version in LATER:
    with contextlib.suppress(TestBedError):
        interpreter(version)
        nox.options.sessions.append(f"later-{version}")


def groups(*names: str) -> list[str]:
    """Return what the dependency groups of that name ask for."""
    project = nox.project.load_toml(ROOT / "pyproject.toml")
    return list(nox.project.dependency_groups(project, *names))


def install(session: nox.Session, *packages: str) -> None:
    """Install without compiling: Python does that with what is imported, which is little of it."""
    session.install("--no-compile", *packages)


def workers(session: nox.Session) -> str:
    """Return how many processes of pytest a session has CPUs for."""
    if not session.parallel:
        return "auto"
    return str(max(1, (os.cpu_count() or 1) // len(PYTHONS)))


@nox.session(allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Check style and types."""
    install(session, ".[cudamark]", *groups("lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    # As others see the types: the installed package's, from outside the checkout.
    session.run("pytest", "tests/typing/check.py")


@nox.session(python="3.13", allow_parallel=True)
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build/html; any warning or broken link is a failure.

    `nox -s docs -- linkcheck` follows the links that lead out, too, which needs a network.
    `nox -s docs -- performance` puts airspeed velocity's own pages into its folder asv, which takes
    a clone with the whole history; they load their scripts from the network.
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


# The newest first, since it has the most to do.
@nox.session(python=PYTHONS[::-1], allow_parallel=True)
def tests(session: nox.Session) -> None:
    """Run all tests; broken and healthy CuPys are made when they are needed, and kept.

    Those of documentation, tools and other libraries' rows, which are the same on every Python, run
    on the newest.
    """
    install(session, ".[cudamark,cuda12x]", *groups("test"))
    elsewhere = ["test_doctor_environments.py"]
    if session.python != PYTHONS[-1]:
        tools = ["contenders", "cupy_suite", "docs", "evidence", "load", "testbed"]
        history = ["history_compare", "history_labels", "history_page", "history_versions"]
        elsewhere += [f"test_{name}.py" for name in [*tools, *history]]
        elsewhere.append("test_neighbours.py::test_it_works_in_a_packaged_program")
    session.run(
        *("pytest", "-n", workers(session), *(f"--deselect=tests/{test}" for test in elsewhere)),
        *session.posargs,
    )


@nox.session(python=LATER, allow_parallel=True)
def later(session: nox.Session) -> None:
    """Run the tests that find a wheel of their CuPy; ``-- whole`` adds those that build one.

    pip builds two CuPys there, five minutes each. The test bed keeps them.
    """
    install(session, ".[cudamark]", *groups("test"))
    shim = ["hook", "policy_and_bad_cases", "repair", "untouched"]
    files = [*shim, "threaded_sort", "plan", "cudamark", "contenders", "honesty"]
    if session.posargs == ["whole"]:
        start = ["auto", "enable", "run", "neighbours", "harmless", "status", "model", "stress"]
        files += ["later", "broken_cupy", "healthy_cupy", *start]
        cases = []
    else:
        cases = ["-k", "not with_another_fault"]
    cases += ["--deselect=tests/test_neighbours.py::test_it_works_in_a_packaged_program"]
    named = [f"tests/test_{file}.py" for file in files]
    if session.python == "3.14" and not session.posargs:
        named.append("tests/test_later.py::test_functions_that_refuse_annotations_get_them")
    session.run("pytest", "-n", workers(session), *named, *cases)


@nox.session(python="3.12")
def doctor(session: nox.Session) -> None:
    """Ask the doctor in every environment that its checks are for; loads 3 GB of wheels once."""
    # NumPy 1 and the CuPys before 13.4 have no wheels for a later Python.
    install(session, ".", *groups("test"), "rapids-cli")
    session.run("pytest", "tests/test_doctor_environments.py", *session.posargs)


@nox.session(python="3.13", allow_parallel=True)
def engines(session: nox.Session) -> None:
    """Cure the workers of Dask, Ray, joblib, multiprocessing and MPI, each by its own option."""
    install(session, ".", *groups("test"))
    # Elsewhere the machine is its user's, and the cases that need it are skipped.
    if os.environ.get("CI") and shutil.which("mpirun") is None:
        install_debian(session, "openmpi-bin")
    session.run("pytest", "tests/engines.py", *session.posargs)


@nox.session(python="3.13", allow_parallel=True)
def neighbours(session: nox.Session) -> None:
    """Try the shim beside Ray, Celery, pydantic 1, IPython and three agents; loads 350 MB once."""
    install(session, ".", *groups("test"))
    session.run("pytest", "-n", workers(session), "tests/heavy_neighbours.py", *session.posargs)


@nox.session(python="3.13", allow_parallel=True)
def dependents(session: nox.Session) -> None:
    """Try libraries with a broken, a repaired and a healthy CuPy; docs/_data/dependents.json."""
    install(session, ".", *groups("test"))
    session.run("python", "tests/dependents.py")


@nox.session(python="3.13", name="with")
def with_(session: nox.Session) -> None:
    """Measure every library that ``cudamark --compare --with`` knows; loads 3.2 GB of wheels."""
    # One environment for all of them: cuPyNumeric's CUDA holds torch at this version.
    libraries = ["polars==2.1.0", "torch==2.13.0", "parallel-sort==0.2.1"]
    libraries += ["quill-fastsort-parallel==0.5.0", "nvidia-cupynumeric==26.6.1"]
    session.install(".[cudamark]", *groups("test"), *libraries)
    session.run("pytest", "tests/real_contenders.py", *session.posargs)


def install_debian(session: nox.Session, package: str) -> None:
    """Install a package of Debian and its like, as root or by sudo."""
    apt = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not all(map(shutil.which, [*apt[:1], "apt-get"])):
        session.error(f"install {package}: it is missing, and neither root nor sudo has apt-get")
    apt += ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    session.run(*apt, "update", external=True, silent=True)
    install = ["install", "--yes", "--no-install-recommends", package]
    session.run(*apt, *install, external=True, silent=True)


@nox.session(python="3.13", allow_parallel=True)
def build(session: nox.Session) -> None:
    """Build into dist/ what is published, as wheels and source distributions, and check it."""
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
    # Not into dist/, all of which is published on the index.
    BUNDLE.parent.mkdir(exist_ok=True)
    session.run("python", "tools/bundle_doctor.py", str(wheel), str(BUNDLE))


@nox.session(python=PYTHONS, requires=["build"], allow_parallel=True)
def packages(session: nox.Session) -> None:
    """Install what was built beside a broken CuPy, as others would, and use it."""
    python = str(Path(session.bin, "python"))
    install(session, "cupy-cuda12x==13.4.1", "pytest>=8")
    session.run("python", "tests/testbed.py", "--into", python, "--cython", "3.1.1", silent=True)
    # On every Python, as its users may ask for it, and without the checkout on the path.
    always = {"CUPY_COMPAT": "always", "PYTHONSAFEPATH": "1"}
    for kind in (".whl", ".tar.gz"):
        session.install(*map(str, DIST.glob(f"cupy_compat-*{kind}")), "./examples/gpupoly")
        session.run("pytest", "-q", "tests/installed.py", "--noconftest")
        session.run("pytest", "-q", "examples/gpupoly", "--noconftest", env=always)
        # Last, since beside it the library would not have to do anything.
        session.install(*map(str, DIST.glob(f"cupy_compat_auto-*{kind}")))
        session.run("python", "-c", "import cupy", env=always)
        session.run("pip", "uninstall", "-q", "-y", "gpupoly", *PUBLISHED)
        left = list(Path(session.virtualenv.location).rglob("*cupy_compat*"))
        if left:
            session.error(f"pip uninstall left {left}")


@nox.session(python="3.13")
def audit(session: nox.Session) -> None:
    """Look up everything that an extra brings for known vulnerabilities, which needs a network."""
    session.install("pip-audit>=2.7")
    extras = nox.project.load_toml(ROOT / "pyproject.toml")["project"]["optional-dependencies"]
    folder = Path(session.create_tmp())
    report = folder / "report.json"
    dry = ["--dry-run", "--ignore-installed", "--quiet", "--report", str(report)]
    # cupy-compat-auto may not be published yet; it is the neighbour's folder that is meant anyway.
    projects = [f".[{','.join(extras)}]", f"./{AUTO.name}"]
    session.run("python", "-m", "pip", "install", *dry, *projects)
    found = [item for item in json.loads(report.read_text())["install"] if not item["is_direct"]]
    pins = [f"{item['metadata']['name']}=={item['metadata']['version']}" for item in found]
    (folder / "pins.txt").write_text("\n".join(pins))
    # Strict, since what the service does not know would count as clean otherwise.
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


@nox.session(python="3.13")
def demo(session: nox.Session) -> None:
    """Show a broken CuPy fail, and import with ``cupy_compat``; then sort on what there is."""
    install(session, ".[cudamark,cuda12x]")
    testbed = ["python", "tests/testbed.py", "--python", "3.13"]
    session.log("making a CuPy 13.4.1 that is compiled with Cython 3.1.1, as a source build may be")
    built = session.run(*testbed, "--cupy", "13.4.1", "--cython", "3.1.1", silent=True)
    python = str(built).splitlines()[-1]
    # Beside the environment and not in it, since that is kept and shared with the tests.
    folder = session.create_tmp()
    session.run("python", "-m", "pip", "install", "-q", "--upgrade", "--target", folder, ".")
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
    """Measure what the shim costs; docs/_data/cost.json."""
    session.run("python", "tools/measure_cost.py", "docs/_data/cost.json")


@nox.session(python="3.13")
def mutants(session: nox.Session) -> None:
    """Change the code place by place to see that a test notices: ``-- shim`` or ``-- measure``."""
    session.install(".[cudamark]", *groups("test", "mutants"))
    # The cache folder outlives the session's environment, so a run that was stopped goes on.
    work = session.cache_dir / "mutants"
    session.run("python", "tools/mutants.py", "--work", str(work), *session.posargs)


@nox.session(python="3.13")
def matrix(session: nox.Session) -> None:
    """Build every CuPy with every Cython on every Python; docs/_data/matrix.json."""
    session.run("python", "tests/matrix.py")


@nox.session(python="3.13", name="cupy-tests")
def cupy_tests(session: nox.Session) -> None:
    """Run CuPy's own tests, all or those in the files named; docs/_data/cupy-tests.json.

    CuPy's wheel and a broken build of it with the shim are compared. All of it takes an hour.
    """
    session.install(*groups("cupy-tests"))
    testbed = ["python", "tests/testbed.py", "--python", "3.13", "--cupy", "13.4.1"]
    wheel = str(session.run(*testbed, silent=True)).splitlines()[-1]
    broken = str(session.run(*testbed, "--cython", "3.1.1", silent=True)).splitlines()[-1]
    source = str(session.run(*testbed, "--source", silent=True)).splitlines()[-1]
    asked = "import sysconfig; print(sysconfig.get_path('platlib'))"
    tools = str(session.run("python", "-c", asked, silent=True)).strip()
    folder = Path(session.create_tmp())
    shim, work = folder / "shim", folder / "work"
    session.run(
        "python", "-m", "pip", "install", "-q", "--upgrade", "--no-deps", "--target", shim, "."
    )
    shutil.rmtree(work, ignore_errors=True)
    # A part of the tests must not take the place of the figures of all of them.
    kept = (folder if session.posargs else ROOT / "docs" / "_data") / "cupy-tests.json"
    session.run(
        *("python", "tools/cupy_suite.py", "run", "--source", source, "--shim", shim),
        *("--wheel", f"{wheel}:{tools}", "--broken", f"{broken}:{tools}"),
        *("--work", work, "--json", kept, "--command", "nox -s cupy-tests", *session.posargs),
    )


@nox.session(python=PYTHONS)
def stress(session: nox.Session) -> None:
    """Try the shim with 300 processes of 32 threads, 100 walks on real CuPys, 2,000 modelled."""
    install(session, ".[cudamark]", *groups("test"))
    much = {"STRESS_PROCESSES": "300", "MODEL_SEQUENCES": "2000", "MODEL_WALKS": "50"}
    session.run("pytest", "tests/test_stress.py", "tests/test_model.py", *session.posargs, env=much)


@nox.session(python="3.13")
def load(session: nox.Session) -> None:
    """Repair ten thousand times, call a million times, sort ten thousand; docs/_data/load.json."""
    session.install(".[cudamark]")
    testbed = ["python", "tests/testbed.py", "--python", "3.13"]
    built = session.run(*testbed, "--cupy", "13.4.1", "--cython", "3.1.1", silent=True)
    folder = session.create_tmp()
    session.run("python", "-m", "pip", "install", "-q", "--upgrade", "--target", folder, ".")
    target = ROOT / "docs" / "_data" / "load.json"
    session.run("python", "tools/load.py", "all", str(target), str(built).splitlines()[-1], folder)
