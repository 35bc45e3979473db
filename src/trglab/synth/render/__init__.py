"""The renderer: from surfaces to linear images."""
