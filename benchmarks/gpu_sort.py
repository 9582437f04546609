"""Sorting on the GPU: CuPy's sort by GPU time, and host to host by the clock."""

from statistics import median

import numpy as np

from benchmarks.environment import require_gpu

DTYPES = ["int32", "float64"]
SIZES = [50_000_000, 10_000_000]
THREADS = [1, 2, 4, 8]


class OnDevice:
    """Keys that are on the GPU already: GPU time between two events around the sort."""

    params = (["cp.sort", "in place"], DTYPES, SIZES)
    param_names = ("sort", "dtype", "size")
    version = "1"
    unit = "seconds"
    timeout = 120

    def setup(self, sort, dtype, size):
        require_gpu()
        from cupy_compat.cudamark.gpu import sort_times
        from cupy_compat.cudamark.inputs import make_input

        self.keys = make_input("uniform", size, np.dtype(dtype), seed=0)
        self.times = sort_times

    def track_sort(self, sort, dtype, size):
        return median(self.times(self.keys, repeat=20, in_place=sort == "in place"))

    track_sort.pretty_name = "sort of keys on the GPU, GPU time"


class StagedByThreads:
    """``gpu_sort``, from ordinary memory to ordinary memory: its threads stage the keys."""

    params = (THREADS, DTYPES, SIZES)
    param_names = ("threads", "dtype", "size")
    version = "1"
    number = 1
    repeat = 5
    rounds = 2
    warmup_time = 0.1
    timeout = 120

    def setup(self, threads, dtype, size):
        require_gpu()
        from cupy_compat.cudamark import gpu_sort
        from cupy_compat.cudamark.inputs import make_input

        self.keys = make_input("uniform", size, np.dtype(dtype), seed=0)
        self.sort = gpu_sort

    def time_gpu_sort(self, threads, dtype, size):
        self.sort(self.keys, threads)

    time_gpu_sort.pretty_name = "gpu_sort"


class PageLocked:
    """``gpu_sort``, between arrays in page-locked memory, which need no staging."""

    params = (DTYPES, SIZES)
    param_names = ("dtype", "size")
    version = "1"
    number = 1
    repeat = 5
    rounds = 2
    warmup_time = 0.1
    timeout = 120

    def setup(self, dtype, size):
        require_gpu()
        try:
            from cupy_compat.cudamark.gpu import page_locked
        except ImportError as error:
            raise NotImplementedError("this commit stages page-locked memory, too") from error
        from cupy_compat.cudamark import gpu_sort
        from cupy_compat.cudamark.inputs import make_input

        self.keys, self.out = (page_locked(size, np.dtype(dtype)) for _ in range(2))
        np.copyto(self.keys, make_input("uniform", size, np.dtype(dtype), seed=0))
        self.sort = gpu_sort

    def time_gpu_sort(self, dtype, size):
        self.sort(self.keys, out=self.out)

    time_gpu_sort.pretty_name = "gpu_sort, page-locked"
