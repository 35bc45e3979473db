"""Input validation, atomic file writes, dispatch between NumPy and torch."""
