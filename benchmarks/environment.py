"""Where a benchmark runs: the labels that its results get, and what there is to measure."""

import json
import os

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


def load_cupy():
    """Return CuPy, imported under the armed shim."""
    import cupy_compat

    cupy_compat.install(force=True)
    import cupy

    return cupy


def require_sorts():
    """Skip commits from before the sorts."""
    try:
        import cupy_compat.cudamark as sorts
    except ModuleNotFoundError as error:
        if error.name != "cupy_compat.cudamark":
            raise
        sorts = None
    # What a later commit's kernels were compiled to stays behind when that commit is uninstalled,
    # and a folder of the name is enough for an import: of a package that has no file.
    if getattr(sorts, "__file__", None) is None:
        raise NotImplementedError("this commit has no cupy_compat.cudamark")


def require_gpu():
    """Skip where there is no usable GPU."""
    require_sorts()
    from cupy_compat.cudamark.gpu import GpuUnavailable, find_gpu

    try:
        find_gpu()
    except GpuUnavailable as error:
        raise NotImplementedError(str(error)) from error
