"""CuPy's ``memoize``: native where CuPy is published, repaired where its build is broken."""

import itertools
from functools import cached_property

from benchmarks.environment import load_cupy


def subject(x):
    """Return x."""
    return x


class Memoize:
    """Calls of a memoized function, and memoizing one."""

    version = "2"
    rounds = 4
    repeat = 10

    # No ``setup``: with one asv times each call by itself, and a call takes less than the clock.
    @cached_property
    def memoize(self):
        """CuPy's own, or the repaired one; imported during the warm-up."""
        return load_cupy().memoize

    @cached_property
    def memoized(self):
        """A function that has been called with 0."""
        memoized = self.memoize()(subject)
        memoized(0)
        return memoized

    @cached_property
    def fresh(self):
        """Arguments that the function has not been called with."""
        return itertools.count(1)

    def time_hit(self):
        self.memoized(0)

    time_hit.pretty_name = "a memoized call, from the cache"
    time_hit.number = 50_000

    def time_miss(self):
        self.memoized(next(self.fresh))

    time_miss.pretty_name = "a memoized call, not in the cache yet"
    time_miss.number = 5_000

    def time_decorate(self):
        self.memoize()(subject)

    time_decorate.pretty_name = "memoizing a function"
    time_decorate.number = 2_000
