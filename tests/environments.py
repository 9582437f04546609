"""Virtual environments with the package, installed as users install it.

A path file adds the broken CuPy of the test bed, so that no test installs into the test bed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import testbed

ROOT = Path(__file__).parent.parent
ORIGIN = Path(__file__).parent / "origin_script.py"
BASE = Path(getattr(sys, "_base_executable", sys.executable))

#: Builds the wheel of the folder that it runs in.
BUILD = "import sys, hatchling.build as b; getattr(b, sys.argv[1])(sys.argv[2])"


@dataclass(frozen=True)
class Environment:
    """A virtual environment of this Python."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def command(self) -> Path:
        """Its ``cupy-compat``."""
        return self.folder / "bin" / "cupy-compat"

    @property
    def site(self) -> Path:
        """Its ``site-packages``."""
        (site,) = self.folder.glob("lib/python*/site-packages")
        return site

    def start(
        self,
        *arguments: str | Path,
        program: Path | None = None,
        environment: Mapping[str, str] = {},
        input: str = "",
        cwd: Path | None = None,
        **options: object,
    ) -> subprocess.CompletedProcess[str]:
        """Start its interpreter, or another of its programs, with those arguments."""
        command = [program or self.python, *arguments]
        variables = clean() | environment
        return start(*command, env=variables, cwd=cwd or self.folder, input=input, **options)

    def output(self, *arguments: str | Path, **options: object) -> str:
        """Start it with arguments that must succeed without an error, and return the output."""
        done = self.start(*arguments, **options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def do(self, *arguments: str, **options: object) -> str:
        """Run ``cupy-compat`` with arguments that must succeed, and return the output."""
        return self.output(*arguments, program=self.command, **options)

    def pip(self, *arguments: str | Path) -> None:
        """Run the pip of this test's Python on it."""
        run(sys.executable, "-m", "pip", "-q", "--python", self.python, *arguments)

    def install(self, *wheels: Path) -> None:
        """Install wheels."""
        self.pip("install", "--no-index", "--no-deps", *wheels)

    def uninstall(self, by: str, *names: str) -> None:
        """Uninstall with ``pip`` or ``uv``."""
        if by == "uv":
            uv = (sys.executable, "-m", "uv", "-q", "pip")
            run(*uv, "uninstall", "--python", self.python, *names)
        else:
            self.pip("uninstall", "-y", *names)

    def listing(self) -> dict[str, bytes]:
        """Return every file that an installation could leave, and its content."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for folder in (self.site, self.folder / "bin")
            for path in folder.rglob("*")
            if path.is_file()
        }


def clean(*more: str) -> dict[str, str]:
    """Return the environment without variables of Python, CuPy, wrapt, and more prefixes."""
    removed = ("PYTHON", "CUPY", "WRAPT", *more)
    return {name: os.environ[name] for name in os.environ if not name.startswith(removed)}


def start(
    *command: str | Path, env: Mapping[str, str] | None = None, **options: object
) -> subprocess.CompletedProcess[str]:
    """Run a command, in a clean environment by default, and return its status and output."""
    return subprocess.run(
        [str(word) for word in command],
        env=clean() if env is None else env,
        capture_output=True,
        check=False,
        **{"text": True, "timeout": 300, **options},
    )


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command that must succeed."""
    done = start(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def make(folder: Path, *options: str) -> Environment:
    """Make an environment with wrapt and the broken CuPy that people report most often."""
    run(BASE, "-m", "venv", "--without-pip", *options, folder)
    made = Environment(folder)
    cupy = testbed.broken(sys.executable, "13.4.1", "3.1.1")
    (made.site / "broken_cupy.pth").write_text(f"{Environment(cupy.parent.parent).site}\n")
    copy_package("wrapt", made)
    return made


def copy_package(name: str, into: Environment) -> None:
    """Copy a package of this Python."""
    spec = find_spec(name)
    assert spec is not None and spec.origin is not None
    shutil.copytree(Path(spec.origin).parent, into.site / name)


def build(hook: str, into: Path) -> list[Path]:
    """Build both distributions, the main one first, by ``build_wheel`` or ``build_editable``."""
    for folder in (ROOT, ROOT / "auto"):
        run(sys.executable, "-c", BUILD, hook, into, cwd=folder)
    return sorted(into.glob("*.whl"))


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the wheels of ``cupy-compat`` and ``cupy-compat-auto``."""
    return build("build_wheel", tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def editables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the wheels that pip builds for editable installations."""
    return build("build_editable", tmp_path_factory.mktemp("editables"))


@pytest.fixture
def venv(tmp_path: Path) -> Environment:
    """Return a new environment with a broken CuPy; its name has a space and is not ASCII."""
    return make(tmp_path / "ein Ort für CuPy")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, wheels: list[Path]) -> Environment:
    """Return an environment with ``cupy-compat``; tests share it and must not change it."""
    made = make(tmp_path_factory.mktemp("installed") / "env")
    made.install(wheels[0])
    return made


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return an environment without ``cupy-compat``; tests share it and must not change it."""
    return make(tmp_path_factory.mktemp("stranger") / "env")


def passes_import(done: subprocess.CompletedProcess[str]) -> bool:
    """Return whether the origin script got past its import, and as far as the machine lets it."""
    if not done.stdout.startswith("imported CuPy 13.4.1\n"):
        return False
    # CuPy 13.4 needs a NumPy before 2.3, which has no wheels for later Pythons. With a newer one
    # its first array crashes there, also in a healthy build without the shim.
    if sys.version_info >= (3, 14) and done.returncode == -signal.SIGSEGV:
        return True
    return done.returncode == 0 or "cudaErrorInsufficientDriver" in done.stderr.splitlines()[-1]


def fails_import(done: subprocess.CompletedProcess[str]) -> bool:
    """Return whether the origin script failed at its import, with the error of a broken CuPy."""
    return "'__name__' of 'builtin_function_or_method' objects is not writable" in done.stderr
