"""How many threads a sort is worth, on given rates and on what samples of real keys show."""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_compat.cudamark.cpu import counting, plan, quicksort, rates, samplesort, serial, sort
from cupy_compat.cudamark.cpu.plan import Keys, choose, estimate
from cupy_compat.cudamark.cpu.rates import Rates
from cupy_compat.cudamark.dtypes import number_type
from cupy_compat.cudamark.sampling import sample_indices, sample_runs
from cupy_compat.cudamark.turns import CompilerBusy

pytestmark = pytest.mark.usefixtures("away")

#: As on a processor with AVX-512: seconds to begin, for each thread, to move a key, to sort it.
RATES = Rates(begin=200e-6, start=100e-6, move=1.5e-9, radix=3.5e-9)
MANY = 50_000_000


def test_uniform_keys_are_worth_all_threads() -> None:
    keys = Keys(MANY, numpy=3.5e-9, finish=2.6e-9)
    assert [choose(keys, RATES, threads) for threads in (2, 4, 16)] == [2, 4, 16]
    assert choose(keys, RATES, 1) == 0, "NumPy does it as fast alone"


def test_numpy_sorts_cheap_keys_unless_many_threads_help() -> None:
    equal = Keys(MANY, numpy=0.15e-9, finish=0.0)
    assert choose(equal, RATES, 16) == 0
    sixteen_values = Keys(MANY, numpy=0.9e-9, finish=0.0)
    assert [choose(sixteen_values, RATES, threads) for threads in (1, 2, 16)] == [0, 0, 16]


def test_one_thread_helps_where_numpy_is_slow() -> None:
    for numpy, finish in ((50e-9, 36e-9), (8e-9, 0.0)):
        keys = Keys(600_000, numpy, finish)
        assert choose(keys, RATES, 1) == 1
        assert choose(keys, RATES, 2) == 2


def test_a_thread_is_started_only_if_its_start_pays() -> None:
    chosen = [choose(Keys(size, 50e-9, 36e-9), RATES, 64) for size in (1 << 19, 1 << 21, 1 << 23)]
    assert 1 < chosen[0] < chosen[1] < chosen[2] < 64
    dear = RATES._replace(start=100 * RATES.start)
    assert choose(Keys(1 << 19, 50e-9, 36e-9), dear, 64) == 1
    assert choose(Keys(1 << 19, 5e-9, 3.6e-9), RATES._replace(begin=1.0), 64) == 0


def test_the_faster_bucket_sort_counts() -> None:
    slow_numpy = Keys(MANY, numpy=10e-9, finish=8e-9)
    assert choose(slow_numpy, RATES, 1) == 1
    assert choose(slow_numpy, RATES._replace(radix=float("inf")), 1) == 0


def test_a_slow_machine_leaves_keys_to_numpy() -> None:
    keys = Keys(MANY, numpy=3.5e-9, finish=2.6e-9)
    assert choose(keys, RATES._replace(move=4e-9), 2) == 0
    assert choose(keys, RATES._replace(serial=0.9), 16) == 0


@functools.cache
def of_a_sample(dtype: str, kind: str) -> Keys:
    # The least of some, since other work on this machine has its part in each.
    found = [estimate(keys_of(dtype, kind, seed), worth=0.0) for seed in range(5)]
    numpy, finish = (min(getattr(keys, name) for keys in found) for name in ("numpy", "finish"))
    return Keys(1 << 20, numpy, finish)


def keys_of(dtype: str, kind: str, seed: int) -> NDArray[Any]:
    keys: NDArray[Any] = np.random.default_rng(seed).integers(0, 1 << 14, 1 << 20)
    if kind == "two values":
        keys %= 2
    elif kind == "equal":
        keys[:] = 3
    elif kind == "sorted":
        keys.sort()
    elif kind == "equal in places":
        for start in (0, 240_000, 640_000, 890_000):
            keys[start : start + 10_000] = 3
    return keys.view(dtype) if dtype[0] == "M" else keys.astype(dtype)


