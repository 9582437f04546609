"""The shim together with other packages, options of Python, and ways of installation.

Each case runs a program in new processes: on a genuinely broken CuPy with the shim and without it,
and on a healthy CuPy with the shim. Programs write their results to a file, because some have no
standard streams.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
import typing
import zipapp
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import REFERENCE_CUPY, Interpreter
from environments import Environment, clean, fails_import, run, start
from test_enable import without_privilege

import cupy_compat

ROOT = Path(__file__).resolve().parents[1]
#: The packages that the cases use. The environments of the test bed contain only CuPy.
PACKAGES = (
    *("_pytest", "beartype", "coverage", "iniconfig", "lazy_loader", "packaging", "pluggy"),
    *("py", "pygments", "pytest", "typeguard", "typing_extensions", "wrapt"),
)
FAILURE = "AttributeError: attribute '__name__' of 'builtin_function_or_method' objects is not"

PROGRAM = """
import sys
sys.path[:0] = {first!r}
sys.path += {last!r}
{before}
{shim}
{after}
import cupy
import functools, json
named = cupy.memoize()(len)
found = {{"named": [named.__name__, named("abc")]}}
found["functools"] = cupy._util.functools is functools
found["loader"] = type(cupy._util.__spec__.loader).__name__
found["finders"] = sum("waits for cupy._util" in repr(one) for one in sys.meta_path)
if {shim!r}:
    status = cupy_compat.status()
    found["status"] = [status.state, status.cupy]
{assertions}
with open({result!r}, "w") as file:
    json.dump(found, file)
"""

DELEGATING = """
class Delegating:
    def find_spec(self, name, path=None, target=None):
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
"""
RAISING = """
class Raising:
    tired = False
    def find_spec(self, name, path=None, target=None):
        if name == "cupy._util" and not self.tired:
            self.tired = True
            raise OSError("not now")
def fail_once():
    try:
        import cupy
    except OSError as error:
        assert str(error) == "not now"
    else:
        raise AssertionError("nobody asked the raising finder")
"""
WRAPT = """
import wrapt
called = []
for name in ("cupy", "cupy._util"):
    wrapt.register_post_import_hook(lambda module: called.append(module.__name__), name)
