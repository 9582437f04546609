"""The sort on CPU threads, `threaded_sort`."""

from cupy_compat.cudamark.cpu.sort import threaded_sort, threads_used, warm_up

__all__ = ["threaded_sort", "threads_used", "warm_up"]
