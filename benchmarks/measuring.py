"""Ratios of calls in turns within one process: they repeat where plain times drift."""

import time
from pathlib import Path
from statistics import median

from asv_runner.benchmarks.mark import SkipNotImplemented


def clock(function):
    """Return the seconds that one call takes."""
    begin = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - begin
    del result  # freeing a large array is no part of the call
    return seconds


def in_turns(functions, turns, clock=clock):
    """Return the seconds of all calls, by name.

    Parameters
    ----------
    functions : dict of str to callable
        What to time, once a turn. The order reverses with every turn.
    turns : int
        The number of turns, after one that warms up.
    clock : callable, optional
        Takes one of the functions and returns seconds.
    """
    order = list(functions)
    seconds = {name: [] for name in order}
    for turn in range(turns + 1):
        for name in order:
            sample = clock(functions[name])
            if turn:
                seconds[name].append(sample)
        order.reverse()
    return seconds


def ratio(above, below):
    """Return the median, over the turns, of one list of seconds divided by another."""
    return median(a / b for a, b in zip(above, below, strict=True))


def measured(measure):
    """Return the figures of ``measure``, or why there are none.

    asv would call a benchmark failed if its ``setup_cache`` raised ``NotImplementedError``.
    """
    try:
        return measure()
    except NotImplementedError as error:
        return {"missing": str(error)}


def uniform_keys(size, dtype):
    """Return uniform random keys, the same for every commit."""
    import numpy as np

    generator = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return generator.random(size, dtype)
    extremes = np.iinfo(dtype)
    return generator.integers(extremes.min, extremes.max, size, dtype, endpoint=True)


def track(key, unit, pretty_name, params=(), param_names=()):
    """Return a benchmark that reports the figure of ``key`` and its parameters.

    The figure is one sample, so that asv's statistics are those of separate runs.
    """

    def track_figure(self, figures, *parameters):
        if (key, *parameters) in figures:
            return {"samples": [figures[key, *parameters]], "number": 1}
        # asv runs all that share a `setup_cache` in one folder; the reason appears once.
        if "missing" in figures and not Path("said").exists():
            print("left out:", figures["missing"])
            Path("said").touch()
        raise SkipNotImplemented

    track_figure.unit = unit
    track_figure.pretty_name = pretty_name
    if params:
        track_figure.params, track_figure.param_names = params, param_names
    return track_figure
