"""Make an environment with a genuinely broken or a healthy CuPy, with pip alone.

CuPy's maintainers compile the published wheels with a suitable Cython, so all of them are healthy.
The failure that this project repairs lives in CuPys that others compiled with Cython 3.1 or later.
So the test bed installs the published wheel. With the given Cython, it compiles only the module
that fails, from the source distribution of the same version, and replaces the one of the wheel.
That takes seconds, whereas a whole build takes minutes, and ends in the same traceback. If a Python
has no wheel of that CuPy, the test bed builds CuPy whole, once and without CUDA.

The test bed keeps everything in ``$CUPY_COMPAT_TESTBED`` (by default ``cupy-compat-testbed`` in the
user's cache folder). Everything that appears there is complete.

Examples::

    python tests/testbed.py --python 3.13 --cupy 13.4.1 --cython 3.1.8   # broken
    python tests/testbed.py --python 3.13 --cupy 13.6.0                  # healthy
    python tests/testbed.py --into ENV/bin/python --cython 3.1.8         # breaks the CuPy in ENV
    python tests/testbed.py --python 3.13 --cupy 13.4.1 --source         # its source distribution

It prints the path of the environment's interpreter, or of the folder of the source.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Last: the tests are for the installed package. A session that installs none uses the checkout.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from cupy_compat.rebuild import source
from cupy_compat.rebuild.build import compile_util, install_cython
from cupy_compat.rebuild.build import unknown_directives as unknown_to
from cupy_compat.rebuild.process import RebuildError as TestBedError
from cupy_compat.rebuild.process import pip, run

#: CuPys that the package index has only as a source distribution. 14.0.0a1 also stands for the git
#: snapshots of that version: their ``cupy/_util.pyx`` is the same.
SOURCE_ONLY = ("14.0.0a1",)
#: The versions that fail, and the oldest and the newest Cython that break them.
BROKEN_CUPYS = ("13.4.0", "13.4.1")
BREAKING_CYTHONS = ("3.1.1", "3.3.1")
#: A Cython that CuPy's maintainers used.
GOOD_CYTHON = "3.0.12"
#: The first CuPy whose source is fixed. Tests compare a repaired CuPy with it.
REFERENCE_CUPY = "13.5.1"
#: Further healthy CuPys, which the shim must leave as they are.
HEALTHY_CUPYS = ("13.6.0", "14.2.0")


def store() -> Path:
    """Return the folder of the test bed."""
    chosen = os.environ.get("CUPY_COMPAT_TESTBED")
    if chosen:
        return Path(chosen).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "cupy-compat-testbed"


def interpreter(version: str) -> Path:
    """Return the interpreter of that version, such as ``"3.13"``, that is on the PATH."""
    found = shutil.which(f"python{version}")
    # A shim of pyenv is there even if that version is not active.
    asked = [found or "", "-c", "import sys; print(sys.executable)"]
    if found is None or (done := _run(asked, check=False)).returncode != 0:
        raise TestBedError(f"no python{version} on the PATH answers; install it or add it there")
    return Path(done.stdout.strip())


def is_kept(python: Path | str, cupy: str) -> bool:
    """Return whether the test bed has that CuPy for that interpreter."""
    return (store() / _healthy_name(python, cupy)).exists()


def _healthy_name(python: Path | str, cupy: str) -> str:
    return f"{_tag(python)}-cupy{cupy}"


def healthy(python: Path | str, cupy: str) -> Path:
    """Return the interpreter of an environment with the published wheel of CuPy.

    If this Python has no such wheel, pip builds CuPy from the source distribution.
    """

    def build(env: Path) -> None:
        _run([python, "-m", "venv", "--without-pip", env])
        try:
            install(python, env, f"cupy-cuda12x=={cupy}")
        except TestBedError as error:
            if "No matching distribution" not in str(error):
                raise
            _install_whole(python, env, cupy)
        # Python compiles what it imports, for all environments that link to these files.
        _run([_python(env), "-c", "import cupy"])

    return _python(_once(_healthy_name(python, cupy), build))


def install(
    python: Path | str, env: Path, *packages: str, environment: Mapping[str, str] = {}
) -> None:
    """Install into an environment that has no pip; Python compiles what it imports later."""
    arguments = ["--python", str(_python(env)), "install", "--no-compile", *packages]
    _pip(python, *arguments, env=environment)


def _install_whole(python: Path | str, env: Path, cupy: str) -> None:
    # CuPy's switch for a build without a CUDA toolkit. The compiler's optimization would take most
    # of the time, and nobody measures this CuPy.
    how = {"READTHEDOCS": "True", "CXXFLAGS": "-O0 -g0"}
    install(python, env, "--no-deps", "--no-binary", "cupy", f"cupy=={cupy}", environment=how)
    # Any version: those that an old CuPy asks for have no wheels for this Python either.
    install(python, env, "cuda-pathfinder", "fastrlock", "numpy")
    if cupy in (*BROKEN_CUPYS, *SOURCE_ONLY):
        # pip builds with the newest Cython.
        _replace_util(_python(env), broken_module(python, cupy, GOOD_CYTHON))


def compiled(python: Path | str, cupy: str, cython: str) -> Path:
    """Return the interpreter of an environment whose ``cupy._util`` was compiled by that Cython."""

    def build(env: Path) -> None:
        copy(python, healthy(python, cupy), env)
        _replace_util(_python(env), broken_module(python, cupy, cython))

    return _python(_once(f"{_tag(python)}-cupy{cupy}-cython{cython}", build))


def copy(python: Path | str, origin: Path, env: Path) -> None:
    """Make an environment with the packages of another one.

    Its files are hard links, since each CuPy fills 300 MB: replace files, and write into none.
    """
    _run([python, "-m", "venv", "--without-pip", env])
    into = _site_packages(_python(env))
    shutil.copytree(_site_packages(origin), into, copy_function=os.link, dirs_exist_ok=True)


#: For tests that need a broken CuPy.
broken = compiled


def break_cupy(python: Path | str, cython: str) -> None:
    """Replace ``cupy._util`` of an existing environment by one compiled by that Cython."""
    asked = "import importlib.metadata as m; print(m.version('cupy-cuda12x'))"
    cupy = _run([python, "-c", asked]).stdout.strip()
    _replace_util(python, broken_module(python, cupy, cython))


def _replace_util(python: Path | str, built: Path) -> None:
    target = _site_packages(python) / "cupy" / built.name
    # A new file under the old name, since other environments may link to the old one.
    aside = target.with_suffix(".new")
    shutil.copy2(built, aside)
    aside.replace(target)


def broken_module(python: Path | str, cupy: str, cython: str) -> Path:
    """Return ``cupy._util`` of that CuPy, compiled by that Cython for that interpreter."""

    def build(folder: Path) -> None:
        compile_util(python, _cython(python, cython), source_of(python, cupy), folder)

    (built,) = _once(f"{_tag(python)}-util{cupy}-cython{cython}", build).glob("_util.*")
    return built


def source_of(python: Path | str, cupy: str) -> Path:
    """Return the folder of CuPy's unpacked source distribution."""

    def fetch(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=store()) as scratch:
            source.fetch(python, cupy, Path(scratch)).rename(folder)

    return _once(f"source-cupy{cupy}", fetch)


