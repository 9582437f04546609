"""The sort benchmark: one array sorted with 1, 2, 4 ... threads, on the CPU and through the GPU.

``threaded_sort(a, threads=None)`` sorts on CPU threads; ``warm_up(dtype)`` compiles its loops for a
dtype beforehand. ``gpu_sort(a, threads=None)`` sorts on the GPU, with threads that stage the array
in pinned memory; ``free_pinned_buffers()`` frees that memory. They are imported at first use, and
need the extra ``cupy-compat[cudamark]`` then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cupy_compat.cudamark.cpu import threaded_sort, warm_up
    from cupy_compat.cudamark.gpu import free_pinned_buffers, gpu_sort

__all__ = ["free_pinned_buffers", "gpu_sort", "threaded_sort", "warm_up"]

_EXTRA = frozenset({"matplotlib", "numba", "numpy", "rich"})


def explain_missing(error: ImportError) -> ImportError:
    """Return an error that names the extra if one of its packages is missing, else `error`."""
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRA or not isinstance(error, ModuleNotFoundError):
        return error
    return ModuleNotFoundError(
        f'cudamark needs {package}, which is not installed: pip install "cupy-compat[cudamark]"',
        name=error.name,
    )


# Hidden from type checkers, which would accept any name; they read the imports above instead.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        home = "cpu" if name in ("threaded_sort", "warm_up") else "gpu"
        try:
            return getattr(import_module(f"{__name__}.{home}"), name)
        except ModuleNotFoundError as error:
            raise explain_missing(error) from error
