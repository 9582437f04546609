"""The command ``cupy-compat cudamark``: its table, its files, its errors."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.filesize import decimal

from cupy_compat.cudamark import command, suite
from cupy_compat.cudamark.gpu import Gpu, GpuUnavailable, memory
from cupy_compat.cudamark.inputs import DISTRIBUTIONS, make_input, parse_dtype
from cupy_compat.cudamark.measure import WrongResult, check
from cupy_compat.cudamark.record import Run, write_whole
from cupy_compat.cudamark.threads import usable_cpus

on_gpu = pytest.mark.gpu
pytestmark = pytest.mark.usefixtures("away")

CUDAMARK = [sys.executable, "-m", "cupy_compat", "cudamark"]
SMALL = ["--size", "20000", "--threads", "1,2", "--repeat", "2"]
CPU = ["--device", "cpu", *SMALL]
TABLE = re.compile(
    r"CPU cores: (\d+)\n"
    r"Threads: 1, Time taken: (\d+\.\d{4}) seconds\n"
    r"Threads: 2, Time taken: (\d+\.\d{4}) seconds\n"
    r"\n"
    r"ThreadCount,TimeTakenSeconds\n"
    r"1,(\d+\.\d{6})\n"
    r"2,(\d+\.\d{6})\n"
)


def without_gpu() -> dict[str, str]:
    """Return the environment in which a case does not depend on what the machine has."""
    return {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


def cudamark(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CUDAMARK, *arguments], capture_output=True, text=True, env=without_gpu()
    )


def assert_one_line(stderr: str) -> None:
    assert stderr.startswith("cupy-compat cudamark: error: ")
    assert stderr.count("\n") == 1
    assert stderr.endswith("\n")


def test_processes_run_the_package_under_test() -> None:
    code = "import cupy_compat; print(cupy_compat.__file__)"
    for started in (["-c", code], ["-m", "timeit", "-n", "1", "-r", "1", "-s", code]):
        done = subprocess.run([sys.executable, *started], capture_output=True, text=True)
        ran = Path(done.stdout.splitlines()[0])
        assert ran.samefile(Path(command.__file__).parents[1] / "__init__.py")


# The table


def test_standard_output_is_the_table_and_nothing_else() -> None:
    done = cudamark(*CPU)
    assert done.returncode == 0
    match = TABLE.fullmatch(done.stdout)
    assert match
    assert int(match[1]) == usable_cpus()
    assert [float(match[2]), float(match[3])] == pytest.approx(
        [float(match[4]), float(match[5])], abs=6e-5
    )
    assert "asked for by --device cpu" in done.stderr


def test_quiet_leaves_standard_error_empty(capfd: pytest.CaptureFixture[str]) -> None:
    assert command.main([*CPU, "--quiet"]) == 0
    captured = capfd.readouterr()
    assert TABLE.fullmatch(captured.out)
    assert captured.err == ""


def test_auto_without_a_gpu_takes_the_cpu_and_says_why() -> None:
    done = cudamark(*SMALL)
    assert done.returncode == 0
    assert TABLE.fullmatch(done.stdout)
    assert re.search(r"^Device: CPU: .*(GPU|CuPy)", done.stderr)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", ["int32", "bool", "float64", "datetime64[s]"])
def test_every_distribution_and_kind_of_dtype_can_be_measured(
    capsys: pytest.CaptureFixture[str], distribution: str, dtype: str
) -> None:
    assert command.main([*CPU, "--distribution", distribution, "--dtype", dtype]) == 0
    assert TABLE.fullmatch(capsys.readouterr().out)


def test_help_names_every_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    text = "".join(capsys.readouterr().out.split())
    assert all(name in text for name in DISTRIBUTIONS)


def test_help_names_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    unwritable = [*CPU, "--csv", "/dev/full"]
    statuses = [command.main(arguments) for arguments in (CPU, unwritable, ["--size", "0"])]
    capsys.readouterr()
    assert command.main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert [int(each) for each in re.findall(r"\b\d+\b", text.partition("Exit status: ")[2])] == [
        *statuses,
        130,
    ]


# The files


def test_csv_json_and_plot_hold_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("csv", "json", "png")}
    arguments = ["--csv", files["csv"], "--json", files["json"], "--plot", files["png"]]
    assert command.main([*CPU, "--seed", "7", *map(str, arguments)]) == 0
    assert files["csv"].read_text() == capsys.readouterr().out.partition("\n\n")[2]
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    document = json.loads(files["json"].read_text())
    assert document["schema_version"] == 1
    assert (document["size"], document["dtype"], document["seed"]) == (20000, "int32", 7)
    assert document["gpu_name"] is None
    assert document["date"].endswith("+00:00")
    assert "--seed 7" in document["command"]
    assert [(run["name"], run["threads"]) for run in document["runs"]] == [
        ("threaded_sort", 1),
        ("threaded_sort", 2),
        ("np.sort", None),
    ]
    for run in document["runs"]:
        assert len(run["repeat_seconds"]) == document["repeat"] == 2
        assert min(run["repeat_seconds"]) <= run["median_seconds"] <= max(run["repeat_seconds"])
        assert run["first_call_seconds"] > 0
    assert sorted(tmp_path.iterdir()) == sorted(files.values())


def test_a_plot_can_be_svg(tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    assert command.main([*CPU, "--plot", str(plot)]) == 0
    text = plot.read_text()
    assert text.startswith("<?xml")
    assert "</svg>" in text


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "old"
    target.write_text("old")
    target.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(target)
    write_whole(str(link), b"new")
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, target]


# Bad input


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--size", "0"], "0 is below 1"),
        (["--size", "many"], "'many' is not an integer"),
        (["--threads", "1,0"], "0 is below 1"),
        (["--threads", "1,,2"], "'' is not an integer"),
        (["--threads", "1.5"], "'1.5' is not an integer"),
        (["--repeat", "0"], "0 is below 1"),
        (["--seed", "-1"], "-1 is below 0"),
        (["--dtype", "int33"], "unknown dtype 'int33'"),
        (["--dtype", "("], "unknown dtype '('"),
        (["--dtype", "str"], "'str' is not numeric"),
        (["--dtype", "object"], "'object' is not numeric"),
        (["--dtype", "longdouble", "--device", "gpu"], "CuPy does not sort"),
        (["--distribution", "normal"], "'normal' is none of uniform, sorted"),
        (["--device", "tpu"], "invalid choice"),
        (["--plot", "plot.pdf"], "does not end in .png or .svg"),
        (["--csv", "x", "--json", "./x"], "a file each"),
        (["--compare", "--csv", "x"], "belong to the table"),
        (["--what"], "unrecognized arguments"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(
    capfd: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert command.main(arguments) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert_one_line(captured.err)
    assert text in captured.err


def test_a_missing_gpu_is_one_line_and_exit_code_1() -> None:
    done = cudamark("--device", "gpu", *SMALL)
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr)
    assert re.search("nvidia-smi|CUDA_VISIBLE_DEVICES|CuPy", done.stderr)


@pytest.mark.parametrize("size", ["1000000000000", "1" + 30 * "0"])
def test_a_size_beyond_memory_says_what_is_needed_and_free(size: str) -> None:
    done = cudamark("--device", "cpu", "--size", size)
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr)
    assert re.search(r": [\d.,]+ [TY]B needed, [\d.]+ [GT]B free$", done.stderr)


@pytest.mark.parametrize("option", ["--csv", "--json", "--plot"])
@pytest.mark.parametrize("place", ["absent/out.png", "file/out.png", "folder.png"])
def test_an_unwritable_file_is_reported_before_measuring(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str, place: str
) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.png").mkdir()
    assert command.main([*CPU, option, str(tmp_path / place)]) == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    assert_one_line(captured.err)
    assert f"cannot write {tmp_path / place}: " in captured.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line_and_exit_code_1() -> None:
    done = cudamark(*CPU, "--quiet", "--csv", "/dev/full")
    assert done.returncode == 1
    assert_one_line(done.stderr)
    assert "cannot write /dev/full: No space left on device" in done.stderr


def test_ctrl_c_ends_with_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    arguments = ["--device", "cpu", "--size", "300000", "--repeat", "1000000", "--quiet"]
    process = subprocess.Popen(
        [*CUDAMARK, *arguments, "--csv", str(tmp_path / "out.csv")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=without_gpu(),
        # A shell that runs the tests in the background has them ignore the signal.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("CPU cores: ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, err) == ("", "cupy-compat cudamark: error: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_a_closed_standard_output_is_no_traceback() -> None:
    process = subprocess.Popen(
        [*CUDAMARK, *CPU, "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=without_gpu(),
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert_one_line(process.stderr.read())
    process.stderr.close()
    assert process.wait(timeout=30) == 1


# What it needs


@pytest.mark.parametrize("package", ["numpy", "numba", "rich", "matplotlib"])
def test_a_missing_package_names_the_extra(package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from cupy_compat.cudamark.command import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *CPU, "--quiet", "--plot", "plot.png"],
        capture_output=True,
        text=True,
        env=without_gpu(),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr)
    assert f"needs {package}" in done.stderr
    assert 'pip install "cupy-compat[cudamark]"' in done.stderr


@pytest.mark.parametrize("name", ["gpu_sort", "threaded_sort", "free_pinned_buffers"])
def test_importing_the_package_loads_nothing(name: str) -> None:
    code = (
        "import sys, cupy_compat.cudamark, cupy_compat.cudamark.command\n"
        "heavy = {'cupy', 'matplotlib', 'numba', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.modules['numpy'] = None\n"
        "try:\n"
        f"    cupy_compat.cudamark.{name}\n"
        "except ModuleNotFoundError as error:\n"
        "    assert error.name == 'numpy' and 'cupy-compat[cudamark]' in str(error), error\n"
        "else:\n"
        "    raise AssertionError('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Measuring


@pytest.mark.parametrize(
    "result", [np.array([1.0, 2.0]), np.array([1, 3]), np.array([1]), np.array([1, 2, 3])]
)
def test_a_result_of_other_keys_size_or_dtype_is_wrong(result: Any) -> None:
    with pytest.raises(WrongResult):
        check(result, np.array([1, 2]))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint64", "float16", "float32", "longdouble", "complex64", "m8[ns]"]
)
def test_the_same_seed_gives_the_same_keys(distribution: str, dtype: str) -> None:
    parsed = parse_dtype(dtype)
    keys = make_input(distribution, 500, parsed, 3)
    assert keys.shape == (500,)
    assert keys.dtype == parsed
    assert keys.flags.writeable
    np.testing.assert_array_equal(keys, make_input(distribution, 500, parsed, 3))
    if distribution == "sorted":
        np.testing.assert_array_equal(keys, np.sort(keys))


def test_uniform_keys_span_the_range_of_the_dtype() -> None:
    keys = make_input("uniform", 10_000, np.dtype("int8"), 0)
    assert (keys.min(), keys.max()) == (-128, 127)


# What it is measured on


def nowhere(reason: BaseException) -> types.SimpleNamespace:
    """Return what stands in for the GPU's part on a machine without a usable one."""

    def find_gpu() -> None:
        raise reason

    return types.SimpleNamespace(find_gpu=find_gpu)


