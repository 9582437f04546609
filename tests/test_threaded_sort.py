"""`threaded_sort` returns what `numpy.sort` does, leaves nothing behind, says what is wrong."""

from __future__ import annotations

import functools
import itertools
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from cupy_compat.cudamark import kernels, split
from cupy_compat.cudamark.cpu import counting, plan, quicksort, samplesort, sort
from cupy_compat.cudamark.cpu.sort import threaded_sort, warm_up
from cupy_compat.cudamark.crew import Crew

pytestmark = pytest.mark.usefixtures("away")

INTEGERS = [f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)]
REALS = ["f2", "f4", "f8", "g"]
COMPLEX = ["c8", "c16", "G"]
DATES = ["M8[ns]", "M8[D]", "m8[s]"]
DTYPES = ["?", *INTEGERS, *REALS, *COMPLEX, *DATES]
FOREIGN = [">i2", ">i4", ">u8", ">f2", ">f4", ">f8", ">c16", ">M8[s]"]
SHAPES = ["random", "sorted", "reversed", "constant", "few-valued", "skewed", "special"]
SIZES = [0, 1, 2, 3, 7, 31, 64, 127, 128, 129, 1021, 1023, 1024, 1025, 9973]


@pytest.fixture(params=[False, True], ids=["NumPy sorts the buckets", "radix sorts the buckets"])
def parallel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make short arrays and few-valued ones take the parallel path, on either kind of CPU."""
    crews: list[int] = []

    def make(a: NDArray[Any], threads: int | None) -> plan.Plan:
        crews.append(threads or 7)
        return crews[-1], plan.method(a.dtype, request.param)

    monkeypatch.setattr(sort, "_SAMPLED_FROM", 2)
    monkeypatch.setattr(plan, "make", make)
    yield
    assert crews, "nothing was sorted in parallel"


def make(shape: str, dtype: str, size: int) -> NDArray[Any]:
    """Keys of a dtype, distributed as named; "special" has NaN, NaT, infinities, limits in it."""
    rng = np.random.default_rng(20250717)
    kind = np.dtype(dtype)
    if shape == "constant":
        return np.ones(size, np.int8).astype(kind)
    if shape == "few-valued":
        return rng.integers(0, 7, size).astype(np.int8).astype(kind)
    if shape == "skewed":
        return np.minimum(rng.zipf(1.3, size), 120).astype(np.int8).astype(kind)
    special: list[Any]
    if kind.kind in "fc":
        keys = rng.standard_normal(size).astype(kind)
        if kind.kind == "c":
            keys = (keys + 1j * rng.standard_normal(size)).astype(kind)
        special = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0]
    elif kind.kind == "b":
        keys, special = rng.integers(0, 2, size).astype(kind), [True]
    else:
        whole = np.dtype(f"{'u' if kind.kind == 'u' else 'i'}{kind.itemsize}")
        limits = np.iinfo(whole)
        keys = rng.integers(limits.min, limits.max, size, whole, endpoint=True).astype(kind)
        special = ["NaT"] if kind.kind in "mM" else [limits.min, limits.max]
    if shape == "special":
        places = rng.random(size) < 0.2
        keys[places] = np.array(special, kind)[rng.integers(0, len(special), places.sum())]
    elif shape == "sorted":
        keys = np.sort(keys)
    elif shape == "reversed":
        keys = np.sort(keys)[::-1].copy()
    return keys


def assert_sorted_as_by_numpy(keys: NDArray[Any], threads: int | None = 3) -> None:
    before = keys.tobytes()
    result = threaded_sort(keys, threads)
    expected = np.sort(np.asarray(keys))
    assert type(result) is np.ndarray
    assert result.dtype.str == expected.dtype.str
    assert result.flags.c_contiguous
    assert result.flags.writeable
    assert not np.shares_memory(result, keys)
    np.testing.assert_array_equal(result, expected)
    assert keys.tobytes() == before


@pytest.mark.usefixtures("parallel")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [*DTYPES, *FOREIGN])
def test_every_dtype_and_distribution_is_sorted_as_by_numpy(dtype: str, shape: str) -> None:
    for size in (1009, 4096):
        assert_sorted_as_by_numpy(make(shape, dtype, size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["?", "u1", "i2", "f2", "i4", "f8", "g", "c8", "M8[s]"])
def test_short_arrays_of_any_length_are_sorted_as_by_numpy(dtype: str, size: int) -> None:
    assert_sorted_as_by_numpy(make("special", dtype, size))


@pytest.mark.usefixtures("parallel")
@pytest.mark.parametrize("threads", [2, 3, 8, 33, None])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "i8", "c16"])
def test_arrays_of_any_length_are_sorted_by_any_number_of_threads(
    dtype: str, threads: int | None
) -> None:
    for size in (2, 3, 127, 128, 1021, 1025):
        assert_sorted_as_by_numpy(make("random", dtype, size), threads)


@pytest.mark.usefixtures("parallel")
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "f8", "c8", "M8[s]", ">i4"])
def test_strided_unaligned_read_only_and_mapped_arrays_are_sorted(
    dtype: str, tmp_path: Path
) -> None:
    keys = make("special", dtype, 3001)
    assert_sorted_as_by_numpy(keys[::3])
    assert_sorted_as_by_numpy(keys[::-1])
    assert_sorted_as_by_numpy(np.broadcast_to(keys[:1], 500))
    unaligned = np.empty(3001, np.dtype([("pad", "u1"), ("key", dtype)]))["key"]
    unaligned[:] = keys
    assert_sorted_as_by_numpy(unaligned)
    keys.flags.writeable = False
    assert_sorted_as_by_numpy(keys)
    keys.tofile(tmp_path / "keys")
    assert_sorted_as_by_numpy(np.memmap(tmp_path / "keys", keys.dtype, mode="r"))


@pytest.mark.usefixtures("parallel")
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "c8"])
@pytest.mark.parametrize(
    "keys",
    [
        np.linspace(-1e-310, 1e-310, 4000),
        np.full(4000, np.finfo("f8").max),
        1.7e308 * np.linspace(-1, 1, 4000),
        np.resize([0x7FF0000000000001, 0x7FF8000000000000, 0], 4000).astype("u8").view("f8"),
        np.resize([np.inf, -np.inf, 1, np.nan], 4000),
    ],
    ids=["denormal", "greatest", "whole range", "signalling NaN", "infinite"],
)
def test_no_key_causes_an_error_or_a_warning(keys: NDArray[Any], dtype: str) -> None:
    with np.errstate(all="ignore"):
        keys = keys.astype(dtype)
    if dtype[-2:] == "f4":
        keys[::3].view("u4")[:] = np.array(0x7F800001).astype(keys.dtype.byteorder + "u4")
    with np.errstate(all="raise"):
        result = threaded_sort(keys, 3)
    np.testing.assert_array_equal(result, np.sort(keys))


@pytest.mark.parametrize("dtype", ["f2", ">f2"])
@pytest.mark.parametrize("size", [100_000, 400_000, 600_000])
def test_half_precision_numbers_are_sorted_and_keep_their_bits(dtype: str, size: int) -> None:
    """NumPy's own sort leaves some unsorted on processors with AVX-512."""
    bits = np.random.default_rng(0).permutation(np.arange(1 << 16, dtype="u2"))
    for keys in (np.resize(bits, size), np.resize(bits[:100], size), bits[bits > 0xFC00]):
        halves = keys.view("f2").astype(dtype)
        result = threaded_sort(halves, 2)
        np.testing.assert_array_equal(result, np.sort(halves, kind="stable"))
        np.testing.assert_array_equal(np.sort(result.astype("f2").view("u2")), np.sort(keys))


