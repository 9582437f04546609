"""The libraries that ``cudamark --compare --with`` knows, each of them installed.

``nox -s with`` runs this. No GPU is needed: where there is no NVIDIA driver either, a library is
compiled that stands in for the driver's, which cuPyNumeric's wheel cannot be loaded without.
What docs/beyond.md shows of cuPyNumeric is what runs here: its blocks below ``<!-- with: ... -->``.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import ROOT

from cupy_compat.cudamark.contenders import CONTENDERS
from cupy_compat.cudamark.threads import usable_cpus

PAGE = ROOT / "docs" / "beyond.md"
BLOCKS = dict(
    re.findall(r"<!-- with: ([\w-]+) -->\n+```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
)

SMALL = ["--device", "cpu", "--compare", "--size", "200000", "--repeat", "2"]
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
NUMBERS = ["bool", *INTEGERS, "float16", "float32", "float64"]
UNSIGNED = {"uint16", "uint32", "uint64"}
#: What each library sorts, of the dtypes that the command knows.
SORTED = {
    "polars": {*NUMBERS, "datetime64[ns]", "timedelta64[ms]"},
    "torch": set(NUMBERS) - UNSIGNED,
    "parallel-sort": set(NUMBERS),
    "quill": {"int32", "int64", "uint32", "uint64", "float32", "float64"},
    "cupynumeric": {*NUMBERS, "complex64", "complex128"},
}
DTYPES = [*NUMBERS, "complex64", "complex128", "longdouble"]
DTYPES += ["datetime64[ns]", "datetime64[s]", "datetime64[D]", "timedelta64[ms]"]

#: Prints the dtypes that a library sorts rightly, all in one process to save its start.
SORTS = """
import importlib, sys
import numpy
from cupy_compat.cudamark import contenders
from cupy_compat.cudamark.inputs import make_input
from cupy_compat.cudamark.measure import check

contender = contenders.CONTENDERS[sys.argv[1]]
contenders.set_variables([contender], 0, on_gpu=False)
importlib.import_module(contender.module)
for dtype in sys.argv[2:]:
    keys = make_input("uniform", 50_000, numpy.dtype(dtype), 0)
    try:
        task = contenders.load(contender, keys)
        result = task.to_numpy(task.sort())
    except Exception:
        continue
    check(result, numpy.sort(keys))
    print("sorts", dtype)
"""

#: It answers as the driver's own library does where there is no GPU.
DRIVER = """
int cuInit(unsigned flags) { return 100; }
int cuGetErrorName(int error, const char **name) { *name = "CUDA_ERROR_NO_DEVICE"; return 0; }
int cuGetErrorString(int error, const char **text) { *text = "no driver"; return 0; }
int cuMemFreeHost(void *memory) { return 100; }
int cuMemFree_v2(unsigned long long memory) { return 100; }
"""


@pytest.fixture(scope="session", autouse=True)
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have processes find the driver's library, or what stands in for it."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        folder = tmp_path_factory.mktemp("driver")
        (folder / "driver.c").write_text(DRIVER)
        command = ["cc", "-shared", "-fPIC", "-o", "libcuda.so.1", "driver.c"]
        subprocess.run(command, cwd=folder, check=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LD_LIBRARY_PATH", str(folder), prepend=os.pathsep)
            yield
    else:
        yield


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let cuFile, which cuPyNumeric brings, write its log to a temporary folder."""
    monkeypatch.chdir(tmp_path)


