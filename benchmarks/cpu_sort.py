"""``threaded_sort`` against ``np.sort``."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

from benchmarks.environment import require_sorts, usable_cpus
from benchmarks.measuring import in_turns, measured, ratio, track, uniform_keys

version = "2"

SIZE = 5_000_000
DTYPES = ["int32", "float64"]
THREADS = [1, 2, 4, 8, 16]


class ThreadedSort:
    """Uniform keys; NumPy's sort of parts, on as many threads, is the yardstick."""

    params = (THREADS, DTYPES)
    param_names = ["threads", "dtype"]

    def setup_cache(self):
        return measured(self.measure)

    setup_cache.timeout = 300

    def measure(self):
        require_sorts()
        import numpy as np

        from cupy_compat.cudamark.cpu import threaded_sort, warm_up

        counts = [threads for threads in THREADS if threads <= usable_cpus()]
        pools = {threads: ThreadPoolExecutor(threads) for threads in counts}

        def sort_parts(keys, threads):
            if threads == 1:
                return np.sort(keys)
            # More parts than threads, since one processor may be slower than another.
            parts = np.array_split(keys.copy(), 8 * threads)
            return list(pools[threads].map(np.ndarray.sort, parts))

        figures = {}
        for dtype in DTYPES:
            warm_up(dtype)
            keys = uniform_keys(SIZE, dtype)
            ways = {"numpy": partial(np.sort, keys)}
            for threads in counts:
                ways["ratio", threads, dtype] = partial(threaded_sort, keys, threads)
                ways["yardstick", threads, dtype] = partial(sort_parts, keys, threads)
            seconds = in_turns(ways, turns=21)
            numpy = seconds.pop("numpy")
            for way, samples in seconds.items():
                figures[way] = ratio(numpy, samples)
                figures["time", *way[1:]] = median(samples)
        return figures

    track_ratio = track("ratio", "times as fast as np.sort", "threaded_sort")
    track_yardstick = track("yardstick", "times as fast as np.sort", "np.sort of parts, on threads")
    track_time = track("time", "seconds", "threaded_sort, time")
