"""Each check of ``cupy-compat doctor`` in a real environment made for it, from the index alone.

These load some 3 GB of wheels, so they have a nox session of their own. What needs no more than
the test bed's CuPys is in test_doctor.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import doctor_environments
import pytest
import testbed
from conftest import Interpreter
from test_doctor import NO_GPU, Patient, explained, problems, remarks

from cupy_compat.doctor import diagnosis


def patient(name: str, shim: Path, folder: Path) -> Patient:
    return Patient(doctor_environments.make(sys.executable, name), shim, folder)


#: The environment, the problems that must be found, and remarks that must be among them.
FAILING = [
    ("no-fastrlock", {"dependency"}, set()),
    ("no-numpy", {"dependency"}, set()),
    ("no-cupy", {"not-installed"}, set()),
    ("no-pathfinder", {"dependency"}, set()),
    ("numpy-1", {"numpy-too-old"}, set()),
    ("one-of-two-removed", {"files-gone"}, set()),
    ("np.float_-13.0", {"numpy-too-new"}, set()),
    ("np.float_-13.1", {"numpy-too-new"}, set()),
    ("other-abi", {"other-python"}, set()),
    ("rocm-5", {"rocm-library"}, set()),
    ("rocm-7", {"rocm-library"}, set()),
]


@pytest.mark.parametrize(("name", "problem", "remark"), FAILING, ids=lambda value: str(value))
def test_an_environment_in_which_cupy_does_not_import(
    shim: Path, tmp_path: Path, name: str, problem: set[str], remark: set[str]
) -> None:
    content = patient(name, shim, tmp_path).findings(code=1)
    assert problems(content) == problem
    assert remarks(content) == remark
    assert content["unknown"] == []
    assert content["repair"]["state"] == "off"


@pytest.mark.parametrize("name", ["cupy-12", "cupy-12-cuda11x"])
def test_a_cupy_that_links_to_the_driver(shim: Path, tmp_path: Path, name: str) -> None:
    ill = patient(name, shim, tmp_path)
    if ill.findings(code=1)["facts"]["driver"]["library"] is None:
        assert problems(ill.findings(code=1)) == {"driver-library"}


def test_two_distributions(shim: Path, tmp_path: Path) -> None:
    content = patient("two-distributions", shim, tmp_path).findings(code=0)
    assert problems(content) == set()
    assert "two-distributions" in remarks(content)
    (finding,) = (each for each in content["findings"] if each["check"] == "two-distributions")
    assert "pip uninstall -y cupy-cuda11x cupy-cuda12x" in finding["cures"][0]


@pytest.mark.parametrize(
    ("cupy", "expected"),
    [
        ("13.5.1", {"nvrtc", "library", "no-driver"}),
        ("14.2.0", {"toolkit", "no-driver"}),
    ],
)
def test_a_wheel_on_a_machine_without_gpu_and_toolkit(
    shim: Path, tmp_path: Path, cupy: str, expected: set[str]
) -> None:
    content = Patient(testbed.healthy(sys.executable, cupy), shim, tmp_path).findings(code=0)
    if content["facts"]["driver"]["library"] is None:
        # A toolkit of the machine's may be found, but without a driver none helps.
        assert remarks(content) <= expected
        assert "no-driver" in remarks(content)
    assert problems(content) == set() or content["works"] is False


def test_a_wheel_with_its_toolkit(shim: Path, tmp_path: Path) -> None:
    content = patient("toolkit", shim, tmp_path).findings(code=0)
    assert remarks(content) <= {"no-driver"}
    assert {"compiler", "cublas", "cufft", "cusparse"} <= set(content["attempts"][0]["values"])


def test_a_wheel_of_another_major_version_of_cuda(shim: Path, tmp_path: Path) -> None:
    content = patient("cuda13x", shim, tmp_path).findings(code=0)
    assert remarks(content) <= NO_GPU


# Root may write anywhere by its rights, so the facts alone do not know of /sys.
@pytest.mark.parametrize(
    ("cupy", "place"), [("13.5.1", "file"), ("14.2.0", "file"), ("14.2.0", "system")]
)
def test_a_cache_that_cannot_be_written(shim: Path, tmp_path: Path, cupy: str, place: str) -> None:
    (tmp_path / "file").touch()
    # Not even root may write in /sys.
    cache = {"file": str(tmp_path / "file" / "cache"), "system": "/sys/cupy-cache"}[place]
    at_import = cupy.startswith("14")
    ill = Patient(testbed.healthy(sys.executable, cupy), shim, tmp_path)
    content = ill.findings(code=1 if at_import else 0, CUPY_CACHE_DIR=cache)
    assert "cache" in (problems if at_import else remarks)(content)
    assert content["unknown"] == []


def test_an_empty_library_in_the_place_of_libstdcxx(
    shim: Path, tmp_path: Path, reference: Interpreter
) -> None:
    empty = tmp_path / "libstdc++.so.6"
    subprocess.run(
        ["g++", "-shared", "-nodefaultlibs", "-x", "c++", os.devnull, "-o", empty], check=True
    )
    ill = Patient(reference.python, shim, tmp_path)
    content = ill.findings(code=1, LD_LIBRARY_PATH=str(tmp_path))
    assert problems(content) == {"libstdcxx"}


# What CuPy says where kernels are compiled, which needs NVRTC, but no GPU.

COMPILE = """
from cupy.cuda import compiler
source = '{include}\\nextern "C" __global__ void k() {{}}'
compiler._NVRTCProgram(source, "k.cu").compile({options})
"""


def nvrtc(ill: Patient) -> Path:
    return testbed._site_packages(ill.python) / "nvidia" / "cuda_nvrtc" / "lib"


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
def test_what_nvrtc_says(
    shim: Path, tmp_path: Path, include: str, options: tuple[str, ...], expected: set[str]
) -> None:
    ill = patient("nvrtc", shim, tmp_path)
    folder = testbed._site_packages(ill.python) / "cupy" / "_core" / "include"
    given = tuple(option.format(i=folder) for option in options)
    program = COMPILE.format(include=include, options=given)
    assert explained(ill, program, LD_LIBRARY_PATH=str(nvrtc(ill))) == expected


def test_an_nvrtc_without_its_other_half(shim: Path, tmp_path: Path) -> None:
    ill = patient("nvrtc", shim, tmp_path)
    shutil.copy(nvrtc(ill) / "libnvrtc.so.12", tmp_path)
    program = COMPILE.format(include="", options=("-arch=sm_80",))
    assert explained(ill, program, LD_LIBRARY_PATH=str(tmp_path)) == {"mixed-nvrtc"}


def test_no_toolkit_with_headers(shim: Path, tmp_path: Path) -> None:
    ill = patient("nvrtc", shim, tmp_path)
    # The machine may have a toolkit, so CuPy is told that its search found none.
    program = """
