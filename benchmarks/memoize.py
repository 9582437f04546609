"""A call of a memoized function against the bare native one that CuPy's ``memoize`` makes."""

import timeit
from statistics import median
from types import SimpleNamespace

from benchmarks.environment import require_cupy
from benchmarks.measuring import in_turns, measured, ratio, track

version = "3"

CALLS = 20_000
BARE = "times the bare function"


def subject(x):
    """Return x."""
    return x


class Call:
    """A call that finds its result in the cache; a second bare function is the yardstick."""

    def setup_cache(self):
        return measured(self.measure)

    def measure(self):
        require_cupy()
        import cupy_compat

        cupy_compat.install(force=True)
        from cupy import _util

        functions = {"memoized": _util.memoize()(subject)}
        # Without the copy of metadata, `memoize` returns the bare function in every build.
        functools = _util.functools
        _util.functools = SimpleNamespace(wraps=lambda function: lambda native: native)
        try:
            functions |= {name: _util.memoize()(subject) for name in ("bare", "again")}
        finally:
            _util.functools = functools
        seconds = in_turns(functions, 150, self.clock)
        return {
            ("ratio",): ratio(seconds["memoized"], seconds["bare"]),
            ("yardstick",): ratio(seconds["again"], seconds["bare"]),
            ("time",): median(seconds["memoized"]),
        }

    @staticmethod
    def clock(function):
        names = {"function": function}
        return timeit.timeit("function(0)", number=CALLS, globals=names) / CALLS

    track_ratio = track("ratio", BARE, "a memoized call")
    track_yardstick = track("yardstick", BARE, "another bare function")
    track_time = track("time", "seconds", "a memoized call, time")
