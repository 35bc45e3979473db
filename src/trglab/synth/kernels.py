"""How the renderer's inner loops are compiled.

Numba tells by the file of a compiled function alone whether what lies on disk is stale. After a
change to a helper that a loop in *another* file calls, delete ``__pycache__/*.nb[ic]`` here, or
the loop goes on with the helper as it was.
"""

from __future__ import annotations

from numba import njit

SAFE_FASTMATH = {"contract", "nsz", "arcp"}
"""Shortcuts in arithmetic that leave infinities and NaN alone."""

kernel = njit(cache=True, nogil=True, error_model="numpy", fastmath=SAFE_FASTMATH)
"""Compile once, keep the result on disk; divide as NumPy does, without Python's checks."""

inlined = njit(
    cache=True, nogil=True, error_model="numpy", fastmath=SAFE_FASTMATH, forceinline=True
)
"""For helpers inside a loop: passing groups of arrays to a real call costs more than the work."""
