"""Loops are compiled in turn, kept on disk where that works, and never fail a sort."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import cupy_compat
from cupy_compat.cudamark.turns import CompilerBusy, compiling

pytestmark = pytest.mark.usefixtures("away")

SORT = """
import numpy as np
from cupy_compat.cudamark.cpu import counting
from cupy_compat.cudamark.crew import Crew
keys = np.arange(5000, dtype=np.uint8)[::-1]
print(np.array_equal(counting.sort(keys, Crew(2)), np.sort(keys)))
"""


def run(code: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache), **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_truncated_cache_file_is_rebuilt(tmp_path: Path, ending: str, share: float) -> None:
    run(SORT, tmp_path)
    whole = {path: path.stat().st_size for path in tmp_path.rglob(f"*{ending}")}
    assert len(whole) > 1
    for path, size in whole.items():
        os.truncate(path, int(share * size))
    done = run(SORT, tmp_path)
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert {path: path.stat().st_size for path in whole} == whole


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_is_logged_once_and_fails_no_sort(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    for _ in range(2):
        done = run(limit + SORT, tmp_path)
        assert done.stdout == "True\n"
        (line,) = done.stderr.splitlines()
        assert "each process compiles its sorts anew" in line
        assert "File too large" in line


def test_an_unwritable_cache_fails_no_sort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = copy_of_the_package(tmp_path)
    # Files in the way stop everybody, where missing permission does not stop root.
    (copied / "cudamark" / "__pycache__").touch()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run(SORT, tmp_path, NUMBA_CACHE_DIR="")
    assert done.stdout == "True\n"
    assert len(done.stderr.splitlines()) == 1


def copy_of_the_package(folder: Path) -> Path:
    package = Path(cupy_compat.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(package, folder / "cupy_compat", ignore=ignored))


def test_cached_code_expires_when_an_inlined_function_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = copy_of_the_package(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # Python takes bytecode for a file of the same size and second to be that file's.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    top = "from cupy_compat.cudamark.compiled import compiled\n"
    (copied / "cudamark" / "outer.py").write_text(
        top + "from cupy_compat.cudamark.inner import value\n"
        "@compiled\ndef call():\n    return value()\n"
    )
    code = (
        "from cupy_compat.cudamark.outer import call; print(call(), call.stats.cache_hits.total())"
    )
    for number, hits in ((1, 0), (1, 1), (2, 0), (2, 1)):
        (copied / "cudamark" / "inner.py").write_text(
            top + f"@compiled\ndef value():\n    return {number}\n"
        )
        done = run(code, tmp_path / "kept")
        assert done.stdout == f"{number} {hits}\n", done.stderr


def test_a_missing_incompatible_or_disabled_numba_is_reported(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.0 or less')")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    refused = run(SORT, tmp_path, PYTHONPATH=path).stderr
    assert "ImportError: these sorts need Numba, which cannot be imported: Numba needs" in refused
    disabled = run(SORT, tmp_path, NUMBA_DISABLE_JIT="1").stderr
    assert "ImportError: these sorts need Numba's compiler, which NUMBA_DISABLE_JIT" in disabled
    missing = run("import sys; sys.modules['numba'] = None" + SORT, tmp_path).stderr
    assert "ModuleNotFoundError: these sorts need Numba, which cannot be imported" in missing


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read from /proc")
def test_too_little_memory_for_numba_is_reported(tmp_path: Path) -> None:
    limit = """
