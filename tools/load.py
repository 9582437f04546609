"""Repeat what the package does thousands of times, and report leaked memory and threads.

``nox -s load`` runs all loads without a GPU, and writes docs/_data/load.json. One load by itself::

    python tools/load.py repairs 10000     # on the interpreter of a broken CuPy
    python tools/load.py calls 1000000     # on the same
    python tools/load.py sorts 10000       # where cupy_compat[cudamark] is installed
    python tools/load.py gpu_sorts 10000   # the same, with a GPU; kept as docs/_data/load-gpu.json

Each prints one JSON object. "bytes a round" is what Python has allocated (tracemalloc); "resident
KiB" is the largest resident set of the process, after a tenth of the rounds and after all.
"""

from __future__ import annotations

import datetime
import gc
import json
import os
import platform
import resource
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROUNDS = {"repairs": 10_000, "calls": 1_000_000, "sorts": 10_000}
SORTERS = 8
#: The fewest keys that threaded_sort gives to several threads.
KEYS = 1 << 19
#: Enough for gpu_sort to stage them with several threads.
GPU_KEYS = 1 << 23

Work = Callable[[int], object]


def watched(rounds: int, work: Work) -> dict[str, Any]:
    """Do the work for some rounds, and return what the last nine tenths of them left behind."""
    first = max(rounds // 10, 1)
    tracemalloc.start()
    left = []
    for count in (first, rounds - first):
        work(count)
        gc.collect()
        time.sleep(0.1)  # joined threads take a moment to go
        left.append(
            (
                tracemalloc.get_traced_memory()[0],
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                # Including threads that Python does not know.
                len(os.listdir("/proc/self/task")),
            )
        )
    tracemalloc.stop()
    (before, resident_before, threads_before), (after, resident_after, threads_after) = left
    return {
        "rounds": rounds,
        "bytes a round": round((after - before) / max(rounds - first, 1), 2),
        "resident KiB after a tenth": resident_before,
        "resident KiB after all": resident_after,
        "threads left": threads_after - threads_before,
        "python": platform.python_version(),
    }


def repairs(rounds: int) -> dict[str, Any]:
    """Repair a broken CuPy and undo the repair."""
    import cupy_compat

    cupy_compat.install(force=True)
    import cupy

    def work(count: int) -> None:
        for _ in range(count):
            cupy_compat.uninstall()
            assert cupy_compat.install(force=True).state == "repaired"

    found = watched(rounds, work)
    found["finders"] = sum("waits for cupy._util" in repr(one) for one in sys.meta_path)
    return found | {"cupy": cupy.__version__}


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

    return watched(rounds, work) | {"cupy": cupy.__version__}


def sorts(rounds: int) -> dict[str, Any]:
    """Sort from eight threads at once, each call with threads of its own."""
    from cupy_compat.cudamark import threaded_sort

    return sorted_by_all(rounds, lambda keys: threaded_sort(keys, 2), KEYS)


def gpu_sorts(rounds: int) -> dict[str, Any]:
    """Sort through the GPU from eight threads at once, and free the page-locked memory."""
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
    found = sorted_by_all(rounds, gpu_sort, GPU_KEYS)
    kept = alive[0]
    free_pinned_buffers()
    gc.collect()
    return found | {
        "page-locked buffers kept between calls": kept,
        "page-locked buffers left": alive[0],
        "gpu": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(),
        "cupy": cupy.__version__,
        "date": datetime.date.today().isoformat(),
        "command": f"python tools/load.py gpu_sorts {rounds}",
    }


def sorted_by_all(rounds: int, sort_once: Callable[[Any], Any], size: int) -> dict[str, Any]:
    """Divide sorts of one array among threads, and check every result."""
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


def everything(target: str, broken: str, package: str) -> None:
    """Run each load in a process of its own, and write the results."""
    loads = {}
    for name, rounds in ROUNDS.items():
        python, path = (
            (sys.executable, {}) if name == "sorts" else (broken, {"PYTHONPATH": package})
        )
        command = [python, __file__, name, str(rounds)]
        done = subprocess.run(command, env={**os.environ, **path}, stdout=-1, check=True)
        loads[name] = json.loads(done.stdout)
    today = datetime.date.today().isoformat()
    record = {"command": "nox -s load", "date": today, "loads": loads}
    Path(target).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "all":
        everything(*sys.argv[2:])
    else:
        known = {"repairs": repairs, "calls": calls, "sorts": sorts, "gpu_sorts": gpu_sorts}
        print(json.dumps(known[sys.argv[1]](int(sys.argv[2]))))
