"""``--compare``: every way to sort the array, side by side, each against its limit.

The limit is the least time in which the data can be moved. In main memory or GPU memory, every key
is read and written once. From host to host through the GPU, the keys cross the bus twice. The same
run measures the speeds of memory and bus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from cupy_compat.cudamark.contenders import Contender, ContenderError, load, one_line
from cupy_compat.cudamark.cpu import threaded_sort, threads_used
from cupy_compat.cudamark.gpu import gpu_sort, most_threads, page_locked
from cupy_compat.cudamark.gpu import measure as gpu_measure
from cupy_compat.cudamark.gpu.measure import USUAL_SCRIPT, Limits
from cupy_compat.cudamark.measure import Timing, WrongResult, copy_bandwidth
from cupy_compat.cudamark.record import Run, readable_time
from cupy_compat.cudamark.threads import usable_cpus

_Array = NDArray[Any]
_FILL_BYTE = 0xA5
# Smaller arrays fit into the processor's caches, so the speed of main memory does not limit them.
_LEAST_NBYTES = 64 << 20


class Row(NamedTuple):
    """A row of the table: a sort's times, and its limit, in seconds (None if unknown) and words."""

    run: Run
    limit_seconds: float | None = None
    limit: str = ""


def compare_cpu(keys: _Array, repeat: int, timed: Callable[..., Timing]) -> list[Row]:
    """Measure ``np.sort``, and `threaded_sort` on all usable CPUs.

    `keys` have the shape (n,). `timed` is `time_sort` with most of its arguments filled in.
    """
    cpus = usable_cpus()
    alone = Run("np.sort", "cpu", 1, *timed(lambda: np.sort(keys)), 1)
    times = timed(lambda: threaded_sort(keys, cpus))
    threaded = Run("threaded_sort", "cpu", cpus, *times, threads_used(keys, cpus))
    if keys.nbytes < _LEAST_NBYTES:
        return [Row(alone), Row(threaded)]
    return [
        _limited(run, keys.nbytes, "main memory", copy_bandwidth(keys.nbytes, threads, repeat))
        for run, threads in ((alone, 1), (threaded, cpus))
    ]


def compare_gpu(
    keys: _Array, repeat: int, timed: Callable[..., Timing]
) -> tuple[list[Row], Limits]:
    """Measure CuPy's sorts in GPU memory, then the usual script and `gpu_sort` from host to host.

    `keys` have the shape (n,). `gpu_sort` has two rows: from pageable to newly allocated memory,
    and between page-locked arrays. The last row adds up the three steps of a plain script. Returns
    the rows and the measured limits.
    """
    times = {
        "cp.sort": gpu_measure.sort_times(keys, repeat, in_place=False),
        "cp.sort, in place": gpu_measure.sort_times(keys, repeat, in_place=True),
    }
    limits = gpu_measure.measure_limits(keys.nbytes, median(times["cp.sort, in place"]), repeat)
    resident = [Run(name, "gpu", None, None, tuple(seconds)) for name, seconds in times.items()]
    rows = [_limited(run, limits.nbytes, "GPU memory", limits.memory) for run in resident]
    naive = timed(lambda: gpu_measure.naive_sort(keys))
    staged = timed(lambda: gpu_sort(keys))
    source, out = (page_locked(keys.size, keys.dtype) for _ in range(2))
    np.copyto(source, keys)

    def taken(result: _Array) -> _Array:
        # Overwrite the result, or a call that did nothing would pass with the previous one.
        copy = result.copy()
        result.view(np.uint8).fill(_FILL_BYTE)
        return copy

    locked = timed(lambda: gpu_sort(source, out=out), to_numpy=taken)
    runs = (
        Run(USUAL_SCRIPT, "gpu", None, *naive),
        Run("gpu_sort", "gpu", most_threads(keys.nbytes), *staged),
        Run("gpu_sort, page-locked", "gpu", None, *locked),
        Run("bus up, cp.sort in place, bus down", "gpu", None, None, (limits.serial_seconds,)),
    )
    bus = f"bus {_speed(limits.upload)} up, {_speed(limits.download)} down"
    return [*rows, *(Row(run, limits.floor_seconds, bus) for run in runs)], limits


def compare_contender(
    contender: Contender,
    keys: _Array,
    timed: Callable[..., Timing],
    threaded: Row,
    limits: Limits | None,
) -> Row:
    """Measure another library on keys of shape (n,), converted to its own container beforehand.

    On the CPU its limit is that of `threaded`, the row of `threaded_sort`. On the GPU it is that of
    GPU memory, if that was measured.

    Raises `ContenderError` if the library fails, `WrongResult` if it sorts wrongly.
    """
    try:
        task = load(contender, keys)
        timing = timed(task.sort, to_numpy=task.to_numpy)
    except WrongResult as error:
        raise WrongResult(f"{contender.name}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # polars raises panics as BaseException
        raise ContenderError(f"{contender.name} failed: {one_line(error)}") from error
    run = Run(contender.name, task.device, task.threads, *timing)
    if run.device == "cpu":
        return Row(run, threaded.limit_seconds, threaded.limit)
    return _limited(run, limits.nbytes, "GPU memory", limits.memory) if limits else Row(run)


def table(rows: Sequence[Row], size: int, title: str, caption: str | None) -> Table:
    """Return the rows as a table; the first one, ``np.sort``, is the base of the ratios."""
    result = Table(title=title, caption=caption, caption_justify="left")
    result.add_column("Sort")
    for heading in ("Threads", "Time", "Spread", "Keys/s", "Over np.sort"):
        result.add_column(heading, justify="right")
    result.add_column("Limit")
    result.add_column("Limit / time", justify="right")
    for run, limit, words in rows:
        seconds, threads = run.median, run.used or run.threads
        result.add_row(
            run.name,
            "" if threads is None else str(threads),
            readable_time(seconds),
            f"{readable_time(min(run.repeats))} to {readable_time(max(run.repeats))}",
            f"{size / seconds:.3g}",
            f"{rows[0].run.median / seconds:.2f}x",
            f"{readable_time(limit)}: {words}" if limit else "",
            f"{limit / seconds:.0%}" if limit else "",
        )
    return result


def _limited(run: Run, nbytes: int, memory: str, speed: float) -> Row:
    """Return a row whose limit is to read and to write all keys once in this memory."""
    return Row(run, 2 * nbytes / speed, f"{memory}, {_speed(speed)}")


def _speed(bytes_per_second: float) -> str:
    gigabytes = bytes_per_second / 1e9
    return f"{gigabytes:.1f} GB/s" if gigabytes < 100 else f"{gigabytes:,.0f} GB/s"
