"""The paper's network in torch: configuration, layers, losses, checkpoints and export."""
