"""Where a benchmark runs: the labels of its results, and what there is to measure."""

import json
import os

from benchmarks import labels

if "ASV_LABELS" not in os.environ:
    raise labels.WrongLabels(
        "no labels for the results: use this repository's asv.conf.json, "
        "or `asv run --config asv.installed.conf.json` for the packages installed here"
    )
#: The labels of the results: python, cupy, build and numpy.
LABELS = json.loads(os.environ["ASV_LABELS"])
# When asv imports its first benchmark, so that nothing is measured under a false label.
labels.check(LABELS)

#: Whether this CuPy imports only with the shim.
REPAIRED = LABELS["build"].endswith("repaired")


def require_cupy():
    """Skip in an interpreter without CuPy."""
    if LABELS["cupy"] == "none":
        raise NotImplementedError("CuPy is not installed")


def require_sorts():
    """Skip commits from before the sorts, and the environments that would repeat their figures."""
    if os.environ.get("ASV_ENV_TYPE") == "matrix" and LABELS["cupy"].startswith("13."):
        raise NotImplementedError("the matrix measures sorts beside its newest CuPy only")
    # The kernels that a later commit compiled stay behind when pip uninstalls that commit, and
    # their folders are enough to import a package of that name, but nothing from it.
    try:
        from cupy_compat.cudamark.cpu import threaded_sort  # noqa: F401
    except ImportError as error:
        raise NotImplementedError(f"no sorts: {error}") from error


def require_gpu():
    """Skip where no GPU is usable."""
    require_cupy()
    require_sorts()
    from cupy_compat.cudamark.gpu import GpuUnavailable, find_gpu

    try:
        find_gpu()
    except GpuUnavailable as error:
        raise NotImplementedError(str(error)) from error


def usable_cpus():
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
