"""How the renderer's inner loops are compiled."""

from __future__ import annotations

from numba import njit

SAFE_SHORTCUTS = {"contract", "nsz", "arcp"}
"""Shortcuts in arithmetic that leave infinities and NaN alone."""

kernel = njit(cache=True, nogil=True, error_model="numpy", fastmath=SAFE_SHORTCUTS)
"""Compile once, keep the result on disk; divide as NumPy does, without Python's checks."""

inlined = njit(
    cache=True, nogil=True, error_model="numpy", fastmath=SAFE_SHORTCUTS, forceinline=True
)
"""For helpers inside a loop: passing groups of arrays to a real call costs more than the work."""
