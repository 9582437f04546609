"""The wheels of CuPy on the package index, and the Pythons that they are for."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: When the table was last compared with the package index.
CHECKED = "November 2026"
#: The newest CuPy.
NEWEST = "14.2"


@dataclass(frozen=True)
class Wheel:
    """A distribution with binary wheels of CuPy.

    Attributes
    ----------
    name : str
        Its name on the index.
    platform : str
        The platform that it is built for, such as ``CUDA 12``.
    oldest, newest : str
        The oldest and the newest Python for which a release has a wheel.
    cupy : str
        The newest release.
    """

    name: str
    platform: str
    oldest: str
    newest: str
    cupy: str = NEWEST

    def supports(self, python: str | None) -> bool:
        """Return whether there is a wheel for a Python, or the Python is unknown."""
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
#: The Pythons for which the newest CuPy has wheels.
PYTHONS = "3.10 to 3.14"

#: Distributions for a single minor version of CUDA. They no longer get releases.
_RETIRED = re.compile(r"cupy-cuda(80|9[012]|10[012]|11[0-7])")


def retired(name: str) -> bool:
    """Return whether a distribution exists, but no longer gets releases."""
    return bool(_RETIRED.fullmatch(name))


def cuda_of(name: str) -> str | None:
    """Return the CUDA version in the name of a distribution: 12, or 10.2 for a retired one."""
    found = re.fullmatch(r"cupy-cuda-?([789]|1\d)\.?(\d?)x?", name)
    return None if found is None else ".".join(filter(None, found.groups()))


def release(version: str, parts: int = 3) -> tuple[int, ...]:
    """Return the first numbers of a version, padded with zeros: 2.0 is (2, 0, 0)."""
    leading = re.match(r"[\d.]*", version)
    numbers = [int(part) for part in leading.group().split(".") if part] if leading else []
    return tuple([*numbers[:parts], *[0] * (3 - len(numbers[:parts]))])
