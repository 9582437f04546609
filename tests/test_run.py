"""``cupy-compat run`` does the same as ``python``, but arms the program and its children."""

import shutil
import signal
import subprocess
import textwrap
import zipfile
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from environments import (
    ORIGIN,
    Environment,
    clean,
    copy_package,
    fails_import,
    make,
    passes_import,
    start,
)

from cupy_compat.start.run import own_options

#: Prints what a program can find out about its Python.
PROBE = """
import os, pickle, re, signal, sys
class Point:
    pass
assert type(pickle.loads(pickle.dumps(Point()))) is Point
print(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.warnoptions, sys._xoptions, sep="\\n")
main = sys.modules["__main__"]
print({name: re.sub(" at 0x[0-9a-f]*", "", repr(value)) for name, value in vars(main).items()
       if name.startswith("__") and name != "__builtins__"})
print("sitecustomize" in sys.modules, "usercustomize" in sys.modules)
print([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)])
print([os.path.exists(f"/proc/self/fd/{number}") for number in range(10)])
print(sys.stdin is None, sys.stdout.encoding, sys.stdin and sys.stdin.read())
"""

NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}

FILES = {
    "probe.py": PROBE,
    "folder with spaces ü/probe.py": PROBE,
    "package/__init__.py": "print('package', __name__, __file__)",
    "package/__main__.py": PROBE,
    "package/module.py": "from package import __path__\n" + PROBE,
    "program/__main__.py": "import beside\n" + PROBE,
    "program/beside.py": "print(__name__)",
    "raises.py": "def f():\n    1 / 0\n\n\nf()\n",
}

#: Arguments of ``python`` and of ``cupy-compat run``.
SAME = {
    "script": ["probe.py", "-c", "--help", "", "ä", "-m"],
    "script elsewhere": ["folder with spaces ü/probe.py"],
    "script by its full path": ["{}/probe.py"],
    "module": ["-m", "probe", "-x"],
    "module joined": ["-mprobe"],
    "package": ["-m", "package", "1"],
    "module in package": ["-m", "package.module"],
    "folder": ["program", "1"],
    "zip": ["program.zip"],
    "code": ["-c", PROBE, "-c", "1"],
    "standard input": ["-", "1"],
    "missing script": ["nowhere.py"],
    "no code": ["-c"],
    "traceback": ["raises.py"],
    "exit": ["-c", "raise SystemExit('why')"],
    "killed": ["-c", "import os; os.kill(os.getpid(), 15)"],
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with zipfile.ZipFile(folder / "program.zip", "w") as archive:
        for name in ("__main__.py", "beside.py"):
            archive.write(folder / "program" / name, name)
    return folder


#: The command, as arguments of ``python``.
RUN = ["-m", "cupy_compat", "run"]


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


def both(
    python: Environment, words: list[str], *options: str, **how: object
) -> list[tuple[int, str, str]]:
    """Return the outcomes of ``python`` and of ``run`` with the same arguments."""
    return [outcome(python.start(*options, *between, *words, **how)) for between in ([], RUN)]


@pytest.mark.parametrize("case", SAME)
def test_a_program_runs_as_under_python(case: str, installed: Environment, programs: Path) -> None:
    words = [word.replace("{}", str(programs)) for word in SAME[case]]
    text = PROBE if case == "standard input" else "what comes in"
    plain = installed.start(*words, cwd=programs, input=text)
    ran = installed.start("run", *words, program=installed.command, cwd=programs, input=text)
    assert outcome(ran) == outcome(plain)


@pytest.mark.parametrize(
    "options",
    [
        "-P -s -u -bb -OO -dB",
        "-Xutf8 -X dev -X int_max_str_digits=700 -W error -Wignore",
        "--check-hash-based-pycs always",
    ],
)
def test_options_of_python_are_kept(options: str, installed: Environment, programs: Path) -> None:
    plain, ran = both(installed, ["probe.py"], *options.split(), cwd=programs)
    assert plain[0] == 0
    assert ran == plain


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-m cupy_compat run x", []),
        ("-Bm cupy_compat run x", ["-B"]),
        ("-mcupy_compat run x", []),
        ("-W ignore -Xdev /bin/cupy-compat run -m x", ["-W", "ignore", "-Xdev"]),
        ("-bX dev -um cupy_compat run", ["-bX", "dev", "-u"]),
        ("--check-hash-based-pycs never - run", ["--check-hash-based-pycs", "never"]),
        ("-B -- /bin/cupy-compat run", ["-B"]),
        ("-c code run -B", []),
    ],
)
def test_the_options_before_the_program_belong_to_python(line: str, expected: list[str]) -> None:
    assert own_options(line.split()) == expected


