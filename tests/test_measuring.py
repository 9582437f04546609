"""What is timed, what is checked, what is written, and against which limits.

Time is a fake clock's, so nothing here depends on how busy the machine is. What needs a GPU runs
with a stand-in for CuPy that only counts calls; the tests on a GPU machine use the real one.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import resource
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_compat.cudamark import command, compare, measure, plot, suite
from cupy_compat.cudamark.gpu import Gpu
from cupy_compat.cudamark.gpu import measure as gpu_measure
from cupy_compat.cudamark.gpu.measure import Limits
from cupy_compat.cudamark.inputs import make_input
from cupy_compat.cudamark.measure import WrongResult, check, copy_bandwidth, time_sort
from cupy_compat.cudamark.record import (
    Run,
    csv_text,
    readable_time,
    require_writable,
    write_whole,
)

Array = NDArray[Any]

KEYS = np.array([3, 1, 2])
SORTED = np.array([1, 2, 3])
#: Seconds of a cold first call, of a warm-up, and of three repeats. The median of the repeats is
#: neither their minimum nor their mean, nor the median of all.
CALLS = (100.0, 50.0, 1.0, 2.0, 9.0)
COMMAND = ["--device", "cpu", "--size", "1000", "--repeat", "3", "--quiet"]


class Clock:
    """Stands in for the module ``time``: nothing moves it but `spend`."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock by which everything is measured in this test."""
    fake = Clock()
    monkeypatch.setattr(measure, "time", fake)
    return fake


def lasting(clock: Clock, seconds: Iterator[float], result: Array) -> Callable[..., Array]:
    """Return a sort whose calls take those times."""

    def sort(*arguments: object) -> Array:
        clock.spend(next(seconds))
        return result.copy()

    return sort


def timed(steps: list[int] | None = None) -> Callable[..., Any]:
    """Return `time_sort` for `KEYS` and three repeats, which counts its calls."""
    count = [] if steps is None else steps
    return functools.partial(
        time_sort, expected=SORTED, repeat=3, warm_up=1, after_each=lambda: count.append(1)
    )


def wrong_in_call(number: int, place: int) -> Callable[..., Array]:
    """Return a sort that is wrong in one key of one call only."""
    calls = iter(range(1000))

    def sort(keys: Array = KEYS, threads: int = 1) -> Array:
        result = np.sort(keys)
        if next(calls) == number:
            result[place] += 1
        return result

    return sort


# What is timed


def test_the_first_call_and_the_warm_up_do_not_count(clock: Clock) -> None:
    timing = time_sort(lasting(clock, iter(CALLS), SORTED), SORTED, repeat=3, warm_up=1)
    assert (timing.first, timing.repeats) == (100.0, (1.0, 2.0, 9.0))


@pytest.mark.parametrize("warm_up", [0, 3])
def test_the_requested_number_of_calls_is_made(clock: Clock, warm_up: int) -> None:
    calls = iter(range(100))
    after: list[int] = []
    timing = time_sort(
        lasting(clock, map(float, calls), SORTED), SORTED, 2, warm_up, lambda: after.append(1)
    )
    assert next(calls) == len(after) == 1 + warm_up + 2
    assert timing.repeats == (1.0 + warm_up, 2.0 + warm_up)


