"""Training material from real photographs without landmarks, labelled by a pose network."""
