"""Imports in fresh interpreters, each against another import in the same interpreter."""

import compileall
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.environment import REPAIRED, require_cupy
from benchmarks.measuring import in_turns, measured, ratio, track

version = "2"

#: Prints the seconds of each import, as JSON. The first one lists the folders of the path.
TIMED = """
import sys, time
sys.path.append({folder!r})
import empty0
seconds = []
for name in {names!r}:
    begin = time.perf_counter()
    __import__(name)
    seconds.append(time.perf_counter() - begin)
print(seconds)
"""


def seconds_of(folder, names, compat):
    """Return the seconds that the imports take in a fresh interpreter, with ``CUPY_COMPAT`` set."""
    code = TIMED.format(folder=folder, names=names)
    env = os.environ | {"CUPY_COMPAT": compat}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    return json.loads(done.stdout)


def import_times(ways, turns):
    """Return the seconds of each import, by way: names in a list, and ``CUPY_COMPAT``."""
    with tempfile.TemporaryDirectory() as folder:
        for n in range(4):
            Path(folder, f"empty{n}").mkdir()
            Path(folder, f"empty{n}", "__init__.py").touch()
        compileall.compile_dir(folder, quiet=1)
        functions = {way: partial(seconds_of, folder, *ways[way]) for way in ways}
        samples = in_turns(functions, turns, clock=lambda function: function())
    return {way: list(zip(*rows, strict=True)) for way, rows in samples.items()}


class Shim:
    """``import cupy_compat`` against empty packages; ``graphlib`` of Python is the yardstick."""

    params = ["off", "armed"]
    param_names = ["shim"]

    def setup_cache(self):
        return measured(self.measure)

    def measure(self):
        # The median of three empty packages, since one takes less than a tenth of a millisecond.
        names = ["empty1", "cupy_compat", "empty2", "graphlib", "empty3"]
        times = import_times({"off": (names, "never"), "armed": (names, "always")}, turns=25)
        figures = {}
        for way, (one, shim, two, module, three) in times.items():
            empty = [median(each) for each in zip(one, two, three, strict=True)]
            figures["ratio", way] = ratio(shim, empty)
            figures["yardstick", way] = ratio(module, empty)
            figures["time", way] = median(shim)
        return figures

    track_ratio = track("ratio", "times an empty import", "import of cupy_compat")
    track_yardstick = track("yardstick", "times an empty import", "import of graphlib")
    track_time = track("time", "seconds", "import of cupy_compat, time")


class CuPy:
    """``import cupy`` with the shim armed against ``import numpy``; without, it is a yardstick."""

    def setup_cache(self):
        return measured(self.measure)

    setup_cache.timeout = 120

    def measure(self):
        require_cupy()
        ways = {"armed": (["numpy", "cupy_compat", "cupy"], "always")}
        if not REPAIRED:
            ways["bare"] = (["numpy", "empty1", "cupy"], "never")
        times = import_times(ways, turns=7)
        numpy, shim, cupy = times["armed"]
        both = [sum(each) for each in zip(shim, cupy, strict=True)]
        figures = {("ratio",): ratio(both, numpy), ("time",): median(both)}
        if not REPAIRED:
            numpy, _, cupy = times["bare"]
            figures["yardstick",] = ratio(cupy, numpy)
        return figures

    track_ratio = track("ratio", "times the import of NumPy", "import of CuPy, shim armed")
    track_yardstick = track("yardstick", "times the import of NumPy", "import of CuPy alone")
    track_time = track("time", "seconds", "import of CuPy, shim armed, time")
