"""A call of a memoized function against the bare native one that CuPy's ``memoize`` makes."""

import timeit
from functools import partial
from statistics import median
from types import SimpleNamespace

from benchmarks.environment import require_cupy
from benchmarks.measuring import in_turns, measured, ratio, track

version = "3"

BARE = "times the bare function"
CALLS = 2_000
TURNS = 1_500


def subject(x):
    """Return x."""
    return x


class Call:
    """A call that finds its result in the cache; `functools.partial` is the yardstick."""

    def setup_cache(self):
        return measured(self.measure)

    def measure(self):
        require_cupy()
        import cupy_compat

        cupy_compat.install(force=True)
        from cupy import _util

        # Without the copy of metadata, `memoize` returns the bare function in every build.
        native = SimpleNamespace(wraps=lambda function: lambda bare: bare)

        def bare():
            functools, _util.functools = _util.functools, native
            try:
                return _util.memoize()(subject)
            finally:
                _util.functools = functools

        makers = {"memoized": lambda: _util.memoize()(subject), "bare": bare}
        makers["partial"] = lambda: partial(bare())
        seconds = in_turns(makers, TURNS, self.clock)
        return {
            ("ratio",): ratio(seconds["memoized"], seconds["bare"]),
            ("yardstick",): ratio(seconds["partial"], seconds["bare"]),
            ("time",): median(seconds["memoized"]),
        }

    @staticmethod
    def clock(make):
        # A new function each time: one of them may lie badly in memory, and be 10 % slower.
        names = {"function": make()}
        names["function"](0)
        return timeit.timeit("function(0)", number=CALLS, globals=names) / CALLS

    track_ratio = track("ratio", BARE, "a memoized call")
    track_yardstick = track("yardstick", BARE, "a call through functools.partial")
    track_time = track("time", "seconds", "a memoized call, time")