def test_environment_variables_of_python_work(installed: Environment, programs: Path) -> None:
    variables = {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"{programs}::/nowhere", "PYTHONUTF8": "1"}
    words = ["-c", "import os; del os.environ['PYTHONPATH']\n" + PROBE]
    plain, ran = both(installed, words, environment=variables)
    assert plain[0] == 0
    assert ran == plain
    found = installed.do(
        "run", "-c", "import os; print(os.environ['PYTHONPATH'])", environment=variables
    )
    assert found.endswith(f":{programs}::/nowhere\n")


def test_closed_streams_stay_closed(installed: Environment) -> None:
    code = "import os, sys; os._exit(7 if {sys.stdin, sys.stdout, sys.stderr} == {None} else 1)"
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", installed.python, *RUN, "-c", code]
    assert subprocess.run(command, env=clean(), check=False).returncode == 7


def test_an_empty_environment_is_enough(installed: Environment) -> None:
    done = start(installed.command, "run", ORIGIN, env={})
    assert passes_import(done), done.stderr


def test_the_process_becomes_the_program_and_ctrl_c_ends_it(installed: Environment) -> None:
    code = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
    with subprocess.Popen(
        [installed.command, "run", "-c", code],
        env=clean(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell makes its background processes ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    frames = [line for line in error.splitlines() if line.startswith("  File ")]
    assert len(frames) == 1 and frames[0].startswith('  File "<string>", line ')
    assert error.endswith("KeyboardInterrupt\n")


CHILDREN = """
import concurrent.futures, multiprocessing, os, subprocess, sys

CODE = "import cupy, cupy_compat; print(cupy_compat.status().state)"

class Question:  # pickled by name
    def __call__(self):
        import cupy, cupy_compat
        return cupy_compat.status().state

def ask(queue):
    queue.put(Question()())

def answers():
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=ask, args=(queue,))
        process.start()
        yield method, queue.get(timeout=60)
        process.join()
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        yield "pool", pool.submit(Question()).result(timeout=60)
    import loky
    with loky.ProcessPoolExecutor(1) as pool:
        yield "loky", pool.submit(Question()).result(timeout=60)
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    yield "subprocess", done.stdout.strip()
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1"', sys.executable, CODE], capture_output=True, text=True
    )
    yield "shell", done.stdout.strip()

if __name__ == "__main__":
    print(dict(answers()))
    print(Question()())
"""


@pytest.mark.parametrize("policy", ["auto", "never"])
def test_all_child_processes_are_armed_on_every_python(
    policy: str, venv: Environment, wheels: list[Path]
) -> None:
    venv.install(wheels[0])
    for package in ("loky", "cloudpickle"):
        copy_package(package, venv)
    script = venv.folder / "children.py"
    script.write_text(CHILDREN)
    printed = venv.do("run", script, environment={"CUPY_COMPAT": policy}).splitlines()
    names = ("fork", "spawn", "forkserver", "pool", "loky", "subprocess", "shell")
    assert printed == [str(dict.fromkeys(names, "repaired")), "repaired"]


def test_the_origin_script_imports_a_broken_cupy(installed: Environment) -> None:
    assert fails_import(installed.start(ORIGIN))
    assert passes_import(installed.start("run", ORIGIN, program=installed.command))


def test_a_nested_run_changes_nothing(installed: Environment) -> None:
    code = "import os, sys; print(os.environ['PYTHONPATH'], sys.path)"
    once = installed.do("run", "-c", code)
    assert installed.do("run", *RUN, "-c", code) == once


@pytest.fixture(scope="module")
def with_user_site(tmp_path_factory: pytest.TempPathFactory, wheels: list[Path]) -> Environment:
    # In other virtual environments, Python does not import usercustomize.
    made = make(tmp_path_factory.mktemp("user") / "env", "--system-site-packages")
    made.install(wheels[0])
    return made


@pytest.mark.parametrize(
    "text",
    [
        "print('mine', __name__, __file__)",
        "raise ValueError('mine')",
        "raise ImportError('mine')",
        "import nowhere",
        "import sys; sys.path.append('/mine')",
        "import sys; sys.modules[__name__] = 'mine'",
    ],
)
@pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
def test_the_users_own_start_up_module_still_runs(
    name: str, text: str, with_user_site: Environment, tmp_path: Path
) -> None:
    (tmp_path / f"{name}.py").write_text(text)
    variables = {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    words = ["-c", f"import sys; print(sys.path, sys.modules.get({name!r}))"]
    plain = with_user_site.start(*words, environment=variables)
    assert ("mine" in plain.stdout + plain.stderr) or ("nowhere" in plain.stderr)
    # Set the variables late, so that they do not affect the Python of the command itself.
    late = f"import sys, os; os.environ.update({variables})\n"
    run = late + "from cupy_compat.start.run import main; main(sys.argv[1:])"
    assert outcome(with_user_site.start("-c", run, *words)) == outcome(plain)


def test_it_arms_before_the_users_sitecustomize(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import cupy; print(cupy.__version__)")
    program = "import os, subprocess, sys; subprocess.run([sys.executable, '-c', ''])"
    late = f"import os; os.environ['PYTHONPATH'] += ':{tmp_path}'; {program}"
    assert installed.do("run", "-c", late) == "13.4.1\n"


#: The ways in which a sitecustomize runs the one that it hides.
CHAINS = {
    "as ddtrace": """
        own = sys.modules.pop("sitecustomize")
        try:
            import sitecustomize
        except ImportError:
            sys.modules["sitecustomize"] = own
    """,
    "as New Relic": """
        spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
        spec.loader.load_module("sitecustomize")
    """,
    "without sys.modules": """
        spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    """,
}


@pytest.mark.parametrize("further", [[], ["further"]])
@pytest.mark.parametrize("chain", CHAINS)
def test_another_sitecustomize_may_run_ours(
    chain: str, further: list[str], installed: Environment, tmp_path: Path
) -> None:
    if chain == "as New Relic" and not hasattr(SourceFileLoader, "load_module"):
        pytest.skip("this Python has no load_module()")
    first, last = tmp_path / "first", tmp_path / "last"
    for folder in (first, last):
        folder.mkdir()
    begin = f"import importlib.machinery, importlib.util, sys\nsys.path.remove({str(first)!r})"
    step = textwrap.dedent(CHAINS[chain])
    (first / "sitecustomize.py").write_text(f"{begin}\n{step}\nprint('first')")
    for word in further:
        (last / "sitecustomize.py").write_text(f"print({word!r})")
    program = f"""
import os, subprocess, sys
os.environ["PYTHONPATH"] = ":".join([{str(first)!r}, os.environ["PYTHONPATH"], {str(last)!r}])
ask = "import cupy, sys; print(sys.modules['cupy_compat'].status().state)"
subprocess.run([sys.executable, "-W", "ignore", "-c", ask], check=True)
"""
    assert installed.do("run", "-c", program).splitlines() == [*further, "first", "repaired"]


def test_a_python_of_another_environment_is_not_affected(
    installed: Environment, stranger: Environment
) -> None:
    code = "import sys; print(sys.path, sorted(sys.modules), len(sys.meta_path))"
    pythons = [stranger.python]
    # Old Pythons, if there are any, must be able to run the file on PYTHONPATH, too.
    for version in ("2.7", "3.6", "3.10"):
        found = shutil.which(f"python{version}")
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            pythons.append(Path(found))
    for python in pythons:
        plain = stranger.output("-c", code, program=python)
        ask = (
            f"import subprocess, sys; sys.exit(subprocess.call([{str(python)!r}, '-c', {code!r}]))"
        )
        assert installed.do("run", "-c", ask, environment=NO_BYTECODE) == plain


def test_a_python_that_extends_its_own_path_is_armed_after_that(
    installed: Environment, venv: Environment, tmp_path: Path
) -> None:
    # Not in site-packages: Debian's Pythons have a sitecustomize of their own before that.
    extend = f"import sys; sys.path.append({str(installed.site)!r})"
    (tmp_path / "sitecustomize.py").write_text(extend)
    ask = "import sys, cupy; print(sys.modules['cupy_compat'].status().state)"
    child = f"import subprocess; subprocess.run([{str(venv.python)!r}, '-c', {ask!r}])"
    variables = {"PYTHONPATH": str(tmp_path)}
    assert installed.do("run", "-c", child, environment=variables) == "repaired\n"


#: Removes a module of the package, then runs its arguments.
DAMAGE = """
import os, sys
from cupy_compat.start.run import main
os.unlink(sys.modules["cupy_compat._policy"].__file__)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("stderr", ["open", "full"])
def test_a_program_that_cannot_be_armed_runs_with_a_warning(
    stderr: str, stranger: Environment, wheels: list[Path], tmp_path: Path
) -> None:
    shutil.unpack_archive(wheels[0], tmp_path, "zip")
    words = ["-c", DAMAGE, "-c", "print('on')"]
    redirect = ["sh", "-c", 'exec "$@" 2>/dev/full', "sh"] if stderr == "full" else []
    command = [*redirect, stranger.python, *words]
    done = stranger.start(*command[1:], program=command[0], cwd=tmp_path, environment=NO_BYTECODE)
    assert (done.returncode, done.stdout) == (0, "on\n")
    if stderr == "open":
        (line,) = done.stderr.splitlines()
        assert line.startswith("cupy-compat run: cannot repair CuPy here: ImportError: ")


def test_a_sitecustomize_before_pythonpath_is_reported(
    venv: Environment, wheels: list[Path], tmp_path: Path
) -> None:
    venv.install(wheels[0])
    (tmp_path / "sitecustomize.py").write_text("")
    (venv.site / "first.pth").write_text(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n")
    words = ["run", "-c", "import sys; print('cupy_compat' in sys.modules)"]
    done = venv.start(*words, program=venv.command)
    assert done.stdout == "False\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("cupy-compat run: cannot repair CuPy here: ")
    assert str(tmp_path / "sitecustomize.py") in line
    # Ours finds it if it comes later.
    (venv.site / "first.pth").unlink()
    assert venv.do(*words, environment={"PYTHONPATH": str(tmp_path)}) == "True\n"


@pytest.mark.parametrize(
    ("options", "words", "message"),
    [
        ([], [], "name a program to run"),
        ([], ["-X", "dev", "x.py"], "-X: put Python's own options first"),
        (["-I"], ["x.py"], "python's options -I, -E and -S prevent the repair"),
        (["-E"], ["x.py"], "python's options -I, -E and -S prevent the repair"),
    ],
)
def test_wrong_usage_is_refused_with_one_line(
    options: list[str], words: list[str], message: str, installed: Environment
) -> None:
    done = installed.start(*options, *RUN, *words)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_folder_that_pythonpath_cannot_contain_is_refused(
    stranger: Environment, wheels: list[Path], tmp_path: Path
) -> None:
    shutil.unpack_archive(wheels[0], tmp_path / "a:b", "zip")
    done = stranger.start("-m", "cupy_compat", "run", ORIGIN, cwd=tmp_path / "a:b")
    assert done.returncode == 2
    assert "PYTHONPATH cannot contain" in done.stderr


def test_on_windows_it_returns_the_status_of_the_program(installed: Environment) -> None:
    # Windows does not run here; only the branch for it does.
    code = (
        "import shutil, sys; from cupy_compat.start.run import main; sys.platform = 'win32'; "
        "sys.exit(main(['-c', 'import sys; sys.exit(5)']))"
    )
    assert installed.start("-c", code).returncode == 5


def test_help_is_printed_on_request_and_without_a_command(installed: Environment) -> None:
    assert "SCRIPT" in installed.do("run", "--help")
    assert installed.do() == installed.do("--help")
