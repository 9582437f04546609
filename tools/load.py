"""Do what the package does ten thousand times over, and tell what memory and threads are left.

Run it by ``nox -s load``, which writes docs/_data/load.json, or one load by itself::

    python tools/load.py repairs 10000     # on the interpreter of a broken CuPy
    python tools/load.py calls 1000000     # on the same
    python tools/load.py sorts 10000       # where cupy_compat[cudamark] is installed
    python tools/load.py gpu_sorts 10000   # the same, with a GPU; kept as docs/_data/load-gpu.json
    python tools/load.py all FILE BROKEN_PYTHON FOLDER_OF_THE_PACKAGE

Each prints one JSON object. Memory is what Python has allocated (tracemalloc), in bytes a round,
and the resident set of the process, in KiB, after a tenth of the rounds and after all.
"""

from __future__ import annotations

import datetime
import gc
import json
import os
import platform
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOADS = {"repairs": 10_000, "calls": 1_000_000, "sorts": 10_000}
SORTERS = 8
#: The fewest keys that threaded_sort gives to several threads.
KEYS = 1 << 19
#: Enough for gpu_sort to stage them with several threads.
GPU_KEYS = 1 << 23


def resident() -> int:
    """Return the resident set of this process in KiB; Linux tells it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError("/proc/self/status names no VmRSS")


def threads() -> int:
    """Return how many threads this process has, those included that Python does not know."""
    time.sleep(0.1)  # those that have been joined take a moment to go
    return len(list(Path("/proc/self/task").iterdir()))


def watched(rounds: int, work: Callable[[int], object]) -> dict[str, Any]:
    """Do the work for a number of rounds and return what memory and threads it left."""
    first = max(rounds // 10, 1)
    tracemalloc.start()
    start = time.perf_counter()
    work(first)
    gc.collect()
    before, resident_before = tracemalloc.get_traced_memory()[0], resident()
    seconds = time.perf_counter() - start
    threads_before = threads()
    start = time.perf_counter()
    work(rounds - first)
    gc.collect()
    after, resident_after = tracemalloc.get_traced_memory()[0], resident()
    seconds += time.perf_counter() - start
    tracemalloc.stop()
    return {
        "rounds": rounds,
        "seconds": round(seconds, 2),
        "bytes a round": round((after - before) / max(rounds - first, 1), 2),
        "resident KiB after a tenth": resident_before,
        "resident KiB after all": resident_after,
        "threads left": threads() - threads_before,
    }


def repairs(rounds: int) -> dict[str, Any]:
    """Repair a broken CuPy and take the repair back again."""
    import cupy_compat

    cupy_compat.install(force=True)
    import cupy

    def work(count: int) -> None:
        for _ in range(count):
            cupy_compat.uninstall()
            assert cupy_compat.install(force=True).state == "repaired"

    found = watched(rounds, work)
    found["finders"] = sum("waits for cupy._util" in repr(one) for one in sys.meta_path)
    return found | versions(cupy)


def calls(rounds: int) -> dict[str, Any]:
    """Call a repaired function, with arguments from its cache."""
    import cupy_compat

    cupy_compat.install(force=True)
    import cupy

    @cupy.memoize()
    def f(x: int, y: int = 0) -> int:
        return x + y

    def work(count: int) -> None:
        for number in range(count):
            assert f(number & 15, y=1) == (number & 15) + 1

    return watched(rounds, work) | versions(cupy)


def sorts(rounds: int) -> dict[str, Any]:
    """Sort from eight threads at once, each call with threads of its own."""
    from cupy_compat.cudamark import threaded_sort

    return sorted_by_all(rounds, lambda keys: threaded_sort(keys, 2), KEYS)


def gpu_sorts(rounds: int) -> dict[str, Any]:
    """Sort through the GPU from eight threads at once, and give the page-locked memory back."""
    import cupy

    from cupy_compat.cudamark import free_pinned_buffers, gpu_sort

    alive = [0]

    class Counted(cupy.cuda.PinnedMemory):  # type: ignore[misc]
        def __init__(self, size: int, flags: int = 0) -> None:
            super().__init__(size, flags)
            alive[0] += 1

        def __del__(self) -> None:
            alive[0] -= 1
            super().__del__()

    cupy.cuda.PinnedMemory = Counted
    found = sorted_by_all(rounds, lambda keys: gpu_sort(keys), GPU_KEYS)
    kept = alive[0]
    free_pinned_buffers()
    gc.collect()
    device = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return found | {
        "page-locked buffers kept between calls": kept,
        "page-locked buffers left": alive[0],
        "gpu": device,
        "date": datetime.date.today().isoformat(),
        "versions": {"cupy": cupy.__version__, "python": platform.python_version()},
        "command": f"python tools/load.py gpu_sorts {rounds}",
    }


def sorted_by_all(rounds: int, sort_once: Callable[[Any], Any], size: int) -> dict[str, Any]:
    """Share sorts of one array among threads, and check every result."""
    import numpy as np

    keys = np.random.default_rng(1).integers(0, 1 << 30, size, dtype=np.int32)
    expected = np.sort(keys)
    sort_once(keys)
    wrong: list[int] = []

    def sort(count: int) -> None:
        for _ in range(count):
            if not np.array_equal(sort_once(keys), expected):
                wrong.append(1)

    def work(count: int) -> None:
        shares = [count // SORTERS + (one < count % SORTERS) for one in range(SORTERS)]
        threads = [threading.Thread(target=sort, args=(share,)) for share in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    found = watched(rounds, work)
    return found | {"keys": size, "sorting threads": SORTERS, "wrong": len(wrong)}


def versions(cupy: Any) -> dict[str, str]:
    """Name the CuPy that was repaired."""
    return {"cupy": cupy.__version__, "cython": cupy._util.cython_build_ver}


def everything(target: Path, broken: str, package: str) -> None:
    """Run each load in a process of its own and write what came of them."""
    started = {}
    for name, rounds in LOADS.items():
        python = sys.executable if name == "sorts" else broken
        environment = dict(os.environ) if name == "sorts" else {**os.environ, "PYTHONPATH": package}
        print(f"{rounds} {name} ...", file=sys.stderr)
        done = subprocess.run(
            [python, __file__, name, str(rounds)], env=environment, stdout=-1, text=True, check=True
        )
        started[name] = json.loads(done.stdout)
    record = {
        "command": "nox -s load",
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "loads": started,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "all":
        everything(Path(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        known = {"repairs": repairs, "calls": calls, "sorts": sorts, "gpu_sorts": gpu_sorts}
        chosen = known[sys.argv[1]]
        print(json.dumps(chosen(int(sys.argv[2]))))
