"""Threads that share a list of jobs, and have all ended when the call returns."""

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
# Processors fetch cache lines of 64 bytes, often in pairs.
_PADDING_BYTES = 128
# How long to wait for the end of a thread before checking whether its callback was lost.
_SECONDS = 0.1


class Crew:
    """`workers` threads, the caller's among them, that work through jobs together.

    Jobs run in parallel as far as they release the GIL, as NumPy's sorts and copies and the
    compiled kernels do. If the system starts no more threads, fewer of them do all jobs.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def share(self, work: Callable[[Job], object], jobs: Iterable[Job]) -> None:
        """Run ``work(job)`` for every job and wait for the last; put the longest jobs first.

        No other thread is left when this returns or raises, not even after Ctrl-C. It raises what
        ``work`` raised first in the caller's thread, else in another, and drops the jobs that had
        not started then. If a thread ended in a job for want of memory, it raises MemoryError.
        """
        waiting = deque(jobs)
        unfinished = [None] * len(waiting)
        errors: list[BaseException] = []
        ends: queue.SimpleQueue[object] = queue.SimpleQueue()
        # A thread drops its task last, even if it never ran it, and so does an interrupted start.
        # So the end of the task is the one reliable sign that a thread has ended.
        tasks: list[weakref.ref[Any]] = []
        task = None
        try:
            for _ in range(min(self.workers, len(waiting)) - 1):
                task = functools.partial(_help, work, waiting, unfinished, errors)
                tasks.append(weakref.ref(task, ends.put))
                try:
                    # threading.Thread.start would hang if the thread had no memory to begin with.
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


def padded_zeros(dtype: DTypeLike, jobs: int, *shape: int) -> NDArray[Any]:
    """Return zeros of shape (jobs, *shape), padded between jobs against false sharing."""
    each = int(np.prod(shape))
    padding = _PADDING_BYTES // np.dtype(dtype).itemsize
    return np.zeros((jobs, each + padding), dtype)[:, :each].reshape(jobs, *shape)
