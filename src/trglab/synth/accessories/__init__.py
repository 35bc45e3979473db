"""Hair, clothes, glasses and what else hides a face."""
