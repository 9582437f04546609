"""Sorting on CPU threads."""

import contextlib

import numpy as np

from benchmarks.environment import require_sorts

DTYPES = ["int32", "float64"]
# The first of each list is what the page opens with, so it has to be measured on every machine.
SIZES = [10_000_000, 1_000_000]
THREADS = [1, 2, 4, 8, 16]


class ThreadedSort:
    """``threaded_sort``; its kernels are compiled beforehand."""

    params = (THREADS, DTYPES, SIZES)
    param_names = ("threads", "dtype", "size")
    version = "1"
    number = 1
    # A few samples in each of several rounds, since what else a machine does changes by the minute.
    repeat = 3
    rounds = 4
    warmup_time = 0.0

    def setup_cache(self):
        # In a process of its own: the memory that compiling takes, once for each commit and
        # environment, would be the peak of whichever sort came first.
        with contextlib.suppress(NotImplementedError):
            require_sorts()
            from cupy_compat.cudamark.cpu import warm_up

            for dtype in DTYPES:
                warm_up(dtype)

    setup_cache.timeout = 120

    def setup(self, threads, dtype, size):
        require_sorts()
        from cupy_compat.cudamark.cpu import threaded_sort, warm_up
        from cupy_compat.cudamark.inputs import make_input

        self.keys = make_input("uniform", size, np.dtype(dtype), seed=0)
        warm_up(dtype)
        self.sort = threaded_sort

    def time_sort(self, threads, dtype, size):
        self.sort(self.keys, threads)

    time_sort.pretty_name = "threaded_sort"

    def peakmem_sort(self, threads, dtype, size):
        self.sort(self.keys, threads)

    peakmem_sort.pretty_name = "threaded_sort, peak memory of the process"
