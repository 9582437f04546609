"""The sort through the GPU, `gpu_sort`, and the other GPU measurements of the benchmark."""

from cupy_compat.cudamark.gpu.device import Gpu, GpuUnavailable, find_gpu
from cupy_compat.cudamark.gpu.measure import (
    USUAL_SCRIPT,
    Limits,
    measure_limits,
    naive_sort,
    sort_times,
)
from cupy_compat.cudamark.gpu.memory import free_cached, require_memory
from cupy_compat.cudamark.gpu.order import sorts_dtype
from cupy_compat.cudamark.gpu.pinned import free_pinned_buffers, page_locked
from cupy_compat.cudamark.gpu.sort import gpu_sort, most_threads, sorters_beyond_memory

__all__ = [
    "USUAL_SCRIPT",
    "Gpu",
    "GpuUnavailable",
    "Limits",
    "find_gpu",
    "free_cached",
    "free_pinned_buffers",
    "gpu_sort",
    "measure_limits",
    "most_threads",
    "naive_sort",
    "page_locked",
    "require_memory",
    "sort_times",
    "sorters_beyond_memory",
    "sorts_dtype",
]
