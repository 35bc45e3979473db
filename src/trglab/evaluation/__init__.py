"""Error measures, and what they are measured on."""