"""
# Imports by CuPy are excluded: beartype_all() recurses endlessly while NumPy is imported, also
# without the shim (beartype 0.23.1).
BEARTYPE = """
import ctypes, ctypes.util, importlib.metadata, json, tempfile
from beartype import BeartypeConf
from beartype.claw import beartype_all, beartype_package
"""
TYPEGUARD = "import typeguard; typeguard.install_import_hook(['cupy_compat', 'cupy'])"
EVERY_MODULE = """
import cupy_compat._hook, cupy_compat._memoized, cupy_compat._policy
import cupy_compat._repair, cupy_compat._status
"""
SHIM = "import cupy_compat; cupy_compat.install(force=True)"


@dataclass(frozen=True)
class Case:
    """Code that activates another package, before the shim and, in another process, after it.

    ``then`` runs right before the import of CuPy, and ``must`` at the end.
    """

    name: str
    code: str
    then: str = ""
    must: str = ""
    error: str = FAILURE


CASES = (
    Case("coverage", "import coverage\ncoverage.Coverage(data_file=None).start()"),
    Case(
        "beartype_package",
        BEARTYPE + "beartype_package('cupy_compat')",
        # beartype checks the types of arguments only if it comes first.
        must="""
            from beartype.roar import BeartypeCallHintViolation
            checked = "before" in marks
            try:
                cupy_compat.install(force="yes")
            except BeartypeCallHintViolation:
                assert checked
            else:
                assert not checked
        """,
    ),
    Case(
        "beartype_all",
        BEARTYPE + "hooks = sys.path_hooks[:]\nbeartype_all()",
        then=EVERY_MODULE + "sys.path_hooks[:] = hooks\nsys.path_importer_cache.clear()",
    ),
    Case("typeguard", TYPEGUARD, must="typeguard.check_type(cupy_compat.status().state, str)"),
    Case("wrapt", WRAPT, must='assert called == ["cupy._util", "cupy"], called'),
    Case(
        "lazy_loader",
        "import lazy_loader\nlazy = lazy_loader.load('cupy')",
        then="assert 'cupy._util' not in sys.modules",
        must="assert lazy.memoize is cupy.memoize",
        # Python hides the AttributeError when it accesses the lazy module.
        error="AttributeError: module 'cupy' has no attribute 'memoize'",
    ),
    Case(
        "LazyLoader",
        """
        import importlib.util
        spec = importlib.util.find_spec("cupy")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        sys.modules["cupy"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["cupy"])
        """,
        then="assert 'cupy._util' not in sys.modules",
        error="AttributeError: module 'cupy' has no attribute 'memoize'",
    ),
    Case("delegating, first", DELEGATING + "sys.meta_path.insert(0, Delegating())"),
    Case("delegating, last", DELEGATING + "sys.meta_path.append(Delegating())"),
    Case("raising, first", RAISING + "sys.meta_path.insert(0, Raising())", "fail_once()"),
    Case(
        "pytest's rewriting",
        """
        import _pytest.assertion, _pytest.config
        config = _pytest.config.get_config(["-p", "no:cacheprovider"])
        config.parse(["-p", "no:cacheprovider"])
        hook = _pytest.assertion.install_importhook(config)
        hook.mark_rewrite(*{"cupy", "cupy_compat"} - set(sys.modules))
        """,
        must="assert hook in sys.meta_path",
    ),
)


@dataclass(frozen=True)
class Run:
    """The result of a program, or its error output."""

    found: dict[str, Any] | None
    said: str


@dataclass(frozen=True)
class Place:
    """Runs programs, with two CuPys, the shim, other packages, and a folder for the results."""

    broken: Path
    healthy: Path
    shim: Path
    neighbours: Path
    folder: Path

    def run(
        self,
        python: Path,
        *options: str,
        before: str = "",
        shim: str = SHIM,
        after: str = "",
        must: str = "",
        environment: dict[str, str] | None = None,
        through: tuple[str, ...] = (),
        with_shim: str | None = None,
        **more: Any,
    ) -> Run:
        """Run the program, by the command ``through``, with the shim in ``with_shim``."""
        result = self.folder / "result.json"
        result.unlink(missing_ok=True)
        program = PROGRAM.format(
            first=[with_shim or str(self.shim), str(self.neighbours)],
            # Python finds this folder by itself, except with -S.
            last=[str(site_packages(python))],
            before=textwrap.dedent(before),
            shim=textwrap.dedent(shim),
            after=textwrap.dedent(after),
            assertions=textwrap.dedent(must) if shim else "",
            result=str(result),
        )
        command = [*through, python, *options, "-c", program]
        variables = environment if environment is not None else plain_environment()
        done = start(*command, env=variables, **{"cwd": self.folder, **more})
        found = json.loads(result.read_text()) if result.exists() else None
        return Run(found, done.stderr)

    def assert_repairs(self, **how: Any) -> None:
        self._assert_status(self.broken, "repaired", "13.4.1", **how)

    def assert_fails_without(self, error: str = FAILURE, **how: Any) -> None:
        run = self.run(self.broken, *how.pop("options", ()), shim="", **how)
        assert run.found is None
        assert error in run.said, run.said

    def assert_leaves_alone(self, state: str = "healthy", **how: Any) -> None:
        self._assert_status(self.healthy, state, REFERENCE_CUPY, **how)

    def _assert_status(self, python: Path, state: str, cupy: str, **how: Any) -> None:
        run = self.run(python, *how.pop("options", ()), **how)
        assert run.found is not None, run.said
        assert run.found == {
            "named": ["len", 3],
            "functools": state != "repaired",
            "loader": "ExtensionFileLoader",
            "finders": 1,
            "status": [state, cupy],
        }


def plain_environment() -> dict[str, str]:
    return clean("COV", "PYTEST")


def site_packages(python: Path) -> Path:
    (found,) = python.parent.parent.glob("lib/python*/site-packages")
    return found


def find(name: str) -> Path:
    """Return the folder or file of a module in the environment of the tests."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, name
    origin = Path(spec.origin)
    return origin.parent if origin.name.startswith("__init__") else origin


