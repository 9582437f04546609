"""The built packages, installed beside a genuinely broken CuPy.

``nox -s packages`` runs these tests in an environment of its own. Plain ``pytest`` does not collect
this file, because of its name.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

PURELIB = Path(sysconfig.get_path("purelib"))
COMMAND = Path(sysconfig.get_path("scripts")) / "cupy-compat"
ARMED_BY_ITSELF = sys.version_info >= (3, 13)


def output(*command: str | Path, folder: Path) -> str:
    """Run a command, which must succeed, in an empty folder, and return its output."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_the_installed_package_is_imported(tmp_path: Path) -> None:
    code = "import cupy_compat; print(cupy_compat.__file__)"
    file = Path(output(sys.executable, "-c", code, folder=tmp_path).strip())
    assert file == PURELIB / "cupy_compat" / "__init__.py"
    assert file.with_name("py.typed").is_file()


@pytest.mark.parametrize("command", [[COMMAND], [sys.executable, "-m", "cupy_compat"]], ids=len)
def test_both_commands_print_the_installed_version(
    command: list[str | Path], tmp_path: Path
) -> None:
    version = importlib.metadata.version("cupy-compat")
    assert output(*command, "--version", folder=tmp_path) == f"{version}\n"


def test_the_shim_follows_the_policy(tmp_path: Path) -> None:
    code = "import cupy_compat; print(cupy_compat.status().state)"
    expected = "armed" if ARMED_BY_ITSELF else "inactive"
    assert output(sys.executable, "-c", code, folder=tmp_path) == f"{expected}\n"


def test_a_broken_cupy_is_repaired(tmp_path: Path) -> None:
    code = (
        "import cupy_compat; cupy_compat.install(force=True); "
        "import cupy; print(cupy_compat.status().state)"
    )
    assert output(sys.executable, "-c", code, folder=tmp_path) == "repaired\n"


def test_without_the_shim_cupy_fails(tmp_path: Path) -> None:
    environment = {"CUPY_COMPAT": "never"}
    done = subprocess.run(
        [sys.executable, "-c", "import cupy"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.endswith(
        "AttributeError: attribute '__name__' of 'builtin_function_or_method' objects "
        "is not writable\n"
    )


def test_pip_finds_no_broken_requirements(tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "pip", "check"]
    assert output(*asked, folder=tmp_path) == "No broken requirements found.\n"


def test_every_link_of_the_description_is_absolute() -> None:
    described = importlib.metadata.metadata("cupy-compat").get_payload()
    links = re.findall(r"\]\(([^)]*)\)", described)
    assert any(link.endswith("docs/libraries.md") for link in links)
    assert all(link.startswith("https://") for link in links)


def test_only_the_package_and_its_metadata_are_installed() -> None:
    for distribution in importlib.metadata.distributions(path=[str(PURELIB)]):
        if distribution.name == "cupy-compat":
            parts = {path.parts[0] for path in distribution.files or []}
            assert parts - {".."} == {
                "cupy_compat",
                f"cupy_compat-{distribution.version}.dist-info",
            }
