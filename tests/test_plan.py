"""How many threads a sort is worth, and which way of sorting: every limit, from both sides."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_compat.cudamark import kernels
from cupy_compat.cudamark.cpu import counting, plan, quicksort, samplesort, sort
from cupy_compat.cudamark.places import glance, look, places

#: The measurement itself; `slow` puts its outcome in its place.
numpy_is_slow = plan.numpy_is_slow.__wrapped__


@pytest.fixture(autouse=True, params=[False, True], ids=["NumPy is fast", "NumPy is slow"])
def slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Say whether NumPy is slow on this processor."""
    monkeypatch.setattr(plan, "numpy_is_slow", lambda key: request.param)
    return bool(request.param)


def varied(dtype: str, size: int) -> NDArray[Any]:
    """Return an array whose samples are as varied as the dtype allows, at no cost of memory."""
    keys = np.zeros(size, dtype)
    keys[probed(size)] = (np.arange(512) * 181 % 512).astype(dtype)  # in no order
    return keys


def probed(size: int, count: int = 512) -> NDArray[np.intp]:
    """Return where the plan looks."""
    return places(size, count)


def workers(keys: NDArray[Any], threads: int) -> int:
    """Return how many threads are planned to sort, 0 where NumPy is."""
    chosen = plan.make(keys, threads)
    return chosen.workers if chosen else 0


#: By dtype, for keys that are varied: the fewest keys, the keys that keep one thread busy, and the
#: fewest threads, where NumPy sorts the dtype fast and where it sorts it slowly.
LIMITS = {
    "c8": 2 * [(1 << 19, 1 << 18, 2)],
    "c16": 2 * [(1 << 19, 1 << 18, 2)],
    "u1": 2 * [(1 << 19, 1 << 18, 1)],
    "?": 2 * [(1 << 19, 1 << 18, 1)],
    "i2": [(1 << 22, 1 << 20, 1), (1 << 19, 1 << 20, 1)],
    "f2": [(1 << 20, 1 << 20, 1), (1 << 19, 1 << 20, 1)],
    "i4": [(1 << 22, 1 << 19, 2), (1 << 19, 1 << 18, 1)],
    "u8": [(1 << 21, 1 << 19, 2), (1 << 19, 1 << 18, 1)],
    "f4": [(1 << 22, 1 << 19, 2), (1 << 19, 1 << 18, 1)],
    "f8": [(1 << 21, 1 << 19, 2), (1 << 19, 1 << 18, 1)],
    "M8[s]": 2 * [(1 << 19, 1 << 18, 1)],
}


@pytest.mark.parametrize("dtype", LIMITS)
def test_keys_are_sorted_from_a_size_on_and_each_thread_has_enough_to_do(
    dtype: str, slow: bool
) -> None:
    enough, grain, _ = LIMITS[dtype][slow]
    assert workers(varied(dtype, enough - 1), 4) == 0
    assert workers(varied(dtype, enough), 64) == max(enough // grain, 1)
    larger = max(enough, 9 * grain)
    assert workers(varied(dtype, larger), 64) == larger // grain
    assert workers(varied(dtype, larger - 1), 64) == (larger - 1) // grain
    assert workers(varied(dtype, larger), 3) == 3


@pytest.mark.parametrize("dtype", LIMITS)
def test_fewer_threads_than_gain_over_numpy_are_not_used(dtype: str, slow: bool) -> None:
    enough, grain, least = LIMITS[dtype][slow]
    keys = varied(dtype, 4 * max(enough, grain))
    assert workers(keys, least) == least
    assert workers(keys, least - 1) == 0 or least == 1


def test_two_threads_need_twice_as_many_keys_where_numpy_is_fast(slow: bool) -> None:
    for dtype, enough in (("i4", 1 << 23), ("f8", 1 << 22)):
        assert workers(varied(dtype, enough), 2) == 2
        assert workers(varied(dtype, enough - 1), 2) == (2 if slow else 0)
        assert workers(varied(dtype, enough - 1), 3) == 3


@pytest.mark.parametrize(
    ("dtype", "method"),
    [
        ("c8", quicksort.sort),
        ("c16", quicksort.sort),
        ("g", quicksort.sort),
        ("u1", counting.sort),
        ("f2", counting.sort),
        ("i4", samplesort.sort),
        ("f8", samplesort.sort),
        ("m8[s]", samplesort.sort),
    ],
)
def test_each_dtype_has_its_method(dtype: str, method: object, slow: bool) -> None:
    chosen: Any = plan._method(np.dtype(dtype))
    assert getattr(chosen, "func", chosen) is method
    if method is samplesort.sort:
        assert chosen.keywords == {"nat_last": dtype == "m8[s]", "radix": slow}


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("M8[s]", "<i8"), (">m8[ns]", ">i8"), (">f4", ">f4"), ("u1", "|u1"), ("?", "|b1")],
)
def test_dates_and_durations_are_seen_as_whole_numbers(dtype: str, number: str) -> None:
    assert plan.plain_key(np.dtype(dtype)).str == number