import resource, numpy
pages = int(open("/proc/self/statm").read().split()[0]) + (100 << 20) // resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, 2 * (pages * resource.getpagesize(),))
"""
    refused = run("import warnings; warnings.simplefilter('ignore')" + limit + SORT, tmp_path)
    assert "\nImportError: these sorts need Numba, which cannot be imported" in refused.stderr


def test_compiling_functions_take_turns_and_run_once() -> None:
    inside: list[int] = []
    done: list[int] = []

    @compiling
    def compile_it(key: int) -> int:
        inside.append(key)
        time.sleep(0.02)
        assert inside == [key], "another thread is inside"
        inside.clear()
        done.append(key)
        return 10 * key

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(compile_it, 4 * [1, 2, 3])) == 4 * [10, 20, 30]
    assert sorted(done) == [1, 2, 3]


def test_an_interrupting_compile_is_refused() -> None:
    @compiling
    def compile_it(depth: int) -> int:
        if depth:
            with pytest.raises(CompilerBusy):
                compile_it(depth - 1)
        return depth

    assert compile_it(1) == 1
    assert compile_it(0) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_process_forked_while_another_thread_compiles_is_refused() -> None:
    begun, go_on = threading.Event(), threading.Event()

    @compiling
    def compile_it(key: int) -> int:
        begun.set()
        go_on.wait(timeout=30)
        return key

    compiler = threading.Thread(target=compile_it, args=(1,))
    compiler.start()
    begun.wait()
    child = os.fork()
    if not child:
        try:
            compile_it(2)
        except CompilerBusy:
            os._exit(7)
        os._exit(0)
    go_on.set()
    compiler.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert compile_it(2) == 2, "the parent goes on as before"


AFTER_THE_MAIN_THREAD = """
import threading
from cupy_compat.cudamark.turns import CompilerBusy, compiling

@compiling
def compile_it(key):
    return key

def outlive():
    threading.main_thread().join()
    print(compile_it(1))
    try:
        compile_it(2)
    except CompilerBusy:
        print("refused")

compile_it(1)
threading.Thread(target=outlive).start()
"""


def test_compiling_after_the_main_thread_has_ended_is_refused() -> None:
    """Numba's extensions may import modules that register a function to be called at exit."""
    command = [sys.executable, "-c", AFTER_THE_MAIN_THREAD]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "1\nrefused\n"


FIRST_SORT = """
import sys
import numpy as np
from cupy_compat.cudamark import threaded_sort

keys = np.random.default_rng(0).integers(0, 1 << 30, 1 << 20)
interrupted = []

def sort_during_import(frame, event, _):
    module = frame.f_globals.get("__name__", "")
    if frame.f_code.co_name == "<module>" and module.startswith(("cupy_compat.", "numpy.ma")):
        interrupted.append(module)
        assert np.array_equal(threaded_sort(keys), np.sort(keys))

sys.settrace(sort_during_import)
threaded_sort(keys)
sys.settrace(None)
print("cupy_compat.cudamark.kernels" in interrupted)
"""


def test_a_sort_may_interrupt_the_imports_of_the_first_sort() -> None:
    """As in a signal handler."""
    done = subprocess.run([sys.executable, "-c", FIRST_SORT], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


ALL_COMPILED = """
import numpy as np
from cupy_compat.cudamark import kernels
from cupy_compat.cudamark.cpu import counting, samplesort
from cupy_compat.cudamark.crew import Crew
from cupy_compat.cudamark.gpu import loops, native

def compiled():
    called = [*vars(kernels).values(), native._start_all, native._join_all]
    called += [loops.send, loops.await_shared, loops.receive, loops.publish]
    return {one.__name__: len(one.signatures) for one in called if hasattr(one, "signatures")}

native._compile()
loops.send_and_receive()
kernels.compile_split(np.dtype("f4"))
kernels.compile_counting(np.dtype("u2"))
before = compiled()
for keys in (np.arange(5000.0, dtype="f4") % 977, np.arange(5000, dtype="f4") % 2):
    for radix in (False, True):
        samplesort.sort(keys, Crew(2), radix=radix)
counting.sort(np.arange(5000, dtype="i2"), Crew(2))
task = np.zeros(1, loops.TASK)
shared = np.zeros(loops.SHARED, np.uintp)
task["shared"] = shared.ctypes.data
address = np.arange(1, dtype=np.uintp) + np.uintp(task.ctypes.data)
loops.publish(np.uintp(shared.ctypes.data), loops.SENT, 1)
loops.await_shared(address[0], loops.SENT, 1)
threads = native.Threads(loops.send_and_receive(), address[1:], memory=None)
threads.start()
threads.join()
assert compiled() == before, (compiled(), before)
print(min(before.values()), len(before))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no POSIX threads")
def test_sorts_compile_nothing_out_of_turn() -> None:
    done = subprocess.run([sys.executable, "-c", ALL_COMPILED], capture_output=True, text=True)
    assert done.stdout == "1 12\n", done.stderr