def cudamark(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cupy_compat", "cudamark", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_every_library_is_installed() -> None:
    for contender in CONTENDERS.values():
        assert importlib.util.find_spec(contender.module), f"pip install {contender.distribution}"
        assert importlib.metadata.version(contender.distribution)


@pytest.mark.parametrize("dtype", ["int32", "float32", "int64", "float64"])
def test_all_libraries_have_a_row_and_sort_correctly(dtype: str, tmp_path: Path) -> None:
    record = tmp_path / "out.json"
    names = ",".join(CONTENDERS)
    done = cudamark(*SMALL, "--with", names, "--dtype", dtype, "--json", str(record))
    assert done.returncode == 0, done.stderr
    assert "does not sort" not in done.stderr
    document = json.loads(record.read_text())
    assert [run["name"] for run in document["runs"]] == ["np.sort", "threaded_sort", *CONTENDERS]
    cpus = usable_cpus()
    assert {run["name"]: run["threads"] for run in document["runs"]} == {
        "np.sort": 1,
        "threaded_sort": cpus,
        "polars": cpus,
        "torch": cpus,
        "parallel-sort": None,
        "quill": None,
        "cupynumeric": cpus,
    }
    assert {run["device"] for run in document["runs"]} == {"cpu"}
    assert list(document["with_versions"]) == list(CONTENDERS)
    for name, version in document["with_versions"].items():
        # torch's says what it was built for, too.
        wanted = importlib.metadata.version(CONTENDERS[name].distribution)
        assert version.partition("+")[0] == wanted.partition("+")[0]


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_library_sorts_the_documented_dtypes_and_refuses_the_rest(name: str) -> None:
    command = [sys.executable, "-c", SORTS, name, *DTYPES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^sorts (.+)$", done.stdout, re.MULTILINE)) == SORTED[name]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("polars", "datetime64[D]"),
        ("torch", "uint32"),
        ("parallel-sort", "complex64"),
        ("quill", "float16"),
        ("cupynumeric", "longdouble"),
    ],
)
def test_a_refusal_is_one_line_and_the_command_continues(name: str, dtype: str) -> None:
    done = cudamark(*SMALL, "--with", name, "--dtype", dtype)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^{name} does not sort \S+: \w+Error: .+$", done.stderr, re.MULTILINE)
    assert not re.search(rf"^│ {name} +│", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "variable", "value"),
    [("polars", "POLARS_MAX_THREADS", "1"), ("cupynumeric", "LEGATE_CONFIG", "--gpus 0 --cpus 1")],
)
def test_a_users_setting_applies_and_is_shown_in_the_row(
    name: str, variable: str, value: str
) -> None:
    done = cudamark(*SMALL, "--with", name, **{variable: value})
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^│ {name} +│ +1 │", done.stdout, re.MULTILINE)


def test_a_call_of_cupynumeric_returns_before_its_work_is_done() -> None:
    code = (
        "import numpy, time, cupynumeric\n"
        "from cupy_compat.cudamark.contenders import CONTENDERS\n"
        "keys = numpy.random.default_rng(0).random(2_000_000)\n"
        "task = CONTENDERS['cupynumeric'].load(cupynumeric, keys)\n"
        "array = cupynumeric.array(keys)\n"
        "def seconds(sort):\n"
        "    start = time.perf_counter()\n"
        "    sort()\n"
        "    return time.perf_counter() - start\n"
        "task.sort()\n"
        "print(seconds(task.sort) / seconds(lambda: cupynumeric.sort(array)))\n"
    )
    environment = {**os.environ, "LEGATE_CONFIG": "--gpus 0 --cpus 1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert float(done.stdout.split()[-1]) > 3


def test_ctrl_c_ends_with_one_line_and_no_file(tmp_path: Path) -> None:
    record = tmp_path / "out.json"
    arguments = ["--device", "cpu", "--compare", "--size", "1000000", "--repeat", "100000"]
    arguments += ["--quiet", "--with", ",".join(CONTENDERS), "--json", str(record)]
    process = subprocess.Popen(
        [sys.executable, "-m", "cupy_compat", "cudamark", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    time.sleep(10)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "cupy-compat cudamark: error: interrupted"
    assert not record.exists()


# The page


def test_the_block_of_the_page_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(BLOCKS["program"])
    for line in BLOCKS["command"].splitlines():
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "True"


def test_the_wheel_ends_on_several_nodes_as_the_page_says() -> None:
    legate = str(Path(sys.executable).with_name("legate"))
    line = "legate --launcher mpirun --nodes 2 --gpus 8 program.py"
    text = " ".join(PAGE.read_text().split())
    done = subprocess.run([legate, *line.split()[1:]], capture_output=True, text=True)
    assert line in text
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] in text


def test_the_page_names_the_versions_that_are_tried() -> None:
    text = PAGE.read_text()
    assert f"nvidia-cupynumeric {importlib.metadata.version('nvidia-cupynumeric')}" in text