def test_counters_of_32_bits_do_not_overflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counting 8 GiB takes too long here: the loops are left out, and never touch the memory."""
    counted: list[int] = []
    monkeypatch.setattr(kernels, "fill_runs", lambda *arguments: None)
    monkeypatch.setattr(kernels, "count_values", lambda keys, counts: counted.append(len(keys)))
    keys = np.zeros((1 << 33) + 26, np.uint8)
    counting.sort(keys, Crew(1))
    assert sum(counted) == keys.size
    assert max(counted) <= 2 * np.iinfo(np.uint32).max, "two counters for each value take turns"


@pytest.mark.usefixtures("parallel")
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "M8[s]"])
def test_arrays_of_nothing_but_missing_values_are_sorted(dtype: str) -> None:
    missing = np.datetime64("NaT", "s") if dtype.startswith("M") else np.nan
    assert_sorted_as_by_numpy(np.full(1000, missing, dtype))


ELEMENTS = st.sampled_from(["?", *INTEGERS, "f2", "f4", "f8", "c8", "c16", "M8[s]", "m8[ns]"])


@pytest.mark.usefixtures("parallel")
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), dtype=ELEMENTS, repeats=st.integers(1, 40), threads=st.integers(2, 9))
def test_any_keys_are_sorted_as_by_numpy(
    data: st.DataObject, dtype: str, repeats: int, threads: int
) -> None:
    few = data.draw(npst.arrays(np.dtype(dtype), st.integers(2, 60)))
    assert_sorted_as_by_numpy(np.tile(few, repeats), threads)
    assert_sorted_as_by_numpy(np.resize(few, 2 * repeats + 1)[::-1], threads)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f8", "M8[s]"])
def test_long_arrays_are_sorted_as_by_numpy_without_any_adjustment(dtype: str) -> None:
    for shape in ("random", "few-valued", "constant"):
        assert_sorted_as_by_numpy(make(shape, dtype, 5_000_011), 2)


def keys_of_any_shape(dtype: str, size: int) -> dict[str, NDArray[Any]]:
    """Return keys that cells of the same width suit, and keys that they do not."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 256, size * 8, dtype=np.uint8).view(dtype)[:size].copy()
    normal = rng.standard_normal(size)
    if np.dtype(dtype).kind == "u":
        normal = np.abs(normal)
    shapes = {
        "uniform": (1000 * rng.random(size)).astype(dtype),
        "normal": (100 * normal).astype(dtype),
        "exponential": np.exp(20 * rng.random(size)).astype(dtype),
        "a hundred values": rng.integers(0, 100, size).astype(dtype),
        "two values": rng.integers(0, 2, size).astype(dtype),
    }
    if np.dtype(dtype).kind == "f":
        special = [np.nan, np.copysign(np.nan, -1), np.inf, -np.inf, 0.0, -0.0]
        shapes["special"] = normal.astype(dtype)
        shapes["special"][::3] = np.resize(np.array(special, dtype), -(-size // 3))
        tiny = np.nextafter(np.zeros(1, dtype), np.ones(1, dtype))
        shapes["denormal"] = (tiny * rng.integers(-9, 9, size)).astype(dtype)
        shapes["huge"] = (normal / 5 * np.finfo(dtype).max).astype(dtype)
        shapes["few NaN"] = shapes["uniform"].copy()
        shapes["few NaN"][::99] = np.nan
        shapes["few NaN"][1::99] = np.copysign(np.nan, -1)
    else:
        shapes["bits"] = bits
        ends = np.iinfo(np.dtype(dtype))
        shapes["bits"][:2] = ends.min, ends.max
    return shapes


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("buckets", [1, 2, 8, 64])
def test_cells_give_the_same_buckets_as_comparisons(dtype: str, buckets: int) -> None:
    suited = set()
    for shape, keys in keys_of_any_shape(dtype, 20_000).items():
        drawn = split.draw(keys, 8192)
        cut = split.choose_splitters(drawn, buckets)
        cells = split.make_cells(cut.splitters)
        if cells is None:
            continue
        suited.add(shape)
        ids = np.empty((2, keys.size), np.uint8)
        counts = np.zeros((2, 2, len(cut.uniform)), np.uint64)
        keys = kernels.read_only(keys)
        kernels.classify(keys, cut.splitters, ids[0], counts[0])
        kernels.classify_by_cell(keys, cells, ids[1], counts[1])
        np.testing.assert_array_equal(ids[1], ids[0], shape)
        np.testing.assert_array_equal(counts[1], counts[0], shape)
        np.testing.assert_array_equal(
            counts[1].sum(axis=0), np.bincount(ids[1], minlength=len(cut.uniform))
        )
    assert buckets < 8 or {"uniform", "normal", "few NaN" if dtype[0] == "f" else "bits"} <= suited


@np.errstate(all="ignore")
def test_no_two_splitters_share_a_cell() -> None:
    even = np.arange(0, 640, 10)
    cells = split.make_cells(even)
    assert cells is not None
    assert split.make_cells(np.append(even, 10**9)) is None
    assert split.make_cells(even[:0]) is None
    assert split.make_cells(np.array([np.inf])) is None
    assert split.make_cells(np.array([1.0, np.inf])) is None
    assert split.make_cells(np.array([-1.7e308, 1.7e308])) is None
    assert split.make_cells(np.array([0.0, 5e-324])) is None


@pytest.mark.usefixtures("parallel")
@pytest.mark.parametrize("dtype", ["u1", "f4", "c8"])
def test_no_thread_outlives_a_call(dtype: str) -> None:
    before = set(threading.enumerate())
    threaded_sort(make("random", dtype, 5000), 8)
    assert set(threading.enumerate()) == before


@pytest.mark.usefixtures("parallel")
def test_no_thread_outlives_a_call_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise MemoryError("no memory for the kernel")

    warm_up("i4")
    monkeypatch.setattr(kernels, "scatter", fail)
    before = set(threading.enumerate())
    with pytest.raises(MemoryError, match="no memory for the kernel"):
        threaded_sort(make("random", "i4", 5000), 4)
    assert set(threading.enumerate()) == before


def test_the_least_integer_is_nat_only_for_dates() -> None:
    keys = make("random", "i8", 5000)
    keys[::7] = np.iinfo(np.int64).min
    crew = Crew(2)
    np.testing.assert_array_equal(samplesort.sort(keys, crew), np.sort(keys))


@pytest.mark.usefixtures("parallel")
def test_several_threads_can_sort_at_once() -> None:
    arrays = [make("special", dtype, 20_011) for dtype in ("i4", "f8", "u1", "f2", "c8", "M8[s]")]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            for keys, result in zip(
                arrays, pool.map(lambda keys: threaded_sort(keys, 3), arrays), strict=True
            ):
                np.testing.assert_array_equal(result, np.sort(keys))


# Who works


@pytest.fixture
def crews(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Have the threads of each crew meet before each work; return how many there were, and jobs.

    Whoever comes to a meeting waits for all others, so fewer threads than that fail the test.
    """
    seen: list[tuple[int, int]] = []
    share = Crew.share

    def meeting_share(crew: Crew, work: Callable[[Any], object], jobs: Iterable[Any]) -> None:
        listed = list(jobs)
        expected = min(crew.workers, len(listed))
        meeting = threading.Barrier(expected)
        met: set[int] = set()

        def meet(job: Any) -> None:
            if threading.get_ident() not in met:
                met.add(threading.get_ident())
                meeting.wait(timeout=30)
            work(job)

        share(crew, meet, listed)
        assert len(met) == expected
        seen.append((expected, len(listed)))

    monkeypatch.setattr(Crew, "share", meeting_share)
    return seen


@pytest.mark.usefixtures("parallel")
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", ">f8", "M8[s]", "c16"])
def test_as_many_threads_work_at_once_as_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, dtype: str, crews: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(counting, "_PIECE", 1 << 14)
    assert_sorted_as_by_numpy(make("random", dtype, 200_000), 3)
    assert crews
    # The first cut of a quicksort is one thread's work, the second two threads'.
    assert [threads for threads, jobs in crews] == (
        [1, 2, 3] if dtype == "c16" else [3] * len(crews)
    )


def ran_beside(work: Callable[[], object]) -> bool:
    """Tell whether this thread has run while another was in the middle of some work.

    Threads change over only where one gives the GIL away by itself, so work that keeps it is over
    whenever this thread comes to look.
    """
    done: list[bool] = []

    def whole() -> None:
        begun.set()
        work()
        done.append(True)

    begun = threading.Event()
    worker = threading.Thread(target=whole)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    try:
        worker.start()
        begun.wait()
        return not done
    finally:
        sys.setswitchinterval(interval)
        worker.join()


def work_of(kernel: str) -> Callable[[], object]:
    """Return a call of a kernel that takes some milliseconds, on arrays made for it."""
    size = 1 << 21
    keys = kernels.read_only(make("random", "i4", size))
    ids = np.zeros(size, np.uint8)
    bits = keys.view(np.uint32).copy()
    arguments: dict[str, tuple[Any, ...]] = {
        "classify": (keys, np.zeros(64, np.int32), ids, np.zeros((2, 65), np.uint64)),
        "classify_by_cell": (
            keys,
            split.make_cells(np.arange(64, dtype=np.int32)),
            ids,
            np.zeros((2, 65), np.uint64),
        ),
        "scatter": (keys, ids, np.zeros(1, np.uint64), np.empty(size, np.int32)),
        "radix_sort": (bits, bits.copy(), *kernels.masks(keys.dtype)),
        "count_values": (kernels.read_only(ids), np.zeros((2, 256), np.uint32)),
        "fill_runs": (np.arange(256, dtype=np.uint8), np.full(256, size), 0, np.empty_like(ids)),
    }
    return functools.partial(getattr(kernels, kernel), *arguments[kernel])


def test_the_gil_probe_detects_a_held_gil() -> None:
    """A regular expression keeps it, NumPy's sort does not."""
    text = "a" * 24
    pattern = re.compile("(a|aa)*b")
    assert not any(ran_beside(lambda: pattern.match(text)) for _ in range(5))
    keys = make("random", "i8", 1 << 20)
    assert any(ran_beside(keys.copy().sort) for _ in range(50))


KERNELS = ["count_values", "classify", "classify_by_cell", "scatter", "radix_sort", "fill_runs"]


def test_all_compiled_kernels_are_probed() -> None:
    compiled = [name for name, value in vars(kernels).items() if hasattr(value, "py_func")]
    assert compiled == KERNELS


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_kernel_holds_the_gil(kernel: str) -> None:
    work_of(kernel)()  # compiled now, which gives the GIL away at times
    assert any(ran_beside(work_of(kernel)) for _ in range(50))


# How the work is cut up


@pytest.mark.parametrize("size", [1000, 100_000, 7_654_321])
def test_a_sample_is_spread_evenly_over_the_keys(size: int) -> None:
    drawn = split.draw(np.arange(size, dtype=np.int32)[::-1], 500)
    assert len(drawn) == 500
    gaps = np.diff([-1, *drawn.tolist(), size])
    assert gaps.min() >= 0
    assert gaps.max() <= 3 * size / 500


def test_a_sample_leaves_out_nan_and_is_native() -> None:
    keys = np.array([np.nan, 2.0, -np.nan, 1.0] * 10, ">f8")
    drawn = split.draw(keys, 100)
    assert drawn.dtype.isnative
    assert set(drawn.tolist()) == {1.0, 2.0}
    assert 30 < len(drawn) < 70


def keys_in_buckets(keys: NDArray[Any], cut: split.Split) -> NDArray[Any]:
    buckets = np.searchsorted(cut.splitters, keys, side="right")
    return np.bincount(buckets, minlength=len(cut.uniform))


@pytest.mark.parametrize("buckets", [8, 30, 64])
def test_varied_keys_fill_all_buckets_about_equally(buckets: int) -> None:
    keys = make("random", "f8", 100_000)
    cut = split.choose_splitters(split.draw(keys, 8192), buckets)
    filled = keys_in_buckets(keys, cut)
    assert buckets <= np.count_nonzero(filled) <= buckets + 1
    assert filled.max() < 1.5 * len(keys) / buckets
    # What is repeated to make their number a multiple of four leaves empty buckets.
    assert not cut.uniform[filled > 0].any()
    assert cut.uniform[filled == 0].all()


@pytest.mark.parametrize("dtype", ["i4", "f8"])
def test_buckets_are_sorted_by_radix_only_on_request(
    monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    keys = make("random", dtype, 100_000)
    sorted_so: list[int] = []
    radix_sort = kernels.radix_sort

    def note(bits: NDArray[Any], *others: Any) -> None:
        if bits.size > 1:  # not when it is compiled
            sorted_so.append(bits.size)
        radix_sort(bits, *others)

    monkeypatch.setattr(kernels, "radix_sort", note)
    for radix in (False, True):
        crew = Crew(2)
        np.testing.assert_array_equal(samplesort.sort(keys, crew, radix=radix), np.sort(keys))
        if radix:
            # All of them, but for the last one of floats, which has the NaN.
            rest = keys.size - sum(sorted_so)
            assert 0 < rest < 4000 if dtype == "f8" else rest == 0
        else:
            assert not sorted_so


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the parts that crews are given to finish, in their order."""
    parts: list[Any] = []
    share = Crew.share

    def note(crew: Crew, work: Callable[[Any], object], jobs: Iterable[Any]) -> None:
        jobs = list(jobs)
        if work.__name__ == "finish":
            parts.extend(jobs)
        share(crew, work, jobs)

    monkeypatch.setattr(Crew, "share", note)
    return parts


def test_full_buckets_are_sorted_first_and_uniform_ones_never(
    finished: list[int],
) -> None:
    keys = make("random", "i4", 100_000)
    keys[::2] = 7
    scattered = np.empty_like(keys)
    crew = Crew(2)
    samplesort.sort(keys, crew)
    bounds, uniform = split.scatter_by_value(
        keys, scattered, crew, 8, samplesort.SAMPLE, nat_last=False
    )
    sizes = np.diff(bounds)[finished]
    assert sizes.min() > 0
    assert (np.diff(sizes) <= 0).all()
    assert not uniform[finished].any()
    assert np.diff(bounds)[uniform].max() >= 50_000


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
def test_complex_keys_are_cut_into_equal_parts(
    finished: list[tuple[int, int]], workers: int
) -> None:
    keys = make("random", "c16", 8000)
    crew = Crew(workers)
    np.testing.assert_array_equal(quicksort.sort(keys, crew), np.sort(keys))
    parts = {1: 1, 2: 2, 3: 4, 4: 4, 8: 8}[workers]
    edges = np.linspace(0, 8000, parts + 1).astype(int).tolist()
    assert finished == list(itertools.pairwise(edges))


def test_a_value_drawn_twice_gets_its_own_bucket() -> None:
    drawn = np.arange(100)
    drawn[20:60] = 20
    cut = split.choose_splitters(drawn, 4)
    assert cut.splitters.tolist() == [20, 21, 75]
    assert cut.uniform.tolist() == [False, True, False, False]


@pytest.mark.parametrize("value", [-5, 0, 2**31 - 1, -(2**31)])
def test_a_frequent_value_gets_a_bucket_that_needs_no_sorting(value: int) -> None:
    keys = make("random", "i4", 100_000)
    keys[::2] = value
    cut = split.choose_splitters(split.draw(keys, 8192), 16)
    filled = keys_in_buckets(keys, cut)
    (own,) = np.searchsorted(cut.splitters, [value], side="right")
    assert filled[own] >= 50_000
    # Above the greatest value of all there is no other to cut it off from.
    greatest = value == 2**31 - 1
    assert cut.uniform[own] == (not greatest)
    others = np.flatnonzero(~cut.uniform[: own + (not greatest)])
    assert filled[others].max(initial=0) < 1.5 * len(keys) / 16
    for bucket in np.flatnonzero(cut.uniform):
        inside = keys[np.searchsorted(cut.splitters, keys, side="right") == bucket]
        assert len(set(inside.tolist())) <= 1


def test_nat_gets_its_own_bucket() -> None:
    keys = make("random", "i8", 10_000)
    nat = np.iinfo(np.int64).min
    for some in (keys, np.where(np.arange(10_000) % 3, keys, nat), np.full(50, nat)):
        cut = split.choose_splitters(split.draw(some, 1000), 8, nat_first=True)
        assert cut.splitters[0] == nat + 1
        assert cut.uniform[0]


@pytest.mark.parametrize("dtype", ["f4", ">f8"])
@pytest.mark.parametrize(("share", "own_bucket"), [(0.4, False), (0.6, True), (1.0, True)])
def test_mostly_nan_keys_get_an_unsorted_bucket(
    finished: list[int], dtype: str, share: float, own_bucket: bool
) -> None:
    keys = make("random", dtype, 10_000)
    keys[np.random.default_rng(0).random(10_000) < share] = np.nan
    scattered = np.empty_like(keys, keys.dtype.newbyteorder("="))
    crew = Crew(2)
    bounds, _ = split.scatter_by_value(keys, scattered, crew, 8, 1000, nat_last=False)
    last = len(bounds) - 2
    assert np.isnan(scattered[bounds[last] :]).all() == own_bucket
    np.testing.assert_array_equal(samplesort.sort(keys, crew), np.sort(keys))
    # What is of the other byte order is turned back in any case.
    assert (last in finished) == (not own_bucket or dtype == ">f8")
    finished.clear()
    keys[0] = np.inf
    np.testing.assert_array_equal(samplesort.sort(keys, crew), np.sort(keys))
    assert last in finished


@pytest.mark.parametrize("dtype", ["i4", "u8", "f4", ">f8"])
def test_a_frequent_greatest_value_is_not_sorted(finished: list[int], dtype: str) -> None:
    kind = np.dtype(dtype)
    keys = make("random", dtype, 10_000)
    keys[::2] = np.inf if kind.kind == "f" else np.iinfo(kind).max
    crew = Crew(2)
    np.testing.assert_array_equal(samplesort.sort(keys, crew), np.sort(keys))
    scattered = np.empty_like(keys, kind.newbyteorder("="))
    crew = Crew(2)
    bounds, _ = split.scatter_by_value(keys, scattered, crew, 8, 8192, nat_last=False)
    assert bounds[-1] - bounds[-2] >= 5000
    assert (len(bounds) - 2 in finished) == (not kind.isnative)


def test_bucket_offsets_are_contiguous() -> None:
    counts = np.array([[1, 2, 3], [4, 5, 6]], np.uint64)
    offsets, bounds = split.bucket_offsets(counts, np.array([1, 2, 0]))
    assert bounds.tolist() == [0, 7, 16, 21]
    assert offsets.tolist() == [[16, 0, 7], [17, 2, 10]]


# What the kernels are given, and where they are kept


@pytest.mark.usefixtures("parallel")
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", ">i4", "f8"])
def test_kernels_get_aligned_contiguous_native_read_only_keys(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_to: set[str] = set()

    def spy(name: str) -> Callable[..., object]:
        kernel = getattr(kernels, name)

        def call(keys: NDArray[Any], *others: Any) -> object:
            given_to.add(name)
            assert keys.flags.aligned
            assert keys.flags.c_contiguous
            assert not keys.flags.writeable
            assert keys.dtype.isnative
            return kernel(keys, *others)

        return call

    for name in ("classify", "classify_by_cell", "scatter", "count_values"):
        monkeypatch.setattr(kernels, name, spy(name))
    keys = make("random", dtype, 3001)
    unaligned = np.empty(3001, np.dtype([("pad", "u1"), ("key", dtype)]))["key"]
    unaligned[:] = keys
    packed = np.zeros(keys.nbytes + 1, np.uint8)[1:].view(dtype)
    packed[:] = keys
    assert keys.itemsize == 1 or not (unaligned.flags.aligned or packed.flags.aligned)
    for array in (keys, keys[::-2], unaligned, packed):
        assert_sorted_as_by_numpy(array)
    short = keys.itemsize <= 2
    assert given_to - {"classify", "classify_by_cell"} == (
        {"count_values"} if short else {"scatter"}
    )
    assert short or len(given_to) > 1


@pytest.mark.usefixtures("parallel")
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_thread_is_the_callers(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = make("random", dtype, 9973)
    monkeypatch.setattr(threading.Thread, "start", lambda self: pytest.fail("another was started"))
    assert_sorted_as_by_numpy(keys, 1)


@pytest.mark.parametrize("shape", [(), (2, 2), (1, 1, 1)])
def test_arrays_that_are_not_one_dimensional_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"not one of {len(shape)} dimensions"):
        threaded_sort(np.zeros(shape))


@pytest.mark.parametrize("dtype", ["O", "S3", "U3", "V4", [("x", "i4")]])
def test_other_dtypes_are_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="cannot sort arrays of dtype"):
        threaded_sort(np.zeros(3, dtype))
    with pytest.raises(TypeError, match="cannot sort arrays of dtype"):
        warm_up(dtype)


def test_masked_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match="compressed"):
        threaded_sort(np.ma.masked_equal(np.arange(3), 1))


@pytest.mark.parametrize("threads", [0, -1, np.int64(0)])
def test_a_thread_count_below_one_is_refused(threads: int) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        threaded_sort(np.zeros(3), threads)


@pytest.mark.parametrize("threads", [True, np.True_, 2.0, "2", [2]])
def test_a_non_integer_thread_count_is_refused(threads: Any) -> None:
    with pytest.raises(TypeError, match="must be an integer or None"):
        threaded_sort(np.zeros(3), threads)