@pytest.fixture(scope="session")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neighbours")
    for name in PACKAGES:
        (folder / find(name).name).symlink_to(find(name))
    return folder


@pytest.fixture
def place(broken: Interpreter, reference: Interpreter, neighbours: Path, tmp_path: Path) -> Place:
    return Place(broken.python, reference.python, broken.shim, neighbours, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_shim_works_together_with(place: Place, case: Case) -> None:
    code, then = textwrap.dedent(case.code), textwrap.dedent(case.then)
    first = {"before": "marks = ['before']\n" + code, "after": then, "must": case.must}
    last = {"before": "marks = ['after']", "after": code + "\n" + then, "must": case.must}
    place.assert_repairs(**first)
    place.assert_repairs(**last)
    place.assert_leaves_alone(**first)
    place.assert_leaves_alone(**last)
    without = then if "cupy_compat" not in then else ""
    place.assert_fails_without(before=code, after=without, error=case.error)


@pytest.mark.parametrize("options", ["-I -S -OO", "-E -P", "-W error -X dev", "-X importtime"])
def test_the_shim_works_with_the_options(place: Place, options: str) -> None:
    place.assert_repairs(options=options.split())
    place.assert_fails_without(options=options.split())
    place.assert_leaves_alone(options=options.split())


#: Starts a command with its three streams closed.
CLOSED = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "closed")


@pytest.mark.parametrize("python", ["broken", "healthy"])
def test_it_works_with_closed_streams(place: Place, python: str) -> None:
    run = place.assert_repairs if python == "broken" else place.assert_leaves_alone
    run(through=CLOSED, must="assert sys.stdout is None and sys.stderr is None")
    if python == "broken":
        place.assert_fails_without(through=CLOSED, error="")


@pytest.mark.parametrize("environment", [{}, {"HOME": "/nonexistent", "PATH": os.defpath}])
def test_it_works_in_an_empty_environment_and_without_a_home(
    place: Place, environment: dict[str, str]
) -> None:
    place.assert_repairs(environment=environment)
    place.assert_fails_without(environment=environment)
    place.assert_leaves_alone(environment=environment)


def test_it_works_in_read_only_folders(place: Place) -> None:
    folder = place.folder / "read-only"
    shutil.copytree(ROOT / "cupy_compat", folder / "cupy_compat", ignore=ignored)
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o555 if each.is_dir() else 0o444)
    check = f"""
        try:
            open({str(folder / "new")!r}, "w")
        except PermissionError:
            pass
        else:
            raise AssertionError("this process may write to it")
        assert cupy_compat.__file__.startswith({str(folder)!r})
    """
    how: dict[str, Any] = {
        "with_shim": str(folder),
        "must": check,
        "cwd": folder,
        "preexec_fn": without_privilege,
    }
    try:
        place.assert_repairs(**how)
        place.assert_fails_without(**how)
        place.assert_leaves_alone(**how)
    finally:
        for each in (folder, folder / "cupy_compat"):
            each.chmod(0o755)


ignored = shutil.ignore_patterns("__pycache__", "cudamark")


VENDORED = "from mypkg._vendor import cupy_compat; cupy_compat.install(force=True)"
BESIDE = "import cupy_compat as real; real.install(force=True)"
AGREE = """
    assert real is not cupy_compat
    # Only the copy that tried a healthy CuPy knows that it is healthy.
    states = {copy.status().state for copy in (real, cupy_compat)}
    assert states in ({"repaired"}, {"healthy", "inactive"}), states
    cupy_compat.uninstall()
    assert cupy._util.functools is functools
    assert not any("waits for" in repr(one) for one in sys.meta_path)
    # The other copy still knows that CuPy is healthy.
    assert cupy_compat.status().state == "inactive", cupy_compat.status()
    assert real.status().state in {"inactive", *states - {"repaired"}}, real.status()
"""


