"""Labelled faces from data sets and folders, and their augmentation."""