@pytest.mark.parametrize(
    "reason", [GpuUnavailable("none here"), MemoryError("not enough: 9 needed, 1 free")]
)
def test_the_reason_for_using_no_gpu_is_printed(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    reason: BaseException,
) -> None:
    monkeypatch.setattr(suite, "gpu_device", nowhere(reason))
    record = tmp_path / "out.json"
    assert command.main([*SMALL, "--json", str(record)]) == 0
    assert capfd.readouterr().err.startswith(f"Device: CPU: {reason}\n")
    assert json.loads(record.read_text())["device_reason"] == str(reason)
    assert command.main(["--device", "gpu", *SMALL]) == 1
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", f"cupy-compat cudamark: error: {reason}\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--device", "cpu"], "asked for by --device cpu"),
        (["--dtype", "clongdouble"], f"CuPy does not sort {np.dtype('clongdouble')}"),
    ],
)
def test_no_gpu_is_probed_unless_wanted(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.setattr(suite, "gpu_device", nowhere(AssertionError("it was looked for")))
    assert command.main([*SMALL, *arguments]) == 0
    assert capfd.readouterr().err.startswith(f"Device: CPU: {reason}\n")


@pytest.mark.parametrize(
    ("arguments", "asked"), [([], []), (["--compare"], [80_000]), (["--plot", "a.png"], [80_000])]
)
def test_comparisons_and_plots_require_gpu_memory_for_cupys_sorts(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], asked: list[int]
) -> None:
    seen: list[int] = []
    device = types.SimpleNamespace(gpu_name="A GPU")
    gpu = types.SimpleNamespace(
        find_gpu=lambda: device,
        require_memory=seen.append,
        sorters_beyond_memory=lambda dtype, nbytes: None,
    )
    monkeypatch.setattr(suite, "gpu_device", gpu)
    monkeypatch.setattr(suite, "_Measurement", lambda *_: types.SimpleNamespace(
        compare=lambda contenders: None, tabulate=lambda: None
    ))  # fmt: skip
    assert command.main([*SMALL, *arguments]) == 0
    assert seen == asked


