"""``cupy-compat doctor`` names what is wrong, in environments that really are."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import doctor_environments
import pytest
import testbed
from conftest import TYPICAL, Interpreter

from cupy_compat.doctor import command, diagnosis, report
from cupy_compat.doctor.case import Case, _meets
from cupy_compat.doctor.checks import CHECKS
from cupy_compat.doctor.trial import Attempt, Failure, TrialError, try_cupy

#: What a machine without GPU, driver and toolkit, as CI's, may remark on a healthy CuPy.
NO_GPU = {"nvrtc", "toolkit", "library", "no-driver"}

NAMES = [check.name for check in CHECKS]


class Patient:
    """A Python whose CuPy the doctor is asked about."""

    def __init__(self, python: Path, shim: Path, folder: Path) -> None:
        self.python = python
        self.shim = shim
        self.folder = folder

    def consult(
        self, *arguments: str, flags: tuple[str, ...] = (), stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the doctor in the patient's working folder."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "CUPY", "CUDA", "LD_"))
        }
        # As the installed script does, which is not in the working folder. With -I PYTHONPATH does
        # not count, and the package is not installed, so the path is set from within.
        script = self.shim.parent / "cupy-compat"
        script.write_text(
            f"import sys\nsys.path.insert(0, {str(self.shim)!r})\n"
            "from cupy_compat.__main__ import main\nsys.exit(main())\n"
        )
        return subprocess.run(
            [str(self.python), *flags, str(script), "doctor", *arguments],
            env=inherited | environment,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def findings(self, *arguments: str, code: int, **rest: Any) -> dict[str, Any]:
        """Return what the doctor says as JSON, with the exit status that must be."""
        done = self.consult("--json", *arguments, **rest)
        assert done.returncode == code, done.stdout + done.stderr
        assert done.stderr == ""
        content: dict[str, Any] = json.loads(done.stdout)
        return content


def problems(content: Mapping[str, Any]) -> set[str]:
    return {each["check"] for each in content["findings"] if each["severity"] == "problem"}


def remarks(content: Mapping[str, Any]) -> set[str]:
    return {each["check"] for each in content["findings"] if each["severity"] == "remark"}


@pytest.fixture
def healthy_patient(reference: Interpreter, tmp_path: Path) -> Patient:
    return Patient(reference.python, reference.shim, tmp_path)


@pytest.fixture
def broken_patient(broken: Interpreter, tmp_path: Path) -> Patient:
    return Patient(broken.python, broken.shim, tmp_path)


@pytest.fixture(scope="module")
def healthy_content(
    reference: Interpreter, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return what the doctor says of a healthy CuPy."""
    folder = tmp_path_factory.mktemp("healthy")
    return Patient(reference.python, reference.shim, folder).findings(code=0)


