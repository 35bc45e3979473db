"""Numba decorators for the renderer's inner loops, with a cache on disk.

Numba invalidates a cached function when the file that defines it changes, but not when a helper or
constant that it uses from another file does. The decorators below therefore key the cache on the
contents of all files in ``trglab.synth`` that define kernels: a stale function is never loaded.
Constants that kernels use must be defined in such a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile

SAFE_FASTMATH = {"contract", "nsz", "arcp"}
"""Floating-point shortcuts that keep infinities and NaN intact."""


def digest_kernel_sources(folder: Path) -> str:
    """Return a hash of all Python files below ``folder`` that use this module."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        if b"trglab.synth.kernels import" in content or path == Path(__file__):
            digest.update(content)
    return digest.hexdigest()


SOURCES_DIGEST = digest_kernel_sources(Path(__file__).parent)


def _keyed_on_sources(locator: type[Any]) -> type[Any]:
    """Return a subclass of one of Numba's cache locators whose stamp includes the digest."""

    def get_source_stamp(self: Any) -> tuple[Any, str]:
        return locator.get_source_stamp(self), SOURCES_DIGEST

    return type(locator.__name__, (locator,), {"get_source_stamp": get_source_stamp})


class _CacheImpl(CompileResultCacheImpl):
    _locator_classes: Any = tuple(map(_keyed_on_sources, CompileResultCacheImpl._locator_classes))


class _IndexFile(IndexDataCacheFile):
    def _load_index(self) -> dict[Any, Any]:
        try:
            index: dict[Any, Any] = super()._load_index()
        except (AttributeError, ImportError):
            # Numba unpickles the index before it compares the stamp; an index of older sources may
            # name types that no longer exist.
            return {}
        return index


class _SourceKeyedCache(FunctionCache):
    _impl_class = _CacheImpl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _IndexFile(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )


def _cached_njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(nogil=True, **options)(function)
        dispatcher._cache = _SourceKeyedCache(function)  # what njit(cache=True) does with its own
        return dispatcher

    return decorate


kernel = _cached_njit(error_model="numpy", fastmath=SAFE_FASTMATH)
"""Division as in NumPy, without Python's checks; safe floating-point shortcuts."""

inlined = _cached_njit(error_model="numpy", fastmath=SAFE_FASTMATH, forceinline=True)
"""As :data:`kernel`, for helpers inside loops: passing array structs to a call costs more."""

fastmath_kernel = _cached_njit(fastmath=True)
"""All floating-point shortcuts, for inputs without infinities and NaN."""

strict_kernel = _cached_njit()
"""IEEE arithmetic."""
