"""The sort through the GPU, `gpu_sort`, and what is to be known of the GPU beside it."""

from cupy_compat.cudamark.gpu.device import Gpu, GpuUnavailable, find_gpu
from cupy_compat.cudamark.gpu.limits import Limits, measure_limits, naive_sort, sort_times
from cupy_compat.cudamark.gpu.memory import free_cached, require_memory
from cupy_compat.cudamark.gpu.staging import (
    as_bits,
    free_pinned_buffers,
    gpu_sort,
    most_threads,
    sorts_dtype,
)

__all__ = [
    "Gpu",
    "GpuUnavailable",
    "Limits",
    "as_bits",
    "find_gpu",
    "free_cached",
    "free_pinned_buffers",
    "gpu_sort",
    "measure_limits",
    "most_threads",
    "naive_sort",
    "require_memory",
    "sort_times",
    "sorts_dtype",
]
