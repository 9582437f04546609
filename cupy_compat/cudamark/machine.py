"""Describe the machine of a measurement: processor, memory, operating system, versions."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass
from pathlib import Path

from cupy_compat.cudamark import cgroups
from cupy_compat.cudamark.threads import machine_cpus


@dataclass(frozen=True)
class Machine:
    """The host. The fields have the names of the JSON record.

    `cpu_count` includes CPUs that this process may not use. `memory_bytes` is None if unknown,
    `numba_version` if Numba is not installed.
    """

    cpu_name: str
    cpu_count: int
    memory_bytes: int | None
    system: str
    python_version: str
    numpy_version: str
    numba_version: str | None


def describe_machine() -> Machine:
    """Return the machine that this process runs on."""
    try:
        numba = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        numba = None
    return Machine(
        cpu_name=cpu_name(),
        cpu_count=machine_cpus(),
        memory_bytes=_meminfo("MemTotal"),
        system=platform.platform(),
        python_version=platform.python_version(),
        numpy_version=importlib.metadata.version("numpy"),
        numba_version=numba,
    )


def available_memory() -> int | None:
    """Return the memory that this process can still allocate, in bytes, None if unknown."""
    figures = [_meminfo("MemAvailable"), cgroups.free_memory()]
    return min((figure for figure in figures if figure is not None), default=None)


def cpu_name() -> str:
    """Return the name that the processor gives itself."""
    return _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def _meminfo(name: str) -> int | None:
    text = _field("/proc/meminfo", name)
    return int(text.split()[0]) << 10 if text else None


def _field(path: str, name: str) -> str | None:
    """Return the first value of `name` in a file with lines ``name: value``."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), None)
