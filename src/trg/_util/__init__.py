"""Input validation, file checks and atomic writes, dispatch between NumPy and torch."""
