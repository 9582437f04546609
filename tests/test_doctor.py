"""``cupy-compat doctor`` in environments with genuine faults."""

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
from environments import clean, start

from cupy_compat.doctor import command, diagnosis, report

#: The remarks on a healthy CuPy that are possible without a GPU, a driver and a toolkit.
NO_GPU = {"nvrtc", "toolkit", "library", "no-driver"}


class Subject:
    """A Python to examine, and a working folder."""

    def __init__(self, python: Path, shim: Path, folder: Path) -> None:
        self.python = python
        self.shim = shim
        self.folder = folder

    def start(
        self, *command: str | Path, input: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the working folder."""
        variables = clean("CUDA", "LD_") | environment
        return start(*command, env=variables, cwd=self.folder, input=input)

    def run(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run code that can import ``cupy_compat``."""
        path = {"PYTHONPATH": str(self.shim)}
        return self.start(self.python, "-c", textwrap.dedent(code), **path | environment)

    def doctor(
        self, *arguments: str, flags: tuple[str, ...] = (), input: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the doctor."""
        # Like the installed script, it is not in the working folder. It sets the path itself,
        # because PYTHONPATH does not work with -I.
        script = self.shim.parent / "cupy-compat"
        script.write_text(
            f"import sys\nsys.path.insert(0, {str(self.shim)!r})\n"
            "from cupy_compat.__main__ import main\nsys.exit(main())\n"
        )
        command = [self.python, *flags, script, "doctor", *arguments]
        return self.start(*command, input=input, **environment)

    def findings(self, *arguments: str, code: int, **rest: Any) -> dict[str, Any]:
        """Run the doctor, which must exit with that status, and return its JSON."""
        done = self.doctor("--json", *arguments, **rest)
        assert done.returncode == code, done.stdout + done.stderr
        assert done.stderr == ""
        content: dict[str, Any] = json.loads(done.stdout)
        return content


def problems(content: Mapping[str, Any]) -> set[str]:
    return {each["check"] for each in content["findings"] if each["severity"] == "problem"}


def remarks(content: Mapping[str, Any]) -> set[str]:
    return {each["check"] for each in content["findings"] if each["severity"] == "remark"}


@pytest.fixture
def healthy_subject(reference: Interpreter, tmp_path: Path) -> Subject:
    return Subject(reference.python, reference.shim, tmp_path)


@pytest.fixture
def broken_subject(broken: Interpreter, tmp_path: Path) -> Subject:
    return Subject(broken.python, broken.shim, tmp_path)


@pytest.fixture(scope="module")
def healthy_content(
    reference: Interpreter, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return the doctor's JSON for a healthy CuPy."""
    folder = tmp_path_factory.mktemp("healthy")
    return Subject(reference.python, reference.shim, folder).findings(code=0)


@pytest.fixture(scope="module")
def broken_content(broken: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the doctor's JSON for the most frequently reported broken CuPy."""
    folder = tmp_path_factory.mktemp("broken")
    # The variable arms the shim in the doctor's own process, which must not affect the result.
    subject = Subject(broken.python, broken.shim, folder)
    return subject.findings(code=1, CUPY_COMPAT="always")


@pytest.fixture
def damaged_subject(reference: Interpreter, tmp_path: Path) -> Subject:
    """Return a subject with a healthy CuPy that the test may damage."""
    testbed.copy(sys.executable, reference.python, tmp_path / "env")
    (tmp_path / "work").mkdir()
    return Subject(tmp_path / "env/bin/python", reference.shim, tmp_path / "work")


def site_packages(subject: Subject) -> Path:
    return testbed._site_packages(subject.python)


# The verdict and the state of the repair.


def test_it_would_repair_a_broken_cupy(broken_content: dict[str, Any]) -> None:
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
    # On 3.11 and 3.12, the import alone does nothing.
    assert ("CUPY_COMPAT=always" in cures) == (sys.version_info < (3, 13))
    assert content["repair"]["state"] == "would repair"
    assert [attempt["shim"] for attempt in content["attempts"]] == ["as it is", "with"]
    # The doctor itself does not arm the first attempt.
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
    """Write a start-up file, and return the PYTHONPATH that activates it."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(textwrap.dedent(text))
    return str(folder)


ARMING = "import cupy_compat\ncupy_compat.install(force=True)\n"


@pytest.mark.parametrize(("which", "state"), [("healthy", "armed"), ("broken", "repairs")])
def test_it_reports_an_environment_that_arms_every_start(
    request: pytest.FixtureRequest, tmp_path: Path, which: str, state: str
) -> None:
    subject: Subject = request.getfixturevalue(f"{which}_subject")
    path = f"{start_up(tmp_path / 'start', ARMING)}:{subject.shim}"
    content = subject.findings(code=0, PYTHONPATH=path)
    assert content["repair"]["state"] == state
    assert problems(content) == set()
    if state == "repairs":
        # The second attempt, without the shim, shows that CuPy is broken.
        (without,) = (each for each in content["attempts"] if each["shim"] == "without")
        assert "import" not in without["values"]
        assert "is not writable" in content["repair"]["reason"]


def test_it_reports_why_the_shim_cannot_repair(broken: Interpreter, tmp_path: Path) -> None:
    # A file of the installation is missing.
    shim = tmp_path / "shim"
    shutil.copytree(broken.shim, shim)
    (shim / "cupy_compat" / "_memoized.py").unlink()
    subject = Subject(broken.python, shim, tmp_path)
    content = subject.findings(code=1)
    assert problems(content) == {"memoize"}
    assert "no-repair" in remarks(content)
    (finding,) = (each for each in content["findings"] if each["check"] == "no-repair")
    assert "cupy_compat._memoized" in finding["cause"]
    assert content["repair"]["state"] == "off"


def test_the_gpu_option_decides_the_exit_status(
    healthy_subject: Subject, healthy_content: dict[str, Any]
) -> None:
    healthy_subject.findings("--gpu", code=0 if healthy_content["works"] else 1)


# The checks in environments made for them. test_doctor_environments.py has the larger ones.


def test_a_shadowing_file_is_reported_and_not_run(healthy_subject: Subject) -> None:
    script = healthy_subject.folder / "cupy.py"
    script.write_text("import pathlib\npathlib.Path('was-run').touch()\n")
    content = healthy_subject.findings(code=1)
    assert problems(content) == {"shadowed"}
    assert str(script) in content["findings"][0]["cause"]
    assert content["attempts"] == []
    assert not (healthy_subject.folder / "was-run").exists()
    # An isolated interpreter does not search the working folder.
    assert problems(healthy_subject.findings(code=0, flags=("-I",))) == set()


@pytest.mark.parametrize("program", ["import cupy as cp\ncp.zeros(3)\n", "from cupy import zeros"])
def test_the_error_of_a_shadowed_cupy_is_explained(healthy_subject: Subject, program: str) -> None:
    (healthy_subject.folder / "cupy.py").write_text(program)
    assert explained(healthy_subject, "import cupy") == {"shadowed"}


def matches(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the checks that match the output of a command."""
    output = BytesIO((done.stdout + done.stderr).encode())
    return {finding.check for finding in diagnosis.explain(output).findings}


def explained(subject: Subject, program: str, **environment: str) -> set[str]:
    """Return the checks that match the output of a program."""
    return matches(subject.start(subject.python, "-c", program, **environment))


def test_a_folder_named_cupy_is_not_a_problem(healthy_subject: Subject) -> None:
    (healthy_subject.folder / "cupy").mkdir()
    assert healthy_subject.findings(code=0)["imports"]


def test_a_missing_cupy_is_reported(bare: Interpreter, tmp_path: Path) -> None:
    subject = Subject(bare.python, bare.shim, tmp_path)
    for _ in range(2):
        content = subject.findings(code=1)
        assert problems(content) == {"not-installed"}
        assert content["unknown"] == []
        (tmp_path / "cupy").mkdir(exist_ok=True)


def test_a_missing_dependency_is_reported(shim: Path, tmp_path: Path) -> None:
    subject = Subject(doctor_environments.make(sys.executable, "no-fastrlock"), shim, tmp_path)
    content = subject.findings(code=1)
    assert problems(content) == {"dependency"}
    assert content["findings"][0]["cures"] == ["Install it: `python -m pip install fastrlock`."]


def test_a_missing_numpy_is_reported(shim: Path, tmp_path: Path) -> None:
    subject = Subject(doctor_environments.make(sys.executable, "no-numpy"), shim, tmp_path)
    # If NumPy was imported before it was uninstalled, its folder still exists.
    left = (site_packages(subject) / "numpy").exists()
    assert problems(subject.findings(code=1)) == {"numpy-incomplete" if left else "dependency"}


def test_missing_files_are_reported(damaged_subject: Subject) -> None:
    site = site_packages(damaged_subject)
    (site / "cupy").rename(site / "gone")
    content = damaged_subject.findings(code=1)
    assert problems(content) == {"files-gone"}
    assert content["unknown"] == []
    # pip leaves the folder if other files were added to it.
    (site / "cupy").mkdir()
    content = damaged_subject.findings(code=1)
    assert problems(content) == {"files-gone"}
    assert content["facts"]["cupy"]["found"]["kind"] == "remains"
    assert content["unknown"] == []


@pytest.mark.parametrize("metadata", ["Metadata-Version: 2.1\nName: cupy-cuda11x\n", None])
def test_a_second_distribution_is_a_remark_even_if_its_metadata_are_damaged(
    damaged_subject: Subject, metadata: str | None
) -> None:
    # Only metadata; test_doctor_environments.py installs the second wheel.
    folder = site_packages(damaged_subject) / "cupy_cuda11x-13.5.1.dist-info"
    folder.mkdir()
    if metadata is not None:
        (folder / "METADATA").write_text(metadata)
    content = damaged_subject.findings(code=0)
    assert problems(content) == set()
    assert "two-distributions" in remarks(content)
    assert len(content["facts"]["cupy"]["distributions"]) == 2


def test_a_read_only_cache_is_a_remark_until_it_is_needed(healthy_subject: Subject) -> None:
    file = healthy_subject.folder / "file"
    file.touch(0o755)
    content = healthy_subject.findings(code=0, CUPY_CACHE_DIR=str(file / "cache"))
    assert "cache" in remarks(content)


def test_extension_modules_of_another_python_are_reported(damaged_subject: Subject) -> None:
    # They are only renamed; test_doctor_environments.py installs the wheel of another Python.
    core = site_packages(damaged_subject) / "cupy" / "_core"
    for file in core.glob("*.so"):
        file.rename(file.with_name(file.name.replace("cpython-3", "cpython-2")))
    content = damaged_subject.findings(code=1)
    assert problems(content) == {"other-python"}


def test_a_missing_optional_library_is_a_remark_if_it_is_used(
    healthy_subject: Subject, healthy_content: dict[str, Any]
) -> None:
    # CuPy warns of a missing cuTENSOR when the accelerator is selected.
    content = healthy_subject.findings(code=0, CUPY_ACCELERATORS="cub,cutensor")
    if content["works"] is None:
        assert "optional-library" in remarks(content)
    assert "optional-library" not in remarks(healthy_content)


def test_a_crash_of_a_damaged_extension_module_is_reported(damaged_subject: Subject) -> None:
    (core,) = (site_packages(damaged_subject) / "cupy" / "_core").glob("core.*.so")
    content = core.read_bytes()
    core.unlink()
    # Truncated, as on a full disk: the loader maps more than the file contains.
    core.write_bytes(content[: len(content) // 10])
    found = damaged_subject.findings(code=1)
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
        # The child process keeps the streams open.
        "import subprocess; subprocess.run(['sleep', '600'])",
    ],
)
def test_an_import_that_hangs_is_killed_and_its_line_reported(
    healthy_subject: Subject, program: str
) -> None:
    # CuPy imports this file as NumPy.
    (healthy_subject.folder / "numpy.py").write_text(program)
    content = healthy_subject.findings("--time-limit", "3", code=1)
    assert "hang" in problems(content)
    (finding,) = (each for each in content["findings"] if each["check"] == "hang")
    assert finding["step"] == "import"
    assert str(healthy_subject.folder / "numpy.py") in content["attempts"][0]["stderr"]


def test_an_unknown_failure_is_shown_with_its_traceback_and_the_facts(
    healthy_subject: Subject,
) -> None:
    (healthy_subject.folder / "numpy.py").write_text("raise LookupError('odd')\n")
    done = healthy_subject.doctor(CUPY_TEST_MARK="in the environment", NVIDIA_API_KEY="hidden")
    assert done.returncode == 1
    assert "unknown: the step 'import' failed, and no check matches" in done.stdout
    assert f'File "{healthy_subject.folder / "numpy.py"}", line 1' in done.stdout
    assert "LookupError: odd" in done.stdout
    assert "distributions:" in done.stdout
    assert "CUPY_TEST_MARK: in the environment" in done.stdout
    assert "hidden" not in done.stdout
    assert "attempt as it is: finished; passed: start" in done.stdout
    # The doctor's own frames are hidden.
    assert "<string>" not in done.stdout


# Unusual environments.


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
def test_unusual_environments_do_not_matter(
    healthy_subject: Subject, given: dict[str, Any]
) -> None:
    content = healthy_subject.findings(code=0, **given)
    assert problems(content) == set()
    assert content["unknown"] == []


def test_an_empty_environment_does_not_matter(healthy_subject: Subject) -> None:
    command = [healthy_subject.python, "-m", "cupy_compat", "doctor"]
    path = {"PYTHONPATH": str(healthy_subject.shim)}
    done = start(*command, env=path, cwd=healthy_subject.folder)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["0<&- 2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_do_not_matter(broken_subject: Subject, closed: str) -> None:
    command = f'"$0" -m cupy_compat doctor --json {closed}'
    path = {"PYTHONPATH": str(broken_subject.shim)}
    done = broken_subject.start("sh", "-c", command, broken_subject.python, **path)
    assert done.returncode == 1
    if "1>" not in closed:
        assert problems(json.loads(done.stdout)) == {"memoize"}


def test_a_closed_pipe_is_not_an_error(broken_subject: Subject) -> None:
    command = '("$0" -m cupy_compat doctor; echo $? >&2) | true'
    path = {"PYTHONPATH": str(broken_subject.shim)}
    done = broken_subject.start("sh", "-c", command, broken_subject.python, **path)
    assert done.stderr.strip() == "1"


def test_a_path_that_cannot_be_encoded_is_reported(healthy_subject: Subject) -> None:
    folder = healthy_subject.folder / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "cupy.py").write_text("")
    subject = Subject(healthy_subject.python, healthy_subject.shim, folder)
    content = subject.findings(code=1)
    assert problems(content) == {"shadowed"}
    for environment in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        done = subject.doctor(**environment)
        assert (done.returncode, done.stderr) == (1, "")


def test_a_start_up_file_may_print_and_replace_the_streams(
    healthy_subject: Subject, tmp_path: Path
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
    # The doctor's own streams are replaced, too, so only its exit status shows the result.
    assert healthy_subject.doctor(PYTHONPATH=path).returncode == 0


def test_files_that_shadow_standard_modules_do_not_affect_the_facts(
    healthy_subject: Subject,
) -> None:
    for name in ("json", "ctypes", "re", "platform"):
        (healthy_subject.folder / f"{name}.py").write_text("raise ImportError('hidden')\n")
    assert "ImportError: hidden" in healthy_subject.run("import cupy").stderr
    content = healthy_subject.findings(code=1)
    assert content["facts"]["cupy"]["found"]["kind"] == "cupy"
    assert "ImportError: hidden" in content["unknown"][0]["traceback"]


def test_an_early_exit_is_not_a_crash(healthy_subject: Subject) -> None:
    # Python 3.13 imports linecache before it runs the code of -c.
    for name in ("linecache", "numpy"):
        (healthy_subject.folder / f"{name}.py").write_text("import os; os._exit(3)\n")
    content = healthy_subject.findings(code=1)
    assert problems(content) == set()
    assert content["attempts"][0]["end"] == "ended"
    assert content["unknown"][0]["message"] == "exit status 3"


def test_the_doctor_itself_does_not_import_cupy(healthy_subject: Subject) -> None:
    done = healthy_subject.run("""
        import sys
        from cupy_compat.__main__ import main
        main(["doctor"])
        print({"cupy", "numpy", "cupy_compat.cudamark"} & set(sys.modules))
    """)
    assert done.stdout.splitlines()[-1] == "set()"


def test_an_interrupt_ends_with_one_line_and_leaves_no_process(healthy_subject: Subject) -> None:
    (healthy_subject.folder / "numpy.py").write_text(
        "import os, time\n"
        "open('pid', 'w').write(str(os.getpid()))\n"
        "os.rename('pid', 'started')\n"
        "time.sleep(600)\n"
    )
    started = healthy_subject.folder / "started"
    process = subprocess.Popen(
        [healthy_subject.python, "-m", "cupy_compat", "doctor"],
        env={**os.environ, "PYTHONPATH": str(healthy_subject.shim)},
        cwd=healthy_subject.folder,
        stderr=subprocess.PIPE,
    )
    for _ in range(600):
        if started.exists():
            break
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"cupy-compat doctor: error: interrupted\n")
    child = int(started.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_python_that_does_not_know_its_executable_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    assert command.main([]) == 1
    assert "sys.executable is empty" in capsys.readouterr().err
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert command.main([]) == 1
    assert "/nowhere/python cannot be started" in capsys.readouterr().err


# The command line.


def test_the_help_lists_every_exit_status_in_order(
    healthy_subject: Subject, broken_subject: Subject
) -> None:
    healthy, broken = healthy_subject.doctor, broken_subject.doctor
    pip = "ERROR: No matching distribution found for cupy-cuda12x\n"
    runs = {
        "Exit status: ": [healthy(), broken(), healthy("--yes")],
        "With --explain: ": [
            healthy("--explain", "-", input=pip),
            healthy("--explain", "-", input="all is well"),
            healthy("--explain", "none"),
        ],
        "With --fix: ": [healthy("--fix"), broken("--fix")],
    }
    text = " ".join(healthy("--help").stdout.split())
    for title, processes in runs.items():
        section = text.partition(title)[2].partition("With ")[0]
        documented = [int(each) for each in re.findall(r"\b\d\b", section)]
        assert [each.returncode for each in processes] == documented


def test_a_text_is_explained_from_a_file_or_standard_input(
    healthy_subject: Subject, tmp_path: Path
) -> None:
    pip = "ERROR: No matching distribution found for cupy-cuda12x\n"
    done = healthy_subject.doctor("--explain", "-", input=pip)
    assert done.stdout.startswith("problem: no-wheel: pip finds no wheel for this Python\n")
    assert "  said   ERROR: No matching distribution found for cupy-cuda12x\n" in done.stdout
    file = tmp_path / "log"
    file.write_bytes(b"\xff all is well\n")
    done = healthy_subject.doctor("--explain", str(file), "--json")
    assert json.loads(done.stdout)["findings"] == []
    done = healthy_subject.doctor("--explain", str(file))
    assert done.stdout == "This does not match any known problem.\n"
    done = healthy_subject.doctor("--explain", str(tmp_path / "none"))
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
def test_wrong_usage_is_an_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "cupy-compat doctor: error: " in said
    assert "_seconds" not in said


# Another interpreter, the working folder, and the time limit.


def test_it_examines_another_python_without_cupy_compat(
    broken: Interpreter, tmp_path: Path
) -> None:
    doctor = Subject(Path(sys.executable), broken.shim, tmp_path)
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
def test_a_program_that_is_not_python_is_a_clear_error(
    path: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--python", path]) == code
    error = capsys.readouterr().err
    assert error.startswith("cupy-compat doctor: error: ")
    assert said in error


@pytest.mark.parametrize("beside", [None, "stranger"])
def test_gathering_facts_runs_no_file_of_the_working_folder(
    healthy_subject: Subject, beside: str | None
) -> None:
    folder = healthy_subject.folder
    # Modules that importlib.metadata and others import late.
    for name in ("string", "datetime", "ipaddress", "quopri", "base64", "email", "ctypes", "csv"):
        (folder / f"{name}.py").write_text(f"open('{name}-ran', 'w').close()\n")
    if beside:
        (folder / "cupy.py").write_text("open('cupy-ran', 'w').close()\n")
    facts = gather_facts_in(healthy_subject)
    assert facts["cupy"]["found"]["kind"] == (beside or "cupy")
    assert facts["cupy"]["distributions"] != []
    assert list(folder.glob("*-ran")) == []


def gather_facts_in(subject: Subject) -> dict[str, Any]:
    done = subject.run("""
        import sys
        sys.path.remove("")
        import json
        from cupy_compat.doctor.trial import Interpreter, gather_facts
        print(json.dumps(gather_facts(Interpreter(), 60)))
    """)
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_a_deleted_working_folder_does_not_matter(healthy_subject: Subject) -> None:
    gone = healthy_subject.folder / "gone"
    gone.mkdir()
    command = 'cd gone && rmdir "$PWD" && exec "$0" -m cupy_compat doctor'
    path = {"PYTHONPATH": str(healthy_subject.shim)}
    done = healthy_subject.start("sh", "-c", command, healthy_subject.python, **path)
    # NumPy itself may fail to import there, which the doctor reports.
    assert done.stderr == ""
    assert " on Python 3." in done.stdout


def test_without_facts_it_still_tries_cupy(damaged_subject: Subject) -> None:
    # Only the isolated interpreter, which gathers the facts, exits.
    (site_packages(damaged_subject) / "broken.pth").write_text(
        "import os, sys; sys.flags.isolated and os._exit(3)\n"
    )
    content = damaged_subject.findings(code=0)
    assert content["imports"]
    assert "exit status 3" in content["facts"]["error"]


def test_the_time_limit_applies_despite_a_detached_child_process(healthy_subject: Subject) -> None:
    (healthy_subject.folder / "numpy.py").write_text(
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'],"
        " start_new_session=True)\n"
        "time.sleep(30)\n"
    )
    begun = time.monotonic()
    content = healthy_subject.findings("--time-limit", "2", code=1)
    # The detached process keeps the streams open for 30 seconds.
    assert time.monotonic() - begun < 20
    (finding,) = (each for each in content["findings"] if each["check"] == "hang")
    assert "numpy.py" in finding["traceback"]


def test_a_long_wait_is_announced(healthy_subject: Subject) -> None:
    (healthy_subject.folder / "numpy.py").write_text("import time; time.sleep(12)\n")
    done = healthy_subject.doctor("--time-limit", "60")
    assert done.stderr == "waiting for CuPy, up to 60 seconds ...\n"


PAGE = Path(__file__).parents[1] / "docs" / "doctor.md"


def test_the_documentation_describes_the_json(broken_content: dict[str, Any]) -> None:
    content = broken_content
    page = PAGE.read_text()
    assert content["version"] == report.FORMAT_VERSION
    assert f'"version": {report.FORMAT_VERSION},' in page
    names = {
        *content,
        *content["repair"],
        *content["findings"][0],
        *content["facts"],
        *content["attempts"][0],
    }
    assert {name for name in names if f"`{name}`" not in page} == set()
