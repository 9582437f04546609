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
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import doctor_environments
import pytest
import testbed
from conftest import Interpreter

from cupy_compat.doctor import command, diagnosis, report
from cupy_compat.doctor.trial import Interpreter as Examined
from cupy_compat.doctor.trial import TrialError, try_cupy

#: What a machine without GPU, driver and toolkit, as CI's, may remark on a healthy CuPy.
NO_GPU = {"nvrtc", "toolkit", "library", "no-driver"}


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
    assert "14.0.0a1" in finding["cause"]
    cures = "\n".join(finding["cures"])
    assert "`python -m pip install --upgrade cupy-cuda12x`" in finding["cures"][0]
    assert all(
        way in cures for way in ("`import cupy_compat`", "cupy-compat enable", "cupy-compat run")
    )
    # On 3.11 and 3.12 the line alone does nothing.
    assert ("CUPY_COMPAT=always" in cures) == (sys.version_info < (3, 13))
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
    explanation = diagnosis.explain(BytesIO(done.stderr.encode()))
    return {finding.check for finding in explanation.findings}


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


def test_a_missing_dependency_is_named(shim: Path, tmp_path: Path) -> None:
    patient = Patient(doctor_environments.make(sys.executable, "no-fastrlock"), shim, tmp_path)
    content = patient.findings(code=1)
    assert problems(content) == {"dependency"}
    assert content["findings"][0]["cures"] == [
        "Install what it needs: `python -m pip install fastrlock`."
    ]


def test_a_missing_numpy_is_named(shim: Path, tmp_path: Path) -> None:
    patient = Patient(doctor_environments.make(sys.executable, "no-numpy"), shim, tmp_path)
    # Where NumPy was imported before it was uninstalled, its folder is still there.
    left = (site_packages(patient) / "numpy").exists()
    assert problems(patient.findings(code=1)) == {"numpy-incomplete" if left else "dependency"}


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
    assert "unknown: the step 'import' failed, and no check matches" in done.stdout
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
        from cupy_compat.doctor.trial import Interpreter, try_cupy
        import json
        print(json.dumps(asdict(try_cupy(Interpreter(), "as it is", 60))))
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


