"""Sort in place, again and again, with Ctrl-C at random moments; say how many it reached.

A program of its own, since one that comes too late must not end the tests. The driver is compiled
here: Python drops what is raised in a callback of C's. Prints how many sorts were interrupted and
how many finished. Exits with 1 if a key was lost or a thread is left.
"""

from __future__ import annotations

import random
import signal
import sys
import time

import gpu_stand_in
import numba
import numpy as np
import pytest
from conftest import threads_of_the_system

from cupy_compat.cudamark import gpu_sort
from cupy_compat.cudamark.gpu import driver, intrinsics

SORTS = 1000
# How long a sort takes changes with what else the machine does. So the moments move until half of
# the sorts are interrupted.
_TOWARDS_HALF = 1.02


@numba.cfunc("int32(uintp, uintp, uintp, uintp)")
def move(target: int, source: int, nbytes: int, stream: int) -> int:
    """Do what both copies of the driver do, at once."""
    intrinsics.copy(target, source, nbytes)
    return 0


@numba.cfunc("int32(uintp)")
def succeed(argument: int) -> int:
    """Do what all other functions of the driver do, whose work is done; C lets them have more."""
    return 0


def main() -> int:
    """Run them."""
    patch = pytest.MonkeyPatch()
    gpu_stand_in.put_in_place(patch)
    calls = dict.fromkeys(driver.Calls._fields, np.uintp(succeed.address))
    calls["upload"] = calls["download"] = np.uintp(move.address)
    patch.setattr(driver, "load", lambda cupy: driver.Calls(**calls))
    sorting = False

    def interrupt(*_: object) -> None:
        # A signal can be late: where other work keeps the processors, the thread that takes it may
        # have to wait for one.
        if sorting:
            raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    a = np.random.default_rng(0).integers(0, 1 << 30, 20_000).astype(np.int32)
    expected = np.sort(a)
    gpu_sort(a, 4)  # compiles
    start = time.perf_counter()
    for _ in range(10):
        gpu_sort(a, 4)
    each = (time.perf_counter() - start) / 10
    before = threads_of_the_system()
    moments = random.Random(0)
    interrupted = finished = 0
    for _ in range(SORTS):
        keys = a.copy()
        try:
            sorting = True
            signal.setitimer(signal.ITIMER_REAL, moments.uniform(each / 100, 2 * each))
            gpu_sort(keys, 4, out=keys)
            sorting = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            finished += 1
            each /= _TOWARDS_HALF
        except KeyboardInterrupt:
            interrupted += 1
            each *= _TOWARDS_HALF
        if not np.array_equal(np.sort(keys), expected):
            print("a key was lost", file=sys.stderr)
            return 1
    time.sleep(0.1)
    print(interrupted, finished)
    return int(threads_of_the_system() > before)


if __name__ == "__main__":
    sys.exit(main())
