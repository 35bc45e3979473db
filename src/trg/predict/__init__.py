"""Many pictures and videos in, files of results out: what ``trg predict`` does."""

from __future__ import annotations

from trg.predict.outputs import MeshFormat, Outputs, output_stems
from trg.predict.run import Listener, PredictOptions, Predictor, Summary

__all__ = [
    "Listener",
    "MeshFormat",
    "Outputs",
    "PredictOptions",
    "Predictor",
    "Summary",
    "output_stems",
]