def test_a_start_that_ends_is_no_crash(healthy_patient: Patient) -> None:
    # Python 3.13 imports this module before it runs what it is given by -c.
    for name in ("linecache", "numpy"):
        (healthy_patient.folder / f"{name}.py").write_text("import os; os._exit(3)\n")
    content = healthy_patient.findings(code=1)
    assert problems(content) == set()
    assert content["attempts"][0]["end"] == "ended"
    assert content["unknown"][0]["message"] == "exit status 3"


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
        try_cupy(Examined(), "as it is", 10)
    assert command.main([]) == 1
    assert capsys.readouterr().err.startswith("cupy-compat doctor: error: this Python does not")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert command.main([]) == 1
    assert "/nowhere/python cannot be started" in capsys.readouterr().err


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
    file.write_bytes(b"\xff all is well\n")
    done = healthy_patient.consult("--explain", str(file), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"] == []
    done = healthy_patient.consult("--explain", str(file))
    assert done.stdout == "This does not match any known problem.\n"
    done = healthy_patient.consult("--explain", str(tmp_path / "none"))
    assert done.returncode == 2
    assert done.stderr.endswith("none cannot be read: No such file or directory\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--frobnicate"],
        ["--time-limit", "0"],
        ["--time-limit", "x"],
        ["--time-limit", "nan"],
        ["--yes"],
        ["--fix", "--json"],
        ["x"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "cupy-compat doctor: error: " in said
    assert "_seconds" not in said


# Another interpreter, and nothing run of the working folder.


def test_another_python_is_examined_that_has_nothing_of_ours(
    broken: Interpreter, tmp_path: Path
) -> None:
    doctor = Patient(Path(sys.executable), broken.shim, tmp_path)
    content = doctor.findings("--python", str(broken.python), code=1)
    assert problems(content) == {"memoize"}
    assert content["repair"]["state"] == "would repair"
    assert content["facts"]["python"]["executable"] == str(broken.python)
    (finding,) = (each for each in content["findings"] if each["check"] == "memoize")
    assert f"`{broken.python} -m pip install --upgrade cupy-cuda12x`" in finding["cures"][0]


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("/nowhere/python", 2, "there is no such program"),
        ("/bin/true", 1, "does not run as Python 3.9"),
    ],
)
def test_what_is_no_python_is_a_clear_error(
    path: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--python", path]) == code
    error = capsys.readouterr().err
    assert error.startswith("cupy-compat doctor: error: ")
    assert said in error


@pytest.mark.parametrize("beside", [None, "stranger"])
def test_gathering_facts_runs_nothing_of_the_working_folder(
    healthy_patient: Patient, beside: str | None
) -> None:
    folder = healthy_patient.folder
    # What importlib.metadata and others import only when they need it.
    for name in ("string", "datetime", "ipaddress", "quopri", "base64", "email", "ctypes", "csv"):
        (folder / f"{name}.py").write_text(f"open('{name}-ran', 'w').close()\n")
    if beside:
        (folder / "cupy.py").write_text("open('cupy-ran', 'w').close()\n")
    facts = gather_facts_in(healthy_patient)
    assert facts["cupy"]["found"]["kind"] == (beside or "cupy")
    assert facts["cupy"]["distributions"] != []
    assert list(folder.glob("*-ran")) == []


def gather_facts_in(patient: Patient) -> dict[str, Any]:
    code = """
        import sys
        sys.path.remove("")
        import json
        from cupy_compat.doctor.trial import Interpreter, gather_facts
        print(json.dumps(gather_facts(Interpreter(), 60)))
    """
    done = subprocess.run(
        [patient.python, "-c", textwrap.dedent(code)],
        env={"PYTHONPATH": str(patient.shim), "PATH": os.environ["PATH"]},
        cwd=patient.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_a_folder_that_was_deleted_does_not_matter(healthy_patient: Patient) -> None:
    gone = healthy_patient.folder / "gone"
    gone.mkdir()
    done = subprocess.run(
        [
            "sh",
            "-c",
            'rmdir "$PWD" && exec "$0" -m cupy_compat doctor',
            str(healthy_patient.python),
        ],
        env={"PYTHONPATH": str(healthy_patient.shim), "PATH": os.environ["PATH"]},
        cwd=gone,
        capture_output=True,
        text=True,
        check=False,
    )
    # NumPy itself may refuse to be imported there, which is a finding.
    assert done.stderr == ""
    assert " on Python 3." in done.stdout


def test_facts_that_cannot_be_gathered_do_not_keep_cupy_from_being_tried(
    damaged_patient: Patient,
) -> None:
    # Every start prints this line's error and goes on; the isolated one ends.
    (site_packages(damaged_patient) / "broken.pth").write_text(
        "import os, sys; sys.flags.isolated and os._exit(3)\n"
    )
    content = damaged_patient.findings(code=0)
    assert content["imports"]
    assert "exit status 3" in content["facts"]["error"]


def test_the_time_limit_holds_also_for_a_process_that_leaves_its_group(
    healthy_patient: Patient,
) -> None:
    (healthy_patient.folder / "numpy.py").write_text(
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'],"
        " start_new_session=True)\n"
        "time.sleep(30)\n"
    )
    begun = time.monotonic()
    content = healthy_patient.findings("--time-limit", "2", code=1)
    # Far from the 30 seconds for which the stray process keeps the streams open.
    assert time.monotonic() - begun < 20
    (finding,) = (each for each in content["findings"] if each["check"] == "hang")
    assert "numpy.py" in finding["traceback"]


def test_a_long_wait_is_announced(healthy_patient: Patient) -> None:
    (healthy_patient.folder / "numpy.py").write_text("import time; time.sleep(12)\n")
    done = healthy_patient.consult("--time-limit", "60")
    assert done.stderr == "waiting for CuPy, up to 60 seconds ...\n"


PAGE = Path(__file__).parents[1] / "docs" / "doctor.md"


def test_the_page_tells_the_shape_of_the_json(broken_content: dict[str, Any]) -> None:
    content = broken_content
    page = PAGE.read_text()
    assert content["version"] == report.SHAPE
    assert f'"version": {report.SHAPE},' in page
    names = {
        *content,
        *content["repair"],
        *content["findings"][0],
        *content["facts"],
        *content["attempts"][0],
    }
    assert {name for name in names if f"`{name}`" not in page} == set()
