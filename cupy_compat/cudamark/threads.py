"""How many threads: what a caller may ask for, and what this process may use."""

from __future__ import annotations

import operator
import os
from typing import SupportsIndex

import numpy as np


def usable_cpus() -> int:
    """Return how many CPUs this process may use, which can be fewer than the machine has."""
    if hasattr(os, "process_cpu_count"):  # since Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def checked_threads(threads: SupportsIndex) -> int:
    """Return the thread count as an int, or say what is wrong with it."""
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
