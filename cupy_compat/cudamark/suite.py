"""What the command does, step by step: choose a device, make the keys, measure, report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from cupy_compat.cudamark import contenders as others
from cupy_compat.cudamark import gpu as gpu_device
from cupy_compat.cudamark.compare import (
    Row,
    compare_contender,
    compare_cpu,
    compare_gpu,
    table,
)
from cupy_compat.cudamark.contenders import Contender
from cupy_compat.cudamark.cpu import threaded_sort, threads_used, warm_up
from cupy_compat.cudamark.gpu import (
    Gpu,
    GpuUnavailable,
    Limits,
    as_bits,
    gpu_sort,
    most_threads,
    sorts_dtype,
)
from cupy_compat.cudamark.inputs import DISTRIBUTIONS, make_input, parse_dtype
from cupy_compat.cudamark.machine import available_memory, describe_machine
from cupy_compat.cudamark.measure import time_sort
from cupy_compat.cudamark.options import BadArgument, Options
from cupy_compat.cudamark.record import (
    Run,
    csv_text,
    json_text,
    readable_bytes,
    require_writable,
    write_whole,
)
from cupy_compat.cudamark.threads import usable_cpus

_Array = NDArray[Any]
_WARM_UP = 1
_TABLE_WIDTH = 180


def run(options: Options, command: Sequence[str]) -> None:
    """Do what the command line asks for; `command` is that line, for the record.

    Raises
    ------
    BadArgument
        If the arguments contradict each other, or name no dtype, plot format or contender.
    ContenderError, GpuUnavailable, MemoryError, OSError, WrongResult
        If it cannot be done.
    """
    dtype = _checked(options)
    contenders = others.chosen(options.contenders)
    _require_memory(options, dtype, contenders)
    gpu, reason = _choose(options, dtype)
    chatter = _Chatter(options.quiet)
    chatter.say(f"Device: {'GPU' if gpu else 'CPU'}: {reason}")
    others.set_variables(contenders, options.size * dtype.itemsize, on_gpu=gpu is not None)
    contenders = _those_that_sort(contenders, options.size, dtype, chatter)
    measurement = _Measurement(options, dtype, gpu, reason, command, chatter)
    if options.compare:
        measurement.compare(contenders)
    else:
        measurement.tabulate()


class _Chatter:
    """Standard error: lines, and a progress bar if somebody is there to see it."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def say(self, text: str) -> None:
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, what: str, steps: int) -> Iterator[Callable[[], None]]:
        """Show a bar while the block runs; it is given a function that moves the bar."""
        console = Console(stderr=True)
        # Drawn between the timed calls only: a thread that redraws would take time from them.
        with Progress(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=self._quiet or not console.is_terminal,
        ) as progress:
            task = progress.add_task(what, total=steps)

            def step() -> None:
                progress.advance(task)
                progress.refresh()

            yield step


