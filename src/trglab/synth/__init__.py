"""Synthetic faces: geometry, appearance, light and camera, with exact labels."""
