"""`cupy-compat rebuild` on CuPys that are really broken, and with every step interrupted."""

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
from environments import ROOT, clean
from test_docs import tokens_of
from test_enable import without_privilege

from cupy_compat.rebuild.build import compile_util

PYTHON = Path(sys.executable)
#: Tried where `nox -s matrix` has made such a CuPy, which takes minutes.
SNAPSHOTS = [
    (cupy, cython)
    for cupy in testbed.SOURCE_ONLY
    if testbed.is_kept(PYTHON, cupy)
    for cython in testbed.BREAKING_CYTHONS
]
FAILURE = "AttributeError: attribute '__name__' of 'builtin_function_or_method' objects is not"


@dataclass(frozen=True)
class Site:
    """An environment of its own with a CuPy, and the command that runs in it."""

    python: Path
    shim: Path

    @property
    def folder(self) -> Path:
        """Its ``site-packages``."""
        (site,) = self.python.parent.parent.glob("lib/python*/site-packages")
        return site

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
        return subprocess.run(
            [str(self.python), *map(str, arguments)],
            env=clean() | {"PYTHONPATH": str(self.shim)} | environment,
            cwd=self.shim.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            **options,
        )

    def rebuild(self, *arguments: str | Path, **options: object) -> str:
        """Run the command, which must succeed."""
        done = self.start("-m", "cupy_compat", "rebuild", *arguments, **options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def refuses(self, *arguments: str | Path, **options: object) -> str:
        """Run the command, which must fail and change nothing, and return what it says."""
        before = self.files()
        done = self.start("-m", "cupy_compat", "rebuild", *arguments, **options)
        assert done.returncode == 1
        assert done.stderr.startswith("cupy-compat rebuild: ")
        assert "Traceback" not in done.stderr.partition("failed with exit status")[0]
        assert self.files() == before
        return done.stderr

    def imports(self) -> bool:
        """Tell whether CuPy imports without the shim; what else it does is the known failure."""
        done = self.start("-c", "import cupy", environment={"CUPY_COMPAT": "never"})
        assert done.returncode == 0 or FAILURE in done.stderr
        return done.returncode == 0

    def files(self) -> dict[str, bytes]:
        """Return all files that may change."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for folder in (self.module.parent, self.record.parent)
            for path in folder.iterdir()
            if path.is_file()
        }


@pytest.fixture
def sites(shim: Path) -> Iterator[object]:
    """Return a function that makes an environment with that CuPy, compiled with that Cython."""
    # Beside the test bed's environments, whose files it links to.
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
    return compile_util(PYTHON, tool, source, folder, repaired=True)


@pytest.mark.parametrize("build", [*BUILDS, *SNAPSHOTS], ids="-cython".join)
def test_a_rebuilt_cupy_is_what_a_fixed_one_is_and_undo_restores_every_byte(
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
    # The first CuPy that is fixed, as the same Cython compiles it.
    fixed = testbed.compiled(PYTHON, testbed.REFERENCE_CUPY, build[1])
    answers = [
        json.loads(each.output(parity, shim=False))
        for each in (rebuilt, Interpreter(fixed, site.shim))
    ]
    # A build without CUDA answers for a device that is not there, which this cannot be asked of.
    if build[0] in testbed.SOURCE_ONLY:
        for each in answers:
            del each["behaviour"]["per device"]
    else:
        # CuPy's own test of memoize that needs no GPU: a script that must run.
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
def test_what_uninstalls_cupy_removes_the_original_too(by: str, site: Site, source: Path) -> None:
    site.rebuild("--source", source)
    uv = ["uv", "pip", "uninstall", "--python", str(site.python), "cupy-cuda12x"]
    pip = ["pip", "--python", str(site.python), "uninstall", "-y", "cupy-cuda12x"]
    folder = site.module.parent
    subprocess.run([sys.executable, "-m", *(uv if by == "uv" else pip)], check=True)
    assert not list(folder.glob("_util*"))


def test_a_healthy_cupy_stays_as_it_is(sites) -> None:
    site = sites(testbed.REFERENCE_CUPY, None)
    before = site.files()
    assert "Nothing to rebuild" in site.rebuild()
    assert site.files() == before


def test_a_dry_run_says_what_would_be_done_and_does_nothing(site: Site) -> None:
    before = site.files()
    said = site.rebuild("--dry-run")
    assert "Cython 3.1.1" in said
    assert str(site.module) in said
    assert str(site.record) in said
    assert site.files() == before


@pytest.mark.parametrize("kind", ["folder", "tar.gz", "zip"])
def test_the_source_may_be_a_folder_or_an_archive_and_the_cython_another_one(
    kind: str, site: Site, source: Path, tmp_path: Path
) -> None:
    given = source
    if kind != "folder":
        part = tmp_path / "part"
        for name in ("cupy", "cupy_backends", "install"):
            kept = shutil.ignore_patterns("_cccl", "_jitify", "_cuda", "*.py[co]")
            shutil.copytree(source / name, part / "cupy-snapshot" / name, ignore=kept)
        form = {"tar.gz": "gztar", "zip": "zip"}[kind]
        given = Path(shutil.make_archive(str(tmp_path / "archive"), form, part))
    site.rebuild("--source", given, "--cython", "3.0.12")
    assert site.imports()
    said = site.start("-c", "import cupy; print(cupy._util.cython_build_ver)").stdout
    assert said == "3.0.12\n"


def test_another_compiler_is_no_repair_where_it_is_broken_too(
    site: Site, source: Path, tmp_path: Path
) -> None:
    """A source that says that it is fixed, and is not, compiles to a module that is refused."""
    unfixed = tmp_path / "unfixed"
    kept = shutil.ignore_patterns("_cccl", "_jitify", "tests", "docs")
    shutil.copytree(source, unfixed, ignore=kept)
    pyx = unfixed / "cupy" / "_util.pyx"
    pyx.write_text(pyx.read_text() + "\n# @cython.binding(True)\n")
    assert "the compiled module fails, too" in site.refuses("--source", unfixed)


def wrong_version(source: Path, into: Path) -> list[str | Path]:
    shutil.copytree(source / "cupy", into / "cupy", ignore=lambda *_: ["_core"])
    (into / "cupy" / "_version.py").write_text("__version__ = '13.4.0'\n")
    return ["--source", into]


def wrong_source(source: Path, into: Path) -> list[str | Path]:
    kept = shutil.ignore_patterns("_cccl", "_jitify", "tests", "docs")
    shutil.copytree(source, into, ignore=kept, dirs_exist_ok=True)
    pyx = into / "cupy" / "_util.pyx"
    pyx.write_text(pyx.read_text().replace("def clear_memo(", "def forget_memo("))
    return ["--source", into]


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
        (wrong_version, {}, "the source is of CuPy 13.4.0; installed is CuPy 13.4.1"),
        (wrong_source, {}, "differ in clear_memo, forget_memo"),
        (no_archive, {}, "cannot be unpacked"),
        (cut_archive, {}, "cannot be unpacked"),
        (lambda _, into: ["--source", into / "none"], {}, "cannot be unpacked"),
        (lambda _, into: ["--source", into], {}, "not a CuPy"),
        (lambda *_: ["--cython", "0.0.1"], {}, "Cython==0.0.1"),
    ],
)
def test_what_stops_a_rebuild_leaves_the_installation_as_it_is(
    arguments, environment: dict[str, str], said: str, site: Site, source: Path, tmp_path: Path
) -> None:
    words = arguments(source, tmp_path) if arguments else ["--source", source]
    assert said in site.refuses(*words, environment=environment)


@pytest.mark.parametrize("locked", ["module", "record"])
def test_where_it_may_not_write_it_says_what_to_do_instead(
    locked: str, site: Site, source: Path
) -> None:
    folder = getattr(site, locked).parent
    folder.chmod(0o555)
    said = site.refuses("--source", source, preexec_fn=without_privilege)
    folder.chmod(0o755)
    assert f"{folder} is not writable" in said
    assert "cupy-compat[auto]" in said


def test_without_cupy_or_in_its_source_it_refuses(site: Site, source: Path) -> None:
    elsewhere = site.start("-m", "cupy_compat", "rebuild", environment={"PYTHONPATH": str(source)})
    assert elsewhere.returncode == 1
    pyx = site.module.with_name("_util.pyx")
    pyx.touch()
    assert "CuPy's source, not an installed package" in site.refuses()
    pyx.unlink()
    shutil.rmtree(site.module.parent)
    done = site.start("-m", "cupy_compat", "rebuild")
    assert (done.returncode, "CuPy is not installed" in done.stderr) == (1, True)


def test_a_cupy_that_fails_for_another_reason_is_left_to_the_doctor(site: Site) -> None:
    (runtime,) = site.folder.glob("cupy_backends/cuda/api/runtime.*.so")
    runtime.unlink()
    assert "fails before its module _util is loaded" in site.refuses()


def test_without_a_record_it_says_who_has_to_remove_the_original(site: Site, source: Path) -> None:
    """Stands for Gentoo, which removes the RECORD of what it installs."""
    site.record.rename(site.folder / "RECORD")
    done = site.start("-m", "cupy_compat", "rebuild", "--source", source)
    assert done.returncode == 0
    assert "not installed by pip or uv" in done.stdout
    assert site.imports()
    done = site.start("-m", "cupy_compat", "rebuild", "--undo")
    assert done.returncode == 0
    assert not site.imports()
    assert len(list(site.module.parent.glob("_util.*"))) == 2  # the other is _util.pyi


def test_where_the_module_is_a_link_the_file_behind_it_is_rebuilt(site: Site, source: Path) -> None:
    """Stands for the views of Spack, whose files are links into the installation itself."""
    link = site.module
    real = link.rename(site.folder / link.name)
    link.symlink_to(real)
    before = real.read_bytes()
    site.rebuild("--source", source)
    assert real.read_bytes() != before
    assert link.is_symlink()
    assert site.imports()
    site.rebuild("--undo")
    assert real.read_bytes() == before


def test_what_has_replaced_the_module_since_is_not_undone(site: Site, source: Path) -> None:
    site.rebuild("--source", source)
    newer = site.module.with_suffix(".new")
    newer.write_bytes(site.module.read_bytes() + b"newer")
    newer.replace(site.module)
    assert "something else has replaced it since" in site.refuses("--undo")
    assert "replaced since" in site.start("-m", "cupy_compat", "rebuild", "--status").stdout


def test_two_rebuilds_at_once_leave_one_that_can_be_undone(site: Site, source: Path) -> None:
    before = site.files()
    command = [site.python, "-m", "cupy_compat", "rebuild", "--source", source]
    environment = clean() | {"PYTHONPATH": str(site.shim)}
    both = [subprocess.Popen(command, env=environment, cwd=site.shim.parent) for _ in range(2)]
    assert 0 in [process.wait(300) for process in both]
    assert site.imports()
    site.rebuild("--undo")
    assert site.files() == before


def recipes() -> list[str]:
    """Return the blocks of the page for sites that can run here, as a shell's."""
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
    # Python names the program by the folder of the environment; cupy-compat may be unpublished.
    path = f"{site.python.parent}:{os.environ['PATH']}"
    environment = clean() | {"PATH": path, "PIP_FIND_LINKS": str(wheels[0].parent)}
    script = f"{recipe}\npython -c 'import cupy'"
    subprocess.run(["sh", "-ec", script], env=environment, cwd=site.folder.parent, check=True)


#: Does one thing with a module that is compiled already, and is stopped at one of its steps.
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
    # A limit that the kernel enforces: no file may grow beyond so many bytes.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(at), resource.RLIM_INFINITY))
try:
    installed.replace(content, broken) if action == "replace" else installed.undo()
except RebuildError as error:
    sys.exit(f"refused: {error}")
finally:
    os.write(1, str(steps).encode())
"""


@pytest.mark.parametrize("fault", ["killed", "Ctrl-C", "error"])
@pytest.mark.parametrize("action", ["replace", "undo"])
def test_whatever_stops_it_at_any_step_cupy_is_whole_and_can_be_restored(
    action: str, fault: str, site: Site, candidate: Path
) -> None:
    before = site.files()
    broken = set()

    def do(action: str, fault: str = "none", at: int = 0) -> subprocess.CompletedProcess[str]:
        return site.start("-c", FAULT, action, candidate, fault, str(at))

    steps = int(do("replace").stdout)
    if action == "undo":
        steps = int(do("undo").stdout)
    site.rebuild("--undo")
    assert steps > 8
    for at in range(1, steps + 1):
        if action == "undo":
            do("replace")
        assert do(action, fault, at).returncode != 0
        if action == "replace" and fault != "killed":
            assert site.files() == before
        broken.add(not site.imports())
        # Whatever is left says what it is, and can be taken back.
        assert not site.start("-m", "cupy_compat", "rebuild", "--status").stderr
        site.rebuild("--undo")
        assert site.files() == before
    # The last step alone puts the new module in place; the original comes back at once.
    assert broken == ({True} if action == "replace" else {True, False})


@pytest.mark.parametrize("size", [1000, 150_000])
def test_a_full_disk_leaves_everything_as_it_is(size: int, site: Site, candidate: Path) -> None:
    """The larger size has room for the module, and none for the longer RECORD."""
    assert candidate.stat().st_size < 150_000 < site.record.stat().st_size
    before = site.files()
    done = site.start("-c", FAULT, "replace", candidate, "full", str(size))
    assert "refused: cannot write" in done.stderr
    assert site.files() == before


def test_a_module_that_has_changed_since_it_was_tried_is_not_replaced(
    site: Site, candidate: Path
) -> None:
    changed = FAULT.replace("broken = digest(", "broken = digest(b'another' + ")
    before = site.files()
    done = site.start("-c", changed, "replace", candidate, "none", "0")
    assert "has just changed" in done.stderr
    assert site.files() == before
