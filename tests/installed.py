"""What is published, installed as others install it, beside a CuPy that is really broken.

Its name keeps this file out of plain ``pytest``: it speaks of the environment that
``nox -s packages`` makes, in which no checkout is in the way.
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
    """Run a command in an empty folder, and return what it printed; it must end well."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_the_installed_package_is_the_one_that_is_imported(tmp_path: Path) -> None:
    code = "import cupy_compat; print(cupy_compat.__file__)"
    file = Path(output(sys.executable, "-c", code, folder=tmp_path).strip())
    assert file == PURELIB / "cupy_compat" / "__init__.py"
    assert file.with_name("py.typed").is_file()


@pytest.mark.parametrize("command", [[COMMAND], [sys.executable, "-m", "cupy_compat"]], ids=len)
def test_both_commands_tell_the_installed_version(
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


def test_without_the_shim_it_is_broken(tmp_path: Path) -> None:
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


def test_nothing_that_is_installed_is_missing_or_too_old(tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "pip", "check"]
    assert output(*asked, folder=tmp_path) == "No broken requirements found.\n"


def test_every_link_of_the_description_works_on_an_indexs_page() -> None:
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