def test_the_sorter_of_keys_beyond_gpu_memory_is_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked: list[object] = []

    def sorters(*arguments: object) -> str:
        asked.extend(arguments)
        return "2 GPUs, in buckets"

    device = Gpu("A GPU", 1 << 30, "1.2", "12.4", "12.2", "14.2.0", 3.0)
    gpu = types.SimpleNamespace(find_gpu=lambda: device, sorters_beyond_memory=sorters)
    monkeypatch.setattr(suite, "gpu_device", gpu)
    monkeypatch.setattr(suite, "gpu_sort", lambda keys, threads: np.sort(keys))
    record = tmp_path / "out.json"
    assert command.main([*SMALL, "--json", str(record)]) == 0
    reason = (
        "A GPU, usable; the keys do not fit into its memory, "
        "so they are sorted by 2 GPUs, in buckets"
    )
    assert capfd.readouterr().err.startswith(f"Device: GPU: {reason}\n")
    assert json.loads(record.read_text())["device_reason"] == reason
    assert asked == [np.dtype("int32"), 80_000]


@pytest.mark.parametrize(
    ("arguments", "bytes_a_key"),
    [
        (["--device", "cpu"], 18),
        (["--device", "cpu", "--compare"], 18),
        (["--device", "gpu", "--compare"], 26),
        (["--compare"], 26),
        ([], 18),
        (["--dtype", "float64"], 36),
        (["--dtype", "int8"], 16),
    ],
)
def test_a_measurement_requires_free_main_memory(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    bytes_a_key: int,
) -> None:
    needed = 20_000 * bytes_a_key
    monkeypatch.setattr(suite, "gpu_device", nowhere(GpuUnavailable("none here")))
    monkeypatch.setattr(suite, "available_memory", lambda: needed - 1)
    assert command.main([*SMALL, *arguments]) == 1
    said = decimal(needed)
    assert f": {said} needed, {said} free\n" in capfd.readouterr().err
    for free in (needed, None):
        monkeypatch.setattr(suite, "available_memory", lambda free=free: free)
        command.main([*SMALL, *arguments])
        assert "needed" not in capfd.readouterr().err