class _Measurement:
    """One run of the command: its keys, and what has been measured so far."""

    def __init__(
        self,
        options: Options,
        dtype: np.dtype[Any],
        gpu: Gpu | None,
        reason: str,
        command: Sequence[str],
        chatter: _Chatter,
    ) -> None:
        self._options = options
        self._dtype = dtype
        self._gpu = gpu
        self._reason = reason
        self._command = shlex.join(command)
        self._chatter = chatter
        self._date = datetime.now(UTC).isoformat(timespec="seconds")
        self._machine = describe_machine()
        self._compile_seconds: float | None = None
        self._limits: Limits | None = None
        self._runs: list[Run] = []
        self._versions: dict[str, str | None] = {}
        chatter.say(f"Keys: {options.size:,} {dtype}, {options.distribution}, seed {options.seed}")
        self._keys = make_input(options.distribution, options.size, dtype, options.seed)
        self._expected = np.sort(self._keys)
        if np.any(self._expected[:-1] > self._expected[1:]):
            # Seen for millions of float16 keys: NumPy 2.5.5 on an AMD EPYC with AVX-512.
            chatter.say(
                "np.sort leaves these keys unsorted here; checking against kind='stable' instead"
            )
            self._expected = np.sort(self._keys, kind="stable")

    def tabulate(self) -> None:
        """Print the table of the chosen device, and write what was asked for."""
        options = self._options
        chosen = "gpu" if self._gpu else "cpu"
        if chosen == "cpu" or options.plot:
            self._compile()
        if usable_cpus() < self._machine.cpu_count:
            self._chatter.say(
                f"CPU cores are those that this process may use, of {self._machine.cpu_count}"
            )
        print(f"CPU cores: {usable_cpus()}", flush=True)
        for threads in options.threads:
            run = self._measure(chosen, threads)
            if run.used != threads:
                self._chatter.say(f"Capped at {run.used} of {threads}: more would not help here")
            print(f"Threads: {threads}, Time taken: {run.median:.4f} seconds", flush=True)
        text = csv_text(self._runs)
        print(f"\n{text}", end="", flush=True)
        if options.csv:
            write_whole(options.csv, text.encode())
        if options.plot:
            if chosen == "gpu":
                for threads in options.threads:
                    self._measure("cpu", threads)
            write_whole(options.plot, self._draw(Path(options.plot).suffix[1:].lower()))
        self._write_json()

    def compare(self, contenders: Sequence[Contender]) -> None:
        """Print every sort against its limit, and those of other libraries among them."""
        arguments = (self._keys, self._expected, self._options.repeat, _WARM_UP)
        steps = 1 + _WARM_UP + self._options.repeat
        self._compile()
        with self._chatter.bar("CPU", 2 * steps) as step:
            cpu_rows = compare_cpu(*arguments, step)
        other_rows: list[Row] = []
        gpu_rows: list[Row] = []
        if self._gpu:
            with self._chatter.bar("GPU", 3 * steps) as step:
                gpu_rows, self._limits = compare_gpu(*arguments, step)
            gpu_device.free_cached()
        # Last, since what they load, start or reserve stays until the process ends.
        for contender in contenders:
            with others.told_apart(), self._chatter.bar(contender.name, steps) as step:
                row = compare_contender(contender, *arguments, step, cpu_rows[1], self._limits)
            other_rows.append(row)
            self._versions[contender.name] = others.version(contender)
        rows = [*cpu_rows, *other_rows, *gpu_rows]
        self._runs = [row.run for row in rows]
        caption = None if self._gpu else f"The CPU's rows only: {self._reason}"
        # As wide as the table is: a narrow terminal may break its lines, but cuts no figure off.
        console = Console(width=_TABLE_WIDTH, markup=False, emoji=False)
        console.print(table(rows, self._options.size, self._title(), caption))
        self._write_json()

    def _measure(self, device: str, threads: int) -> Run:
        keys = self._keys
        if device == "gpu":
            name, used = "gpu_sort", min(threads, most_threads(keys.nbytes))
            return self._time(name, device, threads, lambda: gpu_sort(keys, threads), used)
        name, used = "threaded_sort", threads_used(keys, threads)
        return self._time(name, device, threads, lambda: threaded_sort(keys, threads), used)

    def _time(
        self,
        name: str,
        device: str,
        threads: int | None,
        sort: Callable[[], _Array],
        used: int | None = None,
        expected: _Array | None = None,
    ) -> Run:
        repeat = self._options.repeat
        what = name if threads is None else f"{name}, threads: {threads}"
        with self._chatter.bar(what, 1 + _WARM_UP + repeat) as step:
            timing = time_sort(
                sort, self._expected if expected is None else expected, repeat, _WARM_UP, step
            )
        run = Run(name, device, threads, timing.first, timing.repeats, used)
        self._runs.append(run)
        return run

    def _compile(self) -> None:
        self._compile_seconds = warm_up(self._dtype)
        if self._compile_seconds:
            how = "compiled or loaded from disk"
            self._chatter.say(f"Loops {how} in {self._compile_seconds:.2f} s, not timed")

    def _draw(self, format_: str) -> bytes:
        from cupy_compat.cudamark.plot import draw

        lines = self._measure_lines()
        threaded = [run for run in self._runs if run.threads is not None]
        return draw(threaded, lines, self._title(), self._subtitle(), format_)

    def _measure_lines(self) -> dict[str, float]:
        """Measure what the plot shows beside the threads, in seconds."""
        keys = self._keys
        numpy_run = self._time("np.sort", "cpu", None, lambda: np.sort(keys))
        lines = {"np.sort, one thread": numpy_run.median}
        if self._gpu:
            bits = as_bits(keys)
            naive = self._time(
                "cp.asnumpy(cp.sort(cp.array(a)))",
                "gpu",
                None,
                lambda: gpu_device.naive_sort(bits),
                expected=as_bits(self._expected),
            )
            repeat = self._options.repeat
            in_place = median(gpu_device.sort_times(bits, repeat, in_place=True))
            self._limits = gpu_device.measure_limits(keys.nbytes, in_place, repeat)
            lines["cp.asnumpy(cp.sort(cp.array(a)))"] = naive.median
            lines["GPU floor: bus up, bus down"] = self._limits.floor_seconds
        return lines

    def _title(self) -> str:
        options = self._options
        return f"Sorting {options.size:,} {self._dtype} keys ({options.distribution})"

    def _subtitle(self) -> str:
        machine = self._machine
        parts = [f"{machine.cpu_name}, {usable_cpus()} CPUs"]
        if self._gpu:
            parts.append(f"{self._gpu.name}, driver {self._gpu.driver}, CuPy {self._gpu.cupy}")
        parts.append(f"NumPy {machine.numpy}, Python {machine.python}, {self._date[:10]}")
        return " | ".join(parts)

    def _write_json(self) -> None:
        options = self._options
        if not options.json:
            return
        settings = {
            "date": self._date,
            "command": self._command,
            "device": "gpu" if self._gpu else "cpu",
            "device_reason": self._reason,
            "size": options.size,
            "dtype": str(self._dtype),
            "distribution": options.distribution,
            "seed": options.seed,
            "repeat": options.repeat,
            "warm_up": _WARM_UP,
            "compile_seconds": self._compile_seconds,
            "cpu_usable": usable_cpus(),
            "gpu_most_threads": most_threads(self._keys.nbytes) if self._gpu else None,
            "with_versions": self._versions,
        }
        text = json_text(settings, self._machine, self._gpu, self._limits, self._runs)
        write_whole(options.json, text.encode())


