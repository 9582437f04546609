"""What the command was asked for, as what parses it and what does it both know it."""

from __future__ import annotations

from dataclasses import dataclass


class BadArgument(ValueError):
    """An argument, or a combination of them, that cannot be meant."""


@dataclass(frozen=True)
class Options:
    """The arguments, as `add_arguments` names them."""

    device: str
    size: int
    dtype: str
    threads: tuple[int, ...]
    repeat: int
    seed: int
    distribution: str
    compare: bool
    contenders: tuple[str, ...]
    quiet: bool
    csv: str | None
    json: str | None
    plot: str | None
