"""Threads that live for one call: a list of jobs, shared among a crew of workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Job = TypeVar("Job")
# A processor takes a line of 64 bytes to itself to write to it, and may fetch its neighbour, too.
_GAP_BYTES = 128


class Crew:
    """A number of threads, the caller's among them, that work through jobs together.

    The threads start with the first jobs and have ended when the ``with`` block has, whatever
    happened in it. They are Python threads: jobs run at the same time as far as they release the
    GIL, as NumPy's sorts and copies and the compiled kernels do.

    Parameters
    ----------
    workers : int
        How many threads work, at least 1; one of them is the caller's own.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        # A pool wants to hear of one thread, but starts none before it is given work.
        self._pool = ThreadPoolExecutor(max(workers - 1, 1), thread_name_prefix="threaded_sort")

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()

    def share(self, work: Callable[[Job], object], jobs: Iterable[Job]) -> None:
        """Run ``work(job)`` for every job, in order of starting, and wait for the last.

        Parameters
        ----------
        work : callable
            Called with one job at a time, from several threads at once.
        jobs : iterable
            What to call it with. Put the longest first: whoever is free takes the next.

        Raises
        ------
        BaseException
            What ``work`` raised first in the caller's thread, else in another; the jobs that had
            not been started then are dropped.
        """
        queue = deque(jobs)
        helpers = []
        try:
            for _ in range(min(self.workers, len(queue)) - 1):
                helpers.append(self._pool.submit(_drain, work, queue))
            _drain(work, queue)
        except BaseException:
            queue.clear()
            raise
        for helper in helpers:
            helper.result()


def _drain(work: Callable[[Job], object], queue: deque[Job]) -> None:
    """Take jobs from the queue until it is empty; after a failure nobody finds another."""
    while True:
        try:
            job = queue.popleft()
        except IndexError:
            return
        try:
            work(job)
        except BaseException:
            queue.clear()
            raise


def apart(dtype: DTypeLike, jobs: int, *shape: int) -> NDArray[Any]:
    """Return zeros for each job to count in, so far apart that no two share a line of the cache.

    Workers that count in one line take it from each other with every key: two were slower than one.

    Parameters
    ----------
    dtype : dtype-like
    jobs : int
    *shape : int
        What each job gets.

    Returns
    -------
    array, shape (jobs, *shape)
    """
    each = int(np.prod(shape))
    gap = _GAP_BYTES // np.dtype(dtype).itemsize
    return np.zeros((jobs, each + gap), dtype)[:, :each].reshape(jobs, *shape)
