"""One environment: what is known about it, and the attempts to use its CuPy."""

from __future__ import annotations

from dataclasses import dataclass, field

from .machine import Machine
from .trial import Attempt


@dataclass(frozen=True)
class Case:
    """The machine, the attempt as things are, and another one with or without the shim."""

    machine: Machine = field(default_factory=Machine)
    attempt: Attempt | None = None
    second: Attempt | None = None

    @property
    def repair_failure(self) -> str:
        """Why the shim, armed for a trial, did not help a CuPy that it is for, or nothing."""
        if self.second is None or self.second.shim != "with" or self.second.works_alone:
            return ""
        failed = self.second.failures[0].said
        status = self.second.values.get("shim")
        return failed if status is None else f"{failed} ({status['reason']})"
