"""Speed of the processor at hand, the unit in which tests state how fast code must be."""

from __future__ import annotations

import time

import numpy as np


def matrix_product_gflops(side: int = 1024, repetitions: int = 5) -> float:
    """Return the rate of NumPy's float32 matrix product in GFLOP per second of processor time."""
    matrix = np.random.default_rng(0).random((side, side), dtype=np.float32)
    seconds = []
    for _ in range(repetitions):
        start = time.process_time()
        matrix @ matrix
        seconds.append(time.process_time() - start)
    return 2.0 * side**3 / min(seconds) / 1e9
