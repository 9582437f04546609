"""All ways to sort an array of the host, side by side: the CPU's and through the GPU."""

import numpy as np

from benchmarks.environment import require_gpu, require_sorts

WAYS = ["np.sort", "threaded_sort", "cp.asnumpy(cp.sort(cp.array(a)))", "gpu_sort"]
DTYPES = ["int32", "float64"]
SIZES = [10_000_000, 50_000_000]


class HostToHost:
    """Each way with the number of threads that it chooses by itself."""

    params = (WAYS, DTYPES, SIZES)
    param_names = ("way", "dtype", "size")
    version = "1"
    number = 1
    repeat = 3
    rounds = 4
    warmup_time = 0.1
    timeout = 120

    def setup(self, way, dtype, size):
        if way in WAYS[2:]:
            require_gpu()
        else:
            require_sorts()
        from cupy_compat.cudamark.inputs import make_input

        self.keys = make_input("uniform", size, np.dtype(dtype), seed=0)
        self.sort = _function(way, dtype)

    def time_sort(self, way, dtype, size):
        self.sort(self.keys)

    time_sort.pretty_name = "sort of an array of the host"


def _function(way, dtype):
    """Return what sorts that way, ready: kernels are compiled."""
    if way == "np.sort":
        return np.sort
    if way == "threaded_sort":
        from cupy_compat.cudamark.cpu import threaded_sort, warm_up

        warm_up(dtype)
        return threaded_sort
    from cupy_compat.cudamark import gpu_sort
    from cupy_compat.cudamark.gpu import naive_sort

    return gpu_sort if way == "gpu_sort" else naive_sort
