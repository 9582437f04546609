"""Other libraries as rows of ``cudamark --compare --with``, with stand-ins for all of them.

What stands in for a library is written by the test, and only does what the test is about. The
libraries themselves are tried by ``nox -s with``, see tests/real_contenders.py.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.filesize import decimal

from cupy_compat.cudamark import command, compare, contenders, measure, suite
from cupy_compat.cudamark.contenders import CONTENDERS, load
from cupy_compat.cudamark.gpu import Gpu
from cupy_compat.cudamark.gpu.measure import Limits
from cupy_compat.cudamark.record import Run
from cupy_compat.cudamark.threads import usable_cpus

pytestmark = pytest.mark.usefixtures("away")

Array = NDArray[Any]
StandIn = Callable[[str, str], None]

#: A few more keys than are tried beforehand, so that a stand-in can distinguish them.
TRIED, SIZE = 131_072, 140_000
SMALL = ["--device", "cpu", "--size", str(SIZE), "--repeat", "2", "--compare"]
COMPARED = [*SMALL, "--with", "parallel-sort"]
ERROR = "cupy-compat cudamark: error: "
RIGHT = "import numpy\n__version__ = '1.2'\ndef sort(keys):\n    return numpy.sort(keys)\n"
LEGATE = "--gpus 0 --cpus 6 --sysmem 8000 --logging gpu=none,threads=error"
KEYS = np.array([3, 1, 2], dtype=np.int32)
SORTED = np.array([1, 2, 3], dtype=np.int32)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Return a function that writes the code which stands in for a library's module."""
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    written = []
    for contender in CONTENDERS.values():
        monkeypatch.delitem(sys.modules, contender.module, raising=False)
        for variable in contender.variables:
            # Set and then deleted, so that it is undone whatever the command does to it.
            monkeypatch.setenv(variable, "")
            monkeypatch.delenv(variable)

    def write(module: str, code: str) -> None:
        written.append(module)
        (folder / f"{module}.py").write_text(code)
        importlib.invalidate_caches()

    yield write
    for module in written:
        sys.modules.pop(module, None)


