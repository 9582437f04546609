"""Sorting on the GPU: CuPy's sort by GPU time, and host to host by the clock."""

from statistics import median

import numpy as np

from benchmarks.environment import require_gpu

DTYPES = ["int32", "float64"]
SIZES = [10_000_000, 50_000_000]
THREADS = [1, 2, 4, 8]


class OnDevice:
    """Keys that are on the GPU already: GPU time between two events around the sort."""

    params = (DTYPES, SIZES)
    param_names = ("dtype", "size")
    unit = "seconds"
    timeout = 120

    def setup(self, dtype, size):
        require_gpu()
        from cupy_compat.cudamark.gpu import sort_times
        from cupy_compat.cudamark.inputs import make_input

        self.keys = make_input("uniform", size, np.dtype(dtype), seed=0)
        self.times = sort_times

    def track_sort(self, dtype, size):
        return median(self.times(self.keys, repeat=10, in_place=False))

    track_sort.pretty_name = "cp.sort, GPU time"

    def track_sort_in_place(self, dtype, size):
        return median(self.times(self.keys, repeat=10, in_place=True))

    track_sort_in_place.pretty_name = "cp.ndarray.sort in place, GPU time"


class HostToHost:
    """From ordinary memory to ordinary memory, by the clock: the result is there at the end."""

    number = 1
    repeat = 5
    rounds = 1
    warmup_time = 0.1
    timeout = 120

    def make_keys(self, dtype, size):
        require_gpu()
        from cupy_compat.cudamark.inputs import make_input

        self.keys = make_input("uniform", size, np.dtype(dtype), seed=0)


class UsualScript(HostToHost):
    """The script that everybody has, with two copies through pageable memory."""

    params = (DTYPES, SIZES)
    param_names = ("dtype", "size")

    def setup(self, dtype, size):
        self.make_keys(dtype, size)
        from cupy_compat.cudamark.gpu import naive_sort

        self.sort = naive_sort

    def time_naive(self, dtype, size):
        self.sort(self.keys)

    time_naive.pretty_name = "cp.asnumpy(cp.sort(cp.array(a)))"


class StagedByThreads(HostToHost):
    """``gpu_sort``, whose threads stage the keys in pinned memory."""

    params = (THREADS, DTYPES, SIZES)
    param_names = ("threads", "dtype", "size")

    def setup(self, threads, dtype, size):
        self.make_keys(dtype, size)
        from cupy_compat.cudamark import gpu_sort

        self.sort = gpu_sort

    def time_gpu_sort(self, threads, dtype, size):
        self.sort(self.keys, threads)

    time_gpu_sort.pretty_name = "gpu_sort"
