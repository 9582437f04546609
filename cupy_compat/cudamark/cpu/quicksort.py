"""Quicksort on threads with NumPy alone, for complex and extended-precision numbers.

A copy of the keys is partitioned at its median, its halves at theirs, and so on (C. A. R. Hoare,
"Quicksort", The Computer Journal 5, 1962), until there is a section for every thread. A single
thread makes the first cut, in a fraction of the time that sorting such keys takes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_compat.cudamark.crew import Crew


def sort(keys: NDArray[Any], crew: Crew) -> NDArray[Any]:
    """Return a sorted copy of keys of shape (n,), NaN last, in their byte order."""
    native = keys.dtype.newbyteorder("=")
    swapped = keys.dtype != native
    result = np.array(keys, native)
    edges = [0, len(keys)]

    def cut(section: tuple[int, int]) -> None:
        start, stop = section
        result[start:stop].partition((stop - start) // 2)

    def finish(section: tuple[int, int]) -> None:
        part = result[slice(*section)]
        part.sort()
        if swapped:
            part.byteswap(inplace=True)

    while len(edges) <= min(crew.workers, len(keys)):
        sections = list(pairwise(edges))
        crew.share(cut, sections)
        edges = sorted({*edges, *(start + (stop - start) // 2 for start, stop in sections)})
    crew.share(finish, pairwise(edges))
    return result.view(keys.dtype)