@pytest.fixture
def nothing_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test where a sort is measured, or keys are made."""
    for name in ("make_input", "compare_cpu"):
        monkeypatch.setattr(suite, name, lambda *_: pytest.fail("something was measured"))


def names_in(table: str) -> list[str]:
    return re.findall(r"^│ (\S.*?) +│", table, re.MULTILINE)


# What is asked for


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--compare", "--with", "numpy"], "'numpy' is none of polars, torch, parallel-sort, "),
        (["--compare", "--with", ""], "'' is none of polars"),
        (["--compare", "--with", "quill,"], "'' is none of polars"),
        (["--compare", "--with", "quill, torch ,quill"], "'quill' is given twice"),
        (["--compare", "--with", "Polars"], "'Polars' is none of polars"),
        (["--compare", "--with"], "expected one argument"),
        (["--with", "polars"], "--with belongs to --compare"),
        (["--with", "numpy"], "--with belongs to --compare"),
    ],
)
def test_a_bad_name_is_one_line_and_exit_code_2(
    capfd: pytest.CaptureFixture[str], nothing_measured: None, arguments: list[str], text: str
) -> None:
    assert command.main(arguments) == 2
    captured = capfd.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert captured.err.startswith(ERROR)
    assert text in captured.err


def test_help_names_every_contender(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    text = "".join(capsys.readouterr().out.split())
    assert ",".join(CONTENDERS) in text


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_missing_library_is_reported_before_measuring(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    nothing_measured: None,
    name: str,
) -> None:
    contender = CONTENDERS[name]
    monkeypatch.setitem(sys.modules, contender.module, None)
    assert command.main([*SMALL, "--with", name]) == 1
    captured = capfd.readouterr()
    wanted = f"{ERROR}{name} is not installed: pip install {contender.distribution}\n"
    assert (captured.out, captured.err) == ("", wanted)


def test_the_libraries_memory_is_required_too(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    stand_in: StandIn,
    nothing_measured: None,
) -> None:
    monkeypatch.setattr(suite, "available_memory", lambda: 1000)
    for contender in CONTENDERS.values():
        stand_in(contender.module, "")
    # Bytes a key, beyond 16 for the keys and the result; threaded_sort takes 36 in all.
    takes = {"polars": 17, "torch": 28, "parallel-sort": 17, "quill": 33, "cupynumeric": 94}
    for names in [*takes, "quill,torch", ",".join(takes)]:
        arguments = [*SMALL, "--dtype", "int64", "--with", names]
        assert command.main(arguments) == 1
        needed = SIZE * max(36, 16 + sum(takes[name] for name in names.split(",")))
        said = f" {decimal(needed)} needed, 1.0 kB free\n"
        assert said in capfd.readouterr().err


# Whether a library can be used, which a process of its own finds out


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('libcuda.so.1: no such file')", "ImportError: libcuda.so.1: no such"),
        ("import absent_module_of_it", "ModuleNotFoundError: No module named 'absent_module"),
        (
            "raise RuntimeError('=====\\nfirst\\n#0 what it was\\nlast')",
            "RuntimeError: what it was",
        ),
        ("raise KeyError", "KeyError"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise ValueError(1000 * 'long ')", "ValueError: long long"),
        ("print('started', flush=True); import os; os._exit(1)", "exit code 1\n"),
        ("import os; os.write(2, b'\\n bad\\n option\\n'); os._exit(1)", "bad option\n"),
        ("print('a\\nb\\nc', end='', flush=True); raise OSError(5)", "OSError: 5"),
        ("import os; os.write(2, b'\\xff?'); os._exit(1)", "\N{REPLACEMENT CHARACTER}?\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "exit code -9"),
    ],
)
def test_a_failing_import_is_reported_before_measuring(
    stand_in: StandIn,
    capfd: pytest.CaptureFixture[str],
    nothing_measured: None,
    code: str,
    reason: str,
) -> None:
    stand_in("parallel_sort", code)
    assert command.main([*COMPARED, "--quiet"]) == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{ERROR}parallel-sort cannot be used: {reason}")
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 400


def test_the_trial_imports_this_copy_of_the_package(stand_in: StandIn, tmp_path: Path) -> None:
    # As where the path by which it was found leads elsewhere now.
    (tmp_path / "stand-ins" / "cupy_compat.py").write_text("raise ImportError('another one')")
    stand_in(
        "parallel_sort",
        "import sys\n"
        f"assert sys.modules[{contenders.__name__!r}].__file__ == {contenders.__file__!r}\n"
        f"assert {str(Path(command.__file__).parents[2])!r} != sys.path[0]\n" + RIGHT,
    )
    assert contenders.refusal(CONTENDERS["parallel-sort"], 10, KEYS.dtype) is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def sort(keys): raise TypeError('no such dtype')", "TypeError: no such dtype"),
        ("sort = None", "TypeError: the first argument must be callable"),
        ("", "AttributeError: module 'parallel_sort' has no attribute 'sort'"),
        ("def sort(keys): return keys.astype('f8')", "TypeError: it returns float64"),
    ],
)
def test_a_library_that_refuses_the_dtype_has_no_row(
    stand_in: StandIn, tmp_path: Path, capfd: pytest.CaptureFixture[str], code: str, reason: str
) -> None:
    stand_in("parallel_sort", code)
    stand_in("quill_fastsort_parallel", "def parallel_sort_i32(keys): keys.sort()")
    record = tmp_path / "out.json"
    arguments = [*SMALL, "--with", "parallel-sort,quill", "--json", str(record)]
    assert command.main(arguments) == 0
    captured = capfd.readouterr()
    assert f"\nparallel-sort does not sort int32: {reason}\n" in captured.err
    assert names_in(captured.out) == ["np.sort", "threaded_sort", "quill"]
    assert json.loads(record.read_text())["with_versions"] == {"quill": None}


@pytest.mark.parametrize(
    ("dtype", "refuses"), [("int32", False), ("uint32", True), ("float16", True), ("m8[s]", True)]
)
def test_the_trial_uses_the_keys_dtype(
    stand_in: StandIn, capfd: pytest.CaptureFixture[str], dtype: str, refuses: bool
) -> None:
    stand_in("quill_fastsort_parallel", "def parallel_sort_i32(keys): keys.sort()")
    assert command.main([*SMALL, "--with", "quill", "--dtype", dtype]) == 0
    captured = capfd.readouterr()
    assert ("quill does not sort" in captured.err) is refuses
    assert ("quill" in names_in(captured.out)) is not refuses


@pytest.mark.parametrize(("size", "tried"), [(1, 1), (2000, 2000), (SIZE, TRIED)])
def test_the_trial_uses_as_many_keys_up_to_a_limit(
    stand_in: StandIn, capfd: pytest.CaptureFixture[str], size: int, tried: int
) -> None:
    stand_in("parallel_sort", "def sort(keys): raise TypeError(f'{keys.size} keys are too many')")
    assert command.main([*COMPARED, "--size", str(size)]) == 0
    refused = f"parallel-sort does not sort int32: TypeError: {tried} keys are too many\n"
    assert refused in capfd.readouterr().err


def test_no_library_is_loaded_while_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, stand_in: StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    stand_in("parallel_sort", RIGHT)
    measured = compare.compare_cpu

    def alone(*arguments: Any) -> Any:
        assert "parallel_sort" not in sys.modules
        return measured(*arguments)

    monkeypatch.setattr(suite, "compare_cpu", alone)
    assert command.main(COMPARED) == 0
    assert "parallel_sort" in sys.modules


# The rows


def test_a_library_has_a_row_runs_and_a_version(
    stand_in: StandIn, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stand_in("parallel_sort", RIGHT)
    stand_in(
        "torch",
        "import numpy\n"
        "from types import SimpleNamespace\n"
        "__version__ = '3.4'\n"
        "count = 1\n"
        "def set_num_threads(asked):\n"
        "    global count\n"
        "    count = asked + 5\n"
        "def get_num_threads():\n"
        "    return count\n"
        "def from_numpy(keys):\n"
        "    return SimpleNamespace(keys=keys, numpy=None)\n"
        "def sort(tensor):\n"
        "    keys = numpy.sort(tensor.keys)\n"
        "    return SimpleNamespace(values=SimpleNamespace(numpy=lambda: keys))\n",
    )
    record = tmp_path / "out.json"
    arguments = ["--with", " torch,parallel-sort", "--json", str(record)]
    assert command.main([*SMALL, *arguments, "--quiet"]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    assert names_in(captured.out) == ["np.sort", "threaded_sort", "torch", "parallel-sort"]
    threads = re.findall(r"^│ \S+ +│ +(\d*) │", captured.out, re.MULTILINE)
    # NumPy sorts so few keys on one thread.
    assert threads == ["1", "1", str(usable_cpus() + 5), ""]
    document = json.loads(record.read_text())
    assert document["schema_version"] == 1
    assert document["with_versions"] == {"torch": "3.4", "parallel-sort": "1.2"}
    assert [(run["name"], run["device"], run["threads"]) for run in document["runs"][2:]] == [
        ("torch", "cpu", usable_cpus() + 5),
        ("parallel-sort", "cpu", None),
    ]
    for run in document["runs"]:
        assert len(run["repeat_seconds"]) == 2
        assert run["first_call_seconds"] > 0


@pytest.mark.parametrize(
    ("device", "limits", "shown"),
    [
        ("cpu", None, (0.5, "main memory")),
        ("cpu", Limits(12, 1.0, 1.0, 6.0, 1.0), (0.5, "main memory")),
        ("gpu", Limits(12, 1.0, 1.0, 6e9, 1.0), (4e-9, "GPU memory, 6.0 GB/s")),
        ("gpu", None, (None, "")),
    ],
)
def test_a_librarys_limit_is_its_devices_memory(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    limits: Limits | None,
    shown: tuple[float | None, str],
) -> None:
    task = contenders.Task(lambda: [1, 2, 3], lambda keys: np.array(keys, np.int32), 7, device)
    monkeypatch.setattr(compare, "load", lambda contender, keys: task)
    threaded = compare.Row(Run("threaded_sort", "cpu", 2, 1.0, (1.0,)), 0.5, "main memory")
    steps: list[int] = []
    timed = functools.partial(
        measure.time_sort,
        expected=SORTED,
        repeat=3,
        warm_up=1,
        after_each=lambda: steps.append(1),
    )
    row = compare.compare_contender(CONTENDERS["polars"], KEYS, timed, threaded, limits)
    assert (row.run.name, row.run.device, row.run.threads) == ("polars", device, 7)
    assert (len(row.run.repeats), len(steps)) == (3, 5)
    assert (row.limit_seconds, row.limit) == shown
    cells = [next(iter(column.cells)) for column in compare.table([row], 3, "", None).columns]
    assert (cells[6] == "", cells[7] == "") == (shown[0] is None, shown[0] is None)


def test_on_a_gpu_machine_libraries_are_measured_last(
    monkeypatch: pytest.MonkeyPatch,
    stand_in: StandIn,
    bars: dict[str, list[int]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    stand_in("parallel_sort", RIGHT)
    device = Gpu("A GPU", 1 << 30, "1.2", "12.4", "12.2", "14.2.0", 3.0)
    limits = Limits(8000, 1e6, 2e6, 1.0, 0.5)
    done: list[str] = []

    def set_variables(others: Sequence[Any], nbytes: int, *, on_gpu: bool) -> None:
        done.append(f"{[other.name for other in others]}, {nbytes} bytes, on_gpu={on_gpu}")

    def on_gpu(
        keys: Array, repeat: int, timed: Callable[..., Any]
    ) -> tuple[list[compare.Row], Limits]:
        done.append("GPU")
        for _ in range(3):
            timed(lambda: np.sort(keys))
        return [compare.Row(Run("gpu_sort", "gpu", 1, 1.0, (1.0,)), 1.0, "bus")], limits

    def another(*arguments: Any) -> compare.Row:
        assert arguments[-1] is limits
        assert arguments[-2].run.name == "threaded_sort"
        done.append(arguments[0].name)
        return compare.compare_contender(*arguments)

    gpu = types.SimpleNamespace(
        find_gpu=lambda: device,
        require_memory=lambda *arguments: None,
        sorters_beyond_memory=lambda dtype, nbytes: None,
        free_cached=lambda: done.append("freed"),
    )
    monkeypatch.setattr(suite, "gpu_device", gpu)
    monkeypatch.setattr(suite, "compare_gpu", on_gpu)
    monkeypatch.setattr(suite, "compare_contender", another)
    monkeypatch.setattr(contenders, "set_variables", set_variables)
    assert command.main(["--device", "gpu", *COMPARED[2:]]) == 0
    prepared = f"['parallel-sort'], {4 * SIZE} bytes, on_gpu=True"
    assert done == [prepared, "GPU", "freed", "parallel-sort"]
    assert list(bars) == ["CPU", "GPU", "parallel-sort"]
    assert all(steps == made for steps, made in bars.values())
    out = capfd.readouterr().out
    assert "rows only" not in out
    shown = names_in(out)
    assert shown == ["np.sort", "threaded_sort", "parallel-sort", "gpu_sort"]


def test_a_librarys_output_stays_out_of_the_table(
    stand_in: StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    said = "import os\nos.write(1, b'said by the library\\n')\nprint('and this')\n"
    stand_in("parallel_sort", said + RIGHT)
    assert command.main(COMPARED) == 0
    captured = capfd.readouterr()
    assert captured.out.strip().startswith("Sorting 140,000 int32 keys")
    assert "said by" not in captured.out
    assert "said by the library\n" in captured.err
    os.write(1, b"ours again")
    assert capfd.readouterr().out == "ours again"


def test_earlier_output_is_not_redirected(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    files = len(os.listdir("/proc/self/fd"))
    with open(1, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        print("ours")
        with contenders.output_to_stderr():
            stream.write("theirs\n")
            stream.flush()
        monkeypatch.undo()
    assert capfd.readouterr() == ("ours\n", "theirs\n")
    assert len(os.listdir("/proc/self/fd")) == files


# What goes wrong while it is measured


@pytest.mark.parametrize("call", [0, 1, 3])
def test_a_wrong_library_ends_the_command_and_is_named(
    stand_in: StandIn, tmp_path: Path, capfd: pytest.CaptureFixture[str], call: int
) -> None:
    stand_in(
        "parallel_sort",
        "import itertools, numpy\n"
        "calls = itertools.count()\n"
        "def sort(keys):\n"
        "    result = numpy.sort(keys)\n"
        f"    if keys.size == {SIZE} and next(calls) == {call}:\n"
        "        result[-1] -= 1\n"
        "    return result\n",
    )
    assert command.main([*COMPARED, "--quiet", "--json", str(tmp_path / "out.json")]) == 1
    captured = capfd.readouterr()
    assert captured.err == f"{ERROR}parallel-sort: the result differs from np.sort's\n"
    assert captured.out == ""
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("raise OverflowError('too\\nmany')", "parallel-sort failed: OverflowError: too\n"),
        ("raise MemoryError", "parallel-sort failed: MemoryError"),
        ("raise BaseException('panic')", "parallel-sort failed: BaseException: panic"),
        ("raise SystemExit(0)", "parallel-sort failed: SystemExit: 0"),
        ("raise SyntaxError('of it')", "parallel-sort failed: SyntaxError: of it"),
        ("raise ModuleNotFoundError('of it')", "parallel-sort failed: ModuleNotFoundError: of it"),
        ("return None", "parallel-sort failed: AttributeError: 'NoneType' object has no"),
    ],
)
def test_a_failing_library_ends_the_command_and_is_named(
    stand_in: StandIn, capfd: pytest.CaptureFixture[str], what: str, text: str
) -> None:
    code = f"import numpy\ndef sort(keys):\n    if keys.size == {SIZE}: {what}\n"
    stand_in("parallel_sort", code + "    return numpy.sort(keys)\n")
    assert command.main([*COMPARED, "--quiet"]) == 1
    captured = capfd.readouterr()
    assert captured.err.startswith(ERROR + text)
    assert (captured.out, captured.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("size", [TRIED, SIZE])
def test_ctrl_c_during_trial_or_measurement_is_one_line(
    stand_in: StandIn, tmp_path: Path, size: int
) -> None:
    reached = tmp_path / "reached"
    stand_in(
        "parallel_sort",
        "import ctypes, numpy, pathlib, signal, time\n"
        # As Legate does it: Python does not know that its handler is gone.
        "ctypes.CDLL(None).signal(signal.SIGINT, 0)\n"
        "def sort(keys):\n"
        f"    if keys.size == {size}:\n"
        f"        pathlib.Path({str(reached)!r}).touch()\n"
        "        time.sleep(60)\n"
        "    return numpy.sort(keys)\n",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "cupy_compat", "cudamark", *COMPARED, "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([sys.path[0], os.environ["PYTHONPATH"]])},
        # As a terminal does it: the signal reaches the process that tries a library as well.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    while not reached.exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", f"{ERROR}interrupted\n")


def test_loading_a_library_restores_pythons_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def caught() -> bool:
        status = Path("/proc/self/status").read_text()
        mask = int(re.findall(r"^SigCgt:\s+(\w+)$", status, re.MULTILINE)[0], 16)
        return bool(mask >> (signal.SIGINT - 1) & 1)

    def taking_it_away(module: object, keys: Array) -> contenders.Task:
        ctypes.CDLL(None).signal(signal.SIGINT, 0)
        assert not caught()
        return contenders.Task(lambda: keys, lambda result: result, None)

    assert caught()
    contender = dataclasses.replace(CONTENDERS["polars"], module="json", load=taking_it_away)
    load(contender, KEYS)
    assert caught()


# How each library is asked, with stand-ins for what is used of it


def test_polars_refuses_keys_that_a_series_does_not_keep() -> None:
    cut = types.SimpleNamespace(to_numpy=lambda: KEYS & 1)
    with pytest.raises(TypeError, match="does not keep these keys"):
        CONTENDERS["polars"].load(types.SimpleNamespace(Series=lambda keys: cut), KEYS)


@pytest.mark.parametrize(
    ("target", "threads", "device"), [("CPU", 6, "cpu"), ("OMP", None, "cpu"), ("GPU", None, "gpu")]
)
def test_cupynumeric_is_synchronized_and_reports_its_device(
    monkeypatch: pytest.MonkeyPatch, target: str, threads: int | None, device: str
) -> None:
    pending: list[str] = []
    waited: list[list[str]] = []

    def wait(block: bool = False) -> None:
        assert block
        waited.append(pending.copy())
        pending.clear()

    class OfCupynumeric:
        def __array__(self) -> Array:
            assert not pending
            return SORTED

    def asynchronous(name: str) -> Any:
        return lambda keys: pending.append(name) or OfCupynumeric()

    machine = types.SimpleNamespace(
        preferred_target=target, count=lambda kind: {"CPU": 6, "GPU": 2, "OMP": 1}[kind]
    )
    legate = types.SimpleNamespace(
        get_legate_runtime=lambda: types.SimpleNamespace(issue_execution_fence=wait),
        get_machine=lambda: machine,
        TaskTarget=types.SimpleNamespace(CPU="CPU", OMP="OMP", GPU="GPU"),
    )
    monkeypatch.setitem(sys.modules, "legate", types.SimpleNamespace(core=legate))
    monkeypatch.setitem(sys.modules, "legate.core", legate)
    library = types.SimpleNamespace(array=asynchronous("array"), sort=asynchronous("sort"))
    task = CONTENDERS["cupynumeric"].load(library, KEYS)
    assert waited == [["array"]]
    result = task.sort()
    assert waited == [["array"], ["sort"]]
    assert task.to_numpy(result) is SORTED
    assert (task.threads, task.device) == (threads, device)


# What libraries read from the environment


@pytest.mark.parametrize("on_gpu", [False, True])
def test_unset_variables_are_set(
    monkeypatch: pytest.MonkeyPatch, stand_in: StandIn, on_gpu: bool
) -> None:
    monkeypatch.setattr(contenders, "usable_cpus", lambda: 6)
    contenders.set_variables(reversed(CONTENDERS.values()), 1000 << 20, on_gpu)
    assert os.environ["POLARS_MAX_THREADS"] == "6"
    # Where a GPU is measured, what can use it may.
    assert os.environ.get("LEGATE_CONFIG") == (None if on_gpu else LEGATE)
    monkeypatch.setenv("POLARS_MAX_THREADS", "4")
    monkeypatch.setenv("LEGATE_CONFIG", "--cpus 3")
    contenders.set_variables(CONTENDERS.values(), 1, on_gpu)
    assert os.environ["POLARS_MAX_THREADS"] == "4"
    assert os.environ["LEGATE_CONFIG"] == "--cpus 3"


@pytest.mark.parametrize(("nbytes", "shown"), [(0, 256), (32 << 20, 256), (33 << 20, 264)])
def test_cupynumeric_gets_memory_for_the_keys(stand_in: StandIn, nbytes: int, shown: int) -> None:
    contenders.set_variables([CONTENDERS["cupynumeric"]], nbytes, False)
    assert f" --sysmem {shown} " in os.environ["LEGATE_CONFIG"]


def test_other_libraries_variables_are_left_alone(
    stand_in: StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    stand_in("parallel_sort", RIGHT)
    before = dict(os.environ)
    assert command.main(COMPARED) == 0
    assert dict(os.environ) == before


def test_variables_are_set_for_trial_and_measurement(
    stand_in: StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    stand_in(
        "polars",
        "import os, numpy\n"
        "threads = int(os.environ['POLARS_MAX_THREADS'])\n"
        "thread_pool_size = lambda: threads\n"
        "class Series:\n"
        "    def __init__(self, keys): self.keys = keys\n"
        "    def sort(self): return Series(numpy.sort(self.keys))\n"
        "    def to_numpy(self): return self.keys\n",
    )
    assert command.main([*SMALL, "--with", "polars"]) == 0
    captured = capfd.readouterr()
    assert re.search(rf"^│ polars +│ +{usable_cpus()} │", captured.out, re.MULTILINE)
    assert "does not sort" not in captured.err


# Honesty


def test_converting_a_result_is_not_timed_and_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = types.SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(measure, "time", clock)
    made: list[weakref.ref[Any]] = []

    def all_gone() -> None:
        assert [thing() for thing in made] == [None] * len(made)

    class Result:
        """Stands in for what a library returns."""

    def sort() -> Result:
        all_gone()
        clock.now += 2.0
        result = Result()
        made.append(weakref.ref(result))
        return result

    def to_numpy(result: Result) -> Array:
        assert made[-1]() is result
        clock.now += 1000.0
        keys = SORTED.copy()
        made.append(weakref.ref(keys))
        return keys

    timing = measure.time_sort(sort, SORTED, 2, 1, all_gone, to_numpy)
    assert (timing.first, timing.repeats) == (2.0, (2.0, 2.0))
    assert len(made) == 8


def test_converting_the_keys_is_not_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = types.SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(measure, "time", clock)

    def slow(contender: contenders.Contender, keys: Array) -> contenders.Task:
        clock.now += 1000.0
        return contenders.Task(lambda: np.sort(keys), lambda result: result, None)

    monkeypatch.setattr(compare, "load", slow)
    threaded = compare.Row(Run("threaded_sort", "cpu", 2, 1.0, (1.0,)), 0.5, "main memory")
    timed = functools.partial(measure.time_sort, expected=SORTED, repeat=2, warm_up=1)
    row = compare.compare_contender(CONTENDERS["polars"], KEYS, timed, threaded, None)
    assert (row.run.first, row.run.repeats) == (0.0, (0.0, 0.0))


def test_a_version_is_what_the_imported_module_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, recorded in [("1.2", "1.2"), (None, None), (3, "3")]:
        module = types.SimpleNamespace(__version__=said, sort=np.sort)
        monkeypatch.setitem(sys.modules, "parallel_sort", module)
        assert load(CONTENDERS["parallel-sort"], KEYS).threads is None
        assert contenders.version(CONTENDERS["parallel-sort"]) == recorded
