"""Run the benchmark: choose a device, make the keys, measure, print and write the results."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.filesize import decimal

from cupy_compat.cudamark import contenders as others
from cupy_compat.cudamark import gpu as gpu_device
from cupy_compat.cudamark.compare import Row, compare_contender, compare_cpu, compare_gpu, table
from cupy_compat.cudamark.contenders import Contender
from cupy_compat.cudamark.cpu import serial, threaded_sort, threads_used, warm_up
from cupy_compat.cudamark.gpu import Gpu, GpuUnavailable, gpu_sort, most_threads, sorts_dtype
from cupy_compat.cudamark.gpu import measure as gpu_measure
from cupy_compat.cudamark.gpu.measure import USUAL_SCRIPT, Limits
from cupy_compat.cudamark.inputs import make_input
from cupy_compat.cudamark.machine import available_memory, describe_machine
from cupy_compat.cudamark.measure import Timing, time_sort
from cupy_compat.cudamark.options import Options, checked_dtype
from cupy_compat.cudamark.progress import Reporter
from cupy_compat.cudamark.record import Run, csv_text, json_text, write_whole
from cupy_compat.cudamark.threads import usable_cpus

_Array = NDArray[Any]
_WARM_UP = 1
_TABLE_WIDTH = 180


def run(options: Options, command: Sequence[str]) -> None:
    """Measure as the options say. `command` is the command line, in words, for the record.

    Raises `BadArgument`, `ContenderError`, `GpuUnavailable`, ImportError, MemoryError, OSError or
    `WrongResult`.
    """
    dtype = checked_dtype(options)
    contenders = others.chosen(options.contenders)
    _require_memory(options, dtype, contenders)
    gpu, reason = _choose_device(options, dtype)
    reporter = Reporter(options.quiet)
    reporter.say(f"Device: {'GPU' if gpu else 'CPU'}: {reason}")
    others.set_variables(contenders, options.size * dtype.itemsize, on_gpu=gpu is not None)
    sorting = []
    for contender in contenders:
        refusal = others.refusal(contender, options.size, dtype)
        if refusal is None:
            sorting.append(contender)
        else:
            reporter.say(f"{contender.name} does not sort {dtype}: {refusal}")
    measurement = _Measurement(options, dtype, gpu, reason, reporter)
    if options.compare:
        measurement.compare(sorting)
    else:
        measurement.tabulate()
    if options.json:
        write_whole(options.json, measurement.as_json(shlex.join(command)).encode())


@dataclass
class _Measurement:
    """One run of the command: its keys, and the results so far."""

    options: Options
    dtype: np.dtype[Any]
    gpu: Gpu | None
    reason: str
    reporter: Reporter

    def __post_init__(self) -> None:
        options, say = self.options, self.reporter.say
        self._date = datetime.now(UTC).isoformat(timespec="seconds")
        self._machine = describe_machine()
        self._compile_seconds: float | None = None
        self._limits: Limits | None = None
        self._runs: list[Run] = []
        self._versions: dict[str, str | None] = {}
        say(f"Keys: {options.size:,} {self.dtype}, {options.distribution}, seed {options.seed}")
        self._keys = make_input(options.distribution, options.size, self.dtype, options.seed)
        self._expected = serial.sort(self._keys)

    def tabulate(self) -> None:
        """Print the table of the chosen device, and write CSV and plot."""
        options = self.options
        chosen = "gpu" if self.gpu else "cpu"
        if chosen == "cpu" or options.plot:
            self._compile()
        if usable_cpus() < self._machine.cpu_count:
            self.reporter.say(
                f"This process may use {usable_cpus()} of {self._machine.cpu_count} CPU cores"
            )
        print(f"CPU cores: {usable_cpus()}", flush=True)
        for threads in options.threads:
            run = self._time_threads(chosen, threads)
            if run.used != threads:
                self.reporter.say(f"Capped at {run.used} of {threads}: more would not help here")
            print(f"Threads: {threads}, Time taken: {run.median:.4f} seconds", flush=True)
        text = csv_text(self._runs)
        print(f"\n{text}", end="", flush=True)
        if options.csv:
            write_whole(options.csv, text.encode())
        if options.plot:
            if chosen == "gpu":
                for threads in options.threads:
                    self._time_threads("cpu", threads)
            write_whole(options.plot, self._draw(Path(options.plot).suffix[1:].lower()))

    def compare(self, contenders: Sequence[Contender]) -> None:
        """Print every sort, including those of other libraries, against its limit."""
        keys, repeat = self._keys, self.options.repeat
        self._compile()
        with self._timer("CPU", sorts=2) as timed:
            cpu_rows = compare_cpu(keys, repeat, timed)
        other_rows: list[Row] = []
        gpu_rows: list[Row] = []
        if self.gpu:
            with self._timer("GPU", sorts=3) as timed:
                gpu_rows, self._limits = compare_gpu(keys, repeat, timed)
            gpu_device.free_cached()
        # Last, because what they load, start or reserve remains until the process ends.
        for contender in contenders:
            with others.output_to_stderr(), self._timer(contender.name) as timed:
                row = compare_contender(contender, keys, timed, cpu_rows[1], self._limits)
            other_rows.append(row)
            self._versions[contender.name] = others.version(contender)
        rows = [*cpu_rows, *other_rows, *gpu_rows]
        self._runs = [row.run for row in rows]
        caption = None if self.gpu else f"No GPU was measured: {self.reason}"
        # As wide as the table. A narrow terminal may wrap its lines, but no figure is truncated.
        console = Console(width=_TABLE_WIDTH, markup=False, emoji=False)
        console.print(table(rows, self.options.size, self._title(), caption))

    def as_json(self, command: str) -> str:
        """Return the results as JSON, see `record`."""
        settings = {
            "date": self._date,
            "command": command,
            "device": "gpu" if self.gpu else "cpu",
            "device_reason": self.reason,
            "size": self.options.size,
            "dtype": str(self.dtype),
            "distribution": self.options.distribution,
            "seed": self.options.seed,
            "repeat": self.options.repeat,
            "warm_up": _WARM_UP,
            "compile_seconds": self._compile_seconds,
            "cpu_usable": usable_cpus(),
            "gpu_most_threads": most_threads(self._keys.nbytes) if self.gpu else None,
            "with_versions": self._versions,
        }
        return json_text(settings, self._machine, self.gpu, self._limits, self._runs)

    def _time_threads(self, device: str, threads: int) -> Run:
        keys = self._keys
        if device == "gpu":
            used = min(threads, most_threads(keys.nbytes))
            return self._time("gpu_sort", device, partial(gpu_sort, keys, threads), threads, used)
        used, sort = threads_used(keys, threads), partial(threaded_sort, keys, threads)
        return self._time("threaded_sort", device, sort, threads, used)

    def _time(
        self,
        name: str,
        device: str,
        sort: Callable[[], _Array],
        threads: int | None = None,
        used: int | None = None,
    ) -> Run:
        with self._timer(name if threads is None else f"{name}, threads: {threads}") as timed:
            run = Run(name, device, threads, *timed(sort), used)
        self._runs.append(run)
        return run

    @contextmanager
    def _timer(self, what: str, sorts: int = 1) -> Iterator[Callable[..., Timing]]:
        """Show a bar while `sorts` sorts are timed. Yield the function that times one."""
        repeat = self.options.repeat
        with self.reporter.bar(what, sorts * (1 + _WARM_UP + repeat)) as step:
            yield partial(
                time_sort, expected=self._expected, repeat=repeat, warm_up=_WARM_UP, after_each=step
            )

    def _compile(self) -> None:
        self._compile_seconds = warm_up(self.dtype)
        if self._compile_seconds:
            what = "Compiled the sort's loops, or loaded them from disk,"
            self.reporter.say(f"{what} in {self._compile_seconds:.2f} s, which is not timed")

    def _draw(self, format_: str) -> bytes:
        from cupy_compat.cudamark.plot import draw

        threaded = list(self._runs)
        keys, machine, repeat = self._keys, self._machine, self.options.repeat
        lines = {"np.sort, one thread": self._time("np.sort", "cpu", lambda: np.sort(keys)).median}
        parts = [f"{machine.cpu_name}, {usable_cpus()} CPUs"]
        if self.gpu:
            gpu, naive = self.gpu, partial(gpu_measure.naive_sort, keys)
            lines[USUAL_SCRIPT] = self._time(USUAL_SCRIPT, "gpu", naive).median
            in_place = median(gpu_measure.sort_times(keys, repeat, in_place=True))
            self._limits = gpu_measure.measure_limits(keys.nbytes, in_place, repeat)
            lines["limit: copying to the GPU and back"] = self._limits.floor_seconds
            parts.append(f"{gpu.gpu_name}, driver {gpu.driver_version}, CuPy {gpu.cupy_version}")
        versions = f"NumPy {machine.numpy_version}, Python {machine.python_version}"
        subtitle = " | ".join([*parts, f"{versions}, {self._date[:10]}"])
        return draw(threaded, lines, self._title(), subtitle, format_)

    def _title(self) -> str:
        options = self.options
        return f"Sorting {options.size:,} {self.dtype} keys ({options.distribution})"


def _require_memory(
    options: Options, dtype: np.dtype[Any], contenders: Sequence[Contender]
) -> None:
    # The keys, the expected result, and threaded_sort's result with its work space (2.3 times the
    # keys); for --compare two page-locked arrays. Small keys need more while they are generated.
    halves = 13 if options.compare and options.device != "cpu" else 9
    needed = options.size * max(dtype.itemsize * halves // 2, 16)
    # A contender may hold on to freed memory while the next one sorts.
    others_too = [contender.copies * dtype.itemsize + contender.indices for contender in contenders]
    needed = max(needed, options.size * (2 * dtype.itemsize + sum(others_too)))
    free = available_memory()
    if free is not None and needed > free:
        raise MemoryError(
            f"not enough memory for {options.size:,} keys of {dtype}: {decimal(needed)} "
            f"needed, {decimal(free)} free"
        )


def _choose_device(options: Options, dtype: np.dtype[Any]) -> tuple[Gpu | None, str]:
    """Return the GPU, or None for the CPU, and the reason for the choice."""
    if options.device == "cpu":
        return None, "asked for by --device cpu"
    if not sorts_dtype(dtype):
        return None, f"CuPy does not sort {dtype}"
    nbytes = options.size * dtype.itemsize
    try:
        gpu = gpu_device.find_gpu()
        # gpu_sort splits keys that do not fit. CuPy's own sorts, measured as well, do not.
        if options.compare or options.plot:
            gpu_device.require_memory(nbytes)
    except (GpuUnavailable, MemoryError) as error:
        if options.device == "gpu":
            raise
        return None, str(error)
    asked = "asked for by --device gpu" if options.device == "gpu" else "usable"
    reason = f"{gpu.gpu_name}, {asked}"
    sorters = gpu_device.sorters_beyond_memory(dtype, nbytes)
    if sorters:
        reason += f"; the keys do not fit into its memory, so they are sorted by {sorters}"
    return gpu, reason
