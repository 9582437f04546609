"""The table of checks: the examples, the explanation of texts, and the cures."""

from __future__ import annotations

import time
import tracemalloc
from io import BytesIO

import pytest

from cupy_compat.doctor import diagnosis, machine, report, words
from cupy_compat.doctor.case import Case
from cupy_compat.doctor.checks import CHECKS, Check
from cupy_compat.doctor.facts import _required
from cupy_compat.doctor.machine import Machine
from cupy_compat.doctor.trial import Attempt, Failure
from cupy_compat.doctor.wheels import WHEELS

NAMES = [check.name for check in CHECKS]
#: Checks that apply only to an examined environment.
SILENT = {"no-driver", "old-driver", "crash", "hang", "no-repair"}


def explain(text: str | bytes) -> diagnosis.Explanation:
    return diagnosis.explain(BytesIO(text if isinstance(text, bytes) else text.encode()))


def found(text: str | bytes) -> list[tuple[str, str]]:
    return [(finding.check, finding.severity) for finding in explain(text).findings]


def test_names_are_unique_and_every_message_has_an_example_and_a_source() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert {check.name for check in CHECKS if not check.example} == SILENT
    assert all(check.source for check in CHECKS if check.example)


@pytest.mark.parametrize("check", [each for each in CHECKS if each.example], ids=lambda c: c.name)
def test_an_example_matches_its_check_and_no_other(check: Check) -> None:
    severity = "remark" if check.remark else "problem"
    assert found(check.example) == [(check.name, severity)]
    # Inside other output, with line ends of Windows, and in PowerShell's encoding.
    inside = f"starting\r\n{check.example}\r\n[end of output]\r\n"
    assert found(inside) == [(check.name, severity)]
    assert found(b"\xff\xfe" + inside.encode("utf-16-le")) == [(check.name, severity)]