def few_valued(dtype: str, size: int, different: int) -> NDArray[Any]:
    """Return an array in which a sample finds so many values."""
    keys = np.zeros(size, dtype)
    keys[probed(size)] = np.arange(512) % different
    return keys


#: By dtype: the fewest keys and threads where NumPy is fast, of few-valued keys and of those of
#: hardly any values.
IF_FEW = {
    "i2": ((1 << 23, 4), (1 << 25, 8)),
    "f2": ((1 << 20, 1), (1 << 24, 2)),
    "i4": ((1 << 23, 8), (3 << 22, 8)),
    "f4": ((1 << 22, 8), (1 << 23, 8)),
    "u8": ((1 << 22, 8), (3 << 21, 8)),
    "f8": ((1 << 21, 4), (1 << 22, 4)),
}


@pytest.mark.parametrize("dtype", IF_FEW)
def test_keys_of_few_different_values_have_to_be_more_and_need_more_threads(
    dtype: str, slow: bool
) -> None:
    if slow:
        size = 2 * LIMITS[dtype][True][1]
        assert workers(few_valued(dtype, size, 2), 2) == 2
        return
    (enough, needed), (more, needed_then) = IF_FEW[dtype]
    assert workers(few_valued(dtype, 1 << 23, 480), 2) == 2, "that is varied"
    for values, keys, threads in (
        (479, enough, needed),
        (10, enough, needed),
        (9, more, needed_then),
    ):
        assert workers(few_valued(dtype, keys, values), threads) == threads
        assert workers(few_valued(dtype, keys - 1, values), 64) == 0
        if threads > 1:
            assert workers(few_valued(dtype, keys, values), threads - 1) == 0


@pytest.mark.parametrize("dtype", ["u1", "c8", "M8[s]"])
def test_what_numpy_sorts_slowly_is_sorted_by_threads_however_few_its_values(dtype: str) -> None:
    keys = few_valued("i8" if dtype == "M8[s]" else dtype, 1 << 20, 2)
    assert workers(keys.view(dtype), 4) == 4


#: Of 63 neighbours 57 are more than nine tenths, 56 are less.
FEW, TOO_MANY = 6, 7


