"""Everything about making the face detector: scenes, network, training, evaluation, export."""
