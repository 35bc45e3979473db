"""Face models and people: shapes, sizes and expressions."""
