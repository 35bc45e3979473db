"""Research with TRG: data sets, synthetic faces, training, evaluation, the paper's tables."""
