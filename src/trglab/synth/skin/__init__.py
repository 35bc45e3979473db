"""Skin, eyes and mouth: painted, and read off photographs."""
