"""What a measurement was made on: machine, operating system, versions."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass
from pathlib import Path

from cupy_compat.cudamark import cgroups
from cupy_compat.cudamark.threads import machine_cpus


@dataclass(frozen=True)
class Machine:
    """The host: its processor, as it names itself, all its CPUs, memory, and versions.

    Fewer CPUs may be usable. `memory_bytes` is None where the system does not tell, `numba` where
    it is not installed.
    """

    cpu_name: str
    cpu_count: int
    memory_bytes: int | None
    system: str
    python: str
    numpy: str
    numba: str | None


def describe_machine() -> Machine:
    """Return what this process runs on."""
    return Machine(
        cpu_name=cpu_name(),
        cpu_count=machine_cpus(),
        memory_bytes=_meminfo("MemTotal"),
        system=platform.platform(),
        python=platform.python_version(),
        numpy=importlib.metadata.version("numpy"),
        numba=_version("numba"),
    )


def available_memory() -> int | None:
    """Return the bytes of main memory that a new array can have, or None if nothing tells.

    On Linux that is what the kernel calls available, within the limits of the process's control
    groups.
    """
    figures = [_meminfo("MemAvailable"), cgroups.free_memory()]
    known = [figure for figure in figures if figure is not None]
    return min(known, default=None)


def cpu_name() -> str:
    """Return the name of the processor, as it gives it itself."""
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _meminfo(key: str) -> int | None:
    for line in _read("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) << 10
    return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