@pytest.mark.parametrize("dtype", ["i4", "f4", "i8", "f8", "M8[s]", "c16"])
def test_samples_show_that_numpy_sorts_few_values_faster(dtype: str) -> None:
    uniform, two, equal = (of_a_sample(dtype, kind) for kind in ("uniform", "two values", "equal"))
    assert uniform.numpy > 1.5 * two.numpy
    assert uniform.numpy > 2.5 * equal.numpy


@pytest.mark.parametrize("dtype", ["M8[s]", "c16"])
def test_a_few_cheap_places_do_not_decide_for_all_keys(dtype: str) -> None:
    uniform, few = (of_a_sample(dtype, kind) for kind in ("uniform", "equal in places"))
    assert few.numpy > 0.5 * uniform.numpy
    assert few.finish > 0.5 * uniform.finish


@pytest.mark.parametrize("dtype", ["M8[s]", "c16", "g"])
def test_samples_show_that_numpy_sorts_ordered_keys_faster(dtype: str) -> None:
    assert of_a_sample(dtype, "uniform").numpy > 2 * of_a_sample(dtype, "sorted").numpy


def test_cutting_complex_keys_destroys_their_order() -> None:
    ordered = of_a_sample("c16", "sorted")
    assert ordered.finish > 2 * ordered.numpy
    assert choose(ordered, Rates(0.0, 1e-4, 0.0, serial=0.2), 2) == 0
    assert choose(of_a_sample("c16", "uniform"), Rates(0.0, 1e-4, 0.0, serial=0.2), 2) == 2


def test_values_with_a_bucket_or_counter_need_no_sorting() -> None:
    assert of_a_sample("i4", "two values").finish == 0
    assert of_a_sample("i2", "uniform").finish == 0
    assert of_a_sample("i4", "uniform").finish > 0


@np.errstate(all="raise")
@pytest.mark.parametrize("dtype", ["f2", "f8", "c16"])
def test_nan_in_a_sample_causes_no_error(dtype: str) -> None:
    assert estimate(np.full(1 << 19, np.nan, dtype), worth=0.0)


@pytest.mark.parametrize("count", [4, 8, 16])
def test_a_sample_keeps_the_order_and_spans_the_array(count: int) -> None:
    sample = sample_runs(np.arange(3_000_000)[::3], count)
    steps = np.diff(sample)
    assert (steps > 0).all()
    assert np.count_nonzero(steps == 3) == 2048 - count, "the keys of a run are neighbours"
    assert sample[0] < 3_000_000 / 8
    assert sample[-1] > 3_000_000 * 0.6


@pytest.mark.parametrize(
    ("size", "columns"), [(1 << 25, 2), (3 << 24, 3), (1 << 27, 8), (48000, 3)]
)
def test_sample_indices_hit_every_column_of_a_matrix(size: int, columns: int) -> None:
    found = sample_indices(size, 8192)
    assert found.min() >= 0
    assert found.max() < size
    shares = np.bincount(found % columns) / 8192
    assert shares.min() > 0.9 / columns


@pytest.mark.parametrize(
    ("dtype", "method"),
    [
        ("c8", quicksort.sort),
        ("g", quicksort.sort),
        ("u1", counting.sort),
        ("f2", counting.sort),
        ("f8", samplesort.sort),
        ("m8[s]", samplesort.sort),
    ],
)
def test_each_dtype_has_its_method(dtype: str, method: object) -> None:
    for radix in (False, True):
        chosen: Any = plan.method(np.dtype(dtype), radix)
        assert getattr(chosen, "func", chosen) is method
        if method is samplesort.sort:
            assert chosen.keywords == {"nat_last": dtype == "m8[s]", "radix": radix}


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("M8[s]", "<i8"), (">m8[ns]", ">i8"), (">f4", ">f4"), ("u1", "|u1"), ("?", "|b1")],
)
def test_dates_and_durations_are_sorted_as_integers(dtype: str, number: str) -> None:
    assert number_type(np.dtype(dtype)).str == number


