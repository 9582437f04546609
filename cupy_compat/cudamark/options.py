"""The arguments of the command, and checks of their combination."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class BadArgument(ValueError):
    """An argument, or a combination of them, that is not valid."""


@dataclass(frozen=True)
class Options:
    """The arguments of the command."""

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


def checked_dtype(options: Options) -> np.dtype[Any]:
    """Check the options, and return their dtype.

    Raises `BadArgument` if they are not valid, OSError if a file cannot be written, ImportError if
    a plot needs Matplotlib and it is missing.
    """
    from cupy_compat.cudamark.gpu import sorts_dtype
    from cupy_compat.cudamark.inputs import DISTRIBUTIONS, parse_dtype
    from cupy_compat.cudamark.record import require_writable

    if options.compare and (options.csv or options.plot):
        raise BadArgument("--csv and --plot belong to the table of threads, not to --compare")
    if options.contenders and not options.compare:
        raise BadArgument("--with belongs to --compare")
    targets = [path for path in (options.csv, options.json, options.plot) if path is not None]
    if len({Path(path).resolve() for path in targets}) < len(targets):
        raise BadArgument("--csv, --json and --plot need a file each")
    if options.distribution not in DISTRIBUTIONS:
        known = ", ".join(DISTRIBUTIONS)
        raise BadArgument(f"argument --distribution: {options.distribution!r} is none of {known}")
    try:
        dtype = parse_dtype(options.dtype)
    except ValueError as error:
        raise BadArgument(f"argument --dtype: {error}") from error
    if options.device == "gpu" and not sorts_dtype(dtype):
        raise BadArgument(f"argument --dtype: CuPy does not sort {dtype}; try --device cpu")
    if options.plot:
        if Path(options.plot).suffix.lower() not in (".png", ".svg"):
            raise BadArgument(f"argument --plot: {options.plot!r} does not end in .png or .svg")
        # If it is missing, fail now instead of after measuring.
        import matplotlib.figure  # noqa: F401
    for path in targets:
        require_writable(path)
    return dtype
