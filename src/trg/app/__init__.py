"""The command line and the product verbs behind it."""