@pytest.mark.parametrize("beside", ["alone", "after the real one", "before the real one"])
def test_it_works_as_a_vendored_copy(place: Place, beside: str) -> None:
    vendor = place.folder / "mypkg" / "_vendor"
    shutil.copytree(ROOT / "cupy_compat", vendor / "cupy_compat", ignore=ignored)
    for package in (vendor, vendor.parent):
        (package / "__init__.py").touch()
    found = f"assert cupy_compat.__file__.startswith({str(vendor)!r})\n"
    how = {
        "before": f"sys.path.insert(0, {str(place.folder)!r})\n"
        + (BESIDE if beside == "after the real one" else ""),
        "shim": VENDORED,
        "after": BESIDE if beside == "before the real one" else "",
        "must": found + ("" if beside == "alone" else textwrap.dedent(AGREE)),
    }
    if beside == "alone":
        how["before"] += "\nsys.path.remove(" + repr(str(place.shim)) + ")"
    place.assert_repairs(**how)
    # The copy that armed last has tried CuPy.
    tried = beside != "before the real one"
    place.assert_leaves_alone(state="healthy" if tried else "inactive", **how)


CHILDREN = """
import cupy_compat
cupy_compat.install(force=True)

def work(number):
    import cupy
    return cupy.memoize()(len)("abc"), cupy_compat.status().state

if __name__ == "__main__":
    import multiprocessing, sys
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(pool.map(work, range(2)), cupy_compat.status().state)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_of_multiprocessing_are_repaired(
    broken: Interpreter, tmp_path: Path, method: str
) -> None:
    script = tmp_path / "children.py"

    def do(code: str) -> subprocess.CompletedProcess[str]:
        script.write_text(code)
        variables = {"PYTHONPATH": str(broken.shim), "CUPY_COMPAT": "never"}
        return start(broken.python, script, method, env=plain_environment() | variables)

    done = do(CHILDREN)
    assert done.stdout.strip() == "[(3, 'repaired'), (3, 'repaired')] armed", done.stderr
    assert FAILURE in do(CHILDREN.replace("force=True", "")).stderr


#: The sitecustomize of EasyBuild's Pythons.
EASYBUILD = """
import os, site, sys
for prefix in filter(None, os.getenv("EBPYTHONPREFIXES", "").split(os.pathsep)):
    version = "python%d.%d" % sys.version_info[:2]
    site.addsitedir(os.path.join(prefix, "lib", version, "site-packages"))
