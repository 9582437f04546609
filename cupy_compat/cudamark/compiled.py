"""How loops are compiled: with Numba, to run without the GIL, and kept on disk."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

try:
    import numba
    from numba.core import caching, ccallback, sigutils
except ImportError as error:
    # Numba may be missing, or refuse a NumPy that is too new for it.
    raise type(error)(
        f"these sorts need Numba, which cannot be imported: {error}. Use numpy.sort, or install "
        "versions of Numba and NumPy that fit: pip install 'cupy-compat[cudamark]'",
        name=error.name,
    ) from error
_Function = TypeVar("_Function", bound=Callable[..., Any])
# Numba has types for some of its functions only.
_config: Any = numba.config
_CFunc: Any = ccallback.CFunc
_FunctionCache: Any = caching.FunctionCache
_normalize_signature: Any = sigutils.normalize_signature
_c_functions: list[Any] = []
_log = logging.getLogger(__name__)
_reported = False

if _config.DISABLE_JIT:
    raise ImportError(
        "these sorts need Numba's compiler, which NUMBA_DISABLE_JIT switches off: unset it, or use "
        "numpy.sort"
    )


class _Cache:
    """Numba's cache on disk; if it fails, this process compiles for itself.

    Numba checks only the file that defines a function. The function may inline others, so here all
    files of this package have to be unchanged.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._kept = _FunctionCache(function)
        self._kept._cache_file._source_stamp = _digest_of_sources()
        self.cache_path = self._kept.cache_path
        self.flush = self._kept.flush

    def load_overload(self, *arguments: Any) -> Any:
        """Return what was compiled, or None if it cannot be read."""
        try:
            return self._kept.load_overload(*arguments)
        except Exception as error:
            # A power failure can truncate a file, and unpickling that may raise anything.
            try:
                self.flush()
            except OSError:
                _report_no_cache(str(error))
            return None

    def save_overload(self, *arguments: Any) -> None:
        """Keep what was compiled, if possible."""
        try:
            self._kept.save_overload(*arguments)
        except Exception as error:
            _report_no_cache(str(error))


def compiled(function: _Function) -> _Function:
    """``numba.njit`` without the GIL, kept on disk if possible."""
    made = numba.njit(nogil=True)(function)
    _keep(made, function)
    return cast(_Function, made)


def c_function(signature: Any, function: Callable[..., Any]) -> int:
    """Compile a function that C can call, kept on disk likewise, and return its lasting address."""
    made = _CFunc(function, _normalize_signature(signature), locals={}, options={})
    _keep(made, function)
    made.compile()
    _c_functions.append(made)
    return int(made.address)


def _keep(made: Any, function: Callable[..., Any]) -> None:
    try:
        made._cache = _Cache(function)
    except RuntimeError as error:
        # Numba refuses a cache when neither the package's folder nor the user's is writable.
        _report_no_cache(str(error))


@functools.cache
def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _report_no_cache(reason: str) -> None:
    """Log it once. A warning could be turned into an error, and fail the sort."""
    global _reported
    if not _reported:
        _reported = True
        _log.warning("each process compiles its sorts anew, as they cannot be kept: %s", reason)
