"""``cupy-compat rebuild`` on genuinely broken CuPys, and interrupted at every step."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import testbed
from conftest import BUILDS, TYPICAL, Interpreter
from environments import ROOT, Environment, clean, start
from test_docs import tokens_of
from test_enable import without_privilege

from cupy_compat.rebuild.build import compile_util

PYTHON = Path(sys.executable)
#: Builds that take minutes; they are tested if `nox -s matrix` has made them.
SNAPSHOTS = [
    (cupy, cython)
    for cupy in testbed.SOURCE_ONLY
    if testbed.is_kept(PYTHON, cupy)
    for cython in testbed.BREAKING_CYTHONS
]
FAILURE = "AttributeError: attribute '__name__' of 'builtin_function_or_method' objects is not"


#: Replaces the module by a compiled one, or undoes that, and may fail at one step.
FAULT = """
import errno, os, resource, signal, sys
from pathlib import Path
from cupy_compat.rebuild.install import Installation, digest
from cupy_compat.rebuild.process import RebuildError

action, candidate, fault, at = sys.argv[1:]
installed = Installation.find()
content = Path(candidate).read_bytes()
broken = digest(installed.module.read_bytes())
steps = 0

def audit(event, arguments):
    global steps
    if event not in ("open", "os.rename", "os.link", "os.remove", "os.chmod", "tempfile.mkstemp"):
        return
    if not any(str(installed.module.parent) in str(a) or "RECORD" in str(a) for a in arguments):
        return
    steps += 1
    if steps == int(at):
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "Ctrl-C":
            signal.raise_signal(signal.SIGINT)
        if fault == "error":
            raise OSError(errno.EIO, "Input/output error", arguments[0])

sys.addaudithook(audit)
if fault == "full":
    # The kernel enforces this limit on the size of a file, in bytes.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(at), resource.RLIM_INFINITY))
try:
    installed.replace(content, broken) if action == "replace" else installed.undo()
except RebuildError as error:
    sys.exit(f"refused: {error}")
finally:
    os.write(1, str(steps).encode())