@dataclass
class Asked:
    """What the plan's parts were asked for."""

    rates: list[str]
    threads: list[int]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Have the plan take given rates, and say what it was asked for."""
    found = Asked([], [])
    monkeypatch.setattr(plan, "measure", lambda key: found.rates.append(key.str) or RATES)
    monkeypatch.setattr(plan, "choose", lambda *asked: found.threads.append(asked[2]) or 0)
    monkeypatch.setattr(plan, "usable_cpus", lambda: 5)
    return found


def test_short_arrays_are_not_sampled(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    monkeypatch.setattr(plan, "make", lambda a, threads: looked_at.append(a.size))
    for size in ((1 << 19) - 1, 1 << 19):
        sort.threaded_sort(np.zeros(size, np.int8), 2)
    assert looked_at == [1 << 19]


@pytest.mark.parametrize(
    ("values", "nanoseconds", "rates"),
    [
        (1 << 19, [2], []),
        (1 << 19, [9, 9, 2], []),
        (1 << 19, [9, 9, 9], ["<i8"]),
        (100, [7], []),
        (100, [8, 8, 8], ["<i8"]),
    ],
)
def test_numpy_sorts_cheap_keys_as_soon_as_a_sample_shows_that(
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
    values: int,
    nanoseconds: list[float],
    rates: list[str],
) -> None:
    # Each of half a million keys may take 3.8 ns: 2.2 in a sample, or 7.6 if values recur.
    left = [1e-9 * seconds for seconds in nanoseconds]
    monkeypatch.setattr(plan, "_sort", lambda sample: (left.pop(0), np.sort(sample)))
    sort.threaded_sort((np.arange(1 << 19) % values).astype(">i8"), 2)
    assert not left
    assert asked.rates == rates


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (4, 4), (50, 5), (None, 5)])
def test_no_more_threads_than_cpus_are_planned(
    asked: Asked, threads: int | None, expected: int
) -> None:
    keys = np.random.default_rng(0).integers(0, 1 << 30, 1 << 21)
    np.testing.assert_array_equal(sort.threaded_sort(keys, threads), np.sort(keys))
    assert asked.threads == [expected]


def test_numpy_sorts_while_the_compiler_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(key: object) -> Rates:
        raise CompilerBusy

    monkeypatch.setattr(plan, "measure", busy)
    keys = np.random.default_rng(0).integers(0, 1 << 30, 1 << 21)
    np.testing.assert_array_equal(sort.threaded_sort(keys, 2), np.sort(keys))
    assert sort.threads_used(keys, 2) == 1


@pytest.mark.parametrize("dtype", ["?", "f2", "i4", "f8", "c8"])
def test_the_rates_of_this_machine_are_measured_once(dtype: str) -> None:
    found = rates.measure(np.dtype(dtype))
    assert found is rates.measure(np.dtype(dtype))
    assert 0 < found.start < 1
    assert 0 <= found.begin < 1
    if dtype != "c8":
        assert 1e-11 < found.move < 1e-6
    assert (found.radix < 1e-6) == (np.dtype(dtype).itemsize in (4, 8) and dtype != "c8")


def test_numba_is_not_imported_for_cheap_keys() -> None:
    code = (
        "import sys, numpy; from cupy_compat.cudamark.cpu import threaded_sort; "
        "threaded_sort(numpy.arange(100000), 4); threaded_sort(numpy.zeros(600000), 4);"
        "print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_serial_sort_equals_numpys() -> None:
    keys = np.random.default_rng(0).normal(size=1000)
    keys[::9] = np.nan
    for dtype in ("f8", ">f4", "f2", "c8"):
        typed = keys.astype(dtype)
        np.testing.assert_array_equal(serial.sort(typed), np.sort(typed, kind="stable"))
        assert serial.sort(typed).dtype == typed.dtype


def test_buckets_of_dates_are_sorted_as_fast_as_integers() -> None:
    dates, integers = of_a_sample("M8[s]", "uniform"), of_a_sample("i8", "uniform")
    assert dates.finish < 2 * integers.finish
