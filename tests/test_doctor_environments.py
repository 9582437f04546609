"""The checks of ``cupy-compat doctor`` in genuine environments, made from the package index.

They download 3 GB of wheels, so they have their own nox session. test_doctor.py has the tests that
need only the test bed's CuPys.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import doctor_environments
import pytest
import testbed
from conftest import Interpreter
from environments import clean, start
from test_doctor import NO_GPU, Subject, explained, matches, problems, remarks


def made(name: str, shim: Path, folder: Path) -> Subject:
    return Subject(doctor_environments.make(sys.executable, name), shim, folder)


#: The environments, and the problem in each.
FAILING = [
    ("no-pathfinder", "dependency"),
    ("numpy-1", "numpy-too-old"),
    ("one-of-two-removed", "files-gone"),
    ("np.float_-13.0", "numpy-too-new"),
    ("np.float_-13.1", "numpy-too-new"),
    ("other-abi", "other-python"),
    ("rocm-5", "rocm-library"),
    ("rocm-7", "rocm-library"),
]


@pytest.mark.parametrize(("name", "problem"), FAILING)
def test_the_reason_why_cupy_does_not_import_is_reported(
    shim: Path, tmp_path: Path, name: str, problem: str
) -> None:
    content = made(name, shim, tmp_path).findings(code=1)
    assert (problems(content), remarks(content)) == ({problem}, set())
    assert content["unknown"] == []
    assert content["repair"]["state"] == "off"


@pytest.mark.parametrize("name", ["cupy-12", "cupy-12-cuda11x"])
def test_a_cupy_that_needs_the_driver_is_reported(shim: Path, tmp_path: Path, name: str) -> None:
    subject = made(name, shim, tmp_path)
    if subject.findings(code=1)["facts"]["driver"]["library"] is None:
        assert problems(subject.findings(code=1)) == {"driver-library"}


def test_two_distributions_are_a_remark(shim: Path, tmp_path: Path) -> None:
    content = made("two-distributions", shim, tmp_path).findings(code=0)
    assert problems(content) == set()
    assert "two-distributions" in remarks(content)
    (finding,) = (each for each in content["findings"] if each["check"] == "two-distributions")
    assert "pip uninstall -y cupy-cuda11x cupy-cuda12x" in finding["cures"][0]


@pytest.mark.parametrize(
    ("cupy", "expected"),
    [("13.5.1", {"nvrtc", "library", "no-driver"}), ("14.2.0", {"toolkit", "no-driver"})],
)
def test_a_wheel_without_gpu_and_toolkit_imports(
    shim: Path, tmp_path: Path, cupy: str, expected: set[str]
) -> None:
    content = Subject(testbed.healthy(sys.executable, cupy), shim, tmp_path).findings(code=0)
    if content["facts"]["driver"]["library"] is None:
        # The machine may have a toolkit, which does not help without a driver.
        assert remarks(content) <= expected
        assert "no-driver" in remarks(content)
    assert problems(content) == set() or content["works"] is False


def test_a_wheel_with_its_toolkit_lacks_only_the_driver(shim: Path, tmp_path: Path) -> None:
    content = made("toolkit", shim, tmp_path).findings(code=0)
    assert remarks(content) <= {"no-driver"}
    assert {"compiler", "cublas", "cufft", "cusparse"} <= set(content["attempts"][0]["values"])


def test_a_wheel_for_another_major_version_of_cuda_imports(shim: Path, tmp_path: Path) -> None:
    content = made("cuda13x", shim, tmp_path).findings(code=0)
    assert remarks(content) <= NO_GPU


# For root, os.access() reports /sys as writable.
@pytest.mark.parametrize(
    ("cupy", "place"), [("13.5.1", "file"), ("14.2.0", "file"), ("14.2.0", "system")]
)
def test_a_read_only_cache_is_reported(shim: Path, tmp_path: Path, cupy: str, place: str) -> None:
    (tmp_path / "file").touch()
    cache = {"file": str(tmp_path / "file" / "cache"), "system": "/sys/cupy-cache"}[place]
    at_import = cupy.startswith("14")
    subject = Subject(testbed.healthy(sys.executable, cupy), shim, tmp_path)
    content = subject.findings(code=1 if at_import else 0, CUPY_CACHE_DIR=cache)
    assert "cache" in (problems if at_import else remarks)(content)
    assert content["unknown"] == []


def test_an_empty_libstdcxx_is_reported(shim: Path, tmp_path: Path, reference: Interpreter) -> None:
    empty = tmp_path / "libstdc++.so.6"
    subprocess.run(
        ["g++", "-shared", "-nodefaultlibs", "-x", "c++", os.devnull, "-o", empty], check=True
    )
    subject = Subject(reference.python, shim, tmp_path)
    content = subject.findings(code=1, LD_LIBRARY_PATH=str(tmp_path))
    assert problems(content) == {"libstdcxx"}


# Errors when kernels are compiled, which needs NVRTC, but no GPU.

COMPILE = """
from cupy.cuda import compiler
source = '{include}\\nextern "C" __global__ void k() {{}}'
compiler._NVRTCProgram(source, "k.cu").compile({options})
"""


def nvrtc(subject: Subject) -> Path:
    return testbed._site_packages(subject.python) / "nvidia" / "cuda_nvrtc" / "lib"


@pytest.mark.parametrize(
    ("include", "options", "expected"),
    [
        ("", ("-arch=sm_80",), set()),
        ("", ("-arch=compute_999",), {"architecture"}),
        ("#include <iostream>", ("-arch=sm_80",), {"host-headers"}),
        ("#include <thrust/count.h>", ("-arch=sm_80",), {"cuda-headers"}),
        ("__global__ void f() { tensor x; }", ("-arch=sm_80",), {"kernel-source"}),
        ("#include <cuda_fp16.h>", ("-arch=sm_80",), {"runtime-headers"}),
        ("#include <cupy/carray.cuh>", ("-arch=sm_80", "-I{i}", "-I{i}/cupy/_cuda/cuda-12.2"),
         {"runtime-headers"}),
    ],
)  # fmt: skip
def test_errors_of_nvrtc_are_explained(
    shim: Path, tmp_path: Path, include: str, options: tuple[str, ...], expected: set[str]
) -> None:
    subject = made("nvrtc", shim, tmp_path)
    folder = testbed._site_packages(subject.python) / "cupy" / "_core" / "include"
    given = tuple(option.format(i=folder) for option in options)
    program = COMPILE.format(include=include, options=given)
    assert explained(subject, program, LD_LIBRARY_PATH=str(nvrtc(subject))) == expected


def test_an_nvrtc_without_its_builtins_is_explained(shim: Path, tmp_path: Path) -> None:
    subject = made("nvrtc", shim, tmp_path)
    shutil.copy(nvrtc(subject) / "libnvrtc.so.12", tmp_path)
    program = COMPILE.format(include="", options=("-arch=sm_80",))
    assert explained(subject, program, LD_LIBRARY_PATH=str(tmp_path)) == {"mixed-nvrtc"}


def test_missing_headers_of_the_toolkit_are_explained(shim: Path, tmp_path: Path) -> None:
    subject = made("nvrtc", shim, tmp_path)
    # Make CuPy believe that the machine has no toolkit.
    program = """
