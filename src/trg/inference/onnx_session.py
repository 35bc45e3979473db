"""Opening of ONNX graphs in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnxruntime


def open_session(
    name: str, model: bytes, threads: int | None, providers: Sequence[str] | None
) -> Any:
    """Open an ONNX graph in ONNX Runtime; ``name`` is the model's in error messages.

    Parameters
    ----------
    threads
        CPU threads per call. None: one per physical core.
    providers
        Execution providers, in order of preference. None: the CPU.

    Raises
    ------
    ValueError
        ONNX Runtime cannot load the graph, or a provider is not installed.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads: expected None or at least 1, got {threads}")
    available = onnxruntime.get_available_providers()
    wanted = ["CPUExecutionProvider"] if providers is None else list(providers)
    absent = [provider for provider in wanted if provider not in available]
    if absent:
        raise ValueError(f"providers: {absent} are not installed; expected some of {available}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 0 if threads is None else threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(model, options, providers=wanted)
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        raise ValueError(f"{name}: ONNX Runtime cannot load it: {error}") from error
