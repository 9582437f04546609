"""Threads that share a list of jobs, and have ended when the last one is done."""

from __future__ import annotations

import _thread
import contextlib
import functools
import queue
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Job = TypeVar("Job")
# A processor takes a line of 64 bytes to itself to write to it, and may fetch its neighbour, too.
_GAP_BYTES = 128
# How long to wait for word of a thread's end before looking whether the word itself was lost.
_SECONDS = 0.1


class Crew:
    """A number of threads, the caller's among them, that work through jobs together.

    Jobs run at the same time as far as they release the GIL, as NumPy's sorts and copies and the
    compiled kernels do. Where the system, or a Python that is shutting down, starts no more
    threads, fewer of them do all jobs. They are started by `_thread`: `threading.Thread.start`
    waits for ever if the new thread has no memory to begin with, and `concurrent.futures` refuses
    work in a Python that is shutting down.

    Parameters
    ----------
    workers : int
        How many threads work, at least 1; one of them is the caller's own.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def share(self, work: Callable[[Job], object], jobs: Iterable[Job]) -> None:
        """Run ``work(job)`` for every job, in order of starting, and wait for the last.

        No other thread is left when this returns or raises, not even after Ctrl-C.

        Parameters
        ----------
        work : callable
            Called with one job at a time, from several threads at once.
        jobs : iterable
            What to call it with. Put the longest first: a free thread takes the next.

        Raises
        ------
        BaseException
            What ``work`` raised first in the caller's thread, else in another; the jobs that had
            not been started then are dropped.
        MemoryError
            If a thread ended in the middle of a job for want of memory.
        """
        waiting = deque(jobs)
        unfinished = [None] * len(waiting)
        errors: list[BaseException] = []
        ends: queue.SimpleQueue[object] = queue.SimpleQueue()
        # A thread drops its task as the last thing it does, even if it never got to run it, and so
        # does an interrupted start. The end of the task is thus the one sure sign.
        tasks: list[weakref.ref[Any]] = []
        task = None
        try:
            for _ in range(min(self.workers, len(waiting)) - 1):
                task = functools.partial(_help, work, waiting, unfinished, errors)
                tasks.append(weakref.ref(task, ends.put))
                try:
                    _thread.start_new_thread(task, ())
                except (RuntimeError, MemoryError):
                    break
            _drain(work, waiting, unfinished)
        except BaseException:
            waiting.clear()
            raise
        finally:
            task = None
            _wait(tasks, ends)
        if errors:
            try:
                raise errors[0]
            finally:
                errors.clear()  # else the error would keep itself, and the arrays, alive
        if unfinished:
            raise MemoryError("a thread had no memory left for its job")


def _wait(tasks: list[weakref.ref[Any]], ends: queue.SimpleQueue[object]) -> None:
    """Wait until no task is left, however often Ctrl-C is pressed meanwhile."""
    interrupts: list[BaseException] = []
    left = True
    while left:
        try:
            while any(task() is not None for task in tasks):
                with contextlib.suppress(queue.Empty):
                    ends.get(timeout=_SECONDS)
            left = False
        except BaseException as error:
            interrupts.append(error)
    if interrupts:
        raise interrupts.pop()


def _help(
    work: Callable[[Job], object],
    waiting: deque[Job],
    unfinished: list[None],
    errors: list[BaseException],
) -> None:
    try:
        _drain(work, waiting, unfinished)
    except BaseException as error:
        waiting.clear()
        errors.append(error)


def _drain(work: Callable[[Job], object], waiting: deque[Job], unfinished: list[None]) -> None:
    """Do jobs until none is waiting."""
    while True:
        try:
            job = waiting.popleft()
        except IndexError:
            return
        work(job)
        unfinished.pop()


def apart(dtype: DTypeLike, jobs: int, *shape: int) -> NDArray[Any]:
    """Return zeros of shape (jobs, *shape), for each job to count in without false sharing.

    Workers that count in the same cache line take it from each other with every key: two were
    slower than one.
    """
    each = int(np.prod(shape))
    gap = _GAP_BYTES // np.dtype(dtype).itemsize
    return np.zeros((jobs, each + gap), dtype)[:, :each].reshape(jobs, *shape)
