"""The paper's tables and figures, and the baselines they compare with."""
