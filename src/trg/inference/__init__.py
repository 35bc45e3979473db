"""Inference with weight bundles on images and videos: NumPy and ONNX Runtime, no torch."""
