"""Measure what the sorts cannot be faster than on a machine, and how near they come.

::

    python tools/roofline.py cpu FILE    # threaded_sort, phase by phase
    python tools/roofline.py gpu FILE    # gpu_sort from ordinary memory; on a machine with a GPU

Of each phase of `threaded_sort`: the time on one thread and on all, beside the time in which as
many threads copy as many bytes. What is far above that is not held back by memory but by the
cores, so that is measured as well: how much more all threads do than one of a work that needs no
memory, sorting what fits into a core's own caches.

`gpu_sort` stages the keys: threads copy them to small page-locked slots from where the bus takes
them. Measured is each half of that by itself, and both at once without waiting for each other.
The sum of both ways and the sort in between is what a plain staging takes whose threads need no
time to start, wait for no piece, and copy into memory that has been used.

All figures are seconds, the medians of several rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cupy_compat.cudamark.cpu import samplesort, warm_up
from cupy_compat.cudamark.crew import Crew, Job
from cupy_compat.cudamark.inputs import make_input
from cupy_compat.cudamark.machine import describe_machine
from cupy_compat.cudamark.measure import copy_bandwidth
from cupy_compat.cudamark.threads import usable_cpus

DTYPES = ("int32", "float32", "int64", "float64")
SIZE = 50_000_000
ROUNDS = 7
#: Keys of 4 bytes: half a megabyte. NumPy holds the interpreter's lock between its calls, so these
#: have to be long beside that.
IN_CACHE = 1 << 17
#: Bytes a key that a phase reads and writes at least, for keys of so many bytes. A cache line has
#: to be read before a part of it is written.
LEAST_MOVED: dict[str, Callable[[int], int]] = {
    "classify": lambda key: key + 2,
    "scatter": lambda key: key + 1 + 2 * key,
    "finish": lambda key: 2 * key,
}


def median(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return how many seconds a call takes, after one that does not count."""
    seconds = []
    for _ in range(1 + rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


class TimedCrew(Crew):
    """A crew that keeps the seconds of each list of jobs, by the name of the work."""

    def __init__(self, workers: int, seconds: dict[str, list[float]]) -> None:
        super().__init__(workers)
        self._seconds = seconds

    def share(self, work: Callable[[Job], object], jobs: Any) -> None:
        """Run the jobs, see `Crew`."""
        start = time.perf_counter()
        super().share(work, jobs)
        self._seconds.setdefault(work.__name__, []).append(time.perf_counter() - start)


def phases(keys: np.ndarray[Any, Any], workers: int) -> dict[str, float]:
    """Return the seconds of each phase of the sample sort."""
    seconds: dict[str, list[float]] = {}

    def sort() -> None:
        crew = TimedCrew(workers, seconds)
        samplesort.sort(keys, crew)

    whole = median(sort, 3 if workers == 1 else ROUNDS)
    found = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    return {**found, "whole": whole}


def worth_of_threads(threads: int) -> float:
    """Return how many times as much all threads do as one, of sorting what is in their caches."""
    block = np.random.default_rng(0).integers(0, 1 << 31, IN_CACHE).astype(np.int32)

    def many() -> None:
        mine = np.empty_like(block)
        for _ in range(100):
            np.copyto(mine, block)
            mine.sort()

    alone = median(many, 3)
    with ThreadPoolExecutor(threads) as pool:
        together = median(lambda: list(pool.map(lambda _: many(), range(threads))), 3)
    return threads * alone / together


def on_cpu() -> dict[str, Any]:
    """Measure the phases of `threaded_sort` and what the machine allows."""
    threads = usable_cpus()
    bandwidth = {count: copy_bandwidth(1 << 30, count, ROUNDS) for count in (1, threads)}
    dtypes = {}
    for dtype in DTYPES:
        keys = make_input("uniform", SIZE, np.dtype(dtype), seed=0)
        warm_up(dtype)
        alone, together = phases(keys, 1), phases(keys, threads)
        dtypes[dtype] = {
            "np.sort": median(partial(np.sort, keys), 3),
            "one_thread": alone,
            "all_threads": together,
            "memory_allows": {
                name: SIZE * least(keys.itemsize) / bandwidth[threads]
                for name, least in LEAST_MOVED.items()
            },
        }
        print(dtype, json.dumps(dtypes[dtype]), flush=True)
    return {
        "threads": threads,
        "copied_bytes_per_second": bandwidth,
        "threads_are_worth": worth_of_threads(threads),
        "dtypes": dtypes,
    }


class Staging:
    """The halves of the way to the GPU or back, for an array of so many bytes."""

    def __init__(self, nbytes: int, threads: int) -> None:
        import cupy

        from cupy_compat.cudamark.gpu.pinned import PIECE_BYTES, page_locked

        self._runtime = cupy.cuda.runtime
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._device = cupy.zeros(nbytes, cupy.uint8)
        self._host = np.ones(nbytes, np.uint8)
        self._slots = page_locked(threads * PIECE_BYTES, np.dtype(np.uint8))
        self._slots[:] = 1
        self._slots = self._slots.reshape(threads, PIECE_BYTES)
        bounds = range(0, nbytes, PIECE_BYTES)
        self._pieces = [slice(low, min(low + PIECE_BYTES, nbytes)) for low in bounds]
        self._mine = threading.local()
        self._free = itertools.count()
        self._pool = ThreadPoolExecutor(threads)

    def seconds(self, up: bool, threads: bool, bus: bool) -> float:
        """Return the time of one way: of the threads' half, the bus's, or both at once."""

        def work() -> None:
            if bus:
                for number, piece in enumerate(self._pieces):
                    slot = self._slots[number % len(self._slots)].ctypes.data
                    there = self._device.data.ptr + piece.start
                    kind = self._runtime.memcpyHostToDevice
                    ends = (there, slot)
                    if not up:
                        kind, ends = self._runtime.memcpyDeviceToHost, (slot, there)
                    moved = piece.stop - piece.start
                    self._runtime.memcpyAsync(*ends, moved, kind, self._stream.ptr)
            if threads:
                list(self._pool.map(lambda piece: self._copy(piece, up), self._pieces))
            self._stream.synchronize()

        return median(work)

    def _copy(self, piece: slice, up: bool) -> None:
        if not hasattr(self._mine, "slot"):
            self._mine.slot = self._slots[next(self._free) % len(self._slots)]
        slot = self._mine.slot[: piece.stop - piece.start]
        if up:
            np.copyto(slot, self._host[piece])
        else:
            np.copyto(self._host[piece], slot)


def on_gpu() -> dict[str, Any]:
    """Measure `gpu_sort`, its floor, and what a plain staging takes."""
    from cupy_compat.cudamark import gpu_sort
    from cupy_compat.cudamark.gpu.limits import measure_limits, sort_times
    from cupy_compat.cudamark.gpu.sort import most_threads

    dtypes = {}
    for dtype in DTYPES:
        keys = make_input("uniform", SIZE, np.dtype(dtype), seed=0)
        threads = most_threads(keys.nbytes)
        sort = statistics.median(sort_times(keys, ROUNDS, in_place=True))
        limits = measure_limits(keys.nbytes, sort, ROUNDS)
        staging = Staging(keys.nbytes, threads)
        ways = {
            f"{'up' if up else 'down'}, {name}": staging.seconds(up, *halves)
            for up in (True, False)
            for name, halves in {
                "threads alone": (True, False),
                "bus alone": (False, True),
                "both": (True, True),
            }.items()
        }
        dtypes[dtype] = {
            "threads": threads,
            "sort": sort,
            **ways,
            "plain_staging": ways["up, both"] + sort + ways["down, both"],
            "floor": limits.floor_seconds,
            "serial": limits.serial_seconds,
            "gpu_sort": median(partial(gpu_sort, keys), 15),
        }
        print(dtype, json.dumps(dtypes[dtype]), flush=True)
    threads = usable_cpus()
    return {
        "copied_bytes_per_second": {threads: copy_bandwidth(1 << 30, threads, ROUNDS)},
        "dtypes": dtypes,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the file."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("device", choices=("cpu", "gpu"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    record = {
        "command": f"python tools/roofline.py {options.device} FILE",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": asdict(describe_machine()),
        "keys": SIZE,
        **(on_cpu() if options.device == "cpu" else on_gpu()),
    }
    options.file.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
