"""How loops are compiled: with Numba, to run without the GIL, and kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

try:
    import numba
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "these sorts need Numba: pip install 'cupy-compat[cudamark]', or use numpy.sort",
        name=error.name,
    ) from error

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """``numba.njit`` without the GIL, kept on disk where Numba finds a place to write."""
    try:
        return cast(_Function, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        # Numba refuses a cache when neither the package's folder nor the user's is writable.
        return cast(_Function, numba.njit(nogil=True)(function))
