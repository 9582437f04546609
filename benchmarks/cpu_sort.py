"""Sorting on the CPU: ``np.sort``, and ``threaded_sort`` over numbers of threads."""

import numpy as np

from benchmarks.environment import require_cudamark

DTYPES = ["int32", "float64"]
SIZES = [1_000_000, 10_000_000]
THREADS = [1, 2, 4, 8, 16]


class NumpySort:
    """``np.sort``, one thread."""

    params = (DTYPES, SIZES)
    param_names = ("dtype", "size")
    number = 1
    # A few samples in each of several rounds, since what else a machine does changes by the minute.
    repeat = 3
    rounds = 4
    warmup_time = 0.0

    def setup(self, dtype, size):
        require_cudamark()
        from cupy_compat.cudamark.inputs import make_input

        self.keys = make_input("uniform", size, np.dtype(dtype), seed=0)

    def time_sort(self, dtype, size):
        np.sort(self.keys)

    time_sort.pretty_name = "np.sort"

    def peakmem_sort(self, dtype, size):
        np.sort(self.keys)

    peakmem_sort.pretty_name = "np.sort, peak memory of the process"


class ThreadedSort(NumpySort):
    """``threaded_sort``; its kernels are compiled in ``setup``."""

    params = (THREADS, DTYPES, SIZES)
    param_names = ("threads", "dtype", "size")

    def setup(self, threads, dtype, size):
        super().setup(dtype, size)
        from cupy_compat.cudamark.cpu import threaded_sort, warm_up

        warm_up(dtype)
        self.sort = threaded_sort

    def time_sort(self, threads, dtype, size):
        self.sort(self.keys, threads)

    time_sort.pretty_name = "threaded_sort"

    def peakmem_sort(self, threads, dtype, size):
        self.sort(self.keys, threads)

    peakmem_sort.pretty_name = "threaded_sort, peak memory of the process"
