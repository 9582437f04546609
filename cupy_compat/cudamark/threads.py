"""The number of CPUs that this process may use, and checks of a number of threads."""

from __future__ import annotations

import functools
import math
import operator
import os
from typing import SupportsIndex

import numpy as np

from cupy_compat.cudamark import cgroups


def machine_cpus() -> int:
    """Return how many CPUs the machine has, regardless of ``PYTHON_CPU_COUNT``."""
    if hasattr(os, "sysconf"):  # not on Windows
        return max(os.sysconf("SC_NPROCESSORS_ONLN"), 1)
    return os.cpu_count() or 1


def usable_cpus() -> int:
    """Return how many CPUs this process may use.

    This is the minimum of the CPUs in its affinity mask, the quota of its control groups (rounded
    up), and ``PYTHON_CPU_COUNT``, which Python itself respects only from 3.13 on.
    """
    cpus = [machine_cpus(), *_limits()]
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        cpus.append(len(os.sched_getaffinity(0)))
    if hasattr(os, "process_cpu_count"):  # since Python 3.13
        cpus.append(os.process_cpu_count() or 1)
    return max(1, min(cpus))


@functools.cache
def _limits() -> list[int]:
    limits = []
    quota = cgroups.cpu_quota()
    if quota is not None:
        limits.append(math.ceil(quota))
    wanted = os.environ.get("PYTHON_CPU_COUNT", "")
    if wanted.isdecimal():
        limits.append(int(wanted))
    return limits


def checked_threads(threads: SupportsIndex) -> int:
    """Return a thread count as an int. Raise TypeError if it is no integer, ValueError below 1."""
    if isinstance(threads, (bool, np.bool_)):
        raise TypeError("threads must be an integer or None, not a bool")
    try:
        count = operator.index(threads)
    except TypeError:
        raise TypeError(
            f"threads must be an integer or None, not {type(threads).__name__}"
        ) from None
    if count < 1:
        raise ValueError(f"threads must be 1 or more, not {count}; None means all usable CPUs")
    return count