# The comparison


def test_the_comparison_reports_compile_time_and_missing_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "out.json"
    monkeypatch.setattr(suite, "warm_up", lambda dtype: 1.25)
    assert command.main([*CPU, "--compare", "--json", str(record)]) == 0
    captured = capfd.readouterr()
    assert "Keys: 20,000 int32, uniform, seed 0\n" in captured.err
    assert "or loaded them from disk, in 1.25 s, which is not timed\n" in captured.err
    assert "No GPU was measured: asked for by --device cpu" in captured.out
    assert json.loads(record.read_text())["compile_seconds"] == 1.25


@pytest.mark.parametrize("arguments", [[], ["--compare"]])
def test_every_progress_bar_ends_when_its_work_does(
    bars: dict[str, list[int]], arguments: list[str]
) -> None:
    assert command.main([*CPU, *arguments]) == 0
    names = ["CPU"] if arguments else ["threaded_sort, threads: 1", "threaded_sort, threads: 2"]
    assert list(bars) == names
    assert all(steps == done for steps, done in bars.values())


def test_compare_without_a_gpu_prints_the_cpus_rows_and_why() -> None:
    done = cudamark("--compare", "--quiet", *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"np\.sort +│ +1 │", done.stdout)
    assert "threaded_sort" in done.stdout
    assert "gpu_sort" not in done.stdout
    assert "No GPU was measured: " in done.stdout


# On a GPU machine


@on_gpu
def test_the_gpu_is_chosen_where_there_is_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record, plot = tmp_path / "out.json", tmp_path / "out.png"
    assert command.main([*SMALL, "--json", str(record), "--plot", str(plot)]) == 0
    captured = capfd.readouterr()
    assert TABLE.fullmatch(captured.out)
    assert captured.err.startswith("Device: GPU: ")
    document = json.loads(record.read_text())
    assert document["device"] == "gpu"
    assert document["gpu_name"]
    assert document["gpu_floor_seconds"] > 0
    measured = {(run["name"], run["threads"]) for run in document["runs"]}
    assert {("gpu_sort", 2), ("threaded_sort", 2), ("np.sort", None)} <= measured


