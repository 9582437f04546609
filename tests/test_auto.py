"""``cupy-compat-auto``, the distribution whose presence arms each start of Python."""

import email
import json
import sys
import zipfile
from pathlib import Path

import pytest
from environments import ORIGIN, ROOT, Environment, fails_import, passes_import, run
from test_enable import state

import cupy_compat

AUTO = "armed" if sys.version_info >= (3, 13) else "inactive"


def test_the_wheel_contains_two_files_and_its_metadata(wheels: list[Path]) -> None:
    with zipfile.ZipFile(wheels[1]) as wheel:
        files = [name for name in wheel.namelist() if ".dist-info/" not in name]
        (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        metadata = email.message_from_bytes(wheel.read(name))
    assert sorted(files) == ["_cupy_compat_auto/__init__.py", "cupy_compat_auto.pth"]
    assert metadata["Version"] == cupy_compat.__version__
    assert metadata.get_all("Requires-Dist") == ["cupy-compat"]
    assert (ROOT / "auto" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_its_source_distribution_builds_the_same_wheel(wheels: list[Path], tmp_path: Path) -> None:
    build = "import hatchling.build as b; b.build_{}({!r})"
    run(sys.executable, "-c", build.format("sdist", str(tmp_path)), cwd=ROOT / "auto")
    run(sys.executable, "-m", "tarfile", "-e", next(tmp_path.glob("*.tar.gz")), tmp_path)
    (source,) = tmp_path.glob("*/")
    run(sys.executable, "-c", build.format("wheel", str(tmp_path)), cwd=source)
    assert (tmp_path / wheels[1].name).read_bytes() == wheels[1].read_bytes()


@pytest.mark.parametrize("kind", ["wheels", "editables"])
def test_each_start_follows_the_policy(
    kind: str, venv: Environment, request: pytest.FixtureRequest
) -> None:
    assert fails_import(venv.start(ORIGIN))
    venv.install(*request.getfixturevalue(kind))
    by_policy = venv.start(ORIGIN)
    assert passes_import(by_policy) if AUTO == "armed" else fails_import(by_policy)
    assert passes_import(venv.start(ORIGIN, environment={"CUPY_COMPAT": "always"}))
    assert fails_import(venv.start(ORIGIN, environment={"CUPY_COMPAT": "never"}))
    if AUTO == "inactive":
        loaded = "print(*sorted(name for name in sys.modules if name.startswith('cupy')))"
        assert venv.output("-c", "import sys; " + loaded).split() == [
            "cupy_compat",
            "cupy_compat._policy",
        ]
    for option in ("-I", "-E", "-s", "-P", "-O", "-Wd"):
        assert state(venv, option) == AUTO
    assert state(venv, "-S") == "not loaded"


@pytest.mark.parametrize("by", ["pip", "uv"])
def test_uninstalling_leaves_no_file_and_no_message(
    by: str, venv: Environment, wheels: list[Path]
) -> None:
    before = venv.listing()
    venv.install(*wheels)
    venv.output("-c", "import cupy_compat")
    venv.uninstall(by, "cupy-compat")
    assert state(venv) == "not loaded"
    # An uninstallation may leave a folder, which imports as an empty package.
    (venv.site / "cupy_compat").mkdir()
    assert venv.output("-c", "import cupy_compat") == ""
    (venv.site / "cupy_compat").rmdir()
    venv.uninstall(by, "cupy-compat-auto")
    assert state(venv) == "not loaded"
    assert venv.listing() == before


def test_an_upgrade_of_the_package_keeps_it(venv: Environment, wheels: list[Path]) -> None:
    venv.install(*wheels)
    venv.pip("install", "--no-index", "--no-deps", "--force-reinstall", wheels[0])
    assert state(venv) == AUTO


def test_an_invalid_value_warns_at_each_start(venv: Environment, wheels: list[Path]) -> None:
    venv.install(*wheels)
    done = venv.start("-c", "print('on')", environment={"CUPY_COMPAT": "perhaps"})
    assert (done.returncode, done.stdout) == (0, "on\n")
    assert done.stderr.count("RuntimeWarning") == 1


def test_the_doctor_reports_whether_each_start_repairs_a_broken_cupy(
    venv: Environment, wheels: list[Path]
) -> None:
    def repair() -> tuple[int, str]:
        done = venv.start(
            "doctor", "--json", program=venv.command, environment={"CUPY_COMPAT": "always"}
        )
        return done.returncode, json.loads(done.stdout)["repair"]["state"]

    venv.install(wheels[0])
    assert repair() == (1, "would repair")
    venv.do("enable")
    assert repair() == (0, "repairs")
    venv.do("disable")
    assert repair() == (1, "would repair")
    venv.install(wheels[1])
    assert repair() == (0, "repairs")
