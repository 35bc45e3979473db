"""Head models, identities and expressions."""
