"""An examined environment: its facts, and the attempts to use its CuPy."""

from __future__ import annotations

from dataclasses import dataclass, field

from .machine import Machine
from .trial import Attempt


@dataclass(frozen=True)
class Case:
    """The machine, the first attempt, and a second one with or without the shim."""

    machine: Machine = field(default_factory=Machine)
    attempt: Attempt | None = None
    second: Attempt | None = None

    @property
    def repair_failure(self) -> str:
        """Why a trial with the shim failed; empty if it succeeded or was not made."""
        if self.second is None or self.second.shim != "with" or self.second.memoizes:
            return ""
        failed = self.second.failures[0].said
        status = self.second.values.get("shim")
        return failed if status is None else f"{failed} ({status['reason']})"