"""


@dataclass(frozen=True)
class Site:
    """An environment with a CuPy that a test may change."""

    python: Path
    shim: Path

    @property
    def folder(self) -> Path:
        """Its ``site-packages``."""
        return Environment(self.python.parent.parent).site

    @property
    def module(self) -> Path:
        """Its ``cupy._util``."""
        (module,) = (self.folder / "cupy").glob("_util.*.so")
        return module

    @property
    def record(self) -> Path:
        """The RECORD of its CuPy."""
        (record,) = self.folder.glob("cupy*.dist-info/RECORD")
        return record

    def start(
        self, *arguments: str | Path, environment: Mapping[str, str] = {}, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Start its interpreter."""
        variables = clean() | {"PYTHONPATH": str(self.shim)} | environment
        return start(self.python, *arguments, env=variables, cwd=self.shim.parent, **options)

    def rebuild(self, *arguments: str | Path, **options: object) -> str:
        """Run the command, which must succeed, and return its output."""
        done = self.start("-m", "cupy_compat", "rebuild", *arguments, **options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def refuses(self, *arguments: str | Path, **options: object) -> str:
        """Run the command, which must fail and change nothing, and return its message."""
        before = self.files()
        done = self.start("-m", "cupy_compat", "rebuild", *arguments, **options)
        assert done.returncode == 1
        assert done.stderr.startswith("cupy-compat rebuild: ")
        assert "Traceback" not in done.stderr.partition("failed with exit status")[0]
        assert self.files() == before
        return done.stderr

    def act(
        self, action: str, candidate: Path, fault: str = "none", at: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Replace the module or undo that, with a fault at one step, or at none."""
        return self.start("-c", FAULT, action, candidate, fault, str(at))

    def imports(self) -> bool:
        """Return whether CuPy imports without the shim. Otherwise it must fail as documented."""
        done = self.start("-c", "import cupy", environment={"CUPY_COMPAT": "never"})
        assert done.returncode == 0 or FAILURE in done.stderr
        return done.returncode == 0

    def files(self) -> dict[str, bytes]:
        """Return all files that the command may change."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for folder in (self.module.parent, self.record.parent)
            for path in folder.iterdir()
            if path.is_file()
        }


@pytest.fixture
def sites(shim: Path) -> Iterator[object]:
    """Return a function that makes an environment with a version of CuPy and of its Cython."""
    # In the test bed's folder, because the environment has links to its files.
    with tempfile.TemporaryDirectory(dir=testbed.store(), prefix="rebuild-") as folder:

        def make(cupy: str, cython: str | None) -> Site:
            if cython is None:
                origin = testbed.healthy(PYTHON, cupy)
            else:
                origin = testbed.compiled(PYTHON, cupy, cython)
            env = Path(folder) / "env"
            testbed.copy(PYTHON, origin, env)
            return Site(env / "bin" / "python", shim)

        yield make


@pytest.fixture
def site(sites) -> Site:
    """Return an environment with the broken CuPy that is most often reported."""
    return sites(*TYPICAL)


@pytest.fixture(scope="session")
def source() -> Path:
    """Return the source of that CuPy."""
    return testbed.source_of(PYTHON, TYPICAL[0])


@pytest.fixture(scope="session")
def candidate(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the module that a rebuild of that CuPy compiles."""
    tool = testbed._cython(PYTHON, TYPICAL[1])
    folder = tmp_path_factory.mktemp("candidate")
    return compile_util(PYTHON, tool, source, folder, fix=True)


# Each CuPy, and each Cython, once.
@pytest.mark.parametrize(
    "build", dict.fromkeys([BUILDS[0], BUILDS[-1], *SNAPSHOTS]), ids="-cython".join
)
def test_a_rebuilt_cupy_equals_a_fixed_one_and_undo_restores_every_byte(
    build: tuple[str, str], sites
) -> None:
    site = sites(*build)
    assert not site.imports()
    before = site.files()
    site.rebuild()
    assert site.imports()
    assert "rebuilt" in site.rebuild("--status")
    assert "Nothing to rebuild" in site.rebuild()

    parity = Path(__file__).with_name("parity.py")
    rebuilt = Interpreter(site.python, site.shim)
    # The first fixed CuPy, compiled with the same Cython.
    fixed = testbed.compiled(PYTHON, testbed.REFERENCE_CUPY, build[1])
    answers = [
        json.loads(each.output(parity, shim=False))
        for each in (rebuilt, Interpreter(fixed, site.shim))
    ]
    # Without CUDA, a build has a stand-in for a device, and a wheel does not.
    if build[0] in testbed.SOURCE_ONLY:
        for each in answers:
            del each["behaviour"]["per device"]
    else:
        # CuPy's own test of its import, which needs no GPU.
        own = testbed.source_of(PYTHON, build[0]) / "tests" / "import_tests" / "test_import.py"
        rebuilt.output(own, shim=False)
    assert answers[0] == answers[1]

    entries = {path: rest for path, *rest in csv.reader(site.record.read_text().splitlines())}
    new = {name for name in site.files().keys() - before if "_util" in name}
    assert len(new) == 1
    for name in (*new, f"cupy/{site.module.name}"):
        content = (site.folder / name).read_bytes()
        if name not in new:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            assert entries[name] == [f"sha256={digest.decode()}", str(len(content))]
        assert name in entries

    site.rebuild("--undo")
    assert site.files() == before
    assert not site.imports()
    assert "Nothing to undo" in site.rebuild("--undo")


@pytest.mark.parametrize("by", ["pip", "uv"])
def test_uninstalling_cupy_removes_the_original_too(by: str, site: Site, candidate: Path) -> None:
    site.act("replace", candidate)
    uv = ["uv", "pip", "uninstall", "--python", str(site.python), "cupy-cuda12x"]
    pip = ["pip", "--python", str(site.python), "uninstall", "-y", "cupy-cuda12x"]
    folder = site.module.parent
    subprocess.run([sys.executable, "-m", *(uv if by == "uv" else pip)], check=True)
    assert not list(folder.glob("_util*"))


def test_a_healthy_cupy_is_not_changed(sites) -> None:
    site = sites(testbed.REFERENCE_CUPY, None)
    before = site.files()
    assert "Nothing to rebuild" in site.rebuild()
    assert site.files() == before


def test_a_dry_run_prints_the_steps_and_changes_nothing(site: Site) -> None:
    before = site.files()
    said = site.rebuild("--dry-run")
    assert "Cython 3.1.1" in said
    assert str(site.module) in said
    assert str(site.record) in said
    assert site.files() == before


@pytest.mark.parametrize("kind", ["gztar", "zip"])
def test_the_source_may_be_an_archive_and_the_cython_another_one(
    kind: str, site: Site, source: Path, tmp_path: Path
) -> None:
    for name in ("cupy", "cupy_backends", "install"):
        kept = shutil.ignore_patterns("_cccl", "_jitify", "_cuda", "*.py[co]")
        shutil.copytree(source / name, tmp_path / "part" / "cupy-snapshot" / name, ignore=kept)
    archive = shutil.make_archive(str(tmp_path / "archive"), kind, tmp_path / "part")
    site.rebuild("--source", archive, "--cython", "3.0.12")
    printed = site.start("-c", "import cupy; print(cupy._util.cython_build_ver)").stdout
    assert printed == "3.0.12\n"


def edited(source: Path, into: Path, name: str, old: str, new: str) -> list[str | Path]:
    """Return the option for a copy of the source with one file changed."""
    kept = shutil.ignore_patterns("_cccl", "_jitify", "tests", "docs")
    shutil.copytree(source, into, ignore=kept, dirs_exist_ok=True)
    file = into / "cupy" / name
    file.write_text(file.read_text().replace(old, new))
    return ["--source", into]


def wrong_version(source: Path, into: Path) -> list[str | Path]:
    return edited(source, into, "_version.py", "13.4.1", "13.4.0")


def wrong_source(source: Path, into: Path) -> list[str | Path]:
    return edited(source, into, "_util.pyx", "def clear_memo(", "def forget_memo(")


def pretends_to_be_fixed(source: Path, into: Path) -> list[str | Path]:
    fix = "@cython.binding(True)"
    return edited(source, into, "_util.pyx", "import functools\n", f"import functools  # {fix}\n")


def no_archive(source: Path, into: Path) -> list[str | Path]:
    (into / "file.tar.gz").write_text("nothing")
    return ["--source", into / "file.tar.gz"]


def cut_archive(source: Path, into: Path) -> list[str | Path]:
    with tarfile.open(into / "whole.tar.gz", "w:gz") as archive:
        archive.add(source / "cupy", "cupy")
    whole = (into / "whole.tar.gz").read_bytes()
    (into / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    return ["--source", into / "cut.tar.gz"]


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (None, {"CXX": "no-such-compiler"}, "no C++ compiler: no-such-compiler"),
        (None, {"CXX": "false"}, "failed with exit status"),
        (None, {"PIP_INDEX_URL": "http://localhost:9/", "PIP_NO_INDEX": "1"}, "Cython==3.1.1"),
        (wrong_version, {}, "the source is CuPy 13.4.0, but CuPy 13.4.1 is installed"),
        (wrong_source, {}, "differ in clear_memo, forget_memo"),
        (pretends_to_be_fixed, {}, "the compiled module fails, too"),
        (no_archive, {}, "cannot be unpacked"),
        (cut_archive, {}, "cannot be unpacked"),
        (lambda _, into: ["--source", into / "none"], {}, "cannot be unpacked"),
        (lambda _, into: ["--source", into], {}, "not a CuPy"),
        (lambda source, _: ["--source", source, "--cython", "0.0.1"], {}, "Cython==0.0.1"),
    ],
)
def test_a_rebuild_that_fails_changes_nothing(
    arguments, environment: dict[str, str], said: str, site: Site, source: Path, tmp_path: Path
) -> None:
    words = arguments(source, tmp_path) if arguments else ["--source", source]
    assert said in site.refuses(*words, environment=environment)


@pytest.mark.parametrize("locked", ["module", "record"])
def test_without_permission_it_names_an_alternative(locked: str, site: Site, source: Path) -> None:
    folder = getattr(site, locked).parent
    folder.chmod(0o555)
    said = site.refuses("--source", source, preexec_fn=without_privilege)
    folder.chmod(0o755)
    assert f"{folder} is not writable" in said
    assert "cupy-compat[auto]" in said


def test_it_refuses_without_a_cupy_and_in_a_source_tree(site: Site, source: Path) -> None:
    elsewhere = site.start("-m", "cupy_compat", "rebuild", environment={"PYTHONPATH": str(source)})
    assert elsewhere.returncode == 1
    pyx = site.module.with_name("_util.pyx")
    pyx.touch()
    assert "CuPy's source, not an installed package" in site.refuses()
    pyx.unlink()
    shutil.rmtree(site.module.parent)
    done = site.start("-m", "cupy_compat", "rebuild")
    assert (done.returncode, "CuPy is not installed" in done.stderr) == (1, True)


def test_for_another_failure_it_refers_to_the_doctor(site: Site) -> None:
    (runtime,) = site.folder.glob("cupy_backends/cuda/api/runtime.*.so")
    runtime.unlink()
    assert "fails before it loads cupy._util: ModuleNotFoundError" in site.refuses()


def test_without_a_record_it_warns_that_the_original_may_be_left(site: Site, source: Path) -> None:
    """Gentoo removes the RECORD of the packages that it installs."""
    site.record.rename(site.folder / "RECORD")
    done = site.start("-m", "cupy_compat", "rebuild", "--source", source)
    assert done.returncode == 0
    assert "not installed by pip or uv" in done.stdout
    assert site.imports()
    done = site.start("-m", "cupy_compat", "rebuild", "--undo")
    assert done.returncode == 0
    assert not site.imports()
    assert len(list(site.module.parent.glob("_util.*"))) == 2  # the other is _util.pyi


def test_if_the_module_is_a_link_its_target_is_replaced(site: Site, candidate: Path) -> None:
    """In a view of Spack, the files are links into the real installation."""
    link = site.module
    real = link.rename(site.folder / link.name)
    link.symlink_to(real)
    before = real.read_bytes()
    site.act("replace", candidate)
    assert real.read_bytes() == candidate.read_bytes()
    assert link.is_symlink()
    assert site.imports()
    site.rebuild("--undo")
    assert real.read_bytes() == before


def test_undo_keeps_a_module_that_was_installed_since(site: Site, candidate: Path) -> None:
    site.act("replace", candidate)
    newer = site.module.with_suffix(".new")
    newer.write_bytes(site.module.read_bytes() + b"newer")
    newer.replace(site.module)
    assert "something else has replaced" in site.refuses("--undo")
    assert "replaced since" in site.start("-m", "cupy_compat", "rebuild", "--status").stdout


def test_two_simultaneous_rebuilds_can_be_undone(site: Site, source: Path) -> None:
    before = site.files()
    command = [site.python, "-m", "cupy_compat", "rebuild", "--source", source]
    environment = clean() | {"PYTHONPATH": str(site.shim)}
    both = [subprocess.Popen(command, env=environment, cwd=site.shim.parent) for _ in range(2)]
    assert 0 in [process.wait(300) for process in both]
    assert site.imports()
    site.rebuild("--undo")
    assert site.files() == before


def recipes() -> list[str]:
    """Return the code blocks of docs/sites.md that can run here, as shell scripts."""
    blocks, comment = [], ""
    for token in tokens_of(ROOT / "docs" / "sites.md"):
        if token.type == "fence" and token.info in ("sh", "dockerfile") and not comment:
            lines = re.sub("^RUN ", "", token.content, flags=re.MULTILINE)
            blocks.append(re.sub("^ENV ", "export ", lines, flags=re.MULTILINE))
        comment = token.content if token.type == "html_block" else ""
    return blocks


@pytest.mark.parametrize("recipe", recipes())
def test_the_recipes_for_sites_repair_cupy(recipe: str, site: Site, wheels: list[Path]) -> None:
    assert not site.imports()
    assert site.start("-m", "ensurepip").returncode == 0
    # Let pip find cupy-compat, which may not be published.
    path = f"{site.python.parent}:{os.environ['PATH']}"
    environment = clean() | {"PATH": path, "PIP_FIND_LINKS": str(wheels[0].parent)}
    script = f"{recipe}\npython -c 'import cupy'"
    subprocess.run(["sh", "-ec", script], env=environment, cwd=site.folder.parent, check=True)


@pytest.mark.parametrize("fault", ["killed", "Ctrl-C", "error"])
@pytest.mark.parametrize("action", ["replace", "undo"])
def test_interrupted_at_any_step_cupy_is_complete_and_can_be_restored(
    action: str, fault: str, site: Site, candidate: Path
) -> None:
    before = site.files()
    original, new = site.module.read_bytes(), candidate.read_bytes()
    installed = set()
    steps = int(site.act("replace", candidate).stdout)
    if action == "undo":
        steps = int(site.act("undo", candidate).stdout)
    site.rebuild("--undo")
    assert steps > 8
    for at in range(1, steps + 1):
        if action == "undo":
            site.act("replace", candidate)
        assert site.act(action, candidate, fault, at).returncode != 0
        if action == "replace" and fault != "killed":
            assert site.files() == before
        installed.add(site.module.read_bytes())
        # The state is recognized, and can be undone.
        assert not site.start("-m", "cupy_compat", "rebuild", "--status").stderr
        site.rebuild("--undo")
        assert site.files() == before
    # Only the last step of `replace` changes the module; `undo` restores it in its first step.
    assert installed == ({original} if action == "replace" else {original, new})


@pytest.mark.parametrize("size", [1000, 150_000])
def test_a_full_disk_changes_nothing(size: int, site: Site, candidate: Path) -> None:
    """The larger size has room for the module, but not for the longer RECORD."""
    assert candidate.stat().st_size < 150_000 < site.record.stat().st_size
    before = site.files()
    done = site.act("replace", candidate, "full", size)
    assert "refused: cannot write" in done.stderr
    assert site.files() == before


def test_a_module_that_changed_after_its_trial_is_not_replaced(site: Site, candidate: Path) -> None:
    changed = FAULT.replace("broken = digest(", "broken = digest(b'another' + ")
    before = site.files()
    done = site.start("-c", changed, "replace", candidate, "none", "0")
    assert "has just changed" in done.stderr
    assert site.files() == before
