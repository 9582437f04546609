"""Compare `threaded_sort` with `numpy.sort` and with other libraries that sort on CPU threads.

Every contender is given the same task: a sorted copy of the same keys, the keys being already in
its own container (a NumPy array, a polars Series, a torch tensor). Those that sort in place sort a
copy, whose making is timed, as `numpy.sort` makes one too. Compilation and a first, untimed call
come before. In each round all contenders take their turn; what is reported is the median of the
rounds and, in brackets, how many times faster than `numpy.sort` that is.

Each thread count has a process of its own, since some libraries read theirs once:
POLARS_MAX_THREADS and `torch.set_num_threads` set it, and for those with no setting (parallel-sort,
quill-fastsort-parallel) the process may use only as many CPUs, evenly chosen, where there are that
many. `torch.sort` also returns the indices and cannot be told not to.

Peak memory is the highest resident size during one sort less the size before it, in a fresh process
for each contender, as a multiple of the input (Linux only).

    python tools/compare_cpu_sorts.py --dtypes int32 float64 --sizes 20_000_000 --threads 2
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.cpu import threaded_sort, usable_cpus, warm_up
from cupy_compat.cudamark.inputs import DISTRIBUTIONS, make_input
from cupy_compat.cudamark.machine import cpu_name

CONTENDERS = {
    "numpy": "numpy",
    "threaded_sort": "numba",
    "polars": "polars",
    "torch": "torch",
    "parallel-sort": "parallel_sort",
    "quill-fastsort-parallel": "quill_fastsort_parallel",
}
"""What is compared, and the module that it needs."""


def prepare(contender: str, keys: NDArray[Any], threads: int) -> Callable[[], object]:
    """Return a call that sorts a copy of the keys."""
    if contender == "numpy":
        return lambda: np.sort(keys)
    if contender == "threaded_sort":
        warm_up(keys.dtype)
        return lambda: threaded_sort(keys, threads)
    module = importlib.import_module(CONTENDERS[contender])
    if contender == "polars":
        series = module.Series(keys)
        return lambda: series.sort()
    if contender == "torch":
        module.set_num_threads(threads)
        tensor = module.from_numpy(keys)
        return lambda: module.sort(tensor)
    if contender == "parallel-sort":
        return lambda: module.sort(keys)
    in_place = getattr(module, f"parallel_sort_{keys.dtype.kind}{8 * keys.itemsize}")
    return lambda: in_place(keys.copy())


def installed() -> list[str]:
    """Return the contenders whose module is there."""
    return [name for name, module in CONTENDERS.items() if importlib.util.find_spec(module)]


def time_all(
    distribution: str, dtype: str, size: int, threads: int, repeats: int
) -> dict[str, float]:
    """Return each contender's median time in seconds; those that refuse the keys are left out."""
    keys = make_input(distribution, size, np.dtype(dtype), seed=0)
    calls = {}
    for name in installed():
        try:
            call = prepare(name, keys, threads)
            call()
        except (AttributeError, ImportError, TypeError, ValueError) as error:
            print(f"{name} does not sort {dtype}: {error}", file=sys.stderr)
        else:
            calls[name] = call
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def peak_memory(contender: str, dtype: str, size: int, threads: int) -> float:
    """Return the peak of resident memory during one sort, as a multiple of the keys' own size."""
    keys = make_input("uniform", size, np.dtype(dtype), seed=0)
    prepare(contender, keys[:1_000_000].copy(), threads)()
    call = prepare(contender, keys, threads)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _resident("VmRSS")
    result = call()
    peak = _resident("VmHWM")
    del result
    return (peak - before) / keys.nbytes


def _resident(field: str) -> int:
    """Return a size in bytes from the process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def run_apart(threads: int, **task: Any) -> Any:
    """Run this script on one task in a process set to a number of threads."""
    environment = {**os.environ, "POLARS_MAX_THREADS": str(threads)}
    command = [sys.executable, __file__, "--task", json.dumps({"threads": threads, **task})]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def do_task(task: dict[str, Any]) -> None:
    """Do what `run_apart` asked for and print the outcome."""
    limit_cpus(task["threads"])
    measure = peak_memory if "contender" in task else time_all
    print(json.dumps(measure(**task)))


def limit_cpus(threads: int) -> None:
    """Let this process use only as many CPUs as threads, spread over all that it may use."""
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        if threads < len(cpus):
            os.sched_setaffinity(0, {cpus[i * len(cpus) // threads] for i in range(threads)})


def describe() -> str:
    """Return the machine, the versions and the command."""
    versions = [f"Python {platform.python_version()}"]
    for name in dict.fromkeys(["numba", *CONTENDERS]):
        package = {"threaded_sort": None}.get(name, name)
        if package:
            try:
                versions.append(f"{package} {importlib.metadata.version(package)}")
            except importlib.metadata.PackageNotFoundError:
                versions.append(f"{package} not installed")
    return "\n".join(
        [
            f"- date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
            f"- machine: {cpu_name()}, {usable_cpus()} usable CPUs, {platform.platform()}",
            f"- versions: {', '.join(versions)}",
            f"- command: python {shlex.join(sys.argv)}",
        ]
    )


def print_table(head: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    for row in [head, ["---"] * len(head), *rows]:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="Compare sorts on CPU threads.")
    parser.add_argument("--dtypes", nargs="+", default=["int32", "float32", "int64", "float64"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[20_000_000])
    parser.add_argument("--threads", nargs="+", type=int, default=[usable_cpus()])
    parser.add_argument(
        "--distributions", nargs="+", choices=list(DISTRIBUTIONS), default=["uniform"]
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="measure peak memory as well")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task is not None:
        do_task(options.task)
        return
    names = installed()
    print(describe())
    print(f"- {options.repeats} rounds, medians in milliseconds (times faster than numpy)\n")
    rows = []
    for threads in options.threads:
        for dtype in options.dtypes:
            for size in options.sizes:
                for distribution in options.distributions:
                    taken = run_apart(
                        threads,
                        distribution=distribution,
                        dtype=dtype,
                        size=size,
                        repeats=options.repeats,
                    )
                    cells = [
                        f"{1e3 * taken[name]:.3g} ({taken['numpy'] / taken[name]:.2f})"
                        if name in taken
                        else "-"
                        for name in names
                    ]
                    rows.append([str(threads), dtype, f"{size:,}", distribution, *cells])
                    print(*rows[-1], file=sys.stderr)
    print_table(["threads", "dtype", "keys", "distribution", *names], rows)
    if options.memory:
        print("\nPeak memory beyond the input, as a multiple of the input (uniform keys)\n")
        print_table(
            ["threads", "dtype", "keys", *names],
            [
                [
                    str(threads),
                    dtype,
                    f"{size:,}",
                    *(
                        f"{run_apart(threads, contender=name, dtype=dtype, size=size):.2f}"
                        for name in names
                    ),
                ]
                for threads in options.threads
                for dtype in options.dtypes
                for size in options.sizes
            ],
        )


if __name__ == "__main__":
    main()
