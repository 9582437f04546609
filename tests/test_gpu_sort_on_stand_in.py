"""`gpu_sort` on a stand-in for a GPU, see `gpu_stand_in.py`: no key is lost, whatever fails."""

from __future__ import annotations

import ctypes
import errno
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gpu_stand_in
import numba
import numpy as np
import pytest
from conftest import assert_that_no_more, threads_of_the_system
from gpu_stand_in import Gpu
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cupy_compat.cudamark import free_pinned_buffers, gpu_sort
from cupy_compat.cudamark import gpu as gpu_room
from cupy_compat.cudamark.compiled import c_function, compiled
from cupy_compat.cudamark.gpu import (
    buckets,
    driver,
    loops,
    memory,
    native,
    partition,
    pinned,
    staging,
)
from cupy_compat.cudamark.gpu.native import Threads

pytestmark = pytest.mark.usefixtures("no_thread_left")

DTYPES = ["?", "i1", "u2", "f2", "i4", "f4", "u8", "f8", "c16", ">i4", ">f8", "M8[s]", ">m8[ns]"]
#: Those that are split by value where they do not fit.
SPLIT = ["i4", "f4", "u8", "f8", ">i4", ">f8", "M8[s]", ">m8[ns]"]
SIZES = [1, 2, 9999, 50_021]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return gpu_stand_in.put_in_place(monkeypatch)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return gpu_stand_in.put_in_place(monkeypatch, devices=2)


@pytest.fixture
def no_thread_of_the_system_left(gpu: Gpu) -> Iterator[None]:
    """Fail the test if it leaves a thread behind, of which Python need not know."""
    gpu_sort(np.zeros(2, "i4"))  # imports libraries that keep threads
    gpu.calls.clear()
    before = threads_of_the_system()
    yield
    assert not native._not_joined
    assert_that_no_more(threads_of_the_system, before)


def staging_buffers(device: int = 0) -> list[pinned.StagingBuffers]:
    """Return the slots that are kept for the next call."""
    (kept,) = pinned.kept[device]
    return kept.staging


def keys_of(dtype: str, size: int) -> NDArray[Any]:
    """Return keys, NaN and NaT among them."""
    rng = np.random.default_rng(size)
    kind = np.dtype(dtype).kind
    if kind in "fc":
        keys = rng.standard_normal(size) + (1j * rng.standard_normal(size) if kind == "c" else 0)
        keys[::17] = np.nan
        return keys.astype(dtype)
    raw = rng.integers(0, 256, 8 * size, dtype=np.uint8)
    if kind == "b":
        return raw[:size] > 127
    native = np.dtype(dtype).newbyteorder("=")
    keys = raw.view(native)[:size].copy()
    if kind in "mM":
        keys[::17] = np.array("NaT", native)
    return keys.astype(dtype)


def assert_sorted(result: NDArray[Any], a: NDArray[Any]) -> None:
    expected = np.sort(a)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