from cupy import _environment
_environment._cuda_path = None
from cupy._core import core
core.assemble_cupy_compiler_options(())
"""
    assert explained(subject, program, LD_LIBRARY_PATH=str(nvrtc(subject))) == {"toolkit-headers"}


# Errors of other packages.


def test_a_package_compiled_for_another_numpy_is_explained(shim: Path, tmp_path: Path) -> None:
    assert explained(made("old-pandas", shim, tmp_path), "import pandas") == {"numpy-abi"}


@pytest.mark.parametrize("library", ["nccl", "cutensor"])
def test_a_missing_optional_library_is_explained(
    reference: Interpreter, tmp_path: Path, library: str
) -> None:
    subject = Subject(reference.python, reference.shim, tmp_path)
    assert explained(subject, f"from cupy.cuda import {library}") <= {
        "optional-library",
        "optional-missing",
    }


def test_fix_upgrades_numpy(shim: Path, tmp_path: Path) -> None:
    origin = doctor_environments.make(sys.executable, "numpy-1")
    python = doctor_environments.with_pip(origin, tmp_path / "env")
    done = Subject(python, shim, tmp_path).doctor("--fix", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "To undo this: python -m pip install numpy==1.26.4\n" in done.stdout
    assert "After the cure:" in done.stdout


def test_an_nvjitlink_older_than_cusparse_is_reported(shim: Path, tmp_path: Path) -> None:
    content = made("nvjitlink", shim, tmp_path).findings(code=0)
    assert "nvjitlink" in problems(content) | remarks(content)
    # Each other library was tried independently.
    assert "cublas" in content["attempts"][0]["values"]


def test_a_missing_nvjitlink_is_explained(
    shim: Path, tmp_path: Path, reference: Interpreter
) -> None:
    # CuPy 13 relies on the loader to find libraries.
    found = testbed._site_packages(made("no-nvjitlink", shim, tmp_path).python)
    subject = Subject(reference.python, shim, tmp_path)
    program = "from cupy_backends.cuda.libs import cusparse"
    path = str(found / "nvidia" / "cusparse" / "lib")
    assert explained(subject, program, LD_LIBRARY_PATH=path) == {"nvjitlink-missing"}


def test_cupys_source_as_working_folder_is_reported(shim: Path, tmp_path: Path) -> None:
    source = testbed.source_of(sys.executable, "14.2.0")
    subject = Subject(testbed.healthy(sys.executable, "14.2.0"), shim, source)
    content = subject.findings(code=1)
    assert problems(content) == {"source-tree"}
    assert explained(subject, "import cupy") == {"source-tree"}


def test_cupy_testing_without_pytest_is_explained(shim: Path, tmp_path: Path) -> None:
    subject = made("cupy-14.1.0", shim, tmp_path)
    assert explained(subject, "import cupy.testing._random") == {"pytest"}


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import cupy; cupy.util", "removed-name"),
        ("import cupy.core", "removed-module"),
        ("import cupy; cupy.no_such_function", "no-such-name"),
    ],
)
def test_a_name_that_cupy_does_not_have_is_explained(
    reference: Interpreter, tmp_path: Path, program: str, expected: str
) -> None:
    subject = Subject(reference.python, reference.shim, tmp_path)
    assert explained(subject, program) == {expected}


AGAIN = """
import traceback
for _ in range(2):
    try:
        import cupy
    except Exception:
        traceback.print_exc()
