"""Research verbs of the command line."""
