"""Threads that work through a list of jobs, and have all ended when the call returns."""

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
# Against false sharing: processors fetch cache lines of 64 bytes, often in pairs.
_PADDING_BYTES = 128
# How often to check for ended threads whose callback was lost, in seconds.
_POLL_SECONDS = 0.1


class Crew:
    """A pool of `workers` threads, including the caller's.

    Jobs run in parallel while they release the GIL, as NumPy's sorts and copies and the compiled
    kernels do. If the system refuses to start a thread, the others do all jobs.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def share(self, work: Callable[[Job], object], jobs: Iterable[Job]) -> None:
        """Run ``work(job)`` for every job, and wait for the last. Put the longest jobs first.

        When this returns or raises, even after Ctrl-C, all other threads have ended. After an error
        no further job starts. An error in the caller's thread takes precedence over one in another.
        If a thread dies within a job because memory ran out, this raises MemoryError.
        """
        waiting = deque(jobs)
        unfinished = [None] * len(waiting)
        errors: list[BaseException] = []
        ends: queue.SimpleQueue[object] = queue.SimpleQueue()
        # A thread releases its task last, even if it never ran it, and so does an interrupted
        # start. So only the deletion of the task shows reliably that a thread has ended.
        tasks: list[weakref.ref[Any]] = []
        task = None
        try:
            for _ in range(min(self.workers, len(waiting)) - 1):
                task = functools.partial(_run_worker, work, waiting, unfinished, errors)
                tasks.append(weakref.ref(task, ends.put))
                try:
                    # threading.Thread.start would hang if the thread got no memory to start.
                    _thread.start_new_thread(task, ())
                except (RuntimeError, MemoryError):
                    break
            _run_jobs(work, waiting, unfinished)
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
                errors.clear()  # break the reference cycle that would keep the arrays alive
        if unfinished:
            raise MemoryError("a thread had no memory left for its job")


def _wait(tasks: list[weakref.ref[Any]], ends: queue.SimpleQueue[object]) -> None:
    """Wait until all tasks are deleted. Raise a Ctrl-C only after that."""
    interrupts: list[BaseException] = []
    while True:
        try:
            while any(task() is not None for task in tasks):
                with contextlib.suppress(queue.Empty):
                    ends.get(timeout=_POLL_SECONDS)
            break
        except BaseException as error:
            interrupts.append(error)
    if interrupts:
        raise interrupts.pop()


def _run_worker(
    work: Callable[[Job], object],
    waiting: deque[Job],
    unfinished: list[None],
    errors: list[BaseException],
) -> None:
    try:
        _run_jobs(work, waiting, unfinished)
    except BaseException as error:
        waiting.clear()
        errors.append(error)


def _run_jobs(work: Callable[[Job], object], waiting: deque[Job], unfinished: list[None]) -> None:
    """Do jobs until none is waiting."""
    while True:
        try:
            job = waiting.popleft()
        except IndexError:
            return
        work(job)
        unfinished.pop()


def padded_zeros(dtype: DTypeLike, jobs: int, *shape: int) -> NDArray[Any]:
    """Return zeros of shape (jobs, *shape), with padding between jobs against false sharing."""
    each = int(np.prod(shape))
    padding = _PADDING_BYTES // np.dtype(dtype).itemsize
    return np.zeros((jobs, each + padding), dtype)[:, :each].reshape(jobs, *shape)
