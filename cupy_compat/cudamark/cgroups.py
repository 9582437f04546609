"""The limits that Linux control groups, of version 1 and 2, set for this process.

The process is in a group and in all groups around it. The tightest limit counts. A file that
cannot be read sets none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc/self")


def cpu_quota() -> float | None:
    """Return the limit of CPU time, in CPUs (1.5 is one and a half), or None if there is none."""
    quotas = []
    for group in _groups("cpu"):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = (_read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def free_memory() -> int | None:
    """Return how many more bytes this process may allocate, or None if nothing limits it."""
    free = []
    for group in _groups("memory"):
        for limit_file, used_file, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = _read(group / limit_file), _read(group / used_file)
            if limit.isdigit() and used.isdigit():
                # Cached files count as used, but the kernel drops them when memory is needed.
                statistics = dict(
                    line.split() for line in _read(group / "memory.stat").splitlines()
                )
                free.append(max(int(limit) - int(used) + int(statistics.get(cache, "0")), 0))
    return min(free, default=None)


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's groups, from the innermost to the root."""
    paths = {}
    for line in _read(_PROC / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    for line in _read(_PROC / "mountinfo").splitlines():
        # As in proc_pid_mountinfo(5): ... root, mount point ... - type, source, options.
        mount, _, system = line.partition(" - ")
        root, folder = mount.split(" ")[3:5]
        kind, _, options = system.split(" ")[:3]
        if kind == "cgroup2":
            path = paths.get("", "/")
        elif kind == "cgroup" and controller in options.split(","):
            path = paths.get(controller, "/")
        else:
            continue
        # In a container, the path may lead outside of what is mounted. Use the mounted root then.
        inside = path.removeprefix(root.rstrip("/")).strip("/")
        group = Path(folder, inside)
        if ".." in group.parts or not group.is_dir():
            group = Path(folder)
        yield from (one for one in (group, *group.parents) if one.is_relative_to(folder))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