def test_neither_the_check_nor_the_progress_bar_is_timed(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    def slow_check(result: Array, expected: Array) -> None:
        checked.append((result.tolist(), expected.tolist()))
        clock.spend(1000.0)

    monkeypatch.setattr(measure, "check", slow_check)
    timing = time_sort(
        lasting(clock, iter(CALLS), SORTED), SORTED, 3, 1, lambda: clock.spend(10_000.0)
    )
    assert (timing.first, *timing.repeats) == (100.0, 1.0, 2.0, 9.0)
    assert checked == 5 * [([1, 2, 3], [1, 2, 3])]


def test_the_progress_bar_is_on_standard_error_and_has_no_thread_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    alive = []

    def sort(keys: Array, threads: int) -> Array:
        alive.append((threading.active_count(), sys.stdout, sys.stderr))
        return np.sort(keys)

    before = threading.active_count(), sys.stdout, sys.stderr
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich takes both streams for terminals
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(suite, "threaded_sort", sort)
    monkeypatch.setattr(suite, "threads_used", lambda keys, threads: threads)
    assert command.main([*COMMAND[:-1], "--threads", "2"]) == 0
    captured = capfd.readouterr()
    table = re.compile(
        r"CPU cores: \d+\nThreads: 2, Time taken: [\d.]+ seconds\n\n"
        r"ThreadCount,TimeTakenSeconds\n2,[\d.]+\n"
    )
    assert table.fullmatch(captured.out)
    shares = re.findall(r"(\d+)%", captured.err)
    assert "threaded_sort, threads: 2" in captured.err
    assert set(shares) == {"0", "20", "40", "60", "80", "100"}
    assert captured.err.endswith("\x1b[1A\x1b[2K")  # the line is empty again
    assert set(alive) == {before}


def test_each_line_can_be_read_while_the_next_is_measured(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    read: dict[int, str] = {}

    def sort(keys: Array, threads: int) -> Array:
        read[threads] = read.get(threads, "") + capfd.readouterr().out
        return np.sort(keys)

    monkeypatch.setattr(suite, "threaded_sort", sort)
    # As into a pipe: nothing gets through before it is flushed.
    with open(1, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert command.main([*COMMAND, "--threads", "1,2"]) == 0
        assert "ThreadCount,TimeTakenSeconds" in capfd.readouterr().out
        monkeypatch.undo()
    assert read[1].startswith("CPU cores: ")
    assert read[2].startswith("Threads: 1, Time taken: ")


def test_no_progress_bar_is_drawn_when_quiet_or_off_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [*COMMAND[:-1], "--threads", "1"]
    assert command.main(arguments) == 0
    assert "%" not in capfd.readouterr().err
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert command.main([*arguments, "--quiet"]) == 0
    assert capfd.readouterr().err == ""


def test_no_result_is_held_in_memory_while_the_next_is_made() -> None:
    made: list[weakref.ref[Array]] = []

    def all_gone() -> None:
        assert [result() for result in made] == [None] * len(made)

    def sort() -> Array:
        all_gone()
        result = SORTED.copy()
        made.append(weakref.ref(result))
        return result

    time_sort(sort, SORTED, repeat=2, warm_up=1, after_each=all_gone)
    assert len(made) == 4


def test_a_run_reports_its_median() -> None:
    run = Run("threaded_sort", "cpu", 2, 100.0, (9.0, 1.0, 2.0))
    assert run.median == 2.0
    assert csv_text([run]) == "ThreadCount,TimeTakenSeconds\n2,2.000000\n"


def test_the_command_reports_measured_times(
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    asked: list[int] = []

    def compile_slowly(dtype: np.dtype[Any]) -> float:
        assert not asked
        clock.spend(5000.0)
        return 5000.0

    seconds = iter(CALLS + tuple(10 * call for call in CALLS))

    def sort(keys: Array, threads: int) -> Array:
        asked.append(threads)
        clock.spend(next(seconds))
        return np.sort(keys)

    monkeypatch.setattr(suite, "warm_up", compile_slowly)
    monkeypatch.setattr(suite, "threaded_sort", sort)
    file = tmp_path / "out.json"
    assert command.main([*COMMAND, "--threads", "2,1", "--json", str(file)]) == 0
    assert asked == [2] * 5 + [1] * 5
    out = capfd.readouterr().out
    assert "Threads: 2, Time taken: 2.0000 seconds\nThreads: 1, Time taken: 20.0000 seconds" in out
    assert out.endswith("2,2.000000\n1,20.000000\n")
    document = json.loads(file.read_text())
    assert file.read_text() == json.dumps(document, indent=2) + "\n"
    assert (document["repeat"], document["warm_up"], document["compile_seconds"]) == (3, 1, 5000.0)
    assert [
        (run["first_call_seconds"], run["repeat_seconds"], run["median_seconds"])
        for run in document["runs"]
    ] == [(100.0, [1.0, 2.0, 9.0], 2.0), (1000.0, [10.0, 20.0, 90.0], 20.0)]


# What is checked


@pytest.mark.parametrize("call", range(4))
@pytest.mark.parametrize("place", [0, -1])
def test_every_result_is_checked(call: int, place: int) -> None:
    with pytest.raises(WrongResult):
        time_sort(wrong_in_call(call, place), SORTED, repeat=2, warm_up=1)
    time_sort(wrong_in_call(4, place), SORTED, repeat=2, warm_up=1)


def test_every_key_of_a_result_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_CHECKED_AT_ONCE", 4)
    for size in (1, 3, 4, 5, 8, 11):
        expected = np.arange(size)
        check(expected.copy(), expected)
        for place in range(size):
            result = expected.copy()
            result[place] += 1
            with pytest.raises(WrongResult):
                check(result, expected)


@pytest.mark.parametrize(
    "missing",
    [
        np.float32("nan"),
        np.complex64("nan"),
        np.datetime64("NaT", "s"),
        np.timedelta64("NaT", "s"),
    ],
)
def test_missing_values_equal_only_themselves(missing: np.generic) -> None:
    expected = np.array([missing, missing])
    check(expected.copy(), expected)
    with pytest.raises(WrongResult):
        check(np.zeros(2, expected.dtype), expected)


@pytest.mark.parametrize("call", [0, 1, 2, 4])
@pytest.mark.parametrize("arguments", [["--threads", "1"], ["--compare"]])
def test_a_sort_that_is_wrong_in_one_call_ends_the_command_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    call: int,
) -> None:
    sort = wrong_in_call(call, -1)
    for module in (suite, compare):
        monkeypatch.setattr(module, "threaded_sort", sort)
    assert command.main([*COMMAND, *arguments, "--json", str(tmp_path / "out.json")]) == 1
    captured = capfd.readouterr()
    assert captured.err == "cupy-compat cudamark: error: the result differs from np.sort's\n"
    assert "Time taken" not in captured.out
    assert not list(tmp_path.iterdir())


def test_a_row_says_how_many_threads_were_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "threads_used", lambda keys, threads: min(threads, 3))
    record = tmp_path / "out.json"
    arguments = ["--threads", "2,3,8", "--json", str(record)]
    assert command.main([*COMMAND[:-1], *arguments]) == 0
    captured = capfd.readouterr()
    assert re.findall("Capped at .*", captured.err) == [
        "Capped at 3 of 8: more would not help here"
    ]
    runs = json.loads(record.read_text())["runs"]
    assert [(run["threads"], run["threads_used"]) for run in runs] == [(2, 2), (3, 3), (8, 3)]


# The limits


def test_the_bandwidth_counts_reads_and_writes_of_warm_copies(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter([0.0, 100.0, 100.0, 101.0, 200.0, 202.0, 300.0, 309.0])
    monkeypatch.setattr(clock, "perf_counter", lambda: next(readings))
    assert copy_bandwidth(1000, 3, 3) == 2 * 1000 / 2.0


def test_all_threads_copy_at_once_and_each_byte_is_copied_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = threading.Barrier(3)
    copied: list[tuple[int, int]] = []
    copy = np.copyto

    def meet(target: Array, source: Array) -> None:
        assert not np.shares_memory(target, source)
        copied.append((target.ctypes.data, target.nbytes))
        copy(target, source)
        together.wait(timeout=60)

    monkeypatch.setattr(np, "copyto", meet)
    copy_bandwidth(1000, 3, 2)
    assert len(copied) == 9
    for rounds in (copied[:3], copied[3:6], copied[6:]):
        starts, sizes = zip(*sorted(rounds), strict=True)
        assert sum(sizes) == 1000
        assert [start - starts[0] for start in starts] == [0, sizes[0], sizes[0] + sizes[1]]


def test_a_cpu_rows_limit_is_one_pass_over_main_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speeds = iter([1e9, 250e9])
    measured = []

    def bandwidth(nbytes: int, threads: int, repeat: int) -> float:
        measured.append((nbytes, threads, repeat))
        return next(speeds)

    sorted_by: list[int] = []

    def sort(keys: Array, threads: int) -> Array:
        sorted_by.append(threads)
        return np.sort(keys)

    monkeypatch.setattr(compare, "usable_cpus", lambda: 5)
    monkeypatch.setattr(compare, "copy_bandwidth", bandwidth)
    monkeypatch.setattr(compare, "threaded_sort", sort)
    monkeypatch.setattr(compare, "threads_used", lambda keys, threads: threads)
    monkeypatch.setattr(compare, "_LEAST_NBYTES", 24)
    steps: list[int] = []
    rows = compare.compare_cpu(KEYS, 3, timed(steps))
    assert [(row.run.name, row.run.device, row.run.threads) for row in rows] == [
        ("np.sort", "cpu", 1),
        ("threaded_sort", "cpu", 5),
    ]
    assert [len(row.run.repeats) for row in rows] == [3, 3]
    assert sorted_by == [5] * 5
    assert len(steps) == 2 * 5
    assert measured == [(24, 1, 3), (24, 5, 3)]
    assert [row.limit_seconds for row in rows] == [48 / 1e9, 48 / 250e9]
    assert [row.limit for row in rows] == ["main memory, 1.0 GB/s", "main memory, 250 GB/s"]
    assert [row.run.used for row in rows] == [1, 5]
    # Fewer bytes are sorted within the caches.
    monkeypatch.setattr(compare, "_LEAST_NBYTES", 25)
    rows = compare.compare_cpu(KEYS, 3, timed())
    assert [row.limit_seconds for row in rows] == [None, None]


def test_times_are_shown_with_three_digits() -> None:
    times = [readable_time(seconds) for seconds in (123.4, 1.0, 0.01357, 0.00099, 4.2e-6)]
    assert times == ["123 s", "1.00 s", "13.6 ms", "990 us", "4.20 us"]


def test_the_comparison_shows_every_figure_of_a_run() -> None:
    rows = [
        compare.Row(Run("np.sort", "cpu", 1, 0.5, (0.1, 0.4, 0.9)), 0.1, "main memory"),
        compare.Row(Run("cp.sort", "gpu", None, None, (0.0125,)), 0.00625, "GPU memory"),
    ]
    table = compare.table(rows, 1000, "title", "caption")
    assert (table.title, table.caption, table.caption_justify) == ("title", "caption", "left")
    assert [list(column.cells) for column in table.columns] == [
        ["np.sort", "cp.sort"],
        ["1", ""],
        ["400 ms", "12.5 ms"],
        ["100 ms to 900 ms", "12.5 ms to 12.5 ms"],
        ["2.5e+03", "8e+04"],
        ["1.00x", "32.00x"],
        ["100 ms: main memory", "6.25 ms: GPU memory"],
        ["25%", "50%"],
    ]
    assert [column.justify for column in table.columns] == [
        "left",
        *5 * ["right"],
        "left",
        "right",
    ]


def test_the_floor_of_a_gpu_sort_is_the_bus_both_ways() -> None:
    limits = Limits(nbytes=1000, upload=100.0, download=200.0, memory=1.0, sort_seconds=3.0)
    assert limits.floor_seconds == 10.0 + 5.0
    assert limits.serial_seconds == 10.0 + 3.0 + 5.0


def test_gpu_rows_limits_are_its_memory_and_its_bus(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(nbytes=24, upload=12e9, download=24e9, memory=2400e9, sort_seconds=7.0)
    asked: list[object] = []

    def sort_times(keys: Array, repeat: int, in_place: bool) -> list[float]:
        asked.append((keys.tolist(), repeat, in_place))
        return [1.0, 2.0, 9.0] if in_place else [2.0, 4.0, 18.0]

    def measure_limits(*arguments: object) -> Limits:
        asked.append(arguments)
        return limits

    stand_in = types.SimpleNamespace(
        sort_times=sort_times,
        measure_limits=measure_limits,
        naive_sort=lasting(clock, iter(CALLS), SORTED),
    )
    staged = lasting(clock, iter(CALLS[::-1]), SORTED)
    locked = lasting(clock, iter(CALLS), SORTED)

    def gpu_sort(keys: Array, out: Array | None = None) -> Array:
        if out is None:
            return staged(keys)
        assert keys is not KEYS
        assert keys.tolist() == KEYS.tolist()
        out[:] = locked(keys)
        return out

    monkeypatch.setattr(compare, "gpu_measure", stand_in)
    monkeypatch.setattr(compare, "page_locked", np.empty)
    monkeypatch.setattr(compare, "most_threads", lambda nbytes: {24: 6}[nbytes])
    monkeypatch.setattr(compare, "gpu_sort", gpu_sort)
    steps: list[int] = []
    rows, reported = compare.compare_gpu(KEYS, 3, timed(steps))
    assert reported is limits
    assert len(steps) == 3 * len(CALLS)
    assert asked == [([3, 1, 2], 3, False), ([3, 1, 2], 3, True), (24, 2.0, 3)]
    assert [(row.run.name, row.run.threads, row.run.first, row.run.repeats) for row in rows] == [
        ("cp.sort", None, None, (2.0, 4.0, 18.0)),
        ("cp.sort, in place", None, None, (1.0, 2.0, 9.0)),
        ("cp.asnumpy(cp.sort(cp.array(a)))", None, 100.0, (1.0, 2.0, 9.0)),
        ("gpu_sort", 6, 9.0, (1.0, 50.0, 100.0)),
        ("gpu_sort, page-locked", None, 100.0, (1.0, 2.0, 9.0)),
        ("bus up, cp.sort in place, bus down", None, None, (limits.serial_seconds,)),
    ]
    assert {row.run.device for row in rows} == {"gpu"}
    floor = limits.floor_seconds
    assert [row.limit_seconds for row in rows] == [*2 * [48 / 2400e9], *4 * [floor]]
    assert [row.limit for row in rows] == 2 * ["GPU memory, 2,400 GB/s"] + 4 * [
        "bus 12.0 GB/s up, 24.0 GB/s down"
    ]


def test_a_wrong_gpu_result_is_detected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = Limits(24, 1.0, 1.0, 1.0, 1.0)
    for wrong in ("naive_sort", "gpu_sort"):
        sorts = {
            name: wrong_in_call(4 if name == wrong else 99, -1)
            for name in ("naive_sort", "gpu_sort")
        }
        stand_in = types.SimpleNamespace(
            sort_times=lambda *arguments, **options: [1.0],
            measure_limits=lambda *arguments, limits=limits: limits,
            naive_sort=sorts["naive_sort"],
        )
        monkeypatch.setattr(compare, "gpu_measure", stand_in)
        monkeypatch.setattr(compare, "page_locked", np.empty)
        monkeypatch.setattr(compare, "gpu_sort", sorts["gpu_sort"])
        with pytest.raises(WrongResult):
            compare.compare_gpu(KEYS, 3, timed())


def test_a_sort_that_does_nothing_is_detected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in = types.SimpleNamespace(
        sort_times=lambda *arguments, **options: [1.0],
        measure_limits=lambda *arguments: Limits(24, 1.0, 1.0, 1.0, 1.0),
        naive_sort=np.sort,
    )
    calls: list[int] = []

    def idle_after_the_first(keys: Array, out: Array | None = None) -> Array:
        if out is None:
            return np.sort(keys)
        if not calls:
            out[:] = np.sort(keys)
        calls.append(1)
        return out

    monkeypatch.setattr(compare, "gpu_measure", stand_in)
    monkeypatch.setattr(compare, "page_locked", np.empty)
    monkeypatch.setattr(compare, "gpu_sort", idle_after_the_first)
    with pytest.raises(WrongResult):
        compare.compare_gpu(KEYS, 3, timed())
    assert len(calls) == 2


class Event:
    """Stands in for CUDA's, with a clock of milliseconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.at: float | None = None
        self.waited = False

    def record(self) -> None:
        self.at, self.waited = self._clock.now, False

    def synchronize(self) -> None:
        self.waited = True


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of a stand-in for the part of CuPy that times by events."""
    clock = Clock()

    def elapsed(begin: Event, end: Event) -> float:
        assert end.waited
        assert begin.at is not None
        assert end.at is not None
        return end.at - begin.at

    cuda = types.SimpleNamespace(Event=lambda: Event(clock), get_elapsed_time=elapsed)
    monkeypatch.setattr(gpu_measure, "load_cupy", lambda: types.SimpleNamespace(cuda=cuda))
    return clock


def test_gpu_time_excludes_warm_up_and_preparation(events: Clock) -> None:
    seconds = iter(CALLS[1:])
    prepared: list[int] = []

    def prepare() -> None:
        prepared.append(1)
        events.spend(1000.0)

    times = gpu_measure.gpu_times(lambda: events.spend(next(seconds)), 3, prepare)
    assert times == [0.001, 0.002, 0.009]
    assert len(prepared) == 4
    assert gpu_measure.gpu_times(lambda: events.spend(5.0), 2) == [0.005, 0.005]


def test_cupys_sorts_are_timed_warm_and_on_fresh_copies(
    events: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []

    class OnDevice:
        def __init__(self, keys: Array) -> None:
            self.keys = keys.copy()

        def sort(self) -> None:
            done.append(("in place", self.keys.tolist()))
            self.keys.sort()
            events.spend(3.0)

    def sort(unsorted: OnDevice) -> None:
        done.append(("sort", unsorted.keys.tolist()))
        events.spend(5.0)

    def copyto(work: OnDevice, unsorted: OnDevice) -> None:
        work.keys[:] = unsorted.keys
        events.spend(1000.0)

    cupy = types.SimpleNamespace(
        cuda=gpu_measure.load_cupy().cuda,
        asarray=OnDevice,
        empty_like=lambda unsorted: OnDevice(np.zeros_like(unsorted.keys)),
        sort=sort,
        copyto=copyto,
    )
    monkeypatch.setattr(gpu_measure, "load_cupy", lambda: cupy)
    assert gpu_measure.sort_times(KEYS, 2, in_place=False) == [0.005, 0.005]
    assert gpu_measure.sort_times(KEYS, 2, in_place=True) == [0.003, 0.003]
    assert done == 3 * [("sort", [3, 1, 2])] + 3 * [("in place", [3, 1, 2])]


def test_bus_and_gpu_memory_speeds_are_medians(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copies: list[object] = []
    ends: list[object] = []
    runtime = types.SimpleNamespace(
        memcpyHostToDevice="up",
        memcpyDeviceToHost="down",
        memcpyAsync=lambda *copy: copies.append(copy[2:4]) or ends.append(copy[:2]),
    )
    cuda = types.SimpleNamespace(
        PinnedMemory=lambda nbytes: nbytes,
        PinnedMemoryPointer=lambda memory, offset: types.SimpleNamespace(ptr=1000 + offset),
        runtime=runtime,
        get_current_stream=lambda: types.SimpleNamespace(ptr=0),
    )

    class OnDevice:
        def __init__(self, nbytes: int) -> None:
            self.nbytes = nbytes
            self.data = types.SimpleNamespace(ptr=2)

    cupy = types.SimpleNamespace(
        cuda=cuda,
        uint8="uint8",
        ones=lambda size, dtype: OnDevice(size),
        empty_like=lambda array: OnDevice(array.nbytes),
        copyto=lambda target, source: copies.append((source.nbytes, "within")),
    )

    def gpu_times(work: Callable[[], object], repeat: int) -> list[float]:
        assert repeat == 3
        work()
        return [1.0, 2.0, 9.0]

    monkeypatch.setattr(gpu_measure, "load_cupy", lambda: cupy)
    monkeypatch.setattr(gpu_measure, "free_bytes", lambda: 4000)
    monkeypatch.setattr(gpu_measure, "gpu_times", gpu_times)
    measured = gpu_measure.measure_limits(123, 7.0, 3)
    assert copies == [(1000, "up"), (1000, "down"), (1000, "within")]
    assert ends == [(2, 1000), (1000, 2)]
    assert measured == Limits(123, upload=500.0, download=500.0, memory=1000.0, sort_seconds=7.0)
    # Where there is room the copies are long enough for what starts them not to count.
    monkeypatch.setattr(gpu_measure, "free_bytes", lambda: 1 << 40)
    copies.clear()
    gpu_measure.measure_limits(123, 7.0, 3)
    assert copies == [(256 << 20, "up"), (256 << 20, "down"), (1 << 30, "within")]


# What is written


@contextlib.contextmanager
def files_of_at_most(nbytes: int) -> Iterator[None]:
    """Make the system refuse longer files, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_failed_write_keeps_the_old_file(
    tmp_path: Path,
) -> None:
    fresh, old = tmp_path / "fresh", tmp_path / "old"
    old.write_text("old")
    for target in (fresh, old):
        refused = pytest.raises(OSError, match=f"^cannot write {target}: File too large$")
        with refused, files_of_at_most(1000):
            write_whole(str(target), b"x" * 2000)
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text() == "old"


def test_ctrl_c_leaves_no_half_written_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    old.write_text("old")
    write = Path.write_bytes

    def interrupted(path: Path, content: bytes) -> int:
        write(path, content[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(str(old), b"new")
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text() == "old"


def test_a_reader_sees_the_old_file_while_it_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old and long")
    with target.open() as reader:
        write_whole(str(target), b"new")
        assert reader.read() == "old and long"
    assert target.read_text() == "new"


def test_a_pipe_is_written_to_and_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "touch", lambda path: pytest.fail("a file was made beside it"))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Open at both ends, so that neither end waits for the other.
    end = os.open(pipe, os.O_RDWR)
    try:
        require_writable(str(pipe))
        write_whole(str(pipe), b"content")
        assert os.read(end, 100) == b"content"
    finally:
        os.close(end)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_checking_for_writability_changes_nothing(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("old")
    require_writable(str(old))
    require_writable(str(tmp_path / "fresh"))
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text() == "old"
    for bad in (tmp_path, old / "below"):
        with pytest.raises(OSError, match=f"^cannot write {bad}: "):
            require_writable(str(bad))


# The whole command on a machine with a GPU, which is a stand-in


def test_the_gpu_table_reports_measured_times(
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    device = Gpu("A GPU", 1 << 30, "1.2", "12.4", "12.2", "14.2.0", 3.0)
    limits = Limits(4000, 1e6, 2e6, 1.0, 0.5)
    asked: list[object] = []
    seconds = iter(CALLS + tuple(10 * call for call in CALLS))
    ordered = np.sort(make_input("uniform", 1000, np.dtype("int32"), 0))

    def sort(keys: Array, threads: int) -> Array:
        asked.append(threads)
        clock.spend(next(seconds))
        return np.sort(keys)

    stand_in = types.SimpleNamespace(
        find_gpu=lambda: device,
        require_memory=lambda *arguments: asked.append(arguments),
        sorters_beyond_memory=lambda dtype, nbytes: None,
        sort_times=lambda keys, repeat, in_place: [0.25, 0.5, 9.0] if in_place else [5.0],
        measure_limits=lambda *arguments: asked.append(arguments) or limits,
        naive_sort=lasting(clock, iter(CALLS[::-1]), ordered),
    )
    drawn: list[Any] = []
    monkeypatch.setattr(plot, "draw", lambda *arguments: drawn.extend(arguments) or b"drawn")
    monkeypatch.setattr(suite, "gpu_device", stand_in)
    monkeypatch.setattr(suite, "gpu_measure", stand_in)
    monkeypatch.setattr(suite, "gpu_sort", sort)
    monkeypatch.setattr(suite, "most_threads", lambda nbytes: {4000: 4}[nbytes])
    document_file, picture = tmp_path / "out.json", tmp_path / "out.png"
    arguments = ["--device", "gpu", "--size", "1000", "--repeat", "3", "--threads", "2,5"]
    assert command.main([*arguments, "--json", str(document_file), "--plot", str(picture)]) == 0
    captured = capfd.readouterr()
    assert captured.out.endswith("2,2.000000\n5,20.000000\n")
    assert "Device: GPU: A GPU, asked for by --device gpu\n" in captured.err
    assert "Capped at 4 of 5: more would not help here\n" in captured.err
    assert asked == [(4000,), *[2] * 5, *[5] * 5, (4000, 0.5, 3)]
    document = json.loads(document_file.read_text())
    assert [(run["name"], run["device"], run["threads"]) for run in document["runs"]] == [
        ("gpu_sort", "gpu", 2),
        ("gpu_sort", "gpu", 5),
        ("threaded_sort", "cpu", 2),
        ("threaded_sort", "cpu", 5),
        ("np.sort", "cpu", None),
        ("cp.asnumpy(cp.sort(cp.array(a)))", "gpu", None),
    ]
    assert document["runs"][0]["first_call_seconds"] == 100.0
    assert document["runs"][0]["repeat_seconds"] == [1.0, 2.0, 9.0]
    assert document["runs"][-1]["repeat_seconds"] == [1.0, 50.0, 100.0]
    runs, lines, title, subtitle, kind = drawn
    assert [(run.name, run.threads) for run in runs] == [
        ("gpu_sort", 2),
        ("gpu_sort", 5),
        ("threaded_sort", 2),
        ("threaded_sort", 5),
    ]
    assert lines == {
        "np.sort, one thread": 0.0,
        "cp.asnumpy(cp.sort(cp.array(a)))": 50.0,
        "limit: copying to the GPU and back": limits.floor_seconds,
    }
    assert title == "Sorting 1,000 int32 keys (uniform)"
    assert "| A GPU, driver 1.2, CuPy 14.2.0 | NumPy " in subtitle
    assert subtitle.endswith(", " + document["date"][:10])
    assert len(document["date"]) == len("2026-01-02T03:04:05+00:00")
    assert kind == "png"
    assert picture.read_bytes() == b"drawn"
    assert {name: document[name] for name in GPU_FACTS} == GPU_FACTS


def test_a_gpu_table_compiles_nothing_for_the_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = Gpu("A GPU", 1 << 30, "1.2", "12.4", "12.2", "14.2.0", 3.0)
    stand_in = types.SimpleNamespace(
        find_gpu=lambda: device, sorters_beyond_memory=lambda dtype, nbytes: None
    )
    monkeypatch.setattr(suite, "gpu_device", stand_in)
    monkeypatch.setattr(suite, "gpu_sort", lambda keys, threads: np.sort(keys))
    monkeypatch.setattr(suite, "warm_up", lambda dtype: pytest.fail("it was compiled"))
    record = tmp_path / "out.json"
    arguments = ["--device", "gpu", "--size", "1000", "--threads", "1", "--json", str(record)]
    assert command.main(arguments) == 0
    assert json.loads(record.read_text())["compile_seconds"] is None


GPU_FACTS = {
    "device": "gpu",
    "device_reason": "A GPU, asked for by --device gpu",
    "gpu_most_threads": 4,
    "gpu_name": "A GPU",
    "gpu_memory_bytes": 1 << 30,
    "gpu_startup_seconds": 3.0,
    "driver_version": "1.2",
    "cuda_driver_version": "12.4",
    "cuda_runtime_version": "12.2",
    "cupy_version": "14.2.0",
    "upload_bytes_per_second": 1e6,
    "download_bytes_per_second": 2e6,
    "gpu_memory_bytes_per_second": 1.0,
    "gpu_sort_in_place_seconds": 0.5,
    "gpu_floor_seconds": 0.004 + 0.002,
    "gpu_serial_seconds": 0.004 + 0.002 + 0.5,
}