@pytest.fixture(scope="module")
def broken_content(broken: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the doctor says of the broken CuPy that is most often reported."""
    folder = tmp_path_factory.mktemp("broken")
    # With the variable set the doctor's own import of the package arms it, which is not the point.
    patient = Patient(broken.python, broken.shim, folder)
    return patient.findings(code=1, CUPY_COMPAT="always")


@pytest.fixture
def damaged_patient(reference: Interpreter, tmp_path: Path) -> Patient:
    """Return one whose environment may be changed: a copy of the healthy one's."""
    python = doctor_environments.copy(reference.python, tmp_path / "env")
    (tmp_path / "work").mkdir()
    return Patient(python, reference.shim, tmp_path / "work")


def site_packages(patient: Patient) -> Path:
    return testbed._site_packages(patient.python)


# The verdict, and the repair's own state.


def test_a_cupy_that_dies_of_its_memoize_would_be_repaired(broken_content: dict[str, Any]) -> None:
    content = broken_content
    assert (content["imports"], content["works"]) == (False, False)
    assert problems(content) == {"memoize"}
    (finding,) = (each for each in content["findings"] if each["check"] == "memoize")
    assert finding["step"] == "import"
    assert finding["said"] == (
        "AttributeError: attribute '__name__' of 'builtin_function_or_method' objects is not "
        "writable"
    )
    cupy, cython = TYPICAL
    assert f"CuPy {cupy}" in finding["cause"]
    assert f"Cython {cython}" in finding["cause"]
    first, second, third, _ = finding["cures"]
    assert "pip install --upgrade cupy-cuda12x" in first
    assert "`import cupy_compat`" in second
    assert all(
        way in third for way in ("cupy-compat enable", "cupy-compat-auto", "cupy-compat run")
    )
    # On 3.11 and 3.12 the line alone does nothing.
    assert ("CUPY_COMPAT=always" in second) == (sys.version_info < (3, 13))
    assert content["repair"]["state"] == "would repair"
    assert [attempt["shim"] for attempt in content["attempts"]] == ["as it is", "with"]
    # The first is made as things are, though the doctor itself belongs to the cure.
    assert content["attempts"][0]["values"]["start"] is None
    assert content["unknown"] == []


def test_a_healthy_cupy_imports(healthy_content: dict[str, Any]) -> None:
    content = healthy_content
    assert content["imports"] is True
    assert content["works"] in (None, True)
    assert problems(content) == set()
    assert remarks(content) <= NO_GPU
    assert content["unknown"] == []
    assert content["repair"]["state"] == "off"
    assert len(content["attempts"]) == 1
    assert {"import", "memoize", "accelerators"} <= set(content["attempts"][0]["values"])
    assert content["facts"]["cupy"]["distributions"][0]["version"] == testbed.REFERENCE_CUPY


def start_up(folder: Path, text: str) -> str:
    """Write a start-up file, and return the PYTHONPATH that has it run at every start."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(textwrap.dedent(text))
    return str(folder)


ARMING = "import cupy_compat\ncupy_compat.install(force=True)\n"


@pytest.mark.parametrize(("which", "state"), [("healthy", "armed"), ("broken", "repairs")])
def test_an_environment_that_arms_every_start_is_told(
    request: pytest.FixtureRequest, tmp_path: Path, which: str, state: str
) -> None:
    patient: Patient = request.getfixturevalue(f"{which}_patient")
    path = f"{start_up(tmp_path / 'start', ARMING)}:{patient.shim}"
    content = patient.findings(code=0, PYTHONPATH=path)
    assert content["repair"]["state"] == state
    assert problems(content) == set()
    if state == "repairs":
        # Measured, not believed: the second attempt is made without, and fails.
        (without,) = (each for each in content["attempts"] if each["shim"] == "without")
        assert "import" not in without["values"]
        assert "is not writable" in content["repair"]["reason"]


def test_a_shim_that_cannot_repair_says_why(broken: Interpreter, tmp_path: Path) -> None:
    # An installation that lost a file.
    shim = tmp_path / "shim"
    shutil.copytree(broken.shim, shim)
    (shim / "cupy_compat" / "_memoized.py").unlink()
    patient = Patient(broken.python, shim, tmp_path)
    content = patient.findings(code=1)
    assert problems(content) == {"memoize"}
    assert "no-repair" in remarks(content)
    (finding,) = (each for each in content["findings"] if each["check"] == "no-repair")
    assert "cupy_compat._memoized" in finding["cause"]
    assert content["repair"]["state"] == "off"


def test_silence_and_one_verdict_where_all_is_well() -> None:
    values = {"start": None, "import": {"version": "14.2.0", "cython": "3.2.4"}, "shim": None}
    values |= dict.fromkeys(["memoize", "accelerators", "compiler", "libraries", "kernel"])
    well = Case(attempt=Attempt("as it is", "finished", {**values, "device": 1}))
    text = report.as_text(diagnosis.diagnose(well, gpu=True))
    first, second = text.splitlines()
    assert re.fullmatch(r"CuPy 14\.2\.0 imports on Python \S+, and works\.", first)
    assert second.startswith("The repair of cupy_compat: off. ")


def test_a_gpu_that_is_asked_for_and_not_there_is_a_failure() -> None:
    said = "cudaErrorNoDevice: no CUDA-capable device is detected"
    values = {"import": {"version": "14.2.0", "cython": None}, "memoize": None}
    failures = [Failure("device", "CUDARuntimeError", said, said)]
    case = Case(attempt=Attempt("as it is", "finished", values, failures))
    for gpu, severity in ((False, "remark"), (True, "problem")):
        found = diagnosis.diagnose(case, gpu)
        assert [(each.check, each.severity) for each in found.findings] == [("no-device", severity)]
        assert (found.imports, found.works) == (True, None)


def test_a_kernel_that_fails_on_a_gpu_that_is_there_is_a_problem() -> None:
    said = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided PTX was compiled with ..."
    values = {"import": {"version": "14.2.0", "cython": None}, "memoize": None, "device": 1}
    failures = [Failure("kernel", "CUDADriverError", said, said)]
    found = diagnosis.diagnose(
        Case(attempt=Attempt("as it is", "finished", values, failures)), gpu=False
    )
    assert [(each.check, each.severity) for each in found.findings] == [
        ("newer-toolkit", "problem")
    ]
    assert (found.imports, found.works) == (True, False)


def test_a_cupy_that_imports_and_cannot_memoize_does_not_work() -> None:
    # Cython 3.2.6 on Python 3.14, of which no interpreter is at hand: by the message.
    said = "f.__annotate__() missing 1 required positional argument: 'format'"
    values = {"import": {"version": "14.1.1", "cython": "3.2.6"}}
    failures = [Failure("memoize", "TypeError", said, f"TypeError: {said}")]
    first = Attempt("as it is", "finished", values, failures)
    second = Attempt("with", "finished", {**values, "memoize": None})
    found = diagnosis.diagnose(Case(attempt=first, second=second), gpu=False)
    assert [(each.check, each.severity) for each in found.findings] == [
        ("memoize-annotated", "problem")
    ]
    assert (found.imports, found.works, found.repair.state) == (True, False, "would repair")
    assert "imports on Python" in report.verdict(found)
    assert "but does not work" in report.verdict(found)


def test_problems_come_before_remarks() -> None:
    said = "version `GLIBCXX_3.4.30' not found"
    attempt = Attempt("as it is", "finished", {}, [Failure("import", "ImportError", said, said)])
    facts = {"cupy": {"cache": {"path": "/c", "writable": False}}}
    found = diagnosis.diagnose(Case(facts, attempt), gpu=False)
    assert [each.check for each in found.findings] == ["libstdcxx", "cache"]


def test_the_gpu_option_decides_the_exit_status(
    healthy_patient: Patient, healthy_content: dict[str, Any]
) -> None:
    healthy_patient.findings("--gpu", code=0 if healthy_content["works"] else 1)


# Each check, in an environment made for it; the larger ones are in test_doctor_environments.py.


def test_a_shadowing_file_is_named_and_not_run(healthy_patient: Patient) -> None:
    script = healthy_patient.folder / "cupy.py"
    script.write_text("import pathlib\npathlib.Path('was-run').touch()\n")
    content = healthy_patient.findings(code=1)
    assert problems(content) == {"shadowed"}
    assert str(script) in content["findings"][0]["cause"]
    assert content["attempts"] == []
    assert not (healthy_patient.folder / "was-run").exists()
    # In an isolated interpreter the working folder does not count.
    assert problems(healthy_patient.findings(code=0, flags=("-I",))) == set()


@pytest.mark.parametrize("program", ["import cupy as cp\ncp.zeros(3)\n", "from cupy import zeros"])
def test_what_a_shadowed_cupy_says_is_explained(healthy_patient: Patient, program: str) -> None:
    (healthy_patient.folder / "cupy.py").write_text(program)
    assert explained(healthy_patient, "import cupy") == {"shadowed"}


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "not set"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "empty"),
        ({"CUDA_VISIBLE_DEVICES": "7"}, "7"),
    ],
)
def test_a_hidden_gpu_is_told_with_what_hides_it(environment: dict[str, str], told: str) -> None:
    assert Case({"environment": environment}).words["visible"] == told


def explained(patient: Patient, program: str, **environment: str) -> set[str]:
    """Return the checks that know what a program writes as it fails there."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "CUPY", "CUDA", "LD_"))
    }
    done = subprocess.run(
        [str(patient.python), "-c", program],
        env=inherited | environment,
        cwd=patient.folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return {finding.check for finding in diagnosis.explain(done.stderr)}


def test_a_folder_called_cupy_hides_nothing(healthy_patient: Patient) -> None:
    (healthy_patient.folder / "cupy").mkdir()
    assert healthy_patient.findings(code=0)["imports"]


def test_no_cupy_at_all(bare: Interpreter, tmp_path: Path) -> None:
    patient = Patient(bare.python, bare.shim, tmp_path)
    content = patient.findings(code=1)
    assert problems(content) == {"not-installed"}
    assert content["unknown"] == []
    (tmp_path / "cupy").mkdir()
    content = patient.findings(code=1)
    assert problems(content) == {"not-installed"}
    assert content["unknown"] == []


@pytest.mark.parametrize(("name", "module"), [("no-fastrlock", "fastrlock"), ("no-numpy", "numpy")])
def test_a_missing_dependency_is_named(shim: Path, tmp_path: Path, name: str, module: str) -> None:
    patient = Patient(doctor_environments.make(sys.executable, name), shim, tmp_path)
    content = patient.findings(code=1)
    assert problems(content) == {"dependency"}
    assert f"There is no module {module};" in content["findings"][0]["cause"]


def test_files_that_went_with_another_distribution(damaged_patient: Patient) -> None:
    site = site_packages(damaged_patient)
    (site / "cupy").rename(site / "gone")
    content = damaged_patient.findings(code=1)
    assert problems(content) == {"files-gone"}
    assert content["unknown"] == []
    # What pip leaves where files were added later: an empty package.
    (site / "cupy").mkdir()
    content = damaged_patient.findings(code=1)
    assert problems(content) == {"files-gone"}
    assert content["facts"]["cupy"]["found"]["kind"] == "remains"
    assert content["unknown"] == []


@pytest.mark.parametrize("metadata", ["Metadata-Version: 2.1\nName: cupy-cuda11x\n", None])
def test_a_second_distribution_is_a_remark_even_with_damaged_metadata(
    damaged_patient: Patient, metadata: str | None
) -> None:
    # Stands in for the second wheel, which is large; the real two are in the longer tests.
    folder = site_packages(damaged_patient) / "cupy_cuda11x-13.5.1.dist-info"
    folder.mkdir()
    if metadata is not None:
        (folder / "METADATA").write_text(metadata)
    content = damaged_patient.findings(code=0)
    assert problems(content) == set()
    assert "two-distributions" in remarks(content)
    assert len(content["facts"]["cupy"]["distributions"]) == 2


def test_a_cache_that_cannot_be_written_is_a_remark_before_it_is_needed(
    healthy_patient: Patient,
) -> None:
    file = healthy_patient.folder / "file"
    file.touch(0o755)
    content = healthy_patient.findings(code=0, CUPY_CACHE_DIR=str(file / "cache"))
    assert "cache" in remarks(content)


def test_another_pythons_extension_modules(damaged_patient: Patient) -> None:
    # The published ones of another Python are in the longer tests: here they are renamed.
    core = site_packages(damaged_patient) / "cupy" / "_core"
    for file in core.glob("*.so"):
        file.rename(file.with_name(file.name.replace("cpython-3", "cpython-2")))
    content = damaged_patient.findings(code=1)
    assert problems(content) == {"other-python"}


def test_extension_modules_of_several_pythons_beside_each_other_are_no_finding() -> None:
    python = {"extension_suffixes": [".cpython-313-x86_64-linux-gnu.so", ".abi3.so", ".so"]}
    own = [".cpython-312-x86_64-linux-gnu.so", ".cpython-313-x86_64-linux-gnu.so"]
    assert not Case({"python": python, "cupy": {"extension_suffixes": own}}).other_abi
    assert Case({"python": python, "cupy": {"extension_suffixes": own[:1]}}).other_abi
    assert not Case({"python": python, "cupy": {"extension_suffixes": []}}).other_abi


def test_an_optional_library_that_is_asked_for(
    healthy_patient: Patient, healthy_content: dict[str, Any]
) -> None:
    # Without cuTENSOR CuPy warns where it is loaded, which it is where the user asks for it.
    content = healthy_patient.findings(code=0, CUPY_ACCELERATORS="cub,cutensor")
    if content["works"] is None:
        assert "optional-library" in remarks(content)
    assert "optional-library" not in remarks(healthy_content)


def test_a_damaged_extension_module_that_crashes_is_a_finding(damaged_patient: Patient) -> None:
    (core,) = (site_packages(damaged_patient) / "cupy" / "_core").glob("core.*.so")
    content = core.read_bytes()
    core.unlink()
    # As a full disk leaves it: the loader maps what the beginning promises.
    core.write_bytes(content[: len(content) // 10])
    found = damaged_patient.findings(code=1)
    assert "crash" in problems(found)
    (finding,) = (each for each in found["findings"] if each["check"] == "crash")
    assert finding["step"] == "import"
    assert re.fullmatch(r"crashed: killed by SIG(BUS|SEGV)", finding["said"])
    assert found["unknown"] == []
    assert "core" in found["attempts"][0]["stderr"]


@pytest.mark.parametrize(
    "program",
    [
        "import time; time.sleep(600)",
        # The other process keeps the streams open.
        "import subprocess; subprocess.run(['sleep', '600'])",
    ],
)
def test_an_import_that_hangs_is_ended_and_its_line_told(
    healthy_patient: Patient, program: str
) -> None:
    # CuPy imports NumPy first, and finds this.
    (healthy_patient.folder / "numpy.py").write_text(program)
    content = healthy_patient.findings("--time-limit", "3", code=1)
    assert "hang" in problems(content)
    (finding,) = (each for each in content["findings"] if each["check"] == "hang")
    assert finding["step"] == "import"
    assert str(healthy_patient.folder / "numpy.py") in content["attempts"][0]["stderr"]


def test_an_unknown_failure_is_shown_whole_with_the_facts(healthy_patient: Patient) -> None:
    (healthy_patient.folder / "numpy.py").write_text("raise LookupError('odd')\n")
    done = healthy_patient.consult(CUPY_TEST_MARK="in the environment", NVIDIA_API_KEY="hidden")
    assert done.returncode == 1
    assert "unknown: no check knows this failure of the step 'import'" in done.stdout
    assert f'File "{healthy_patient.folder / "numpy.py"}", line 1' in done.stdout
    assert "LookupError: odd" in done.stdout
    assert "distributions:" in done.stdout
    assert "CUPY_TEST_MARK: in the environment" in done.stdout
    assert "hidden" not in done.stdout
    assert "attempt as it is: finished; passed: start" in done.stdout
    # None of the doctor's own frames: the first is CuPy's.
    assert "<string>" not in done.stdout


# Odd neighbours.


@pytest.mark.parametrize(
    "given",
    [
        {"flags": ("-I",)},
        {"flags": ("-E", "-s", "-P", "-O", "-X", "dev")},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "1"},
        {"HOME": "/nowhere", "TMPDIR": "/nowhere", "TMP": "/nowhere", "TEMP": "/nowhere"},
        {"HOME": "", "PATH": "", "PYTHONSAFEPATH": "1"},
    ],
    ids=str,
)
def test_odd_environments_change_nothing(healthy_patient: Patient, given: dict[str, Any]) -> None:
    content = healthy_patient.findings(code=0, **given)
    assert problems(content) == set()
    assert content["unknown"] == []


def test_no_environment_at_all(healthy_patient: Patient) -> None:
    done = subprocess.run(
        [healthy_patient.python, "-m", "cupy_compat", "doctor"],
        env={"PYTHONPATH": str(healthy_patient.shim)},
        cwd=healthy_patient.folder,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("closed", ["0<&- 2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams(broken_patient: Patient, closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m cupy_compat doctor --json {closed}', str(broken_patient.python)],
        env={**os.environ, "PYTHONPATH": str(broken_patient.shim)},
        cwd=broken_patient.folder,
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 1
    if "1>" not in closed:
        assert problems(json.loads(done.stdout)) == {"memoize"}


def test_a_reader_that_goes_away_is_no_error(broken_patient: Patient) -> None:
    done = subprocess.run(
        ["sh", "-c", '("$0" -m cupy_compat doctor; echo $? >&2) | true', broken_patient.python],
        # Where nothing is buffered nothing is left to be flushed at the end.
        env={"PYTHONPATH": str(broken_patient.shim), "PATH": os.environ["PATH"]},
        cwd=broken_patient.folder,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.stderr.strip() == "1"


def test_a_path_that_no_encoding_can_hold(healthy_patient: Patient) -> None:
    folder = healthy_patient.folder / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "cupy.py").write_text("")
    patient = Patient(healthy_patient.python, healthy_patient.shim, folder)
    content = patient.findings(code=1)
    assert problems(content) == {"shadowed"}
    for environment in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        done = patient.consult(**environment)
        assert (done.returncode, done.stderr) == (1, "")


def test_a_start_up_file_that_prints_and_fiddles_with_the_streams(
    healthy_patient: Patient, tmp_path: Path
) -> None:
    path = start_up(
        tmp_path / "start",
        """
        import sys
        print("no newline", end="")
        print("welcome", file=sys.stderr)
        sys.stdout = sys.stderr = None
        """,
    )
    # The doctor's own streams are gone too, so it is asked through a file of its exit status.
    assert healthy_patient.consult(PYTHONPATH=path).returncode == 0
    attempt = try_cupy_in(healthy_patient, path)
    assert "import" in attempt["values"]


def try_cupy_in(patient: Patient, path: str) -> dict[str, Any]:
    code = """
        import sys
        sys.stdout = sys.__stdout__
        from dataclasses import asdict
        from cupy_compat.doctor.trial import try_cupy
        import json
        print(json.dumps(asdict(try_cupy("as it is", 60))))
    """
    done = subprocess.run(
        [patient.python, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": f"{path}:{patient.shim}"},
        cwd=patient.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    content: dict[str, Any] = json.loads(done.stdout.splitlines()[-1].removeprefix("no newline"))
    return content


def test_standard_modules_that_a_file_hides_do_not_confuse_the_facts(
    healthy_patient: Patient,
) -> None:
    for name in ("json", "ctypes", "re", "platform"):
        (healthy_patient.folder / f"{name}.py").write_text("raise ImportError('hidden')\n")
    done = subprocess.run(
        [healthy_patient.python, "-c", "import cupy"], cwd=healthy_patient.folder, check=False
    )
    # A program of the user's fails so, and the doctor finds it out.
    assert done.returncode == 1
    content = healthy_patient.findings(code=1)
    assert content["facts"]["cupy"]["found"]["kind"] == "cupy"
    assert "ImportError: hidden" in content["unknown"][0]["traceback"]


def test_the_doctor_itself_never_imports_cupy(healthy_patient: Patient) -> None:
    code = """
        import sys
        from cupy_compat.__main__ import main
        main(["doctor"])
        print({"cupy", "numpy", "cupy_compat.cudamark"} & set(sys.modules))
    """
    done = subprocess.run(
        [healthy_patient.python, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(healthy_patient.shim)},
        cwd=healthy_patient.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_nothing_is_left_behind_on_an_interrupt(healthy_patient: Patient) -> None:
    (healthy_patient.folder / "numpy.py").write_text(
        "import os, time\n"
        "open('pid', 'w').write(str(os.getpid()))\n"
        "os.rename('pid', 'started')\n"
        "time.sleep(600)\n"
    )
    started = healthy_patient.folder / "started"
    process = subprocess.Popen(
        [healthy_patient.python, "-m", "cupy_compat", "doctor"],
        env={**os.environ, "PYTHONPATH": str(healthy_patient.shim)},
        cwd=healthy_patient.folder,
        stderr=subprocess.PIPE,
    )
    for _ in range(600):
        if started.exists():
            break
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    child = int(started.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_python_that_does_not_know_itself_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(TrialError, match=r"sys\.executable is empty"):
        try_cupy("as it is", 10)
    assert command.main([]) == 1
    assert capsys.readouterr().err.startswith("cupy-compat doctor: error: this Python does not")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert command.main([]) == 1
    assert "/nowhere/python cannot be started" in capsys.readouterr().err


# What is said, for every check: in real environments or, where marked so, as others reported it.

#: The check, what is said, and where that comes from.
MESSAGES = [
    (
        "memoize",
        "AttributeError: attribute '__name__' of 'builtin_function_or_method' objects is not "
        "writable",
        "seen",
    ),
    (
        "memoize-annotated",
        "TypeError: f.__annotate__() missing 1 required positional argument: 'format'",
        "read: Cython 3.2.6 on Python 3.14, cython/cython issue 7767",
    ),
    (
        "two-distributions",
        "  CuPy may not function correctly because multiple CuPy packages are installed\n",
        "seen",
    ),
    ("files-gone, not-installed", "ModuleNotFoundError: No module named 'cupy'", "seen"),
    ("files-gone", "AttributeError: module 'cupy' has no attribute 'ndarray'", "seen"),
    (
        "shadowed",
        "AttributeError: partially initialized module 'cupy' has no attribute 'zeros' "
        "(most likely due to a circular import)",
        "seen, Python 3.12",
    ),
    (
        "shadowed",
        "AttributeError: module 'cupy' has no attribute 'zeros' (consider renaming '/w/cupy.py' "
        "if it has the same name as a third-party module you intended to import)",
        "seen, Python 3.13",
    ),
    (
        "shadowed",
        "ImportError: cannot import name 'zeros' from partially initialized module 'cupy' "
        "(most likely due to a circular import) (/w/cupy.py)",
        "seen",
    ),
    (
        "numpy-too-old",
        "ImportError: numpy.core.multiarray failed to import (auto-generated because you didn't "
        "call 'numpy.import_array()' after cimporting numpy)",
        "seen",
    ),
    (
        "numpy-too-new",
        "AttributeError: `np.float_` was removed in the NumPy 2.0 release. Use `np.float64` "
        "instead.",
        "seen",
    ),
    ("numpy-too-new", "AttributeError: module 'numpy' has no attribute 'AxisError'", "seen"),
    (
        "numpy-abi",
        "ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 "
        "from C header, got 88 from PyObject",
        "seen",
    ),
    (
        "nvrtc",
        "RuntimeError: CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: cannot open "
        "shared object file: No such file or directory",
        "seen",
    ),
    (
        "nvrtc",
        "RuntimeError: CuPy failed to load nvrtc64_120_0.dll: FileNotFoundError: Could not find "
        "module 'nvrtc64_120_0.dll'",
        "read: cupy issue 8317, Windows",
    ),
    (
        "toolkit",
        "cuda.pathfinder._dynamic_libs.load_dl_common.DynamicLibNotFoundError: Failure finding "
        '"libnvrtc.so.13 or libnvrtc.so.12": No such file',
        "seen",
    ),
    (
        "toolkit",
        'ImportError: Failure finding "libcublasLt.so.13 or libcublasLt.so.12": No such file',
        "seen",
    ),
    (
        "toolkit-headers",
        "RuntimeError: Failed to auto-detect CUDA root directory. Please specify `CUDA_PATH` "
        "environment variable if you are using CUDA versions not yet supported by CuPy.",
        "seen",
    ),
    (
        "toolkit-headers",
        "RuntimeError: Failed to find CUDA headers. Please install CUDA toolkit headers "
        "(e.g., pip install cupy-cuda12x[ctk]) or specify CUDA_PATH environment variable.",
        "seen",
    ),
    (
        "runtime-headers",
        'cuda_fp16.h(129): catastrophic error: cannot open source file "vector_types.h"',
        "seen",
    ),
    (
        "runtime-headers",
        'k.cu(1): catastrophic error: could not open source file "cuda_fp16.h" (no directories '
        "in search list)",
        "seen",
    ),
    (
        "library",
        "ImportError: libcublas.so.12: cannot open shared object file: No such file or directory",
        "seen",
    ),
    (
        "library",
        "ImportError: libnvrtc.so.11.2: cannot open shared object file: No such file or directory",
        "read: CuPy 11 and earlier",
    ),
    (
        "driver-library",
        "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
        "seen",
    ),
    (
        "no-driver, old-driver",
        "cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorInsufficientDriver: CUDA driver "
        "version is insufficient for CUDA runtime version",
        "seen without a driver; read for an old one",
    ),
    (
        "no-device",
        "cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorNoDevice: no CUDA-capable "
        "device is detected",
        "read",
    ),
    (
        "newer-toolkit",
        "cupy_backends.cuda.api.driver.CUDADriverError: CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the "
        "provided PTX was compiled with an unsupported toolchain.",
        "read",
    ),
    (
        "architecture",
        "cupy.cuda.compiler.CompileException: nvrtc: error: invalid value for --gpu-architecture "
        "(-arch)",
        "seen",
    ),
    (
        "architecture",
        "cupy_backends.cuda.libs.nvrtc.NVRTCError: NVRTC_ERROR_INVALID_OPTION (5)",
        "read: cupy issue 9475",
    ),
    (
        "mixed-nvrtc",
        "cupy.cuda.compiler.CompileException: nvrtc: error: failed to open "
        "libnvrtc-builtins.so.12.9.",
        "seen",
    ),
    (
        "other-python",
        "ImportError: cannot import name 'core' from partially initialized module 'cupy._core' "
        "(most likely due to a circular import) (/w/cupy/_core/__init__.py)",
        "seen",
    ),
    ("dependency", "ModuleNotFoundError: No module named 'fastrlock'", "seen"),
    ("dependency", "ModuleNotFoundError: No module named 'cuda.pathfinder'", "seen"),
    (
        "cache",
        '  File "/w/cupy/cuda/_compiler_cache.py", line 96, in __init__\n'
        "    os.makedirs(self._cache_dir, exist_ok=True)\n"
        "PermissionError: [Errno 13] Permission denied: '/home/u/.cupy'",
        "seen",
    ),
    (
        "rocm",
        "ImportError: libamdhip64.so.5: cannot open shared object file: No such file or directory",
        "seen",
    ),
    (
        "windows-library",
        "ImportError: DLL load failed while importing _util: The specified module could not be "
        "found.",
        "read: Windows",
    ),
    (
        "windows-library",
        "UserWarning: CUDA path could not be detected. Set CUDA_PATH environment variable if CuPy "
        "fails to load.",
        "read: Windows",
    ),
    (
        "no-wheel",
        "ERROR: Could not find a version that satisfies the requirement cupy-cuda13x (from "
        "versions: none)",
        "seen",
    ),
    (
        "source-build",
        "Exception: Your CUDA environment is invalid. Please check above error log.",
        "seen",
    ),
    ("source-build", "Error: CUDA could not be found on your system.", "read"),
    ("optional-library", "UserWarning: \ncutensor library could not be loaded.\n", "seen"),
    ("optional-library", "UserWarning: \nnccl library could not be loaded.\n", "seen"),
    (
        "libstdcxx",
        "ImportError: /w/cupy/_core/core.so: undefined symbol: __gxx_personality_v0",
        "read: cupy issue 9464",
    ),
    (
        "libstdcxx",
        "ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by core)",
        "read",
    ),
]

#: What no message tells: facts do, or the attempt's end.
SILENT = {"numpy-bounds", "crash", "hang", "no-repair"}


@pytest.mark.parametrize(("checks", "said", "origin"), MESSAGES, ids=lambda text: text[:50])
def test_what_is_said_is_known(checks: str, said: str, origin: str) -> None:
    # In the middle of other output, and nothing else is taken for it.
    text = f"Traceback (most recent call last):\n{said}\n[end of output]\n"
    assert {finding.check for finding in diagnosis.explain(text)} == set(checks.split(", "))
    assert origin.startswith(("seen", "read"))


def test_a_command_can_be_pasted_whole() -> None:
    text = report.findings_as_text(diagnosis.explain("\n".join(said for _, said, _ in MESSAGES)))
    assert text.count("pip install") > 10
    assert [line for line in text.splitlines() if line.count("`") % 2 and "said" not in line] == []


def test_of_a_long_message_the_line_is_told_that_tells() -> None:
    long = (
        "IMPORTANT: PLEASE READ THIS\n\nOriginal error was: undefined symbol: __gxx_personality_v0"
    )
    failures = [Failure("import", "ImportError", long, f"ImportError: {long}\nmore\n")]
    case = Case(attempt=Attempt("as it is", "finished", {}, failures))
    (finding,) = diagnosis.diagnose(case, gpu=False).findings
    assert finding.said == "Original error was: undefined symbol: __gxx_personality_v0"


def test_every_check_has_its_message_or_its_silence() -> None:
    told = {name for checks, _, _ in MESSAGES for name in checks.split(", ")}
    assert told | SILENT == set(NAMES)
    assert not told & SILENT
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize(
    "said",
    [
        "AttributeError: module 'cupy' has no attribute 'product'",
        "AttributeError: partially initialized module 'cupy' from '/s/cupy/__init__.py' has no "
        "attribute '_util' (most likely due to a circular import)",
        "PermissionError: [Errno 13] Permission denied: 'data.npy'",
        "ModuleNotFoundError: No module named 'cudf'",
        "ImportError: libfoo.so.1: cannot open shared object file: No such file or directory",
    ],
)
def test_what_looks_like_it_is_not_taken_for_it(said: str) -> None:
    assert diagnosis.explain(said) == ()


def test_a_driver_that_is_too_old_is_told_from_none() -> None:
    said = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime"
    attempt = Attempt(
        "as it is",
        "finished",
        {"import": {"version": "14.2.0", "cython": None}, "memoize": None},
        [Failure("device", "CUDARuntimeError", said, said)],
    )
    for cuda, name in ((None, "no-driver"), (0, "no-driver"), (12040, "old-driver")):
        facts = {
            "driver": {"library": "libcuda.so.1", "cuda": cuda},
            "cupy": {
                "found": {"kind": "cupy"},
                "wheel": {"cuda": "13.x"},
                "distributions": [{"name": "cupy-cuda13x", "version": "14.2.0", "requires": []}],
            },
        }
        (finding,) = diagnosis.diagnose(Case(facts, attempt), gpu=False).findings
        assert finding.check == name
    # The last one's cure is the wheel for what the driver serves.
    assert "12.4, and the wheel is for CUDA 13" in finding.cause
    assert "pip install cupy-cuda12x" in finding.cures[0]


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
        ("2.0.0", "numpy!=2.0.0; python_version<'4'", False),
    ],
)
def test_bounds_on_numpy(version: str, requirement: str, meets: bool) -> None:
    assert _meets(version, requirement) is meets


# The command line.


def test_a_text_is_explained_from_a_file_or_standard_input(
    healthy_patient: Patient, tmp_path: Path
) -> None:
    pip = "ERROR: No matching distribution found for cupy-cuda12x\n"
    done = healthy_patient.consult("--explain", "-", stdin=pip)
    assert done.returncode == 0
    assert done.stdout.startswith("problem: no-wheel: pip finds no wheel for this Python\n")
    assert "  said   ERROR: No matching distribution found for cupy-cuda12x\n" in done.stdout
    file = tmp_path / "log"
    file.write_bytes(b"\xff\xfe all is well\n")
    done = healthy_patient.consult("--explain", str(file), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"] == []
    assert healthy_patient.consult("--explain", str(file)).stdout.startswith("No check knows")
    done = healthy_patient.consult("--explain", str(tmp_path / "none"))
    assert done.returncode == 2
    assert done.stderr.endswith("none cannot be read: No such file or directory\n")


@pytest.mark.parametrize(
    "arguments", [["--frobnicate"], ["--time-limit", "0"], ["--time-limit", "x"], ["extra"]]
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert "cupy-compat doctor: error: " in capsys.readouterr().err


def test_the_list_names_every_check_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all(check.about in line for check, line in zip(CHECKS, lines, strict=True))


PAGE = Path(__file__).parents[1] / "docs" / "doctor.md"


def test_the_page_has_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"| `{check.name}` | {check.about} |" for check in CHECKS]
    assert [line for line in PAGE.read_text().splitlines() if line.startswith("| `")][
        -len(rows) :
    ] == rows


def test_the_page_tells_the_shape_of_the_json(broken_content: dict[str, Any]) -> None:
    content = broken_content
    page = PAGE.read_text()
    assert content["version"] == report.SHAPE
    assert f'"version": {report.SHAPE},' in page
    told = {
        *content,
        *content["repair"],
        *content["findings"][0],
        *content["facts"],
        *content["attempts"][0],
    }
    assert {name for name in told if f"`{name}`" not in page} == set()
