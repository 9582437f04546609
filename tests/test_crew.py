"""A crew does every job once, whatever fails, and none of its threads outlives a call."""

from __future__ import annotations

import _thread
import gc
import signal
import subprocess
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from conftest import assert_that_no_more, threads_of_the_system

from cupy_compat.cudamark.crew import Crew, padded_zeros

pytestmark = pytest.mark.usefixtures("no_thread_left", "away")


class Planted(Exception):
    """Raised on purpose."""


@pytest.mark.parametrize("jobs", [0, 1, 2, 3, 50])
def test_every_job_is_done_once(jobs: int) -> None:
    done: list[int] = []
    Crew(3).share(done.append, iter(range(jobs)))
    assert sorted(done) == list(range(jobs))


@pytest.mark.parametrize(("workers", "jobs", "expected"), [(1, 9, 1), (4, 9, 4), (9, 3, 3)])
def test_as_many_threads_work_at_once_as_there_are_workers_and_jobs(
    workers: int, jobs: int, expected: int
) -> None:
    met: set[int] = set()
    meeting = threading.Barrier(expected)

    def work(job: int) -> None:
        if threading.get_ident() not in met:
            met.add(threading.get_ident())
            meeting.wait(timeout=30)

    Crew(workers).share(work, range(jobs))
    assert len(met) == expected


@pytest.mark.parametrize("failing", ["the caller", "another"])
@pytest.mark.parametrize("error", [Planted, KeyboardInterrupt])
def test_a_failure_reaches_the_caller_and_no_further_job_begins(
    error: type[BaseException], failing: str
) -> None:
    both = threading.Barrier(2)
    begun: list[int] = []
    caller = threading.get_ident()
    failed = threading.Event()

    def work(job: int) -> None:
        begun.append(job)
        both.wait(timeout=30)
        if (threading.get_ident() == caller) == (failing == "the caller"):
            failed.set()
            raise error
        assert failed.wait(timeout=30)
        threading.Event().wait(0.2)  # the failure is dealt with meanwhile

    with pytest.raises(error):
        Crew(2).share(work, range(100))
    assert sorted(begun) == [0, 1]


def test_the_callers_error_takes_precedence() -> None:
    both = threading.Barrier(2)
    caller = threading.get_ident()

    def work(job: int) -> None:
        both.wait(timeout=30)
        raise Planted("caller" if threading.get_ident() == caller else "other")

    with pytest.raises(Planted, match="caller"):
        Crew(2).share(work, range(2))


def test_an_error_releases_the_arrays_of_the_jobs() -> None:
    both = threading.Barrier(2)
    caller = threading.get_ident()

    def fail_on(keys: np.ndarray[Any, Any]) -> None:
        def work(job: int) -> None:
            both.wait(timeout=30)
            if threading.get_ident() != caller:
                raise Planted(keys.size)

        Crew(2).share(work, range(2))

    gc.disable()
    try:
        keys = np.zeros(5)
        kept = weakref.ref(keys)
        with pytest.raises(Planted):
            fail_on(keys)
        del keys
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
@pytest.mark.parametrize("first", [0, 1])
def test_fewer_threads_do_all_jobs_if_no_more_start(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], first: int
) -> None:
    start, started = _thread.start_new_thread, []

    def refuse(*task: Any) -> int:
        if len(started) == first:
            raise error("can't start new thread")
        started.append(start(*task))
        return started[-1]

    done: list[int] = []
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    Crew(8).share(done.append, range(50))
    assert sorted(done) == list(range(50))
    assert len(started) == first


def test_a_thread_that_never_gets_to_run_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new thread that finds no memory for its first frame ends without a word.

    What the system does then cannot be had at will: here the thread drops its task.
    """
    monkeypatch.setattr(_thread, "start_new_thread", lambda task, arguments: 0)
    done: list[int] = []
    Crew(3).share(done.append, range(50))
    assert sorted(done) == list(range(50))


AFTER_THE_MAIN_THREAD = """
import atexit, threading, time
import numpy as np
from cupy_compat.cudamark.crew import Crew

def work(when):
    done = []
    Crew(3).share(done.append, range(50))
    print(when, len(done), flush=True)

def outlive():
    threading.main_thread().join()
    work("after the main thread")

threading.Thread(target=outlive).start()
atexit.register(work, "at exit")
"""


def test_jobs_are_done_while_python_shuts_down() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AFTER_THE_MAIN_THREAD], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "after the main thread 50\nat exit 50\n", done.stderr
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGALRM")
def test_no_thread_outlives_repeated_ctrl_c() -> None:
    before = threads_of_the_system()
    presses = 0

    def press(*_: object) -> None:
        nonlocal presses
        presses += 1
        raise KeyboardInterrupt

    kept = signal.signal(signal.SIGALRM, press)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.03)
        with pytest.raises(KeyboardInterrupt):
            Crew(4).share(lambda job: threading.Event().wait(0.5), range(100))
        signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, kept)
    assert presses > 2
    assert_that_no_more(threads_of_the_system, before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGALRM")
def test_a_signal_handler_can_share_jobs() -> None:
    inner: list[int] = []
    kept = signal.signal(signal.SIGALRM, lambda *_: Crew(3).share(inner.append, range(10)))
    try:
        while len(inner) < 500:
            signal.setitimer(signal.ITIMER_REAL, 1e-5)
            outer: list[int] = []
            Crew(4).share(outer.append, range(20))
            assert sorted(outer) == list(range(20))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)


LIMITED = """
import os, resource
from cupy_compat.cudamark.crew import Crew

if os.geteuid() == 0:  # the limit does not bind root
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
done = []
Crew(8).share(done.append, range(50))
print(len(done))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_jobs_are_done_if_the_system_starts_no_thread() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert done.stdout == "50\n", done.stderr


def test_counters_of_jobs_are_zero_and_128_bytes_apart() -> None:
    counters = padded_zeros(np.uint32, 3, 2, 5)
    assert (counters.shape, counters.dtype) == ((3, 2, 5), np.uint32)
    assert not counters.any()
    assert all(each.flags.c_contiguous for each in counters)
    assert counters.strides[0] - counters[0].nbytes >= 128
    counters[1] = 7
    assert not counters[[0, 2]].any()
