"""``gpu_sort`` against the usual script and the bus, and every way against ``np.sort``."""

from functools import partial
from statistics import median

from benchmarks.environment import require_gpu
from benchmarks.measuring import in_turns, measured, ratio, track, uniform_keys

version = "2"

SIZE = 50_000_000
DTYPES = ["int32", "float64"]
THREADS = [1, 2, 4, 8, 16]
USUAL = "cp.asnumpy(cp.sort(cp.array(a)))"
WAYS = ["threaded_sort", USUAL, "gpu_sort"]


def ways_to_sort(dtype):
    """Return functions that sort the same uniform keys of the host, and one that moves them."""
    import cupy as cp
    import numpy as np

    from cupy_compat.cudamark import gpu_sort, threaded_sort
    from cupy_compat.cudamark.cpu import warm_up

    warm_up(dtype)
    keys = uniform_keys(SIZE, dtype)
    ways = {
        "np.sort": partial(np.sort, keys),
        "threaded_sort": partial(threaded_sort, keys),
        USUAL: lambda: cp.asnumpy(cp.sort(cp.array(keys))),
        "gpu_sort": partial(gpu_sort, keys),
    }
    ways |= {threads: partial(gpu_sort, keys, threads) for threads in THREADS}
    device = cp.empty(SIZE, dtype)
    try:
        from cupy_compat.cudamark.gpu import page_locked
    except ImportError:  # from before gpu_sort took page-locked memory as it is
        from cupyx import empty_pinned as page_locked
    else:
        ways["page-locked"] = lambda: gpu_sort(locked, out=out)
    locked, out = (page_locked(SIZE, np.dtype(dtype)) for _ in range(2))
    np.copyto(locked, keys)

    def bus():
        device.set(locked)
        device.get(out=out)

    return ways | {"bus": bus}


class GpuSort:
    """From memory of the host and back; the usual script against the bus is the yardstick."""

    params = DTYPES
    param_names = ["dtype"]

    def setup_cache(self):
        return measured(self.measure)

    setup_cache.timeout = 300

    def measure(self):
        require_gpu()
        figures = {}
        for dtype in DTYPES:
            seconds = in_turns(ways_to_sort(dtype), turns=5)
            usual, bus = seconds[USUAL], seconds["bus"]
            figures["yardstick", dtype] = ratio(usual, bus)
            figures["time", dtype] = median(seconds["gpu_sort"])
            if "page-locked" in seconds:
                figures["page-locked", dtype] = ratio(seconds["page-locked"], bus)
            for threads in THREADS:
                figures["threads", threads, dtype] = ratio(usual, seconds[threads])
            for way in WAYS:
                figures["way", way, dtype] = ratio(seconds["np.sort"], seconds[way])
        return figures

    track_threads = track(
        "threads",
        "times as fast as the usual script",
        "gpu_sort",
        params=(THREADS, DTYPES),
        param_names=["threads", "dtype"],
    )
    track_ways = track(
        "way",
        "times as fast as np.sort",
        "sort of an array of the host",
        params=(WAYS, DTYPES),
        param_names=["way", "dtype"],
    )
    track_page_locked = track("page-locked", "times the bus alone", "gpu_sort, page-locked")
    track_yardstick = track("yardstick", "times the bus alone", "the usual script")
    track_time = track("time", "seconds", "gpu_sort, time")
