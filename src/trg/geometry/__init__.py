"""Cameras, crops, rotations, projection, axis conventions, face mesh: NumPy and Pillow only."""
