"""What the matrix of ``asv.conf.json`` says of the environment that a benchmark runs in."""

import os

#: Whether CuPy was broken on purpose here, by the Cython that the variable names.
BROKEN = bool(os.environ.get("BREAKING_CYTHON"))


def load_cupy():
    """Return CuPy, imported under the armed shim."""
    import cupy_compat

    cupy_compat.install(force=True)
    import cupy

    return cupy


def require_cudamark():
    """Make the commits from before the sorts show ``n/a``."""
    try:
        import cupy_compat.cudamark  # noqa: F401
    except ModuleNotFoundError as error:
        raise NotImplementedError("this commit has no cupy_compat.cudamark") from error


def require_gpu():
    """Make machines without a usable GPU show ``n/a``."""
    require_cudamark()
    from cupy_compat.cudamark.gpu import GpuUnavailable, find_gpu

    try:
        find_gpu()
    except GpuUnavailable as error:
        raise NotImplementedError(str(error)) from error