@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex_keys_that_nearly_ascend_have_to_be_more(dtype: str) -> None:
    enough = 1 << 22
    assert workers(in_order(dtype, enough - 1, 0), 2) == 0
    assert workers(in_order(dtype, enough, 0), 2) == 2
    assert workers(in_order(dtype, enough // 2, FEW), 2) == 0
    assert workers(in_order(dtype, enough // 2, TOO_MANY), 2) == 2


@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex_keys_that_nearly_ascend_or_descend_get_two_threads(dtype: str) -> None:
    enough = 1 << 22
    for keys, expected in (
        (in_order(dtype, enough, FEW), 2),
        (in_order(dtype, enough, TOO_MANY), 8),
        (in_order(dtype, enough // 2, FEW, DESCENDING), 2),
        (in_order(dtype, enough // 2, TOO_MANY, DESCENDING), 8),
    ):
        assert workers(keys, 8) == expected
    assert workers(in_order(dtype, enough, FEW), 1) == 0


@pytest.mark.parametrize("dtype", ["M8[s]", "i8", "f8"])
def test_longs_that_nearly_ascend_have_to_be_more_where_numpy_is_slow(
    dtype: str, slow: bool
) -> None:
    enough = 1 << 20
    for threads in (1, 2) if slow else ():
        assert workers(in_order(dtype, enough - 1, FEW), threads) == 0
        assert workers(in_order(dtype, enough - 1, TOO_MANY), threads) == threads
        assert workers(in_order(dtype, enough, FEW), threads) == threads
        assert workers(in_order(dtype, enough - 1, FEW, DESCENDING), threads) == threads


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[D]"])
def test_dates_that_nearly_ascend_have_to_be_more_for_one_thread(dtype: str, slow: bool) -> None:
    if not slow:
        enough = 1 << 21
        assert workers(in_order(dtype, enough - 1, FEW), 1) == 0
        assert workers(in_order(dtype, enough - 1, TOO_MANY), 1) == 1
        assert workers(in_order(dtype, enough, FEW), 1) == 1
        assert workers(in_order(dtype, enough - 1, FEW), 2) == 2
        assert workers(in_order(dtype, enough - 1, FEW, DESCENDING), 1) == 1


ASCENDING = np.arange(64) // 3
DESCENDING = 64 - np.arange(64)


def in_order(
    dtype: str, size: int, breaks: int, probes: NDArray[np.intp] = ASCENDING
) -> NDArray[Any]:
    """Return keys whose probes are those, but for as many that break their order."""
    keys = np.zeros(size, dtype)
    probes = probes.copy()
    probes[1 : 2 * breaks : 2] = 1000
    keys[probed(size, 64)] = probes
    return keys


@pytest.mark.parametrize("dtype", ["i4", "f2", "u1", "M8[s]"])
def test_other_keys_may_be_in_order(dtype: str, slow: bool) -> None:
    keys = varied(dtype, 1 << 23)
    keys[probed(1 << 23)] = np.arange(512).astype(dtype)
    assert workers(keys, 16) == workers(varied(dtype, 1 << 23), 16) > 0


def test_the_share_ascending_is_of_neighbours_among_the_probes() -> None:
    keys = np.zeros(1 << 19, np.complex64)
    assert plan.share_ascending(keys) == 1.0
    keys[probed(keys.size, 64)[1::2]] = 1j
    assert plan.share_ascending(keys) == 32 / 63
    keys[probed(keys.size, 64)] = np.nan
    assert plan.share_ascending(keys) == 0.0


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that the plan's looks at keys will be in: at how many places each."""
    counts: list[int] = []
    look = plan.look
    monkeypatch.setattr(plan, "look", lambda a, count: counts.append(count) or look(a, count))
    return counts


@pytest.mark.parametrize(
    ("places_set", "different", "size", "threads", "expected"),
    [
        (8, 2, (3 << 22) - 1, 8, [8]),
        (8, 2, 3 << 22, 8, [8, 64, 512]),
        (8, 3, 1 << 23, 8, [8, 64]),
        (8, 3, 1 << 23, 4, [8]),
        (8, 5, 1 << 23, 4, [8]),
        (8, 6, 1 << 23, 4, [8, 64]),
        (8, 8, 1 << 23, 1, []),
        (64, 4, 1 << 23, 8, [8, 64]),
        (64, 4, 3 << 22, 8, [8, 64, 512]),
        (64, 5, 1 << 23, 8, [8, 64, 512]),
        (64, 59, 1 << 23, 4, [8, 64]),
        (64, 59, (1 << 23) - 1, 8, [8, 64]),
        (64, 59, 1 << 23, 8, [8, 64, 512]),
        (64, 60, 1 << 23, 4, [8, 64, 512]),
    ],
)
def test_few_valued_keys_that_numpy_is_to_have_are_not_looked_at_closer(
    looks: list[int],
    slow: bool,
    places_set: int,
    different: int,
    size: int,
    threads: int,
    expected: list[int],
) -> None:
    keys = np.zeros(size, np.int32)
    keys[probed(size, places_set)] = np.arange(places_set) % different
    workers(keys, threads)
    assert looks == ([] if slow else expected)


@pytest.mark.parametrize("columns", [1000, 1024, 1920, 4096])
@pytest.mark.parametrize("rows", [509, 2000, 2036])
def test_the_probes_of_a_matrix_are_of_all_its_columns(columns: int, rows: int) -> None:
    keys = np.tile(np.arange(columns, dtype=np.int32), rows)
    # As many as so many random draws would find, less a few.
    expected = columns * (1 - (1 - 1 / columns) ** 512)
    assert len(set(look(keys, 512))) > 0.9 * expected
    assert len(set(look(keys, 8))) == 8
    assert len(set(glance(keys))) == 9


@pytest.mark.parametrize("count", [8, 64, 65])
@pytest.mark.parametrize("stride", [1, 3])
def test_a_look_is_at_the_places_that_are_named(count: int, stride: int) -> None:
    keys = np.arange(3_000_000)[::stride]
    assert look(keys, count) == keys[places(keys.size, count)].tolist()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_keys_that_are_mostly_nan_are_left_to_numpy_where_it_is_fast(
    dtype: str, slow: bool
) -> None:
    keys = varied(dtype, 1 << 24)
    keys[probed(keys.size)[:435]] = np.nan
    assert workers(keys, 8) == 8, "435 of 512 are less than 85 %"
    keys[probed(keys.size)[435]] = np.nan
    assert workers(keys, 8) == (8 if slow else 0)
    keys[:] = np.nan
    assert workers(keys, 8) == (8 if slow else 0)


def test_numpy_alone_sorts_up_to_half_a_million_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(sort, "usable_cpus", lambda: 5)
    monkeypatch.setattr(sort, "_sort_otherwise", lambda a, threads: asked.append((a.size, threads)))
    monkeypatch.setattr(plan, "is_soon_done", lambda a: False)
    half = 1 << 19
    for size, threads in ((half - 1, 4), (half, 1), (half, 4), (half, 50), (half, None)):
        keys = np.arange(size, dtype=np.int32)[::-1]
        # What no method takes is left to NumPy.
        np.testing.assert_array_equal(sort.threaded_sort(keys, threads), keys[::-1])
    assert asked == [(half, 1), (half, 4), (half, 5), (half, 5)]
    monkeypatch.setattr(plan, "is_soon_done", lambda a: True)
    sort.threaded_sort(np.arange(half), 4)
    assert len(asked) == 4, "and what NumPy will have done soon"


@pytest.mark.parametrize("dtype", ["i2", "f2"])
def test_short_keys_are_counted_whatever_they_are(dtype: str) -> None:
    keys = varied(dtype, 1 << 25)
    if dtype == "f2":
        keys[probed(keys.size)] = np.nan
    assert workers(keys, 8) == 8


def test_numpy_is_tried_with_numbers_not_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[np.dtype[Any]] = []
    monkeypatch.setattr(plan, "numpy_is_slow", lambda key: tried.append(key))
    plan.make(np.zeros(1 << 19, "M8[s]"), 1)
    assert set(tried) == {np.dtype("i8")}


@pytest.mark.parametrize("dtype", IF_FEW)
def test_what_numpy_is_to_have_and_has_done_soon_is_told_at_a_glance(
    monkeypatch: pytest.MonkeyPatch, dtype: str, slow: bool
) -> None:
    gain = plan.Gain(1, plan.Least(70, 1), plan.Least(1, 1), plan.Least(80, 1))
    monkeypatch.setattr(plan, "_FAST", {np.dtype(dtype): gain})
    varied = np.arange(69).astype(dtype)
    assert plan.is_soon_done(varied) is (not slow), "too few"
    for size in (70, 79):  # of both every ninth key is glanced at
        keys = np.zeros(size, dtype)
        assert plan.is_soon_done(keys) is (not slow)
        keys[9 * 2] = 1
        assert plan.is_soon_done(keys) is (not slow), "of two values"
        keys[9 * 3] = 2
        assert not plan.is_soon_done(keys), "of three"
    assert not plan.is_soon_done(np.zeros(80, dtype))


@pytest.mark.parametrize("dtype", ["u1", "?", "M8[s]", "c8", "g", ">i4"])
def test_what_numpy_sorts_slowly_is_not_said_to_be_done_soon(dtype: str) -> None:
    assert not plan.is_soon_done(np.zeros(1 << 20, dtype))


def test_nan_alone_counts_as_one_value(slow: bool) -> None:
    keys = np.full(1 << 21, np.nan)
    assert plan.is_soon_done(keys) is (not slow)
    keys[::3] = 1
    assert plan.is_soon_done(keys) is (not slow)


@pytest.mark.parametrize(("dtype", "limit"), [(">f4", 10), ("i2", 10), (">f2", 16)])
@pytest.mark.parametrize(("share", "verdict"), [(0.99, False), (1.01, True)])
def test_numpy_is_slow_if_the_best_of_five_sorts_takes_more_than_some_ns_a_key(
    monkeypatch: pytest.MonkeyPatch, dtype: str, limit: float, share: float, verdict: bool
) -> None:
    now = 100.0
    left = [1.0, 1.0, 8192e-9 * limit * share, 1.0, 1.0]

    def sort(keys: np.ndarray) -> None:
        nonlocal now
        assert keys.dtype == np.dtype(dtype[-2:]), "as the buckets are"
        assert keys.size == 8192
        now += left.pop(0)

    monkeypatch.setattr(plan, "time", types.SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(np, "sort", sort)
    assert numpy_is_slow(np.dtype(dtype)) is verdict
    assert not left


@pytest.mark.parametrize(
    ("dtype", "prepared"),
    [
        ("?", ["counting ?"]),
        ("f2", ["counting e", "speed e"]),
        (">i4", ["split i", "speed i"]),
        ("M8[s]", ["split l", "speed l"]),
        ("c8", []),
        ("g", []),
    ],
)
def test_warming_up_prepares_what_a_dtype_needs_and_says_how_long_it_took(
    monkeypatch: pytest.MonkeyPatch, dtype: str, prepared: list[str]
) -> None:
    done: list[str] = []

    def spy(what: str) -> Any:
        return lambda key: done.append(f"{what} {key.char}")

    monkeypatch.setattr(counting, "prepare", spy("counting"))
    monkeypatch.setattr(kernels, "compile_split", spy("split"))
    monkeypatch.setattr(plan, "numpy_is_slow", spy("speed"))
    readings = iter([100.0, 107.0])
    monkeypatch.setattr(sort, "time", types.SimpleNamespace(perf_counter=lambda: next(readings)))
    assert sort.warm_up(dtype) == (7.0 if prepared else 0.0)
    assert done == prepared


def test_what_the_plan_does_not_take_is_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "is_soon_done", lambda a: False)
    monkeypatch.setattr(plan, "make", lambda a, threads: None)
    keys = np.arange(1 << 19)[::-1]
    np.testing.assert_array_equal(sort.threaded_sort(keys, 2), keys[::-1])


def test_what_the_threads_have_sorted_is_what_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    made = np.arange(3)
    monkeypatch.setattr(plan, "is_soon_done", lambda a: False)
    monkeypatch.setattr(sort, "_sort_otherwise", lambda a, threads: made)
    assert sort.threaded_sort(np.arange(1 << 19), 2) is made
