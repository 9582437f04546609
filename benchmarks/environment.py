"""Where a benchmark runs: the labels that its results get, checked, and what it can measure."""

import json
import os
from pathlib import Path

from benchmarks import labels

if "ASV_LABELS" not in os.environ:
    raise labels.WrongLabels(
        "nothing says what results are to be labelled with: use this repository's asv.conf.json, "
        "or `asv run --config asv.installed.conf.json` for what is installed"
    )
#: What results are labelled with: python, cupy, build and numpy.
LABELS = json.loads(os.environ["ASV_LABELS"])
# When asv imports its first benchmark, so that nothing is measured under a false label.
labels.check(LABELS)

#: Whether this CuPy imports under the shim alone.
REPAIRED = LABELS["build"].endswith("repaired")
#: The CuPy of the matrix beside which sorts are measured. The others would repeat its figures.
SORTS_BESIDE = {"cupy": "14.2.0", "build": labels.PUBLISHED}


def load_cupy():
    """Return CuPy, imported under the armed shim."""
    import cupy_compat

    cupy_compat.install(force=True)
    import cupy

    return cupy


def usable_cpus():
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def require_sorts(threads=1):
    """Skip where sorts are not measured: by another CuPy's turn, by the CPUs, by the commit."""
    # Quickest first, since each combination of parameters asks in a process of its own.
    of_matrix = os.environ["ASV_ENV_TYPE"] == "matrix"
    if of_matrix and any(LABELS[name] != value for name, value in SORTS_BESIDE.items()):
        raise NotImplementedError(f"sorts are measured beside CuPy {SORTS_BESIDE['cupy']}")
    if threads > usable_cpus():
        raise NotImplementedError(f"{threads} threads want {threads} CPUs")
    try:
        import cupy_compat.cudamark  # noqa: F401
    except ModuleNotFoundError as error:
        raise NotImplementedError("this commit has no cupy_compat.cudamark") from error


def require_gpu():
    """Skip where there is no usable GPU."""
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")):
        raise NotImplementedError("no GPU")
    require_sorts()
    from cupy_compat.cudamark.gpu import GpuUnavailable, find_gpu

    try:
        find_gpu()
    except GpuUnavailable as error:
        raise NotImplementedError(str(error)) from error
