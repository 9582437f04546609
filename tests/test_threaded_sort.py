"""`threaded_sort` returns what `numpy.sort` does, leaves nothing behind, says what is wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from cupy_compat.cudamark import _crew, _plan, cpu
from cupy_compat.cudamark.cpu import threaded_sort, usable_cpus, warm_up

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
    monkeypatch.setattr(cpu, "_PARALLEL_FROM", 2)
    monkeypatch.setattr(cpu, "_looks_constant", lambda a: False)
    monkeypatch.setattr(cpu, "usable_cpus", lambda: 7)
    monkeypatch.setattr(_plan, "GRAIN_SCALE", 1e-7)
    monkeypatch.setattr(_plan, "_VARIED_ENOUGH", 0)
    monkeypatch.setattr(_plan, "_VARIED_ENOUGH_IF_SLOW", 0)
    monkeypatch.setattr(_plan, "numpy_is_slow", lambda key: request.param)
    start = _crew.Crew.__init__

    def count(crew: _crew.Crew, workers: int) -> None:
        crews.append(workers)
        start(crew, workers)

    monkeypatch.setattr(_crew.Crew, "__init__", count)
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
def test_every_dtype_is_sorted_as_by_numpy_however_it_is_distributed(
    dtype: str, shape: str
) -> None:
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
    dtype: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "usable_cpus", lambda: 4)
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
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "c16"])
def test_no_signed_zero_is_lost(dtype: str) -> None:
    keys = np.random.default_rng(1).choice(np.array([0.0, -0.0, 1, -1], dtype), 4000)
    result = threaded_sort(keys, 3)
    for array in (keys, result):
        array.flags.writeable = False
    signs = [np.signbit(array.real[array == 0]).sum() for array in (keys, result)]
    assert signs[0] == signs[1]


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


@pytest.mark.usefixtures("parallel")
@pytest.mark.parametrize("dtype", ["u1", "f4", "c8"])
def test_no_thread_outlives_a_call(dtype: str) -> None:
    before = set(threading.enumerate())
    threaded_sort(make("random", dtype, 5000), 8)
    assert set(threading.enumerate()) == before


@pytest.mark.usefixtures("parallel")
def test_no_thread_outlives_a_call_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from cupy_compat.cudamark import _kernels

    def fail(*arguments: object) -> None:
        raise MemoryError("no memory for the kernel")

    warm_up("i4")
    monkeypatch.setattr(_kernels, "scatter", fail)
    before = set(threading.enumerate())
    with pytest.raises(MemoryError, match="no memory for the kernel"):
        threaded_sort(make("random", "i4", 5000), 4)
    assert set(threading.enumerate()) == before


@pytest.mark.usefixtures("parallel")
def test_several_threads_can_sort_at_once() -> None:
    arrays = [make("special", dtype, 20_011) for dtype in ("i4", "f8", "u1", "f2", "c8", "M8[s]")]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            for keys, result in zip(
                arrays, pool.map(lambda keys: threaded_sort(keys, 3), arrays), strict=True
            ):
                np.testing.assert_array_equal(result, np.sort(keys))


FIRST_CALLS = """
import threading
import numpy as np
from cupy_compat.cudamark import _plan, cpu
cpu._PARALLEL_FROM, _plan.GRAIN_SCALE = 2, 1e-7
keys = np.arange(5000, dtype=np.int32)[::-1].copy()
wrong = []
def sort():
    if not np.array_equal(cpu.threaded_sort(keys, 2), np.sort(keys)):
        wrong.append(1)
threads = [threading.Thread(target=sort) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(wrong))
"""


def test_the_very_first_calls_can_come_from_several_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CALLS], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"


def test_numba_is_not_imported_for_short_arrays() -> None:
    code = (
        "import sys, numpy; from cupy_compat.cudamark.cpu import threaded_sort; "
        "threaded_sort(numpy.arange(100000), 4); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_thread_alone_is_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_sort_in_parallel", lambda a, threads: pytest.fail("started"))
    monkeypatch.setattr(cpu, "_PARALLEL_FROM", 2)
    monkeypatch.setattr(cpu, "_looks_constant", lambda a: False)
    monkeypatch.setattr(cpu, "usable_cpus", lambda: 7)
    assert_sorted_as_by_numpy(make("random", "i4", 1000), 1)


@pytest.mark.parametrize("shape", [(), (2, 2), (1, 1, 1)])
def test_arrays_not_of_one_dimension_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"not one of {len(shape)} dimensions"):
        threaded_sort(np.zeros(shape))


@pytest.mark.parametrize("dtype", ["O", "S3", "U3", "V4", [("x", "i4")]])
def test_dtypes_that_are_no_numbers_or_dates_are_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="cannot sort arrays of dtype"):
        threaded_sort(np.zeros(3, dtype))
    with pytest.raises(TypeError, match="cannot sort arrays of dtype"):
        warm_up(dtype)


def test_masked_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match="compressed"):
        threaded_sort(np.ma.masked_equal(np.arange(3), 1))


@pytest.mark.parametrize("threads", [0, -1, np.int64(0)])
def test_less_than_one_thread_is_refused(threads: int) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        threaded_sort(np.zeros(3), threads)


@pytest.mark.parametrize("threads", [True, np.True_, 2.0, "2", [2]])
def test_a_thread_count_that_is_no_integer_is_refused(threads: Any) -> None:
    with pytest.raises(TypeError, match="must be an integer or None"):
        threaded_sort(np.zeros(3), threads)


def test_warming_up_takes_time_only_for_dtypes_with_kernels() -> None:
    assert warm_up("c16") == 0.0
    assert warm_up("g") == 0.0
    assert warm_up(">f4") > 0.0
    assert warm_up("M8[s]") > 0.0
    assert warm_up(bool) > 0.0


def test_at_least_one_cpu_is_usable() -> None:
    assert usable_cpus() >= 1
