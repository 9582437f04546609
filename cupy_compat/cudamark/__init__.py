"""The sort benchmark: one array sorted with 1, 2, 4 ... threads, on the CPU and through the GPU.

``threaded_sort(a, threads=None)`` sorts on CPU threads; ``warm_up(dtype)`` compiles what it needs
for a dtype beforehand. ``gpu_sort(a, threads=None)`` sorts through the GPU, with threads that stage
the array in pinned memory; ``free_pinned_buffers()`` gives that memory back. Each is loaded when
it is first asked for, so importing this package costs nothing and needs nothing; using it needs
the extra ``cupy-compat[cudamark]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cupy_compat.cudamark.cpu import threaded_sort, warm_up
    from cupy_compat.cudamark.gpu import free_pinned_buffers, gpu_sort

__all__ = ["free_pinned_buffers", "gpu_sort", "threaded_sort", "warm_up"]

_HOME = {
    "free_pinned_buffers": "gpu",
    "gpu_sort": "gpu",
    "threaded_sort": "cpu",
    "warm_up": "cpu",
}
_EXTRA = frozenset({"matplotlib", "numba", "numpy", "rich"})


def explain_missing(error: ImportError) -> ImportError:
    """Return an error that says how to install what an import missed, or that error itself.

    It names ``pip install "cupy-compat[cudamark]"`` if the extra brings the missing module.
    """
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRA or not isinstance(error, ModuleNotFoundError):
        return error
    return ModuleNotFoundError(
        f'cudamark needs {package}, which is not installed: pip install "cupy-compat[cudamark]"',
        name=error.name,
    )


# A type checker would take any name that this function might answer: it reads the imports above.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        try:
            return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        except ModuleNotFoundError as error:
            raise explain_missing(error) from error