@pytest.fixture(params=["at once", "in value buckets", "beyond the memory"])
def room(request: pytest.FixtureRequest, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have keys sorted in each of three ways."""
    if request.param == "beyond the memory":
        gpu.free[0] = 40_000
    if request.param == "in value buckets":
        monkeypatch.setattr(partition, "BUCKET_BYTES", 1)


@pytest.mark.usefixtures("no_thread_of_the_system_left")
@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", [None, 1])
def test_keys_are_sorted_into_a_copy(dtype: str, size: int, threads: int | None) -> None:
    a = keys_of(dtype, size)
    before = a.copy()
    for keys in (a, a[::-1], a[::3]):
        assert_sorted(gpu_sort(keys, threads), keys)
    np.testing.assert_array_equal(a, before)


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("dtype", DTYPES)
def test_out_may_be_any_memory(dtype: str) -> None:
    a = keys_of(dtype, 20_011)
    roomy = np.empty(2 * a.size + 1, dtype)
    unaligned = np.empty(a.nbytes + 1, np.uint8)[1:].view(dtype)
    for out in (
        np.empty_like(a),
        roomy[: 2 * a.size : 2],
        roomy[a.size :: -1][: a.size],
        unaligned,
    ):
        assert gpu_sort(a, out=out) is out
        assert_sorted(out, a)


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("dtype", DTYPES)
def test_out_may_be_the_array_itself_or_overlap_it(dtype: str) -> None:
    a = keys_of(dtype, 20_011)
    itself = a.copy()
    assert gpu_sort(itself, out=itself) is itself
    assert_sorted(itself, a)
    backwards = a.copy()
    gpu_sort(backwards, out=backwards[::-1])
    assert_sorted(backwards[::-1], a)
    both = np.empty(a.size + 100, dtype)
    both[: a.size] = a
    gpu_sort(both[: a.size], out=both[100:])
    assert_sorted(both[100:], a)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.empty(4, "i4"), ValueError, r"shape, \(3,\), not \(4,\)"),
        (np.empty((3, 1), "i4"), ValueError, "shape"),
        (np.empty(3, "u4"), TypeError, "dtype, int32, not uint32"),
        (np.empty(3, ">i4"), TypeError, "dtype, int32, not >i4"),
        ([0, 0, 0], TypeError, "plain numpy.ndarray, not list"),
        (np.ma.masked_array(np.empty(3, "i4")), TypeError, "not MaskedArray"),
        (np.broadcast_to(np.int32(0), 3), ValueError, "read-only"),
    ],
)
def test_an_unfit_out_is_refused(gpu: Gpu, out: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gpu_sort(np.zeros(3, "i4"), out=out)
    assert not gpu.calls


def test_empty_arrays_are_sorted_without_a_copy(gpu: Gpu) -> None:
    out = np.empty(0, "i4")
    assert gpu_sort(np.empty(0, "i4"), out=out) is out
    assert gpu_sort(np.empty(0, "i4")).size == 0
    assert not gpu.calls


# Page-locked memory


@pytest.mark.parametrize("threads", [None, 1])
def test_page_locked_keys_and_out_go_over_the_bus_as_they_are(gpu: Gpu, threads: int) -> None:
    a = gpu.lock(keys_of("f8", 30_000))
    out = gpu.lock(np.empty_like(a))
    gpu_sort(a, threads, out=out)
    assert_sorted(out, a)
    assert gpu.calls == ["at once", "at once"]
    assert not staging_buffers(), "no slots"


def test_only_what_is_not_page_locked_is_staged(gpu: Gpu) -> None:
    a = keys_of("i8", 30_000)
    locked = gpu.lock(a.copy())
    assert_sorted(gpu_sort(locked), a)
    assert set(gpu.calls) == {"at once", "download"}
    assert len(staging_buffers()) == 4, "all threads copy the result"
    gpu.calls.clear()
    free_pinned_buffers()
    gpu_sort(a, out=locked)
    assert_sorted(locked, a)
    assert set(gpu.calls) == {"at once", "upload"}
    assert len(staging_buffers()) == 4


@pytest.mark.parametrize("what", ["one end", "other end", "middle", "seam", "stride", "byte order"])
def test_partly_page_locked_or_strided_arrays_are_staged(gpu: Gpu, what: str) -> None:
    a = gpu.lock(keys_of(">i8" if what == "byte order" else "i8", 30_000))
    (start, end) = gpu.locked.pop()
    if what in ("middle", "seam"):
        gpu.locked |= {(start, start + 4096), (start + 4096 + 8 * (what == "middle"), end)}
    else:
        gpu.locked.add((start + (what == "one end"), end - (what == "other end")))
    keys = a[::-1] if what == "stride" else a
    assert_sorted(gpu_sort(keys), keys)
    assert "upload" in gpu.calls or what in ("stride", "byte order")
    assert len(gpu.calls) > 2


def test_an_error_about_ordinary_memory_means_staging(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(address: int) -> None:
        raise gpu_stand_in.CUDARuntimeError("hipErrorInvalidValue")

    gpu.cupy.cuda.runtime.pointerGetAttributes = refuse
    a = keys_of("i4", 10_000)
    assert_sorted(gpu_sort(a), a)
    assert "at once" not in gpu.calls


def test_slots_are_kept_for_the_next_call_and_given_back_when_asked(gpu: Gpu) -> None:
    a = keys_of("i4", 10_000)
    gpu_sort(a, 3)
    kept = list(staging_buffers())
    gpu_sort(a, 3)
    assert staging_buffers() == kept
    assert len(kept) == 3
    free_pinned_buffers()
    assert not staging_buffers()


# The pieces


@pytest.mark.parametrize("itemsize", [1, 4, 16])
@pytest.mark.parametrize("threads", [1, 3, 16])
@pytest.mark.parametrize("size", [1, 511, 512, 513, 100_000])
def test_pieces_are_small_first_and_never_more_than_a_slot(
    gpu: Gpu, itemsize: int, threads: int, size: int
) -> None:
    bounds = staging.piece_bounds(size, itemsize, threads)
    pieces = np.diff(bounds)
    assert bounds[0] == 0
    assert bounds[-1] == size * itemsize
    assert not np.any(bounds % itemsize)
    assert pieces.min() > 0
    assert pieces.max() <= 4096
    assert pieces[0] == min(512, size * itemsize)
    if size * itemsize > threads * (512 + 1024 + 2048 + 4096):
        assert (pieces[: 4 * threads] == np.repeat([512, 1024, 2048, 4096], threads)).all()


def test_fresh_memory_is_touched_once_and_holds_what_it_held() -> None:
    memory = np.full(3 << 20, 7, np.uint8)
    shared = np.zeros(loops.SHARED, np.uintp)
    task = np.zeros(1, loops.TASK)[0]
    task["fresh"], task["fresh_bytes"] = memory.ctypes.data, memory.nbytes
    task["shared"] = shared.ctypes.data
    stretches = 0
    while loops.touch_stretch(task):
        stretches += 1
    assert stretches in (2, 3), "two MiB each, cut where the addresses are"
    assert (memory == 7).all()
    assert not loops.touch_stretch(task)


# Threads


#: ``void *function(void *)``.
BODY = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_size_t)


def threads_that(work: Callable[[int], int], arguments: list[int]) -> tuple[Threads, object]:
    """Return threads that call a Python function, and what must be kept as long as they run."""
    body = BODY(work)
    return Threads(driver.address_of(body), np.array(arguments, np.uintp), memory=None), body


@pytest.mark.usefixtures("no_thread_of_the_system_left")
def test_threads_work_beside_this_one_and_are_waited_for() -> None:
    meeting = threading.Barrier(4)
    given: list[int] = []

    def work(argument: int) -> int:
        meeting.wait(30)
        given.append(argument)
        return 0

    threads, _kept = threads_that(work, [5, 6, 7])
    threads.start()
    assert not given
    meeting.wait(30)
    threads.join()
    assert sorted(given) == [5, 6, 7]
    threads.join()


def test_memory_of_threads_is_kept_until_they_are_joined() -> None:
    class Memory:
        pass

    memory = Memory()
    there = weakref.ref(memory)
    body = BODY(lambda argument: 0)
    threads = Threads(driver.address_of(body), np.zeros(2, np.uintp), memory)
    threads.start()
    del memory, threads
    assert there() is not None
    (left,) = native._not_joined
    left.join()
    del left
    assert there() is None


def test_ctrl_c_at_any_moment_loses_no_key() -> None:
    """Of a thousand moments of a sort in place, in a process of its own."""
    program = Path(__file__).with_name("ctrl_c.py")
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    interrupted, finished = map(int, done.stdout.split())
    assert interrupted > 100
    assert finished > 100


def no_more_threads_than(started: int, monkeypatch: pytest.MonkeyPatch) -> object:
    """Let the system start so many, and no more; return what must be kept meanwhile."""
    address = native._address
    begin = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_size_t] * 4)
    starts = iter(range(100))

    def start(*arguments: int) -> int:
        create = begin(int(address("pthread_create")))
        return create(*arguments) if next(starts) < started else errno.EAGAIN

    function = begin(start)
    instead = {"pthread_create": driver.address_of(function)}
    monkeypatch.setattr(native, "_address", lambda name: instead.get(name) or address(name))
    return function


@pytest.mark.parametrize("started", [0, 2])
def test_threads_that_could_not_be_started_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, started: int
) -> None:
    worked: list[int] = []
    threads, _kept = threads_that(lambda argument: worked.append(argument) or 0, [1, 2, 3])
    _also = no_more_threads_than(started, monkeypatch)
    assert threads.start() == started
    threads.join()
    assert sorted(worked) == [1, 2][:started]


def test_loops_compile_without_a_cache() -> None:
    namespace: dict[str, Any] = {}
    exec("def double(x): return x + x", namespace)  # of no file, so Numba finds no place
    word = numba.types.uintp
    assert compiled(namespace["double"])(np.uintp(2)) == 4
    assert BODY(c_function(word(word), namespace["double"]))(3) == 6


def test_a_call_frees_what_it_used(gpu: Gpu) -> None:
    gc.disable()
    try:
        result = weakref.ref(gpu_sort(keys_of("i4", 20_000), 4))
        assert result() is None
    finally:
        gc.enable()


@pytest.mark.usefixtures("no_thread_of_the_system_left")
@pytest.mark.parametrize("started", [0, 2])
def test_fewer_threads_sort_if_no_more_start(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, started: int
) -> None:
    a = keys_of("i4", 20_000)
    _kept = no_more_threads_than(started, monkeypatch)
    assert_sorted(gpu_sort(a, 4), a)


# Failures


class Planted(Exception):
    """A failure on purpose."""


#: Where the caller's thread can fail: before keys are sent, while they are sorted, at the end.
FAILURES = [(gpu_stand_in.Event, "record"), (staging, "sort_on_device"), (Threads, "join")]


@pytest.mark.usefixtures("no_thread_of_the_system_left")
@pytest.mark.parametrize("error", [Planted, KeyboardInterrupt])
@pytest.mark.parametrize(("owner", "name"), FAILURES)
@pytest.mark.parametrize("in_place", [False, True])
def test_a_failure_in_the_callers_thread_loses_no_key(
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    error: type[BaseException],
    in_place: bool,
) -> None:
    a = keys_of("i4", 20_000)
    keys = a.copy()
    real, failures = getattr(owner, name), iter([error("planted")])

    def fail(*arguments: object) -> None:
        for failure in failures:
            raise failure
        real(*arguments)

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(error, match="planted"):
        gpu_sort(keys, 4, out=keys if in_place else None)
    np.testing.assert_array_equal(np.sort(keys), np.sort(a))
    if not in_place:
        np.testing.assert_array_equal(keys, a)
    assert_sorted(gpu_sort(keys, 4), a)


@pytest.mark.usefixtures("no_thread_of_the_system_left")
@pytest.mark.parametrize("way", ["upload", "split", "download"])
@pytest.mark.parametrize("later", [0, 5])
@pytest.mark.parametrize("in_place", [False, True])
def test_an_error_of_the_driver_is_raised_as_cupy_raises_it_and_loses_no_key(
    gpu: Gpu,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    later: int,
    in_place: bool,
) -> None:
    monkeypatch.setattr(partition, "BUCKET_BYTES", 1000)
    a = keys_of("i4", 20_000)
    keys = a.copy()

    def failing(real: Callable[..., int], asked: str | None = None) -> Callable[..., int]:
        def fail(*arguments: Any) -> int:
            if (asked or arguments[0]) == way and gpu.calls.count(way) >= later:
                return 719
            return real(*arguments)

        return fail

    monkeypatch.setattr(gpu, "copy", failing(gpu.copy))
    monkeypatch.setattr(gpu, "launch", failing(gpu.launch, "split"))
    with pytest.raises(gpu_stand_in.CUDARuntimeError, match="error 719"):
        gpu_sort(keys, 3, out=keys if in_place else None)
    np.testing.assert_array_equal(np.sort(keys), np.sort(a))


@pytest.mark.parametrize("in_place", [False, True])
def test_an_error_before_the_sort_leaves_page_locked_keys_alone(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, in_place: bool
) -> None:
    a = keys_of("i4", 20_000)
    keys = gpu.lock(a.copy())
    out = keys if in_place else gpu.lock(np.zeros_like(a))
    before = out.copy()

    def fail(self: object, stream: object) -> None:
        if gpu.calls:
            raise gpu_stand_in.CUDARuntimeError("error 719")

    monkeypatch.setattr(gpu_stand_in.Event, "record", fail)
    with pytest.raises(gpu_stand_in.CUDARuntimeError, match="error 719"):
        gpu_sort(keys, out=out)
    assert gpu.calls == ["at once"]
    np.testing.assert_array_equal(out, before)


def test_keys_are_restored_if_the_download_is_interrupted(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = keys_of("i8", 50_000)
    keys = a.copy()
    join, interrupts = Threads.join, iter([KeyboardInterrupt])

    def interrupted(self: Threads) -> None:
        for interrupt in interrupts:
            keys[: a.size // 2] = 0
            raise interrupt
        join(self)

    monkeypatch.setattr(Threads, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gpu_sort(keys, 1, out=keys)
    assert_sorted(keys, a)


# Value buckets


@pytest.fixture
def in_buckets(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """Return a GPU on which few keys make many value buckets."""
    monkeypatch.setattr(partition, "BUCKET_BYTES", 1000)
    return gpu


@pytest.mark.parametrize("locked", ["neither", "keys", "result", "both"])
@pytest.mark.parametrize("dtype", ["f4", "i8", "M8[s]", "c16"])
def test_buckets_are_downloaded_one_by_one(in_buckets: Gpu, locked: str, dtype: str) -> None:
    a, out = keys_of(dtype, 50_021), np.empty(50_021, dtype)
    before = a.copy()
    for name, array in (("keys", a), ("result", out)):
        if locked in (name, "both"):
            in_buckets.lock(array)
    assert_sorted(gpu_sort(a, out=out), before)
    assert in_buckets.calls.count("split") > 10
    assert in_buckets.sorts > 10
    if locked == "both":
        assert set(in_buckets.calls) == {"at once", "split"}


def test_overflowing_buckets_are_sorted_as_a_whole(
    in_buckets: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        partition,
        "sample_indices",
        lambda size, count: np.linspace(0, size // 10, count, dtype=int),
    )
    a = np.sort(keys_of("i8", 50_021))
    assert_sorted(gpu_sort(a), a)
    assert "split" in in_buckets.calls
    assert in_buckets.sorts == 1


@pytest.mark.parametrize("values", [1, 2, 5])
def test_few_values_are_sorted_as_a_whole(in_buckets: Gpu, values: int) -> None:
    a = np.random.default_rng(0).integers(0, values, 50_021)
    assert_sorted(gpu_sort(a), a)
    assert "split" not in in_buckets.calls
    assert in_buckets.sorts == 1


@pytest.mark.usefixtures("in_buckets")
def test_keys_are_sorted_as_a_whole_if_cupy_cannot_compile(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "kernel", lambda *what: None)
    a = keys_of("i4", 50_021)
    assert_sorted(gpu_sort(a), a)
    assert gpu.sorts == 1


@pytest.mark.parametrize("overlap", ["none", "itself", "shifted"])
@pytest.mark.parametrize("later", [0, 3])
def test_a_sort_that_runs_out_of_memory_is_retried_in_buckets(
    in_buckets: Gpu, monkeypatch: pytest.MonkeyPatch, overlap: str, later: int
) -> None:
    a = keys_of("i4", 50_021)
    both = np.concatenate([a, a[:100]])
    keys = both[: a.size]
    out = {"none": np.empty_like(a), "itself": keys, "shifted": both[100:]}[overlap]
    real, left = staging.sort_on_device, iter(range(later))

    def run_out(cupy: Any, keys: Any, nat_last: bool) -> None:
        if next(left, None) is None:
            raise MemoryError("std::bad_alloc")
        real(cupy, keys, nat_last)

    monkeypatch.setattr(staging, "sort_on_device", run_out)
    assert gpu_sort(keys, out=out) is out
    assert_sorted(out, a)


@given(
    counts=st.lists(st.integers(1, partition.SAMPLE), min_size=2, max_size=16),
    size=st.integers(1, 10**10),
)
def test_the_bins_have_room_for_any_sample(counts: list[int], size: int) -> None:
    shares = np.array(counts) / sum(counts) * partition.SAMPLE
    rooms = [partition.room(int(share), size) for share in shares]
    assert sum(rooms) <= partition.room_for_all(size, len(counts))


# The GPU's memory


def test_work_space_is_reserved_before_keys_are_sent(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another process could take it in between."""
    copy = gpu.copy

    def take_all(*arguments: Any) -> int:
        gpu.free[0] = 0
        return copy(*arguments)

    monkeypatch.setattr(gpu, "copy", take_all)
    monkeypatch.setattr(buckets, "sort", None)
    a = keys_of("f8", 20_000)
    assert_sorted(gpu_sort(a), a)


@pytest.mark.parametrize("what", ["keys", "work space", "streams", "page-locked memory", "kernel"])
def test_any_exhausted_memory_is_survived_and_released(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    a = keys_of("i4", 50_000)
    cuda = gpu.cupy.cuda

    def full(*arguments: object, **options: object) -> None:
        raise gpu_stand_in.CUDARuntimeError("cudaErrorMemoryAllocation: out of memory", 2)

    gpu.free[0] = {"keys": a.nbytes // 2, "work space": a.nbytes * 3 // 4}.get(what, 1 << 40)
    if what in ("streams", "page-locked memory"):
        monkeypatch.setattr(cuda, "Stream" if what == "streams" else "PinnedMemory", full)
    if what == "kernel":
        monkeypatch.setattr(staging, "sort_on_device", full)
    held: list[int] = []
    real = buckets.sort

    def look(*arguments: Any) -> None:
        held.append(gpu.taken[0])
        real(*arguments)

    monkeypatch.setattr(buckets, "sort", look)
    assert_sorted(gpu_sort(a), a)
    assert held == [0]


def test_with_little_page_locked_memory_fewer_threads_stage(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = gpu.cupy.cuda.PinnedMemory, iter(range(2))

    def lock(nbytes: int) -> Any:
        if next(left, None) is None:
            raise gpu_stand_in.CUDARuntimeError("cudaErrorMemoryAllocation: out of memory", 2)
        return real(nbytes)

    monkeypatch.setattr(gpu.cupy.cuda, "PinnedMemory", lock)
    a = keys_of("i4", 50_000)
    assert_sorted(gpu_sort(a), a)
    assert len(staging_buffers()) == 2


def test_streams_survive_freeing_pinned_memory(gpu: Gpu) -> None:
    """CuPy's pool keeps memory for each stream apart, so a new one would take as much again."""
    gpu_sort(keys_of("i4", 10_000))
    ((before,),) = pinned.kept.values()
    free_pinned_buffers()
    gpu_sort(keys_of("i4", 10_000))
    ((after,),) = pinned.kept.values()
    assert before.work is after.work


def test_a_nested_sort_uses_other_slots(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal handler does, between any two steps of the caller's thread."""
    a, b = keys_of("i4", 20_000), keys_of("i4", 15_000)
    copy, results = gpu.copy, []

    def interrupted(way: str, *arguments: int) -> int:
        if not results:
            results.append(b)
            results[0] = gpu_sort(b, 1)
        return copy(way, *arguments)

    monkeypatch.setattr(gpu, "copy", interrupted)
    assert_sorted(gpu_sort(a, 1), a)
    assert_sorted(results[0], b)


# Beyond the GPU's memory


@pytest.fixture
def sorts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Note the size and the device of each array that goes to a GPU."""
    seen: list[tuple[int, int]] = []
    run = staging.StagedSort.run

    def note(self: Any) -> None:
        seen.append((self.source.nbytes, gpu_stand_in.Device().id))
        run(self)

    monkeypatch.setattr(staging.StagedSort, "run", note)
    return seen


@pytest.mark.parametrize("dtype", SPLIT)
def test_keys_that_do_not_fit_go_in_buckets_that_do(
    gpu: Gpu, sorts: list[tuple[int, int]], dtype: str
) -> None:
    a = keys_of(dtype, 50_000)
    gpu.free[0] = 40_000
    assert_sorted(gpu_sort(a), a)
    assert len(sorts) >= a.nbytes // 40_000
    assert max(nbytes for nbytes, _ in sorts) <= 40_000
    assert sum(nbytes for nbytes, _ in sorts) > 0.9 * a.nbytes, "NaT alone stay"


def test_every_gpu_takes_buckets(
    two: Gpu, sorts: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    a = keys_of("i4", 100_000)
    two.free.update({0: 50_000, 1: 60_000})
    meeting = threading.Barrier(2)
    run = staging.StagedSort.run
    met: set[int] = set()

    def meet(self: Any) -> None:
        device = gpu_stand_in.Device().id
        if device not in met:
            met.add(device)
            meeting.wait(timeout=30)
        run(self)

    monkeypatch.setattr(staging.StagedSort, "run", meet)
    assert_sorted(gpu_sort(a), a)
    assert {device for _, device in sorts} == {0, 1}
    assert len(staging_buffers(0)) == len(staging_buffers(1)) == 2, "half of four threads each"


def test_a_gpu_with_far_less_memory_is_left_out(two: Gpu, sorts: list[tuple[int, int]]) -> None:
    a = keys_of("i4", 100_000)
    two.free.update({0: 100_000, 1: 50_000})
    assert_sorted(gpu_sort(a), a)
    assert {device for _, device in sorts} == {0}


@pytest.mark.parametrize(
    ("dtype", "free", "said"),
    [
        ("i4", {0: 50_000, 1: 60_000}, "2 GPUs, in buckets"),
        ("M8[s]", {0: 50_000, 1: 60_000}, "2 GPUs, in buckets"),
        ("i4", {0: 60_000, 1: 10_000}, "1 GPU, in buckets"),
        ("i4", {0: 0, 1: 0}, "the CPU"),
        ("i4", {0: 100, 1: 499}, "the CPU"),
        ("f2", {0: 50_000, 1: 60_000}, "the CPU"),
        ("c8", {0: 50_000, 1: 60_000}, "the CPU"),
    ],
)
def test_the_sorter_of_oversized_keys_is_named(
    two: Gpu, dtype: str, free: dict[int, int], said: str
) -> None:
    two.free.update(free)
    assert gpu_room.sorters_beyond_memory(np.dtype(dtype), 60_001) == said
    assert gpu_room.sorters_beyond_memory(np.dtype(dtype), free[0]) is None


@pytest.mark.parametrize("status", [2, 46])
@pytest.mark.parametrize("when", ["asked", "used"])
def test_a_full_or_exclusive_gpu_is_left_out(
    two: Gpu, sorts: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, status: int, when: str
) -> None:
    a = keys_of("i4", 100_000)
    two.free.update({0: 50_000, 1: 50_000})
    module, name = {"asked": (memory, "largest_sort"), "used": (pinned, "Resources")}[when]
    real = getattr(module, name)

    def busy(*arguments: Any) -> Any:
        if gpu_stand_in.Device().id == 1:
            raise gpu_stand_in.CUDARuntimeError("cudaErrorDevicesUnavailable", status)
        return real(*arguments)

    monkeypatch.setattr(module, name, busy)
    assert_sorted(gpu_sort(a), a)
    assert {device for _, device in sorts} == {0}


@pytest.mark.parametrize("free", [0, 1000])
def test_threads_sort_alone_if_no_bucket_fits(
    gpu: Gpu, sorts: list[tuple[int, int]], free: int
) -> None:
    a = keys_of("f8", 50_000)
    gpu.free[0] = free
    assert_sorted(gpu_sort(a), a)
    assert not sorts


def test_vanishing_memory_is_survived(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    a = keys_of("f8", 50_000)
    gpu.free[0] = 100_000
    run = staging.StagedSort.run
    left = iter(range(3))

    def run_out(self: Any) -> None:
        if next(left, None) is not None:
            raise gpu_stand_in.OutOfMemoryError
        run(self)

    monkeypatch.setattr(staging.StagedSort, "run", run_out)
    assert_sorted(gpu_sort(a), a)


@pytest.mark.parametrize("values", [1, 2, 3, 100])
@pytest.mark.parametrize("dtype", ["i4", "f8"])
def test_few_values_fill_buckets_that_need_no_gpu(
    gpu: Gpu, sorts: list[tuple[int, int]], values: int, dtype: str
) -> None:
    a = np.random.default_rng(0).integers(0, values, 50_000).astype(dtype)
    gpu.free[0] = 40_000
    assert_sorted(gpu_sort(a), a)
    if values < 4:
        assert not sorts


def test_all_nan_are_sorted(gpu: Gpu) -> None:
    a = np.full(50_000, np.nan)
    gpu.free[0] = 40_000
    assert np.isnan(gpu_sort(a)).all()


@pytest.mark.parametrize("dtype", ["?", "i1", "f2", "c8", "c16"])
def test_dtypes_that_are_not_split_are_sorted_by_threads(
    gpu: Gpu, sorts: list[tuple[int, int]], dtype: str
) -> None:
    a = keys_of(dtype, 50_000)
    gpu.free[0] = 10
    assert_sorted(gpu_sort(a), a)
    assert not sorts


@pytest.mark.parametrize("error", [Planted, KeyboardInterrupt])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_failure_between_buckets_loses_no_key(
    two: Gpu, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], in_place: bool
) -> None:
    a = keys_of("i4", 50_000)
    keys = a.copy()
    two.free.update({0: 20_000, 1: 20_000})
    run = staging.StagedSort.run
    left = iter(range(3))

    def fail(self: Any) -> None:
        if next(left, None) is None:
            raise error("planted")
        run(self)

    with monkeypatch.context() as patch:
        patch.setattr(staging.StagedSort, "run", fail)
        with pytest.raises(error, match="planted"):
            gpu_sort(keys, out=keys if in_place else None)
    np.testing.assert_array_equal(np.sort(keys), np.sort(a))
    if not in_place:
        np.testing.assert_array_equal(keys, a)


def test_after_a_failure_no_other_bucket_is_begun(
    two: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.free.update({0: 5000, 1: 5000})
    begun: list[int] = []

    def fail(self: Any) -> None:
        begun.append(1)
        raise Planted

    monkeypatch.setattr(staging.StagedSort, "run", fail)
    with pytest.raises(Planted):
        gpu_sort(keys_of("i4", 50_000))
    assert len(begun) <= 2


def test_keys_are_scattered_into_the_result_if_possible(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = keys_of("i4", 50_000)
    gpu.free[0] = 40_000
    targets: list[NDArray[Any]] = []
    scatter = buckets.split.scatter_by_value

    def note(keys: Any, out: Any, *arguments: Any, **options: Any) -> Any:
        targets.append(out)
        return scatter(keys, out, *arguments, **options)

    monkeypatch.setattr(buckets.split, "scatter_by_value", note)
    assert np.shares_memory(gpu_sort(a), targets[-1])
    out = np.empty_like(a)
    gpu_sort(a, out=out)
    assert np.shares_memory(out, targets[-1])
    itself = a.copy()
    gpu_sort(itself, out=itself)
    assert not np.shares_memory(itself, targets[-1])
