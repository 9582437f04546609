"""The CPUs and the memory that this process may use, by affinity, quota and environment."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cupy_compat.cudamark import cgroups, machine, threads

pytestmark = pytest.mark.usefixtures("away")

ASK = (
    "from cupy_compat.cudamark import machine, threads;"
    "print(threads.usable_cpus(), machine.describe_machine().cpu_count)"
)


def ask(**environment: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in done.stdout.split()]


def test_python_cpu_count_limits_usable_cpus_only() -> None:
    usable, there = ask(PYTHON_CPU_COUNT="default")
    assert ask(PYTHON_CPU_COUNT="1") == [1, there]
    assert ask(PYTHON_CPU_COUNT="10000") == [usable, there]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity")
def test_affinity_limits_usable_cpus() -> None:
    kept = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(kept)})
    try:
        assert threads.usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, kept)


#: By version and mounts: /proc/self/cgroup, /proc/self/mountinfo, and files of the groups.
CGROUPS = {
    "version 2, nested": (
        "0::/slice/job\n",
        "30 23 0:26 / {cgroup} rw,nosuid - cgroup2 cgroup2 rw\n",
        {
            "cpu.max": "max 100000",
            "slice/cpu.max": "150000 100000",
            "slice/job/cpu.max": "400000 100000",
            "slice/memory.max": "1000",
            "slice/memory.current": "400",
            "slice/memory.stat": "anon 100\ninactive_file 50\n",
            "slice/job/memory.max": "max",
            "slice/job/memory.current": "300",
        },
    ),
    "version 2, the group is the root that is seen": (
        "0::/\n",
        "30 23 0:26 / {cgroup} rw - cgroup2 cgroup2 rw\n",
        {"cpu.max": "150000 100000", "memory.max": "1000", "memory.current": "350"},
    ),
    "version 1, nested": (
        "4:memory:/job\n3:cpu,cpuacct:/job\n1:name=systemd:/\n",
        "31 23 0:27 / {cgroup}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "32 23 0:28 / {cgroup}/memory rw shared:1 - cgroup cgroup rw,memory\n",
        {
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
            "cpu/job/cpu.cfs_quota_us": "150000",
            "cpu/job/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/memory.usage_in_bytes": "5000",
            "memory/job/memory.limit_in_bytes": "1000",
            "memory/job/memory.usage_in_bytes": "400",
            "memory/job/memory.stat": "inactive_file 9\ntotal_inactive_file 50\n",
        },
    ),
    "version 1, a container without a name space of its own": (
        "4:memory:/docker/a1\n3:cpu,cpuacct:/docker/a1\n",
        "31 23 0:27 /docker/a1 {cgroup}/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
        "32 23 0:28 /docker/a1 {cgroup}/memory ro - cgroup cgroup rw,memory\n",
        {
            "cpu/cpu.cfs_quota_us": "150000",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": "1000",
            "memory/memory.usage_in_bytes": "350",
        },
    ),
}


@pytest.mark.parametrize("which", CGROUPS)
def test_the_tightest_control_group_counts(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files as the kernel writes them, since a test may not make groups of its own."""
    cgroup, mounts, files = CGROUPS[which]
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cgroup").write_text(cgroup)
    (tmp_path / "proc" / "mountinfo").write_text(mounts.format(cgroup=tmp_path / "cgroup"))
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(cgroups, "_PROC", tmp_path / "proc")
    threads._limits.cache_clear()
    try:
        assert cgroups.cpu_quota() == 1.5
        assert threads.usable_cpus() == min(2, len(os.sched_getaffinity(0)))
        assert cgroups.free_memory() == 650
        assert machine.available_memory() == 650
    finally:
        threads._limits.cache_clear()


def test_without_control_groups_nothing_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_PROC", tmp_path)
    assert cgroups.cpu_quota() is None
    assert cgroups.free_memory() is None


def test_this_machines_control_groups_can_be_read() -> None:
    quota = cgroups.cpu_quota()
    assert quota is None or 0 < quota < math.inf
    free = cgroups.free_memory()
    assert free is None or free >= 0
