"""Weight bundles and what runs them on pictures and videos: NumPy and ONNX Runtime, no torch."""