"""


#: Environment variables, and arguments of Python.
Command = tuple[dict[str, str], list[str | Path]]


def easybuild(venv: Environment, home: Path) -> Command:
    # Not in site-packages: Debian's Pythons have a sitecustomize of their own before that.
    (venv.folder / "sitecustomize.py").write_text(EASYBUILD)
    variables = {"EBPYTHONPREFIXES": str(home.parents[2]), "PYTHONPATH": str(venv.folder)}
    return variables, ["-m", "cupy_compat"]


def appended(venv: Environment, home: Path) -> Command:
    extend = f"import sys; sys.path.append({str(home)!r})"
    return {}, ["-c", f"{extend}; from cupy_compat.__main__ import main; main()"]


def target(venv: Environment, home: Path) -> Command:
    return {"PYTHONPATH": str(home)}, ["-m", "cupy_compat"]


def zipped(venv: Environment, home: Path) -> Command:
    archive = home.with_suffix(".pyz")
    zipapp.create_archive(home, archive, main="cupy_compat.__main__:main")
    return {}, [archive]


def shiv(venv: Environment, home: Path) -> Command:
    archive = home.with_suffix(".pyz")
    main = ["-e", "cupy_compat.__main__:main"]
    run(sys.executable, "-m", "shiv", "--site-packages", home, *main, "-o", archive)
    return {"SHIV_ROOT": str(home.parent)}, [archive]


@pytest.mark.parametrize("layout", [easybuild, appended, target, zipped, shiv])
def test_run_arms_with_the_layout(
    layout: Callable[[Environment, Path], Command],
    venv: Environment,
    wheels: list[Path],
    tmp_path: Path,
) -> None:
    home = tmp_path / venv.site.relative_to(venv.folder)
    shutil.unpack_archive(wheels[0], home, "zip")
    (venv.site / "wrapt").rename(home / "wrapt")
    variables, words = layout(venv, home)
    path = venv.output("-c", "import sys; print(sys.path)", environment=variables)
    assert fails_import(venv.start("-c", "import cupy", environment=variables))
    ask = "import sys, cupy; print(sys.modules['cupy_compat'].status().state, sys.path)"
    ask_child = f"import subprocess; subprocess.run([sys.executable, '-c', {ask!r}], check=True)"
    program = ["run", "-c", f"{ask}\n{ask_child}"]
    printed = venv.output(*words, *program, environment=variables)
    assert printed == f"repaired {path}" * 2


#: Programs whose output must be the same as on a healthy CuPy without the shim.
PROGRAMS = {
    "beartype": """
        import cupy
        from beartype import beartype

        @beartype
        @cupy.memoize()
        def double(x: int) -> int:
            return 2 * x

        print(double(2))
        try:
            double("a")
        except Exception as error:
            print(type(error).__name__)
    """,
    "beartype.claw": """
        from pathlib import Path
        from beartype.claw import beartype_package

        Path("mine.py").write_text('''
        import cupy

        @cupy.memoize()
        def double(x: int) -> int:
            return 2 * x

        class Mine:
            @cupy.memoize()
            def method(self, x: int) -> int:
                return x
        ''')
        beartype_package("mine")
        import mine

        print(mine.double(2), mine.Mine().method(1))
        try:
            mine.double("a")
        except Exception as error:
            print(type(error).__name__)
    """,
    "monkeypatch.delitem": """
        import sys
        import cupy, cupy.random, cupyx.scipy.sparse, pytest

        names = [name for name in sys.modules if name.split(".")[0] in ("cupy", "cupyx")]
        kept = {name: sys.modules[name] for name in names}
        with pytest.MonkeyPatch.context() as patch:
            patch.delitem(sys.modules, "cupy")
            if "cupy_compat" in sys.modules:
                sys.modules["cupy_compat"].install()
            print([name for name in kept if sys.modules.get(name) is not kept[name]])
            import cupy as again
            print(again.random.RandomState is cupy.random.RandomState)
        print(sys.modules["cupy"].random is sys.modules["cupy.random"])
    """,
    "pytest -p": r"""
        import sys
        from pathlib import Path
        import pytest

        Path("test_mine.py").write_text("import cupy\ndef test(): cupy.memoize()(len)")
        plugin = ["-p", "cupy_compat"] if "cupy_compat" in sys.modules else []
        strict = ["-W", "error", "-p", "no:cacheprovider", "-qq", "--tb=native"]
        print(int(pytest.main([*strict, *plugin, "test_mine.py"])))
    """,
}


def run_program(
    interpreter: Interpreter, code: str, libraries: Path, folder: Path, *, shim: bool
) -> subprocess.CompletedProcess[str]:
    """Run a program with a copy of the shim, which it may change, or without the shim."""
    folder.mkdir()
    path = [str(libraries)]
    if shim:
        shutil.copytree(interpreter.shim, folder / "shim", ignore=ignored)
        path.append(str(folder / "shim"))
    program = folder / "program.py"
    program.write_text(f"{SHIM if shim else ''}\n{textwrap.dedent(code)}")
    variables = plain_environment() | {"PYTHONPATH": os.pathsep.join(path)}
    return start(interpreter.python, program, env=variables, cwd=folder)


def assert_same_output_as_on_a_healthy_cupy(
    code: str, broken: Interpreter, reference: Interpreter, libraries: Path, folder: Path
) -> None:
    expected = run_program(reference, code, libraries, folder / "healthy", shim=False)
    assert expected.returncode == 0, expected.stderr
    for name, interpreter in {"repaired": broken, "untouched": reference}.items():
        done = run_program(interpreter, code, libraries, folder / name, shim=True)
        assert done.stdout == expected.stdout, done.stdout + done.stderr
    failed = run_program(broken, code, libraries, folder / "broken", shim=False)
    # Some programs print the type and the message in different colours.
    assert FAILURE.partition(": ")[2] in failed.stdout + failed.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_the_same_output_as_on_a_healthy_cupy(
    name: str, broken: Interpreter, reference: Interpreter, neighbours: Path, tmp_path: Path
) -> None:
    assert_same_output_as_on_a_healthy_cupy(PROGRAMS[name], broken, reference, neighbours, tmp_path)


@pytest.mark.parametrize("how", ["enable", "cupy-compat-auto"])
def test_a_healthy_cupy_imports_after_the_shim_was_uninstalled_during_the_program(
    how: str, venv: Environment, reference: Interpreter, wheels: list[Path]
) -> None:
    (venv.site / "broken_cupy.pth").write_text(f"{site_packages(reference.python)}\n")
    names = ["cupy-compat"] if how == "enable" else ["cupy-compat", "cupy-compat-auto"]
    venv.install(*wheels[: len(names)])
    if how == "enable":
        venv.do("enable")
    uninstall = [sys.executable, "-m", "pip", "-q", "--python", str(venv.python), "uninstall", "-y"]
    program = f"""
