"""Writing results: CSV and JSON, and files that are whole or not there at all.

The JSON is one flat object; ``schema_version`` changes when a key changes its meaning or goes.

======================================  ==========================================================
``schema_version``                      1
``date``, ``command``                   ISO 8601 in UTC; the command line
``device``, ``device_reason``           ``cpu`` or ``gpu``, whose table was printed, and why
``size``, ``dtype``, ``distribution``,  the input
``seed``
``repeat``, ``warm_up``                 timed calls, and calls between the first and those
``compile_seconds``                     compiling for the CPU, outside all timed regions
``gpu_startup_seconds``                 loading CuPy and starting CUDA, outside all timed regions
``cpu_*``, ``memory_bytes``,            the machine; ``cpu_usable`` is what the process may use,
``system``, ``*_version``               and the most threads that a CPU sort uses
``gpu_most_threads``                    the most that ``gpu_sort`` uses for this array
``with_versions``                       an object: the name of each library that was measured
                                        beside these sorts, and its version or null
``gpu_*``, ``driver_version``,          the GPU and its software, null if none was used
``cuda_driver_version``,
``cuda_runtime_version``
``upload_bytes_per_second``,            measured in the same run, null where they were not
``download_bytes_per_second``,
``gpu_memory_bytes_per_second``,
``gpu_sort_in_place_seconds``,
``gpu_floor_seconds``,
``gpu_serial_seconds``
``runs``                                a list of objects, one for each sort and thread count
======================================  ==========================================================

A run has ``name`` (``threaded_sort``, ``gpu_sort``, ``np.sort`` ...), ``device``, ``threads``
(null where there is no choice, or a library does not tell), ``threads_used`` (the sort had no use
for more; null where it does not say), ``first_call_seconds`` (cold; null for GPU time by events),
``repeat_seconds`` (every one), and their ``median_seconds``, ``min_seconds`` and ``max_seconds``.
All times are in seconds.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from cupy_compat.cudamark.gpu import Gpu, Limits
from cupy_compat.cudamark.machine import Machine

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Run:
    """One sort with one number of threads, measured on ``cpu`` or ``gpu``.

    `threads` is None where the sort leaves no choice, `used` says how many of them it had use for,
    or is None. `first` has the seconds of the cold first call, None where it was not kept, and
    `repeats` those of every timed call.
    """

    name: str
    device: str
    threads: int | None
    first: float | None
    repeats: tuple[float, ...]
    used: int | None = None

    @property
    def median(self) -> float:
        """Median of the repeats, in seconds."""
        return median(self.repeats)


def readable_time(seconds: float) -> str:
    """Return a time with three digits, in a unit that shows them: 1.25 s, 13.6 ms, 7.08 us."""
    number, unit = next(
        (seconds * factor, unit)
        for factor, unit, least in ((1.0, "s", 1.0), (1e3, "ms", 1e-3), (1e6, "us", 0.0))
        if seconds >= least
    )
    return f"{number:,.{2 if number < 10 else 1 if number < 100 else 0}f} {unit}"


def readable_bytes(nbytes: int) -> str:
    """Return an amount of memory with three digits: 381 MiB, 1.49 GiB."""
    number, units = float(nbytes), iter(("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = next(units)
    while number >= 1000 and unit != "EiB":
        number, unit = number / 1024, next(units)
    return f"{number:.3g} {unit}"


def csv_text(runs: Iterable[Run]) -> str:
    """Return the thread counts and their median seconds as CSV, with a header."""
    lines = ["ThreadCount,TimeTakenSeconds"]
    lines += [f"{run.threads},{run.median:.6f}" for run in runs]
    return "\n".join(lines) + "\n"


def json_text(
    settings: Mapping[str, Any],
    machine: Machine,
    gpu: Gpu | None,
    limits: Limits | None,
    runs: Iterable[Run],
) -> str:
    """Return a whole measurement as JSON, by the schema above.

    `settings` has the keys from ``date`` to ``compile_seconds``, ``cpu_usable``,
    ``gpu_most_threads`` and ``with_versions``.
    """
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        **settings,
        "cpu_name": machine.cpu_name,
        "cpu_count": machine.cpu_count,
        "memory_bytes": machine.memory_bytes,
        "system": machine.system,
        "python_version": machine.python,
        "numpy_version": machine.numpy,
        "numba_version": machine.numba,
        "cupy_version": gpu and gpu.cupy,
        "gpu_name": gpu and gpu.name,
        "gpu_memory_bytes": gpu and gpu.memory_bytes,
        "gpu_startup_seconds": gpu and gpu.startup_seconds,
        "driver_version": gpu and gpu.driver,
        "cuda_driver_version": gpu and gpu.cuda_driver,
        "cuda_runtime_version": gpu and gpu.cuda_runtime,
        "upload_bytes_per_second": limits and limits.upload,
        "download_bytes_per_second": limits and limits.download,
        "gpu_memory_bytes_per_second": limits and limits.memory,
        "gpu_sort_in_place_seconds": limits and limits.sort_seconds,
        "gpu_floor_seconds": limits and limits.floor_seconds,
        "gpu_serial_seconds": limits and limits.serial_seconds,
        "runs": [
            {
                "name": run.name,
                "device": run.device,
                "threads": run.threads,
                "threads_used": run.used,
                "first_call_seconds": run.first,
                "repeat_seconds": list(run.repeats),
                "median_seconds": run.median,
                "min_seconds": min(run.repeats),
                "max_seconds": max(run.repeats),
            }
            for run in runs
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def require_writable(path: str) -> None:
    """Find out whether `write_whole` can write here, and leave no trace.

    Raises
    ------
    OSError
        If it cannot.
    """
    target = Path(path)
    with _named_errors(path):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target.exists() and not (os.access(target, os.W_OK) and target.stat().st_mode & 0o222):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        # A pipe is not opened before there is something to write: its reader would see its end.
        if not _is_special(target):
            beside = _beside(target)
            beside.touch()
            beside.unlink()


def write_whole(path: str, content: bytes) -> None:
    """Write a file so that it is never seen half-written, by a rename of a file beside it.

    To a device or a pipe it is appended directly.

    Raises
    ------
    OSError
        If it cannot be written; what stood there before still does.
    """
    target = Path(path)
    with _named_errors(path):
        if _is_special(target):
            with target.open("ab") as stream:
                stream.write(content)
            return
        beside = _beside(target)
        try:
            beside.write_bytes(content)
            if target.exists():
                shutil.copymode(target, beside)
            # What a symbolic link points to is replaced, not the link.
            os.replace(beside, target.resolve())
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def _named_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}") from error


def _beside(target: Path) -> Path:
    whole = target.resolve()
    return whole.with_name(f".{whole.name}.{os.getpid()}.part")


def _is_special(target: Path) -> bool:
    """Whether it is a device, a pipe, or a stream such as /dev/stdout, whatever that leads to."""
    is_stream = Path(os.path.abspath(target)).parts[1:2] in (("dev",), ("proc",))
    return target.exists() and (is_stream or not (target.is_file() or target.is_dir()))