def _checked(options: Options) -> np.dtype[Any]:
    """Return the dtype, once everything that needs no measuring has been found in order."""
    if options.compare and (options.csv or options.plot):
        raise BadArgument("--csv and --plot belong to the table of threads, not to --compare")
    if options.contenders and not options.compare:
        raise BadArgument("--with belongs to --compare")
    targets = [path for path in (options.csv, options.json, options.plot) if path is not None]
    if len({Path(path).resolve() for path in targets}) < len(targets):
        raise BadArgument("--csv, --json and --plot need a file each")
    if options.distribution not in DISTRIBUTIONS:
        raise BadArgument(
            f"argument --distribution: {options.distribution!r} is none of "
            + ", ".join(DISTRIBUTIONS)
        )
    try:
        dtype = parse_dtype(options.dtype)
    except ValueError as error:
        raise BadArgument(f"argument --dtype: {error}") from error
    if options.device == "gpu" and not sorts_dtype(dtype):
        raise BadArgument(f"argument --dtype: CuPy does not sort {dtype}; try --device cpu")
    if options.plot:
        if Path(options.plot).suffix.lower() not in (".png", ".svg"):
            raise BadArgument(f"argument --plot: {options.plot!r} does not end in .png or .svg")
        # Found missing now rather than when all is measured.
        import matplotlib.figure  # noqa: F401
    for path in targets:
        require_writable(path)
    return dtype


def _those_that_sort(
    contenders: Sequence[Contender], size: int, dtype: np.dtype[Any], chatter: _Chatter
) -> list[Contender]:
    """Return the contenders that sort the dtype, and say which do not."""
    sorting = []
    for contender in contenders:
        reason = others.refusal(contender, size, dtype)
        if reason is None:
            sorting.append(contender)
        else:
            chatter.say(f"{contender.name} does not sort {dtype}: {reason}")
    return sorting


def _require_memory(
    options: Options, dtype: np.dtype[Any], contenders: Sequence[Contender]
) -> None:
    # The keys, the keys sorted, and threaded_sort's result and work space of 2.3 times the keys;
    # two page-locked arrays more for a row of the comparison; small keys need more while they are
    # drawn.
    halves = 13 if options.compare and options.device != "cpu" else 9
    needed = options.size * max(dtype.itemsize * halves // 2, 16)
    # What one has freed may still be its own while the next one sorts.
    others_too = [contender.copies * dtype.itemsize + contender.indices for contender in contenders]
    needed = max(needed, options.size * (2 * dtype.itemsize + sum(others_too)))
    free = available_memory()
    if free is not None and needed > free:
        raise MemoryError(
            f"not enough memory for {options.size:,} keys of {dtype}: {readable_bytes(needed)} "
            f"needed, {readable_bytes(free)} free"
        )


def _choose(options: Options, dtype: np.dtype[Any]) -> tuple[Gpu | None, str]:
    """Return the GPU, or None for the CPU, and the reason for the choice."""
    if options.device == "cpu":
        return None, "asked for by --device cpu"
    if not sorts_dtype(dtype):
        return None, f"CuPy does not sort {dtype}"
    try:
        gpu = gpu_device.find_gpu()
        # What does not fit gpu_sort splits; CuPy's own sorts, measured beside it, cannot.
        if options.compare or options.plot:
            gpu_device.require_memory(options.size * dtype.itemsize)
    except (GpuUnavailable, MemoryError) as error:
        if options.device == "gpu":
            raise
        return None, str(error)
    reason = f"{gpu.name}, " + (
        "asked for by --device gpu" if options.device == "gpu" else "usable"
    )
    sorters = gpu_device.sorters_beyond_memory(dtype, options.size * dtype.itemsize)
    if sorters:
        reason += f"; all keys at once are beyond its memory, so they are sorted by {sorters}"
    return gpu, reason
