"""Compare `threaded_sort` and `np.sort` wherever threads could be slower.

Every array of the sizes, dtypes and distributions is sorted by both in turn, with each number of
threads::

    python tools/sweep.py FILE [--sizes 600000,3000000] [--dtypes int32,float64] [--threads 1,2]

The distributions are those of the command, and adversarial ones: keys whose sample is misleading.
FILE gets every cell as JSON: the minimum seconds of both, and their ratio. One cell of each dtype
and size compares `np.sort` with itself, which shows the noise.
"""

from __future__ import annotations

import argparse
import json
import statistics
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

SIZES = (600_000, 1_000_000, 3_000_000, 10_000_000)
DTYPES = ("int32", "float32", "int64", "float64", "int16", "float16", "int8", "datetime64[s]")
#: The rounds of a cell: as many as fit into `SECONDS`, at least `FEWEST` and at most `MOST`.
SECONDS, FEWEST, MOST = 0.5, 7, 61

_Array = np.ndarray[Any, Any]


def _where(choose: Callable[[_Array], _Array], size: int, dtype: np.dtype[Any]) -> _Array:
    """Return equal keys, except for uniform ones at the chosen indices."""
    keys, others = (make_input(name, size, dtype, seed=0) for name in ("constant", "uniform"))
    index = np.arange(size)
    return np.where(choose(index), others, keys)


def _blocks(size: int, dtype: np.dtype[Any]) -> _Array:
    """Return sorted blocks of a thousand keys, one after another."""
    keys = make_input("uniform", size // 1000 * 1000, dtype, seed=0)
    return np.sort(keys.reshape(-1, 1000), axis=1).reshape(-1)


def _missing(size: int, dtype: np.dtype[Any]) -> _Array:
    return np.full(size, "NaT" if dtype.kind in "mM" else np.nan if dtype.kind == "f" else 1, dtype)


OTHERS: dict[str, Callable[[int, np.dtype[Any]], _Array]] = {
    "two-values": lambda size, dtype: make_input("uniform", 2, dtype, 0)[
        np.random.default_rng(0).integers(0, 2, size)
    ],
    "missing": _missing,
    "exceptions": partial(_where, lambda index: index % 100 == 0),
    "half": partial(_where, lambda index: index < index.size // 2),
    "column": partial(_where, lambda index: index % 3 == 0),
    "blocks": _blocks,
}
FEW_VALUED = ("constant", "few-values", "skewed", "two-values", "missing")


def side_by_side(sort: Callable[[], _Array], keys: _Array) -> dict[str, float]:
    """Return the minimum seconds of NumPy's sort and of another, which run in turn."""
    sorts = (partial(np.sort, keys), sort)
    start = time.perf_counter()
    check(sort(), np.sort(keys, kind="stable" if keys.dtype == np.float16 else None))
    rounds = min(max(int(SECONDS / (time.perf_counter() - start)), FEWEST), MOST)
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            start = time.perf_counter()
            result = sorts[side]()
            seconds[side].append(time.perf_counter() - start)
            del result
    numpy, other = map(min, seconds)
    return {"numpy": numpy, "sort": other, "ratio": round(other / numpy, 3)}


def cells(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure every cell; for each dtype and size, the first one compares NumPy with itself."""
    for size in options.sizes:
        for name in options.dtypes:
            dtype = parse_dtype(name)
            warm_up(dtype)
            for distribution in options.distributions:
                keys = (
                    make_input(distribution, size, dtype, seed=0)
                    if distribution in DISTRIBUTIONS
                    else OTHERS[distribution](size, dtype)
                )
                where = {"size": size, "dtype": name, "distribution": distribution}
                if distribution == options.distributions[0]:
                    yield {**where, "threads": None, **side_by_side(partial(np.sort, keys), keys)}
                for count in options.threads:
                    sort = partial(threaded_sort, keys, count)
                    yield {**where, "threads": count, **side_by_side(sort, keys)}


def main() -> None:
    """Measure, write the file, and print a line for each distribution."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("file", type=Path)
    for name, default, kind in (
        ("sizes", SIZES, int),
        ("dtypes", DTYPES, str),
        ("distributions", (*DISTRIBUTIONS, *OTHERS), str),
        ("threads", tuple(sorted({1, 2, usable_cpus()})), int),
    ):
        split = partial(lambda kind, text: [kind(word) for word in text.split(",")], kind)
        parser.add_argument(f"--{name}", type=split, default=list(default))
    options = parser.parse_args()
    date, machine = datetime.now(UTC).date().isoformat(), asdict(describe_machine())
    found: list[dict[str, Any]] = []
    for cell in cells(options):
        found.append(cell)
        # Write after every cell, so that an interrupted run keeps its results.
        record = {"date": date, "machine": machine, "cells": found}
        options.file.write_text(json.dumps(record) + "\n")
    groups = {"np.sort beside itself": [cell for cell in found if cell["threads"] is None]}
    sorts = [cell for cell in found if cell["threads"] is not None]
    groups["few-valued, all"] = [one for one in sorts if one["distribution"] in FEW_VALUED]
    for distribution in options.distributions:
        groups[distribution] = [one for one in sorts if one["distribution"] == distribution]
    for name, group in groups.items():
        if group:
            worst = max(group, key=lambda cell: cell["ratio"])
            ratios = [cell["ratio"] for cell in group]
            print(
                f"{name:22} {len(group):4} cells, ratio {min(ratios):.2f} to {max(ratios):.2f}, "
                f"median {statistics.median(ratios):.2f}; worst: {worst['size']} {worst['dtype']}, "
                f"{worst['threads']} threads, np.sort {worst['numpy'] * 1e3:.2f} ms"
            )


if __name__ == "__main__":
    main()
