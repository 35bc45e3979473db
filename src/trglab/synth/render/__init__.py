"""The renderer: surfaces to pictures."""