def unknown_directives(python: Path | str, cupy: str, cython: str) -> list[str]:
    """Return the directives of CuPy's builder that this Cython does not know; builds omit them."""
    return unknown_to(python, _cython(python, cython), source_of(python, cupy))


def _cython(python: Path | str, cython: str) -> Path:
    return _once(
        f"{_tag(python)}-cython{cython}",
        lambda folder: install_cython(python, cython, folder),
    )


def _once(name: str, build: Callable[[Path], None]) -> Path:
    """Return ``store() / name``, and build it first if it is missing."""
    place = store() / name
    if place.exists():
        return place
    store().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store(), prefix=f"{name}-") as scratch:
        fresh = Path(scratch) / "built"
        fresh.mkdir()
        build(fresh)
        try:
            fresh.rename(place)
        except OSError:
            # Another process has finished the same build meanwhile.
            if not place.exists():
                raise
    return place


def _tag(python: Path | str) -> str:
    asked = "import sys; print('cp%d.%d.%d' % sys.version_info[:3])"
    return _run([python, "-c", asked]).stdout.strip()


def _python(env: Path) -> Path:
    return env / "bin" / "python"


def _site_packages(python: Path | str) -> Path:
    asked = "import sysconfig; print(sysconfig.get_path('platlib'))"
    return Path(_run([python, "-c", asked]).stdout.strip())


def _pip(python: Path | str, *arguments: str, env: Mapping[str, str] = {}) -> None:
    pip(python, *arguments, env={**_CLEAN, **env})


def _run(
    command: list[str | Path], *, env: Mapping[str, str] = {}, **options: Any
) -> subprocess.CompletedProcess[str]:
    return run(command, env={**_CLEAN, **env}, **options)


#: Neither variable may leak in from the caller.
_CLEAN = {"PYTHONPATH": "", "CUPY_COMPAT": ""}


def main(arguments: list[str] | None = None) -> int:
    """Make the environment that the command line asks for, and print its interpreter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--python", metavar="VERSION", help="a new environment for this Python")
    where.add_argument("--into", metavar="PYTHON", help="an existing environment's interpreter")
    parser.add_argument("--cupy", metavar="VERSION", help="with --python: which CuPy")
    parser.add_argument("--cython", metavar="VERSION", help="the Cython that breaks it")
    parser.add_argument("--source", action="store_true", help="its source distribution alone")
    options = parser.parse_args(arguments)
    if options.into and (options.cupy or not options.cython):
        parser.error("--into takes --cython and no --cupy")
    if options.python and not options.cupy:
        parser.error("--python needs --cupy")
    try:
        if options.into:
            break_cupy(options.into, options.cython)
            print(options.into)
        elif options.source:
            print(source_of(interpreter(options.python), options.cupy))
        elif options.cython:
            print(broken(interpreter(options.python), options.cupy, options.cython))
        else:
            print(healthy(interpreter(options.python), options.cupy))
    except TestBedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
