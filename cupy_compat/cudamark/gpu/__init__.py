"""The sort through the GPU, `gpu_sort`, and queries of the GPU for the benchmark."""

from cupy_compat.cudamark.gpu.device import Gpu, GpuUnavailable, find_gpu
from cupy_compat.cudamark.gpu.memory import free_cached, require_memory
from cupy_compat.cudamark.gpu.order import sorts_dtype
from cupy_compat.cudamark.gpu.pinned import free_pinned_buffers, page_locked
from cupy_compat.cudamark.gpu.sort import gpu_sort, most_threads, sorters_beyond_memory

__all__ = [
    "Gpu",
    "GpuUnavailable",
    "find_gpu",
    "free_cached",
    "free_pinned_buffers",
    "gpu_sort",
    "most_threads",
    "page_locked",
    "require_memory",
    "sorters_beyond_memory",
    "sorts_dtype",
]
