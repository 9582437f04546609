"""What a measurement was made on: machine, operating system, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """The host.

    Attributes
    ----------
    cpu_name : str
        The processor, as it names itself.
    cpu_count : int
        CPUs of the machine; fewer may be usable.
    memory_bytes : int or None
        Main memory, None where the system does not tell.
    system : str
        Operating system and its release.
    python, numpy : str
        Their versions.
    numba : str or None
        Its version, None if it is not installed.
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
        cpu_count=os.cpu_count() or 1,
        memory_bytes=_meminfo("MemTotal"),
        system=platform.platform(),
        python=platform.python_version(),
        numpy=importlib.metadata.version("numpy"),
        numba=_version("numba"),
    )


def available_memory() -> int | None:
    """Return the bytes of main memory that a new array can have, or None if nothing tells.

    On Linux that is what the kernel calls available, within the limit of the process's control
    group.
    """
    figures = [_meminfo("MemAvailable"), _control_group_memory()]
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


def _control_group_memory() -> int | None:
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    used = _read("/sys/fs/cgroup/memory.current").strip()
    if not (limit.isdigit() and used.isdigit()):
        return None
    # Cached files count as used, but the kernel drops them when memory is wanted.
    statistics = dict(
        line.split() for line in _read("/sys/fs/cgroup/memory.stat").splitlines() if line
    )
    return int(limit) - int(used) + int(statistics.get("inactive_file", "0"))


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