import subprocess, sys
print("cupy_compat" in sys.modules)
subprocess.run({[*uninstall, *names]!r}, check=True, capture_output=True)
import cupy
print(cupy.__version__, sys.modules["cupy_compat"].status().state)
"""
    printed = venv.output("-c", program, environment={"CUPY_COMPAT": "always"})
    assert printed == f"True\n{REFERENCE_CUPY} inactive\n"


FROZEN = """
import sys
sys.path.append(sys.argv[1])
if sys.argv[2] == "shim":
    import cupy_compat
    cupy_compat.install(force=True)
import cupy
print(cupy.memoize()(len)("abc"), sys.frozen, cupy_compat.status().state)
print(type(cupy_compat.__loader__).__name__)
"""


def test_it_works_in_a_packaged_program(place: Place) -> None:
    # CuPy and NumPy stay outside the program, because packaging them takes minutes and 300 MB.
    # Therefore, the standard modules that they need must be named.
    code = "import cupy, sys; print(*sys.modules)"
    needed = start(place.healthy, "-c", code, cwd=place.folder).stdout.split()
    hidden = [name for name in needed if name.partition(".")[0] in sys.stdlib_module_names]
    script = place.folder / "frozen.py"
    script.write_text(FROZEN)
    command = [
        *(sys.executable, "-m", "PyInstaller", "--onedir", "--noconfirm", "--log-level=WARN"),
        *("--exclude-module=cupy", "--exclude-module=numpy", f"--paths={place.shim}"),
        *(f"--hidden-import={name}" for name in hidden if name != "__main__"),
        str(script),
    ]
    variables = plain_environment() | {"PYINSTALLER_CONFIG_DIR": str(place.folder / "cache")}
    built = start(*command, env=variables, cwd=place.folder)
    assert built.returncode == 0, built.stderr

    program = [place.folder / "dist/frozen/frozen", site_packages(place.broken)]
    done = start(*program, "shim", env=plain_environment())
    assert done.stdout.splitlines()[:1] == ["3 True repaired"], done.stderr
    assert "Pyi" in done.stdout.splitlines()[1]
    assert FAILURE in start(*program, "none", env=plain_environment()).stderr


def public() -> dict[str, Callable[..., Any]]:
    """Return every public name, and the methods of ``Status``."""
    names = {name: getattr(cupy_compat, name) for name in cupy_compat.__all__}
    methods = {
        f"Status.{name}": value
        for name, value in vars(cupy_compat.Status).items()
        if callable(value)
    }
    return names | methods


@pytest.mark.parametrize("name", public())
def test_type_hints_can_be_evaluated_of(name: str) -> None:
    typing.get_type_hints(public()[name])


def test_the_type_hint_of_install_is_the_status() -> None:
    assert typing.get_type_hints(cupy_compat.install)["return"] is cupy_compat.Status