@on_gpu
def test_too_little_gpu_memory_is_reported_with_both_figures(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 1000)
    assert command.main(["--device", "gpu", "--compare", *SMALL]) == 1
    err = capfd.readouterr().err
    assert_one_line(err)
    assert re.search(r"[\d,]+ bytes needed, 1,000 free", err)
    assert command.main(["--compare", *SMALL]) == 0
    captured = capfd.readouterr()
    assert re.search("^Device: CPU: .* needed, 1,000 free", captured.err)
    # What gpu_sort itself cannot hold at once it splits.
    assert command.main(["--device", "gpu", *SMALL]) == 0


@on_gpu
@pytest.mark.parametrize("dtype", ["int32", "float64", "datetime64[s]"])
def test_compare_has_eight_rows_on_a_gpu_machine(
    capfd: pytest.CaptureFixture[str], dtype: str
) -> None:
    assert command.main([*SMALL, "--compare", "--dtype", dtype]) == 0
    out = capfd.readouterr().out
    names = re.findall(r"^│ (\S.*?) +│", out, re.MULTILINE)
    assert names == [
        "np.sort",
        "threaded_sort",
        "cp.sort",
        "cp.sort, in place",
        "cp.asnumpy(cp.sort(cp.array(a)))",
        "gpu_sort",
        "gpu_sort, page-locked",
        "bus up, cp.sort in place, bus down",
    ]


# What the command is given, and where it writes


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such streams")
@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_does_not_affect_the_other(tmp_path: Path, redirection: str) -> None:
    csv = tmp_path / "out.csv"
    line = shlex.join([*CUDAMARK, *CPU, "--csv", str(csv)])
    done = subprocess.run(f"{line} {redirection}", shell=True, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == "" or TABLE.fullmatch(done.stdout)
    assert "Traceback" not in done.stderr
    assert csv.read_text().startswith("ThreadCount,")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_streams_are_appended_to_and_pipes_opened_once(tmp_path: Path) -> None:
    log, pipe = tmp_path / "log", tmp_path / "pipe"
    log.write_text("precious\n")
    line = shlex.join([*CUDAMARK, *CPU, "--quiet", "--csv", "/dev/stdout"])
    subprocess.run(f"{line} >> {log}", shell=True, check=True)
    table = log.read_text().removeprefix("precious\n")
    csv = table[table.index("ThreadCount") :]
    assert csv.count("ThreadCount") == 2
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        assert cudamark(*CPU, "--csv", str(pipe)).returncode == 0
        assert reader.communicate(timeout=60)[0].startswith("ThreadCount,")


def test_a_read_only_file_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("precious\n")
    target.chmod(0o444)
    done = cudamark(*CPU, "--csv", str(target))
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr)
    assert target.read_text() == "precious\n"


def test_brackets_are_printed_and_no_figure_is_truncated(tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("raise ImportError('cannot open [/opt/cuda] x')")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    narrow = {"COLUMNS": "60", "FORCE_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    arguments = [*SMALL, "--compare", "--quiet", "--dtype", "datetime64[s]"]
    done = subprocess.run(
        [*CUDAMARK, *arguments],
        capture_output=True,
        text=True,
        env={**without_gpu(), **narrow, "PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "20,000 datetime64[s] keys" in done.stdout
    assert "[/opt/cuda]" in done.stdout
    assert "..." not in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--threads", "1" + 20 * "0"],
        ["--dtype", "M8[0s]"],
        ["--dtype", "datetime64[s/0]"],
        ["--dtype", "m8[00ns]"],
    ],
)
def test_arguments_that_would_crash_numpy_are_refused(arguments: list[str]) -> None:
    done = cudamark(*CPU, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr)


def test_a_plot_ends_at_the_threads_used() -> None:
    from cupy_compat.cudamark.plot import draw

    runs = [
        Run("threaded_sort", "cpu", threads, 1.0, (1 / used,), used)
        for threads, used in ((1, 1), (2, 2), (4, 4), (512, 4))
    ]
    drawn = draw(runs, {}, "title", "", "svg").decode()
    assert "<!-- 4 -->" in drawn
    assert "<!-- 512 -->" not in drawn
