"""Cameras, crops, rotations, projection, and the face mesh: NumPy and Pillow only."""
