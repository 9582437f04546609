"""Format results as CSV and JSON, and write files atomically.

The JSON is one flat object. All times are in seconds. What is unknown, or does not apply, is null.
``schema_version`` is incremented when a key is removed or redefined. ``device`` is the device that
was chosen, ``device_reason`` says why. Keys for the input and the number of repeats follow.
``compile_seconds`` is not included in any sort's time. ``cpu_usable`` and ``gpu_most_threads`` are
the maximum numbers of threads of `threaded_sort` and `gpu_sort`, ``with_versions`` the versions of
other libraries. All fields of `Machine` and `Gpu` follow, then the measured `Limits`.

``runs`` has an entry for each sort and thread count: ``name``, ``device``, ``threads`` (null if
there is no choice, or a library does not say), ``threads_used``, ``first_call_seconds`` (cold; null
for GPU time), ``repeat_seconds`` (a list), and the median, minimum and maximum of the latter.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

from cupy_compat.cudamark.gpu import Gpu
from cupy_compat.cudamark.gpu.measure import Limits
from cupy_compat.cudamark.machine import Machine

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Run:
    """One sort with one number of threads, measured on ``cpu`` or ``gpu``.

    `threads` was asked for, None if there is no choice. `used` is how many worked, None if unknown.
    `first` is the cold first call, None if it was not recorded. `repeats` are the timed calls. Both
    are in seconds.
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
    """Return a time with three digits in a suitable unit: 1.25 s, 13.6 ms, 7.08 us."""
    factor, unit = (1, "s") if seconds >= 1 else (1e3, "ms") if seconds >= 1e-3 else (1e6, "us")
    number = seconds * factor
    return f"{number:,.{2 if number < 10 else 1 if number < 100 else 0}f} {unit}"


def csv_text(runs: Iterable[Run]) -> str:
    """Return the thread counts and their median seconds as CSV, with a header."""
    lines = (f"{run.threads},{run.median:.6f}\n" for run in runs)
    return "".join(["ThreadCount,TimeTakenSeconds\n", *lines])


def json_text(
    settings: Mapping[str, Any],
    machine: Machine,
    gpu: Gpu | None,
    limits: Limits | None,
    runs: Iterable[Run],
) -> str:
    """Return a measurement as JSON, see the module. `settings` are its first keys."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        **settings,
        **asdict(machine),
        **(asdict(gpu) if gpu else dict.fromkeys(field.name for field in fields(Gpu))),
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
    """Raise OSError if `write_whole` cannot write to a path. Leave no file behind."""
    target = Path(path)
    with _named_errors(path):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target.exists() and not (os.access(target, os.W_OK) and target.stat().st_mode & 0o222):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        # Do not open a pipe yet: its reader would take closing it for the end.
        if not _is_special(target):
            beside = _temporary_path(target)
            beside.touch()
            beside.unlink()


def write_whole(path: str, content: bytes) -> None:
    """Replace a file atomically, or keep it and raise OSError. Append to a device or a pipe."""
    target = Path(path)
    with _named_errors(path):
        if _is_special(target):
            with target.open("ab") as stream:
                stream.write(content)
            return
        beside = _temporary_path(target)
        try:
            beside.write_bytes(content)
            if target.exists():
                shutil.copymode(target, beside)
            # Replace the target of a symbolic link, not the link.
            os.replace(beside, target.resolve())
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def _named_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}") from error


def _temporary_path(target: Path) -> Path:
    whole = target.resolve()
    return whole.with_name(f".{whole.name}.{os.getpid()}.part")


def _is_special(target: Path) -> bool:
    """Return whether a path is a device, a pipe, or a stream such as /dev/stdout."""
    is_stream = Path(os.path.abspath(target)).parts[1:2] in (("dev",), ("proc",))
    return target.exists() and (is_stream or not (target.is_file() or target.is_dir()))