MACHINES = {
    "unknown": Machine(),
    "wheel": Machine(
        here=True, python="3.13.0", distributions=("cupy-cuda12x",), cuda=12, driver=0
    ),
    "two": Machine(here=True, python="3.13.0", distributions=("cupy", "cupy-cuda12x"), cuda=12),
    "built": Machine(here=True, python="3.13.0", distributions=("cupy",), cuda=None, driver=12080),
    "rocm": Machine(here=True, python="3.12.1", distributions=("cupy-rocm-7-0",), rocm=True),
    "cuda 11": Machine(python="3.12", distributions=("cupy-cuda11x",), cuda=11, system="Windows"),
    "conda": Machine(here=True, python="3.12.1", distributions=("cupy",), conda=True),
    "python 3.15": Machine(here=True, python="3.15.0", distributions=("cupy-cuda12x",), cuda=12),
    "mac": Machine(python="3.12", system="macOS"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_texts_are_complete_and_suit_the_machine(name: str) -> None:
    case = Case(MACHINES[name])
    texts = []
    for check in CHECKS:
        finding = diagnosis.explain_check(check, case)
        texts += [finding.cause, *finding.cures]
    whole = "\n".join(texts)
    assert "None " not in whole.replace("(`None`", "")
    assert "{" not in whole.replace("{*}", "")
    assert all(text.count("`") % 2 == 0 for text in texts)
    if name == "rocm":
        assert "cupy-cuda" not in words.of(case.machine)["install"]
        assert "cupy-cuda" not in words.of(case.machine)["upgrade"]
    if name in ("wheel", "cuda 11", "rocm"):
        # Only the installed wheel is named: another one would be a second CuPy.
        given = words.of(case.machine)
        (own,) = case.machine.distributions
        for phrase in ("install", "upgrade", "reinstall"):
            assert {each for each in WHEELS if each in given[phrase]} <= {own}, given[phrase]
    if name == "built":
        assert "--upgrade cupy`" in words.of(case.machine)["upgrade"]
    if name == "python 3.15":
        assert "3.10 to 3.14" in words.of(case.machine)["install"]
    if name == "mac":
        assert "no wheels for macOS" in words.of(case.machine)["install"]


FRAME = 'Traceback (most recent call last):\n  File "/venv/site-packages/cupy/x.py", line 1, in f\n'


@pytest.mark.parametrize(
    ("text", "expected", "ending"),
    [
        # A handled failure does not explain the one that ended the program.
        (
            f"{FRAME}ImportError: libcuda.so.1: cannot open shared object file: No such file\n"
            'using the CPU\nTraceback (most recent call last):\n  File "x.py", line 1\n'
            "FileNotFoundError: [Errno 2] No such file or directory: 'data.csv'\n",
            [("driver-library", "remark")],
            "FileNotFoundError: [Errno 2] No such file or directory: 'data.csv'",
        ),
        (
            f"{FRAME}ModuleNotFoundError: No module named 'cupy'\n\nDuring handling of the above "
            "exception, another exception occurred:\n\nTraceback (most recent call last):\n"
            '  File "x.py", line 9\nValueError: no such model\n',
            [("not-installed", "remark")],
            "ValueError: no such model",
        ),
        # The direct cause of an exception does.
        (
            f"{FRAME}ImportError: libcublas.so.12: cannot open shared object file: No such file\n\n"
            "The above exception was the direct cause of the following exception:\n\n"
            'Traceback (most recent call last):\n  File "x.py", line 9\nRuntimeError: no backend\n',
            [("library", "problem")],
            None,
        ),
        # A warning is not a problem, and is not mentioned beside an unknown failure.
        (
            "UserWarning: CUDA path could not be detected. Set CUDA_PATH environment variable\n",
            [("cuda-path-warning", "remark")],
            None,
        ),
        (
            "UserWarning: CUDA path could not be detected.\n"
            f"{FRAME}LookupError: odd\n",
            [],
            "LookupError: odd",
        ),
        # Only the root cause is reported.
        (
            "AttributeError: partially initialized module 'cupy' has no attribute '_util'\n"
            "RuntimeError: CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: cannot "
            "open shared object file: No such file or directory\n",
            [("nvrtc", "problem")],
            None,
        ),
        (
            "A module that was compiled using NumPy 1.x cannot be run in\nNumPy 2.0.1\n"
            f"{FRAME}ImportError: numpy.core.multiarray failed to import\n",
            [("numpy-1-module", "problem")],
            None,
        ),
        # Messages of other libraries.
        ('  File "/sage/misc.pyx", line 1\nAttributeError: attribute \'__name__\' of '
         "'builtin_function_or_method' objects is not writable\n", [], None),
        ("ImportError: DLL load failed while importing _C: The specified module could not be "
         "found.", [], None),
        ("PermissionError: [Errno 13] Permission denied: 'data.npy'", [], None),
        ("ModuleNotFoundError: No module named 'cudf'", [], None),
        # CuPy's own message would contain the name of the error.
        ("cupy 13\nOSError: (External) CUDA error(100), no CUDA-capable device is detected.", [],
         None),
        ("[CUDA] no kernel image is available for execution on the device", [], None),
        ("RuntimeError: CUDA error: no kernel image is available for execution on the device", [],
         None),
        ("ImportError: libfoo.so.1: cannot open shared object file: No such file", [], None),
        ("ImportError: CuPy: DLL load failed while importing runtime: 找不到指定的程序。",
         [("dll-procedure", "problem")], None),
        ("ImportError: CuPy: DLL load failed while importing core: Не найдена указанная процедура.",
         [("dll-procedure", "problem")], None),
        ("ImportError: CuPy: DLL load failed while importing core: Не знайдено вказаний модуль.",
         [("dll-module", "problem")], None),
        ("TypeError: Unsupported type <class 'torch.Tensor'>",
         [("numpy-argument", "problem")], None),
    ],
)  # fmt: skip
def test_only_the_failure_that_ended_the_program_is_a_problem(
    text: str, expected: list[tuple[str, str]], ending: str | None
) -> None:
    assert found(text) == expected
    assert explain(text).ending == ending


SITE = "/venv/lib/python3.12/site-packages"
OPENED = "cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("CUDA error: an illegal memory access was encountered, cudaErrorIllegalAddress",
         "PyTorch"),
        ("RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", "PyTorch"),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(h)`",
         "PyTorch"),
        ("RuntimeError: nvrtc: error: invalid value for --gpu-architecture (-arch)", "PyTorch"),
        (f"[E:onnxruntime:Default] Failed to load library with error: libcublasLt.so.12: {OPENED}",
         "ONNX Runtime"),
        ("E tensorflow/cuda_blas.cc:226] failed to create: CUBLAS_STATUS_NOT_INITIALIZED",
         "TensorFlow"),
        ("cv2.error: OpenCV(4.8) x.cu:1: cudaErrorNoKernelImageForDevice: no kernel image", "cv2"),
        ("numba.cuda.cudadrv.driver.CudaAPIError: [2] results in CUDA_ERROR_OUT_OF_MEMORY",
         "numba"),
        ("host_config.h:138:2: error: #error -- unsupported GNU version! gcc 8\n"
         "  ERROR: Failed building wheel for torchsort", "torchsort"),
        (f'  File "{SITE}/cv2/__init__.py", line 1, in bootstrap\n'
         f"ImportError: libcuda.so.1: {OPENED}", "cv2"),
        (f'  File "{SITE}/mmdet/core.py", line 1, in <module>\n'
         f'  File "{SITE}/numpy/__init__.py", line 1, in __getattr__\n'
         "AttributeError: module 'numpy' has no attribute 'bool'.", "mmdet"),
        (f"{SITE}/cv2/__init__.py:1: in <module>\nE   ImportError: libcuda.so.1: {OPENED}", "cv2"),
        ('  File "C:\\u\\Lib\\site-packages\\cv2\\x.py", line 1, in f\n'
         '  File "C:\\u\\anaconda3\\lib\\ctypes\\x.py", line 1, in f\n'
         "ImportError: DLL load failed: The specified module could not be found.", "cv2"),
        # Another package may have a subpackage named cupy.
        (f'  File "{SITE}/other/cupy/__init__.py", line 1, in f\n'
         f"ImportError: libcublas.so.12: {OPENED}", "other"),
    ],
)  # fmt: skip
def test_a_failure_of_another_library_is_not_attributed_to_cupy(text: str, owner: str) -> None:
    before = f"Found {SITE}/cupy, cupy 13.4.1\n"
    for whole in (before + text, f"{before}Traceback (most recent call last):\n{text}\n"):
        read = explain(whole)
        assert (read.findings, read.owner) == ((), owner)
        assert f"This is a failure of {owner}, not of CuPy." in report.explanation_as_text(read)


@pytest.mark.parametrize(
    ("frames", "check"),
    [
        # Frames of CuPy, or the line that calls it, follow those of the caller.
        (f'  File "{SITE}/thinc/x.py", line 1, in f\n    import cupy\n', "driver-library"),
        (f'  File "{SITE}/cv2/x.py", line 1, in f\n  File "{SITE}/cupy/__init__.py", line 1, in f\n'
         f'  File "{SITE}/other/x.py", line 1, in g\n', "driver-library"),
        (f"{SITE}/cv2/x.py in f()\ncupy/cuda/driver.pyx in init cupy.cuda.driver()\n",
         "driver-library"),
        ('  File "run.py", line 1, in <module>\n', "driver-library"),
    ],
)  # fmt: skip
def test_a_failure_below_frames_of_cupy_is_attributed_to_cupy(frames: str, check: str) -> None:
    text = f"Traceback (most recent call last):\n{frames}ImportError: libcuda.so.1: {OPENED}\n"
    assert found(text) == [(check, "problem")]


def test_a_skipped_test_is_not_a_problem() -> None:
    said = "test_x SKIPPED (CUDARuntimeError: cudaErrorNoDevice: no CUDA-capable device)\n1 passed"
    assert found(said) == [("no-device", "remark")]


@pytest.mark.parametrize(
    ("gpu", "cure"),
    [
        ("NVRTC Version : (13, 0)\nDevice 0 Compute Capability : 61", "install cupy-cuda12x"),
        ("-arch=compute_21", "use a newer GPU"),
        ("cupy-cuda13x on a V100", "install cupy-cuda12x"),
        ("cupy-cuda12x on an RTX 5090", "needs CUDA 12.8 or later"),
        # It could be either of the two GPUs.
        ("a V100 and an RTX 5090", "For a newer GPU"),
    ],
)
def test_the_cure_depends_on_the_gpu(gpu: str, cure: str) -> None:
    said = "cupy.cuda.compiler.CompileException: nvrtc: error: invalid value for --gpu-architecture"
    (finding,) = explain(f"{gpu}\n{said}\n").findings
    assert finding.check == "architecture"
    assert cure in finding.cures[0]
    assert len(finding.cures) == 1 + cure.startswith("For")


def test_a_build_for_rocm_gets_no_cures_for_cuda() -> None:
    text = "ROCM_HOME : /opt/rocm\nhipcc command : ['/usr/bin/hipcc']\n"
    for said in (
        "ERROR: CUDA could not be found on your system.",
        "Failed building wheel for cupy",
    ):
        (finding,) = explain(text + said).findings
        assert not any("CUDA toolkit" in cure or "cupy-cuda" in cure for cure in finding.cures)


@pytest.mark.parametrize(
    ("frame", "said", "check"),
    [
        ("cupy/cuda/__init__.py", "ImportError: cannot import name 'cub' from 'cupy.cuda'",
         "own-import"),
        ("run.py", "ImportError: cannot import name 'cub' from 'cupy.cuda'", "no-such-name"),
        ("cupy/cuda/cub.pyx", "ModuleNotFoundError: No module named 'cupy.core._reduction'",
         "own-import"),
        ("run.py", "ModuleNotFoundError: No module named 'cupy.core'", "removed-module"),
        # CuPy's __getattr__ fails on behalf of the program.
        ('run.py", line 1, in f\n  File "cupy/__init__.py", line 1, in __getattr__\n  File "<x>',
         "AttributeError: module 'cupy' has no attribute 'polyfit'", "no-such-name"),
    ],
)  # fmt: skip
def test_a_missing_name_is_attributed_to_the_code_that_uses_it(
    frame: str, said: str, check: str
) -> None:
    text = f'Traceback (most recent call last):\n  File "{frame}", line 1, in g\n{said}\n'
    assert found(text) == [(check, "problem")]


NONE = "ERROR: No matching distribution found for"
VERSIONS = "Could not find a version that satisfies the requirement"


@pytest.mark.parametrize(
    ("text", "check", "first", "absent"),
    [
        (f"Python 3.14.2\n{NONE} cupy-cuda13x", "no-wheel", "index versions", "Use a Python"),
        (f"Python 3.7\n{NONE} cupy-cuda12x", "no-wheel", "3.10 to 3.14", "index versions"),
        (f"Python 3.14\n{NONE} cupy-cuda11x", "no-wheel", "3.8 to 3.13 with CuPy 13.6", "14.2"),
        (f"{NONE} cupy-cuda110==7.8.*", "no-such-package", "install cupy-cuda11x", "cuda12x"),
        (f"{VERSIONS} cupy-cuda90<10,>=9 (from x) (from versions: 4.0.0)\n{NONE} cupy-cuda90<10",
         "no-such-package", "No current CuPy supports CUDA 9.0", "cupy-cuda9x"),
        (f"{NONE} cupy-cuda102", "no-such-package", "supports CUDA 10.2", "cuda10x"),
        (f"{NONE} cupy==cupy-cuda11x", "no-such-version", "install cupy-cuda11x", "cuda12x"),
        (f"Python 3.8.1\n{VERSIONS} cupy-cuda12x>=14 (from versions: 12.3.0)",
         "no-such-version", "Use a newer Python", "uninstall"),
        # The first cure must not name a wheel that does not exist for the Python of the text.
        (f"pip install cupy-cuda101\n/python3.6/cupy\nImportError: libcufft.so.10: {OPENED}",
         "library", "Install the CUDA 10.1 toolkit", "uninstall"),
        (f"/python3.5/cupy\nImportError: libcublas.so.9.1: {OPENED}",
         "library", "the newest toolkit of CuPy", "uninstall"),
    ],
)  # fmt: skip
def test_a_cure_suits_the_python_and_the_cuda_of_the_text(
    text: str, check: str, first: str, absent: str
) -> None:
    (finding,) = explain(text).findings
    assert finding.check == check
    assert first in finding.cures[0]
    assert not any(absent in cure for cure in finding.cures)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cupy_cuda11x-13.6.0-cp312-cp312-win_amd64.whl", ("3.12", "Windows", 11, False)),
        (r"C:\u\Python311\lib\cupy cudart64_110.dll", ("3.11", "Windows", 11, False)),
        ("/usr/lib/python3.10/cupy/x.so libcublas.so.12", ("3.10", "Linux", 12, False)),
        ("/opt/rocm/ libamdhip64.so.6 cpython-313-x86_64", ("3.13", "Linux", None, True)),
        ("Python Version      : 3.9.7\nCUDA Build Version  : 12020", ("3.9", None, 12, False)),
        ("wheels (cupy-cudaXXX or cupy-rocm-X-X), CUDA or ROCm", (None, None, None, False)),
    ],
)
def test_the_machine_is_read_from_the_text(text: str, expected: tuple[object, ...]) -> None:
    read = machine.of_text(text)
    assert (read.python, read.system, read.cuda, read.rocm) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"QUJD" * 5_000_000,
        b"satisfies the requirement cupyx" + b"=x,y" * 5_000_000,
        b'  File "x/cupy/cuda/_compiler_cache.py", line 1, in f\n    raise Error\n' * 280_000,
        (FRAME + "ImportError: libfoo.so: undefined symbol: foo\n").encode() * 140_000,
        b"numpy " * 3_300_000,
        b"conda install cupy " * 1_000_000,
        b"cupy (File cupy-1.1 CUDA Build Version " * 500_000,
    ],
    ids=["no space", "requirement", "mentions", "tracebacks", "line", "conda", "machine"],
)
def test_the_search_is_linear(text: bytes) -> None:
    begun = time.process_time()
    read = diagnosis.explain(BytesIO(text))
    # 20 MB take about a second, and longer on a busy machine. With a pattern that was not linear,
    # a hundredth of that took minutes.
    assert time.process_time() - begun < 10
    assert read.findings == ()


class Endless(BytesIO):
    """A text of many megabytes that never exists as a whole."""

    left = 20

    def read(self, size: int | None = -1) -> bytes:
        self.left -= 1
        return (FRAME + "KeyError: 1\n").encode() * 12_000 if self.left >= 0 else b""


def test_a_long_text_is_not_kept_in_memory() -> None:
    tracemalloc.start()
    try:
        diagnosis.explain(Endless())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The text has 25 MB and is read in blocks of 1 MB, a few of which exist at a time.
    assert peak < 16 << 20


def test_control_characters_are_escaped() -> None:
    line = "\x1b]52;c;cm0=\x07ImportError: libcublas.so.12: cannot open \x9b2Jshared \u202eobject"
    line = line.replace("cannot open \x9b2J", "cannot open ") + " \x1b[8m file\x00 \x9b1m\u2066"
    text = report.explanation_as_text(
        explain(f"ImportError: libcublas.so.12: cannot open shared object file: {line}\n")
    )
    assert "library" in text
    assert not any(ord(letter) < 32 and letter != "\n" for letter in text)
    assert not {"\x7f", "\x9b", "\u202e", "\u2066"} & set(text)


def test_colours_and_carriage_returns_do_not_hide_a_message() -> None:
    said = "\x1b[1;35mModuleNotFoundError\x1b[0m: \x1b[35mNo module named 'cupy'\x1b[0m"
    assert found(f"10%\r20%\r{said}\r\n") == [("not-installed", "problem")]


# Examined environments, built from the reports of their steps.


def attempt(*failures: Failure, **values: object) -> Attempt:
    passed = {"import": {"version": "14.2.0", "cython": "3.2.4"}, "memoize": None, **values}
    return Attempt("as it is", "finished", passed, list(failures))


def test_a_working_cupy_gets_only_a_verdict() -> None:
    well = diagnosis.diagnose(Case(Machine(python="3.13.0"), attempt(device=1, kernel=None)), True)
    first, second = report.as_text(well).splitlines()
    assert first == "CuPy 14.2.0 imports and works on Python 3.13.0."
    assert second.startswith("State of the repair: off. ")


def test_a_missing_gpu_is_a_problem_only_on_request() -> None:
    said = "cudaErrorNoDevice: no CUDA-capable device is detected"
    case = Case(attempt=attempt(Failure("device", "CUDARuntimeError", said, said)))
    for gpu, severity in ((False, "remark"), (True, "problem")):
        result = diagnosis.diagnose(case, gpu)
        assert [(each.check, each.severity) for each in result.findings] == [
            ("no-device", severity)
        ]
        assert (result.imports, result.works) == (True, None)


def test_a_missing_driver_is_reported_first() -> None:
    failures = [
        Failure(
            "compiler", "RuntimeError", "x", "RuntimeError: CuPy failed to load libnvrtc.so.12"
        ),
        Failure("device", "CUDARuntimeError", "y", "cudaErrorInsufficientDriver: ..."),
    ]
    result = diagnosis.diagnose(Case(Machine(here=True, driver=0), attempt(*failures)), False)
    assert [each.check for each in result.findings] == ["no-driver", "nvrtc"]
    assert "cannot be used" in report.verdict(result)


def test_a_kernel_that_fails_on_a_gpu_is_a_problem() -> None:
    said = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided PTX was compiled with ..."
    result = diagnosis.diagnose(
        Case(attempt=attempt(Failure("kernel", "CUDADriverError", said, said), device=1)), False
    )
    assert [(each.check, each.severity) for each in result.findings] == [
        ("newer-toolkit", "problem")
    ]
    assert (result.imports, result.works) == (True, False)


def test_an_old_driver_differs_from_a_missing_one() -> None:
    said = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime"
    tried = attempt(Failure("device", "CUDARuntimeError", said, said))
    for driver, name in ((0, "no-driver"), (12040, "old-driver")):
        one = Machine(
            here=True, python="3.13.0", distributions=("cupy-cuda13x",), cuda=13, driver=driver
        )
        (finding,) = diagnosis.diagnose(Case(one, tried), gpu=False).findings
        assert finding.check == name
    # The cure for the old driver is the wheel for the CUDA that it supports.
    assert "CUDA 12.4, and this CuPy is for CUDA 13" in finding.cause
    assert (
        "uninstall -y cupy-cuda13x`, then `python -m pip install cupy-cuda12x`" in finding.cures[0]
    )


