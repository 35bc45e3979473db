"""The network: configuration, layers, losses, checkpoints, export."""