from cupy import _environment
_environment._cuda_path = None
from cupy._core import core
core.assemble_cupy_compiler_options(())
"""
    assert explained(ill, program, LD_LIBRARY_PATH=str(nvrtc(ill))) == {"toolkit-headers"}


# What others say: packages beside CuPy, and pip.


def test_another_package_that_was_compiled_for_another_numpy(shim: Path, tmp_path: Path) -> None:
    assert explained(patient("old-pandas", shim, tmp_path), "import pandas") == {"numpy-abi"}


@pytest.mark.parametrize("library", ["nccl", "cutensor"])
def test_an_optional_library_that_is_missing(
    reference: Interpreter, tmp_path: Path, library: str
) -> None:
    ill = Patient(reference.python, reference.shim, tmp_path)
    assert explained(ill, f"from cupy.cuda import {library}") <= {
        "optional-library",
        "optional-missing",
    }


def test_numpy_is_upgraded_where_the_user_asks_for_a_fix(shim: Path, tmp_path: Path) -> None:
    env = tmp_path / "env"
    testbed._run([sys.executable, "-m", "venv", env])
    python = testbed._python(env)
    doctor_environments.link(doctor_environments.make(sys.executable, "numpy-1"), python)
    done = Patient(python, shim, tmp_path).consult("--fix", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "To go back: python -m pip install numpy==1.26.4\n" in done.stdout
    assert "After the cure:" in done.stdout


def test_an_nvjitlink_that_is_older_than_cusparse(shim: Path, tmp_path: Path) -> None:
    content = patient("nvjitlink", shim, tmp_path).findings(code=0)
    assert "nvjitlink" in problems(content) | remarks(content)
    # The other libraries were loaded, or are missing, each by itself.
    assert "cublas" in content["attempts"][0]["values"]


def test_no_nvjitlink_beside_cusparse(shim: Path, tmp_path: Path, reference: Interpreter) -> None:
    # CuPy 13 finds libraries as the loader does, CuPy 14 by itself.
    found = testbed._site_packages(patient("no-nvjitlink", shim, tmp_path).python)
    ill = Patient(reference.python, shim, tmp_path)
    program = "from cupy_backends.cuda.libs import cusparse"
    path = str(found / "nvidia" / "cusparse" / "lib")
    assert explained(ill, program, LD_LIBRARY_PATH=path) == {"nvjitlink-missing"}


def test_the_sources_of_cupy_as_working_folder(shim: Path, tmp_path: Path) -> None:
    source = testbed.source_of(sys.executable, "14.2.0")
    ill = Patient(testbed.healthy(sys.executable, "14.2.0"), shim, source)
    content = ill.findings(code=1)
    assert problems(content) == {"source-tree"}
    assert explained(ill, "import cupy") == {"source-tree"}


def test_cupy_testing_without_pytest(shim: Path, tmp_path: Path) -> None:
    ill = patient("cupy-14.1.0", shim, tmp_path)
    assert explained(ill, "import cupy.testing._random") == {"pytest"}


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import cupy; cupy.util", "removed-name"),
        ("import cupy.core", "removed-module"),
        ("import cupy; cupy.no_such_function", "no-such-name"),
    ],
)
def test_a_name_that_cupy_does_not_have(
    reference: Interpreter, tmp_path: Path, program: str, expected: str
) -> None:
    ill = Patient(reference.python, reference.shim, tmp_path)
    assert explained(ill, program) == {expected}


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
    ill = Patient(broken.python, broken.shim, tmp_path)
    assert "memoize" in explained(ill, AGAIN)


def test_a_frozen_program_that_lacks_modules_of_cupy(
    tmp_path: Path, reference: Interpreter
) -> None:
    (tmp_path / "program.py").write_text("import cupy\n")
    freeze = ["-m", "PyInstaller", "--onedir", "--paths", testbed._site_packages(reference.python)]
    subprocess.run(
        [sys.executable, *freeze, "program.py"], cwd=tmp_path, check=True, capture_output=True
    )
    done = subprocess.run(
        [tmp_path / "dist" / "program" / "program"], capture_output=True, check=False
    )
    found = diagnosis.explain(BytesIO(done.stderr)).findings
    assert [finding.check for finding in found] == ["frozen"]


def pip(*arguments: str, **environment: str) -> set[str]:
    """Return the checks that know what pip says as it fails."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CUDA")}
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    output = BytesIO((done.stdout + done.stderr).encode())
    return {finding.check for finding in diagnosis.explain(output).findings}


