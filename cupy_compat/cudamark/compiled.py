"""Compile loops with Numba, to run without the GIL, and cache them on disk."""

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
except (ImportError, OSError) as error:
    # Numba may be missing, or refuse a NumPy that is too new for it. If its library llvmlite cannot
    # be loaded, as in too little memory, it raises OSError.
    kind = type(error) if isinstance(error, ImportError) else ImportError
    raise kind(
        f"these sorts need Numba, which cannot be imported: {error}. Use numpy.sort, or install "
        "versions of Numba and NumPy that fit: pip install 'cupy-compat[cudamark]'",
        name=getattr(error, "name", None),
    ) from error
_Function = TypeVar("_Function", bound=Callable[..., Any])
# Numba is only partly typed.
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
    """Numba's cache on disk, except that its failures are only logged.

    Numba invalidates a cached function if the file that defines it has changed. The function may
    inline others, so here a change of any file of this package invalidates it.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._kept = _FunctionCache(function)
        self._kept._cache_file._source_stamp = _digest_of_sources()
        self.cache_path = self._kept.cache_path
        self.flush = self._kept.flush

    def load_overload(self, *arguments: Any) -> Any:
        """Return the cached code, or None if there is none or it cannot be read."""
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
        """Cache compiled code, if possible."""
        try:
            self._kept.save_overload(*arguments)
        except Exception as error:
            _report_no_cache(str(error))


def compiled(function: _Function) -> _Function:
    """Compile like ``numba.njit``, without the GIL and cached on disk if possible."""
    made = numba.njit(nogil=True)(function)
    _cache_on_disk(made, function)
    return cast(_Function, made)


def c_function(signature: Any, function: Callable[..., Any]) -> int:
    """Compile a function that C can call, cached likewise, and return its permanent address."""
    made = _CFunc(function, _normalize_signature(signature), locals={}, options={})
    _cache_on_disk(made, function)
    made.compile()
    _c_functions.append(made)
    return int(made.address)


def _cache_on_disk(made: Any, function: Callable[..., Any]) -> None:
    try:
        made._cache = _Cache(function)
    except RuntimeError as error:
        # Numba finds no writable folder for its cache.
        _report_no_cache(str(error))


@functools.cache
def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _report_no_cache(reason: str) -> None:
    """Log once that there is no cache. A warning could become an error and fail the sort."""
    global _reported
    if not _reported:
        _reported = True
        _log.warning("each process compiles its sorts anew, as they cannot be kept: %s", reason)