"""


def test_a_second_import_does_not_hide_the_first_failure(
    broken: Interpreter, tmp_path: Path
) -> None:
    subject = Subject(broken.python, broken.shim, tmp_path)
    assert "memoize" in explained(subject, AGAIN)


def test_a_packaged_program_without_modules_of_cupy_is_explained(
    tmp_path: Path, reference: Interpreter
) -> None:
    (tmp_path / "program.py").write_text("import cupy\n")
    freeze = ["-m", "PyInstaller", "--onedir", "--paths", testbed._site_packages(reference.python)]
    subprocess.run(
        [sys.executable, *freeze, "program.py"], cwd=tmp_path, check=True, capture_output=True
    )
    assert matches(start(tmp_path / "dist" / "program" / "program")) == {"frozen"}


def pip(*arguments: str, **environment: str) -> set[str]:
    """Return the checks that match the error output of pip."""
    done = start(sys.executable, "-m", "pip", *arguments, env=clean("CUDA") | environment)
    assert done.returncode != 0
    return matches(done)


def test_pip_without_a_wheel_for_the_python_is_explained(tmp_path: Path) -> None:
    # The first wheels for CUDA 13 were built for Python 3.9.
    wheels = ("--no-deps", "--only-binary=:all:", "--python-version", "3.7")
    assert pip("download", *wheels, "-d", str(tmp_path), "cupy-cuda13x") == {"no-wheel"}


def test_a_build_of_a_cupy_too_old_for_setuptools_is_explained(tmp_path: Path) -> None:
    source = ("--no-deps", "--no-binary", "cupy", "cupy==9.6.0")
    assert pip("download", "-d", str(tmp_path), *source) == {"build-old-cupy"}


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (("cupy-cuda12x==12.4",), {"no-such-version"}),
        (("cupy-cuda121",), {"no-such-package"}),
        (("cupy-cuda11x", "--python-version", "3.14"), {"no-wheel"}),
    ],
)
def test_uv_with_a_wrong_requirement_is_explained(
    tmp_path: Path, requirement: tuple[str, ...], expected: set[str]
) -> None:
    dry = ("pip", "install", "--dry-run", "--target", tmp_path)
    assert matches(start(Path(sys.executable).parent / "uv", *dry, *requirement)) == expected


def test_a_build_without_cuda_is_explained(tmp_path: Path) -> None:
    source = ("--no-deps", "--no-binary", "cupy", "cupy==13.4.1")
    # Hide the toolkit of the machine.
    hidden = {"CUDA_PATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    assert pip("download", "-d", str(tmp_path), *source, **hidden) == {"build-no-cuda"}


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("cupy-cuda12x==12.4", {"no-such-version"}),
        ("cupy-cuda121", {"no-such-package"}),
        ("cupy-cuda117", {"no-such-package"}),
    ],
)
def test_pip_with_a_wrong_requirement_is_explained(requirement: str, expected: set[str]) -> None:
    dry = ("install", "--dry-run", "--no-deps", "--only-binary=:all:")
    assert pip(*dry, requirement) == expected


def test_pip_without_a_network_is_explained() -> None:
    nowhere = ("--index-url", "http://127.0.0.1:9/simple", "--retries", "1")
    dry = ("install", "--dry-run", "--ignore-installed")
    assert pip(*dry, *nowhere, "cupy-cuda12x") == {"network"}


def test_conflicting_requirements_are_explained() -> None:
    both = ("cupy-cuda12x==14.2.0", "numpy<2")
    assert pip("install", "--dry-run", "--only-binary=:all:", *both) == {"conflict"}


def test_a_wheel_for_another_python_is_explained(tmp_path: Path) -> None:
    wheel = tmp_path / "cupy_cuda12x-13.6.0-cp310-cp310-win_amd64.whl"
    wheel.touch()
    assert pip("install", str(wheel)) == {"wheel-file"}


def test_rapids_doctor_runs_the_doctor(tmp_path: Path) -> None:
    pytest.importorskip("rapids_cli")
    rapids = Path(sys.executable).parent / "rapids"
    wide = os.environ | {"COLUMNS": "200"}
    done = start(rapids, "doctor", "--verbose", "cupy_compat", env=wide, cwd=tmp_path)
    output = done.stdout + done.stderr
    assert "Found check 'cupy_check'" in output
    # This environment has no CuPy. (If the first check fails, rapids-cli 0.2 ends with an error of
    # its own, which shows this one.)
    assert done.returncode != 0
    assert "not-installed" in output