def test_pip_for_a_python_that_has_no_wheel(tmp_path: Path) -> None:
    # The first wheels for CUDA 13 were built for Python 3.9.
    wheels = ("--no-deps", "--only-binary=:all:", "--python-version", "3.7")
    assert pip("download", *wheels, "-d", str(tmp_path), "cupy-cuda13x") == {"no-wheel"}


def test_pip_that_builds_a_cupy_of_the_time_of_other_setuptools(tmp_path: Path) -> None:
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
def test_uv_for_what_does_not_exist(
    tmp_path: Path, requirement: tuple[str, ...], expected: set[str]
) -> None:
    dry = ("pip", "install", "--dry-run", "--target", tmp_path)
    done = subprocess.run(
        [Path(sys.executable).parent / "uv", *dry, *requirement],
        capture_output=True,
        check=False,
    )
    found = diagnosis.explain(BytesIO(done.stdout + done.stderr)).findings
    assert {finding.check for finding in found} == expected


def test_pip_that_builds_from_source(tmp_path: Path) -> None:
    source = ("--no-deps", "--no-binary", "cupy", "cupy==13.4.1")
    # Whatever toolkit the machine has, not here.
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
def test_pip_for_what_does_not_exist(requirement: str, expected: set[str]) -> None:
    dry = ("install", "--dry-run", "--no-deps", "--only-binary=:all:")
    assert pip(*dry, requirement) == expected


def test_pip_without_a_network() -> None:
    nowhere = ("--index-url", "http://127.0.0.1:9/simple", "--retries", "1")
    assert pip("install", "--dry-run", *nowhere, "cupy-cuda12x") == {"network"}


def test_pip_that_cannot_satisfy_two(tmp_path: Path) -> None:
    both = ("cupy-cuda12x==14.2.0", "numpy<2")
    assert pip("install", "--dry-run", "--only-binary=:all:", *both) == {"conflict"}


def test_a_wheel_of_another_python(tmp_path: Path) -> None:
    wheel = tmp_path / "cupy_cuda12x-13.6.0-cp310-cp310-win_amd64.whl"
    wheel.touch()
    assert pip("install", str(wheel)) == {"wheel-file"}


# The doors of others.


def test_rapids_doctor_runs_the_doctor(tmp_path: Path) -> None:
    pytest.importorskip("rapids_cli")
    done = subprocess.run(
        [Path(sys.executable).parent / "rapids", "doctor", "--verbose", "cupy_compat"],
        env=os.environ | {"COLUMNS": "200"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert "Found check 'cupy_check'" in output
    # This environment itself has no CuPy. (If the first of its checks fails, rapids-cli 0.2 ends
    # with an error of its own, which shows this one.)
    assert done.returncode != 0
    assert "not-installed" in output
