"""Small helpers without a subject of their own: checks of input, atomic files."""
