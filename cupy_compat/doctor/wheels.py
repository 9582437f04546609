"""Which wheels of CuPy exist, and for which Pythons: the one place that knows."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: When the table was compared with the Python Package Index.
CHECKED = "November 2026"
#: The newest CuPy.
NEWEST = "14.2"


@dataclass(frozen=True)
class Wheel:
    """A distribution that ships a built CuPy.

    Attributes
    ----------
    name : str
        Its name on the index.
    platform : str
        What it is built for, in words: ``CUDA 12``.
    oldest, newest : str
        The oldest and the newest Python that some release has a wheel for.
    cupy : str
        The newest release.
    """

    name: str
    platform: str
    oldest: str
    newest: str
    cupy: str = NEWEST

    def serves(self, python: str | None) -> bool:
        """Whether pip finds a wheel for a Python; for an unknown one, assume that it does."""
        return python is None or release(self.oldest) <= release(python, 2) <= release(self.newest)


WHEELS = {
    wheel.name: wheel
    for wheel in (
        Wheel("cupy-cuda13x", "CUDA 13", "3.9", "3.14"),
        Wheel("cupy-cuda12x", "CUDA 12", "3.8", "3.14"),
        Wheel("cupy-cuda11x", "CUDA 11", "3.8", "3.13", cupy="13.6"),
        Wheel("cupy-rocm-7-0", "ROCm 7.0", "3.10", "3.14"),
        Wheel("cupy-rocm-5-0", "ROCm 5.0", "3.8", "3.12", cupy="13.3"),
        Wheel("cupy-rocm-4-3", "ROCm 4.3", "3.8", "3.12", cupy="13.3"),
    )
}
#: The Pythons that the newest CuPy has wheels for.
PYTHONS = "3.10 to 3.14"

#: Distributions of one minor version of CUDA: they get no releases any more.
_RETIRED = re.compile(r"cupy-cuda(80|9[012]|10[012]|11[0-7])")


def retired(name: str) -> bool:
    """Whether a distribution of that name exists, but gets no releases any more."""
    return bool(_RETIRED.fullmatch(name))


def cuda_of(name: str) -> str | None:
    """Return the CUDA that a distribution of CuPy is for: 12, or 10.2 for retired ones."""
    found = re.fullmatch(r"cupy-cuda-?([789]|1\d)\.?(\d?)x?", name)
    return None if found is None else ".".join(filter(None, found.groups()))


def release(version: str, parts: int = 3) -> tuple[int, ...]:
    """Return the first numbers of a version, zeros where it has fewer: 2.0 is 2.0.0."""
    leading = re.match(r"[\d.]*", version)
    numbers = [int(part) for part in leading.group().split(".") if part] if leading else []
    return tuple([*numbers[:parts], *[0] * (3 - len(numbers[:parts]))])
