"""Set `threaded_sort` beside `np.sort` wherever it could be the slower one.

Every array of SIZES, dtypes and distributions is sorted by both in turn, with each number of
threads::

    python tools/sweep.py FILE [--sizes 10000,1000000] [--dtypes int32,float64] [--threads 1,2]

The distributions are those of the command, and four that bad guesses about them were found with.
FILE gets every cell as JSON: the medians, their ratio and the tries. A cell where `threaded_sort`
took more than 1.05 times as long is tried again, twice at most and with three times the rounds, as
other work on the machine has its part in a single try. All tries are kept; the last one counts.
After Ctrl-C the file gets what has been measured, and says so.
Each dtype and size has a cell in which `np.sort` is set beside itself in the same way: what that
ratio is off by is the machine's doing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cupy_compat.cudamark.cpu import threaded_sort, warm_up
from cupy_compat.cudamark.inputs import DISTRIBUTIONS, make_input, parse_dtype
from cupy_compat.cudamark.machine import describe_machine
from cupy_compat.cudamark.measure import check
from cupy_compat.cudamark.threads import usable_cpus

SIZES = (10_000, 100_000, 530_000, 1_000_000, 3_000_000, 10_000_000)
DTYPES = (
    *("int32", "float32", "int64", "float64", "int16", "float16", "int8", "datetime64[s]"),
    "complex64",
)
BOUND = 1.05
TRIES = 3
#: Rounds of a first try: as many as fit into so many seconds, within limits.
SECONDS = 0.4
FEWEST, MOST = 5, 41

_Sort = Callable[[], Any]
_Array = np.ndarray[Any, Any]


def _two_values(size: int, dtype: np.dtype[Any]) -> _Array:
    return np.random.default_rng(0).integers(0, 2, size, dtype=np.int8).astype(dtype)


def _exceptions(size: int, dtype: np.dtype[Any]) -> _Array:
    """All equal, but for one key in a hundred."""
    keys = make_input("constant", size, dtype, seed=0)
    keys[::100] = make_input("uniform", len(keys[::100]), dtype, seed=1)
    return keys


def _nan(size: int, dtype: np.dtype[Any]) -> _Array:
    return np.full(size, "NaT" if dtype.kind in "mM" else np.nan, dtype)


def _greatest(size: int, dtype: np.dtype[Any]) -> _Array:
    """Repeat the greatest value of all."""
    greatest = np.iinfo(f"i{dtype.itemsize}").max if dtype.kind in "mM" else np.inf
    return np.full(size, np.iinfo(dtype).max if dtype.kind in "iu" else greatest).astype(dtype)


OTHERS = {
    "two-values": _two_values,
    "exceptions": _exceptions,
    "nan": _nan,
    "greatest": _greatest,
}


def side_by_side(sorts: tuple[_Sort, _Sort], rounds: int) -> tuple[float, float]:
    """Return the median seconds of two sorts that take turns in going first."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            start = time.perf_counter()
            result = sorts[side]()
            seconds[side].append(time.perf_counter() - start)
            del result
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def measure(sort: _Sort, keys: _Array) -> dict[str, Any]:
    """Return a cell: a sort beside NumPy's, tried again while it seems too slow."""
    reference = partial(np.sort, keys)
    start = time.perf_counter()
    expected = reference()
    once = time.perf_counter() - start
    check(sort(), expected)
    rounds = min(max(int(SECONDS / (2 * once)), FEWEST), MOST)
    tries = []
    for _ in range(TRIES):
        numpy_seconds, seconds = side_by_side((reference, sort), rounds)
        ratio = seconds / numpy_seconds
        figures = {"numpy": numpy_seconds, "sort": seconds, "ratio": ratio}
        tries.append({"rounds": rounds, **{k: float(f"{v:.4g}") for k, v in figures.items()}})
        if ratio <= BOUND:
            break
        rounds *= 3
    return {"ratio": tries[-1]["ratio"], "tries": tries}


def inputs(
    distributions: list[str], size: int, dtype: np.dtype[Any]
) -> Iterator[tuple[str, _Array]]:
    """Make the keys of every distribution that the dtype can have."""
    for distribution in distributions:
        if distribution in DISTRIBUTIONS:
            yield distribution, make_input(distribution, size, dtype, seed=0)
        elif distribution != "nan" or dtype.kind in "fcmM":
            yield distribution, OTHERS[distribution](size, dtype)


def cells(
    sizes: list[int], dtypes: list[str], distributions: list[str], threads: list[int]
) -> Iterator[dict[str, Any]]:
    """Measure every cell, and beside those of a dtype and size NumPy against itself."""
    for size in sizes:
        for dtype in dtypes:
            warm_up(dtype)
            beside_itself = False
            for distribution, keys in inputs(distributions, size, parse_dtype(dtype)):
                where = {"size": size, "dtype": dtype, "distribution": distribution}
                if not beside_itself:
                    beside_itself = True
                    yield {**where, "threads": None, **measure(partial(np.sort, keys), keys)}
                for count in threads:
                    sort = partial(threaded_sort, keys, count)
                    yield {**where, "threads": count, **measure(sort, keys)}


def _numbers(text: str) -> list[int]:
    return [int(word) for word in _words(text)]


def _words(text: str) -> list[str]:
    return text.split(",")


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the file, and name the cells above the bound; 1 if there are any."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--sizes", type=_numbers, default=list(SIZES), help="keys, as 1000,2000")
    parser.add_argument("--dtypes", type=_words, default=list(DTYPES))
    parser.add_argument("--distributions", type=_words, default=[*DISTRIBUTIONS, *OTHERS])
    parser.add_argument("--threads", type=_numbers, default=sorted({1, 2, usable_cpus()}))
    options = parser.parse_args(arguments)
    words = sys.argv[2:] if arguments is None else arguments[1:]
    found = []
    interrupted = False
    try:
        for cell in cells(options.sizes, options.dtypes, options.distributions, options.threads):
            found.append(cell)
            if cell["threads"] is not None and cell["ratio"] > BOUND:
                print(_told(cell), flush=True)
    except KeyboardInterrupt:
        interrupted = True
    sorts = [cell for cell in found if cell["threads"] is not None]
    if not sorts:
        print("interrupted before the first cell", file=sys.stderr)
        return 130
    itself = [cell["tries"][0]["ratio"] for cell in found if cell["threads"] is None]
    above = [cell for cell in sorts if cell["ratio"] > BOUND]
    record = {
        "command": " ".join(["python tools/sweep.py FILE", *words]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": asdict(describe_machine()),
        "bound": BOUND,
        "interrupted": interrupted,
        "cells": len(sorts),
        "above": len(above),
        "worst": max(cell["ratio"] for cell in sorts),
        "numpy_beside_itself": {"least": min(itself), "most": max(itself)},
        "all": found,
    }
    options.file.write_text(json.dumps(record) + "\n")
    print(
        f"{len(sorts)} cells, {len(above)} above {BOUND}; the worst: "
        f"{_told(max(sorts, key=lambda cell: cell['ratio']))}. np.sort beside itself, one try: "
        f"{min(itself):.3f} to {max(itself):.3f}"
    )
    return 1 if above else 0


def _told(cell: dict[str, Any]) -> str:
    ratios = ", ".join(f"{one['ratio']:.3f}" for one in cell["tries"])
    milliseconds = 1e3 * cell["tries"][-1]["numpy"]
    return (
        f"{ratios}: {cell['size']} {cell['dtype']}, {cell['distribution']}, "
        f"{cell['threads']} threads (np.sort {milliseconds:.2f} ms)"
    )


if __name__ == "__main__":
    sys.exit(main())
