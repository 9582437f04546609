"""CuPy's ``memoize``: native where CuPy is healthy, repaired where it is 13.4.1."""

import itertools

from benchmarks.environment import load_cupy


def subject(x):
    """Return x."""
    return x


class Memoize:
    """Calls of a memoized function, and memoizing one."""

    rounds = 4

    def setup(self):
        self.memoize = load_cupy().memoize
        self.memoized = self.memoize()(subject)
        self.memoized(0)
        self.fresh = itertools.count(1)

    def time_hit(self):
        self.memoized(0)

    time_hit.pretty_name = "a memoized call, from the cache"

    def time_miss(self):
        self.memoized(next(self.fresh))

    time_miss.pretty_name = "a memoized call, not in the cache yet"

    def time_decorate(self):
        self.memoize()(subject)

    time_decorate.pretty_name = "memoizing a function"
