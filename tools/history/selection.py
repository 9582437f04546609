"""Which benchmarks are measured where: the rest is left out, which a table of n/a is not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

#: The CuPy of the matrix beside which sorts are measured. The others would repeat its figures.
SORTS_BESIDE = {"cupy": "14.2.0", "build": "published"}
SORTS = ("cpu_sort.", "gpu_sort.", "sort_ways.")
#: From so many CPUs on a machine sorts the larger arrays in fractions of a second.
CPUS_FOR_LARGE = 8
LARGE = 50_000_000
#: Devices of NVIDIA's driver, of Windows' subsystem and of AMD's driver.
GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_gpu() -> bool:
    """Return whether there is a GPU at all; the benchmarks ask whether it can be used."""
    return any(Path(device).exists() for device in GPU_DEVICES)


def measured(
    benchmark: str, parameters: Mapping[str, str], labels: Mapping[str, str], cpus: int, gpu: bool
) -> bool:
    """Return whether a benchmark is measured with these parameters in that environment.

    Parameters
    ----------
    benchmark : str
        Its name, as in ``cpu_sort.ThreadedSort.time_sort``.
    parameters : mapping
        Its parameters, as Python writes them.
    labels : mapping
        Of an environment of the matrix; empty for what is installed, which is measured whole.
    cpus : int
        How many can be used.
    gpu : bool
        Whether there is one.
    """
    if benchmark.startswith(SORTS) and labels and not SORTS_BESIDE.items() <= labels.items():
        return False
    if int(parameters.get("threads", 1)) > cpus:
        return False
    through_gpu = benchmark.startswith("gpu_sort.") or parameters.get("way") in (
        "'gpu_sort'",
        "'cp.asnumpy(cp.sort(cp.array(a)))'",
    )
    if through_gpu:
        return gpu
    large = benchmark.startswith("sort_ways.") and int(parameters.get("size", 0)) >= LARGE
    return not large or cpus >= CPUS_FOR_LARGE