def test_a_cupy_that_imports_but_cannot_memoize_does_not_work() -> None:
    # The message of Cython 3.2.6 on Python 3.14, which may not be installed.
    said = "f.__annotate__() missing 1 required positional argument: 'format'"
    values = {"import": {"version": "14.1.1", "cython": "3.2.6"}}
    failures = [Failure("memoize", "TypeError", said, f"TypeError: {said}")]
    first = Attempt("as it is", "finished", values, failures)
    second = Attempt("with", "finished", {**values, "memoize": None})
    result = diagnosis.diagnose(Case(attempt=first, second=second), gpu=False)
    assert [(each.check, each.severity) for each in result.findings] == [
        ("memoize-annotated", "problem")
    ]
    assert (result.imports, result.works, result.repair.state) == (True, False, "would repair")
    assert "but does not work" in report.verdict(result)


@pytest.mark.parametrize(
    ("version", "requirement", "meets"),
    [
        ("2.5.5", "numpy<2.6,>=2.0", True),
        ("2.6.0", "numpy<2.6,>=2.0", False),
        ("1.26.4", "numpy<2.6,>=2.0", False),
        ("2.0", "numpy>=2.0.0", True),
        ("2.6.0rc1", "numpy (<2.6)", False),
        ("1.0", "numpy-quaternion>=2", True),
        ("1.0", "fastrlock>=2", True),
    ],
)
def test_requirements_on_numpy_are_compared(version: str, requirement: str, meets: bool) -> None:
    facts = {
        "packages": {"numpy": version},
        "cupy": {"distributions": [{"name": "cupy-cuda12x", "requires": [requirement]}]},
    }
    assert Machine(facts=facts).unmet == ("" if meets else requirement)


def test_requirements_of_other_environments_do_not_count() -> None:
    markers = {
        "a": "python_version < '3'",
        "b": "python_version >= '3.9' and python_full_version >= '3.9.0'",
        "c": "extra == 'ctk'",
        "d": "sys_platform in 'beos amiga' or (os_name == 'none')",
        "e": "not a marker at all",
    }
    required = ["numpy>=2", *(f"{name}; {marker}" for name, marker in markers.items())]
    assert _required(required) == ["numpy>=2", "b", "e"]
