"""One environment's facts and attempts, asked by the checks."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cupy_compat._policy import FIRST_PYTHON
from cupy_compat.doctor.trial import Attempt

_COMPARISONS = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


@dataclass(frozen=True)
class Case:
    """What is known: the facts, the attempt as things are, and another one with or without us.

    Without facts (``{}``) it stands for a text that came from elsewhere.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    attempt: Attempt | None = None
    second: Attempt | None = None

    @cached_property
    def found(self) -> str:
        """What ``import cupy`` would load: cupy, stranger, folder, remains or nothing."""
        return str(self._cupy.get("found", {}).get("kind", "cupy"))

    @cached_property
    def distributions(self) -> list[dict[str, Any]]:
        """The installed distributions that bring a package ``cupy``."""
        return list(self._cupy.get("distributions", []))

    @cached_property
    def _cupy(self) -> dict[str, Any]:
        return dict(self.facts.get("cupy", {}))

    @cached_property
    def driver(self) -> int:
        """The newest CUDA that the driver serves (12080 is 12.8), 0 without a driver."""
        return int(self.facts.get("driver", {}).get("cuda") or 0)

    @cached_property
    def wheel_cuda(self) -> int:
        """The major version of CUDA that the wheel is for, 0 where it does not say."""
        found = re.match(r"\d+", str((self._cupy.get("wheel") or {}).get("cuda", "")))
        return int(found.group()) if found else 0

    @cached_property
    def other_abi(self) -> bool:
        """Whether CuPy's extension modules are all for other Pythons than this one."""
        own = self._cupy.get("extension_suffixes", [])
        loadable = self.facts.get("python", {}).get("extension_suffixes", [])
        return bool(own) and not set(own) & set(loadable)

    @cached_property
    def cache_writable(self) -> bool:
        """Whether CuPy's folder for compiled kernels can be written, or made."""
        return self._cupy.get("cache", {}).get("writable") is not False

    @cached_property
    def unmet(self) -> str:
        """The requirement on NumPy that the installed one does not meet, or nothing."""
        numpy = self.facts.get("packages", {}).get("numpy")
        for each in self.distributions:
            for requirement in each["requires"]:
                if numpy and not _meets(numpy, requirement):
                    return str(requirement)
        return ""

    @cached_property
    def repair_failure(self) -> str:
        """Why the shim, armed for a trial, did not help a CuPy that it is for, or nothing."""
        if self.second is None or self.second.shim != "with" or self.second.works_alone:
            return ""
        failed = self.second.failures[0].said
        told = self.second.values.get("shim")
        return failed if told is None else f"{failed} ({told['reason']})"

    @cached_property
    def _cython(self) -> str | None:
        """The Cython that compiled CuPy, where an attempt came far enough to ask."""
        for each in (self.attempt, self.second):
            if each is not None and each.imports:
                cython: str | None = each.values["import"]["cython"]
                return cython
        return None

    @cached_property
    def words(self) -> dict[str, str]:
        """What the texts of the checks put into their braces."""
        names = [each["name"] for each in self.distributions]
        ours = [name for name in names if name != "cupy"]
        by_driver = f"cupy-cuda{min(max(self.driver // 1000, 11), 13)}x" if self.driver else ""
        rocm = [name for name in ours if name.startswith("cupy-rocm")]
        wheel = [*rocm, *filter(None, [by_driver]), *ours, "cupy-cuda12x"][0]
        major = self.wheel_cuda or self.driver // 1000 or 12
        python = self.facts.get("python", {}).get("version", "{}.{}.{}".format(*sys.version_info))
        old = tuple(map(int, python.split(".")[:2])) < FIRST_PYTHON
        versions = sorted({each["version"] for each in self.distributions if each["version"]})
        environment = self.facts.get("environment", {})
        return {
            "cupy": "CuPy " + " and ".join(versions) if versions else "CuPy",
            "distributions": " ".join(names) or "cupy",
            "path": str(self._cupy.get("found", {}).get("path")),
            "python": python,
            "cython": self._cython or "3.1 or later",
            "numpy": str(self.facts.get("packages", {}).get("numpy", "")),
            "unmet": self.unmet,
            "wheel": wheel,
            # What is there already, since another wheel beside it would be a second CuPy.
            "upgrade": (names or [wheel])[0],
            "own": (ours or [wheel])[0],
            "major": str(major),
            "driver": f"{self.driver // 1000}.{self.driver % 1000 // 10}",
            "cache": str(self._cupy.get("cache", {}).get("path")),
            "visible": environment.get("CUDA_VISIBLE_DEVICES", "not set") or "empty",
            "repair_failure": self.repair_failure,
            "always": ", with CUPY_COMPAT=always in the environment" if old else "",
        }


def _meets(version: str, requirement: str) -> bool:
    """Tell whether a version of NumPy meets a requirement of a distribution; others always do."""
    named = re.match(r"numpy(?![\w.-])\s*\(?([^;)]*)", requirement, re.IGNORECASE)
    bounds = re.findall(r"(<=|>=|==|!=|<|>)\s*([\d.]+)", named.group(1)) if named else []
    return all(
        _COMPARISONS[operator](_release(version), _release(bound)) for operator, bound in bounds
    )


def _release(version: str) -> tuple[int, ...]:
    parts = re.match(r"[\d.]*", version)
    numbers = [int(part) for part in (parts.group() if parts else "").split(".") if part]
    # 2.0 is 2.0.0.
    return tuple((*numbers, 0, 0, 0)[: max(len(numbers), 3)])
