"""ONNX graphs in ONNX Runtime. No other module imports ONNX Runtime."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# ONNX Runtime 1.29 and later sends usage data unless this is set before it is imported.
_TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"
_wants_telemetry = os.environ.setdefault(_TELEMETRY_SWITCH, "1") == "0"

import onnxruntime  # noqa: E402

from trg.inference.onnx_external_data import refuse_external_data  # noqa: E402

if not _wants_telemetry:  # also on Windows, and where it was imported before this module
    onnxruntime.disable_telemetry_events()


class OnnxSession:
    """An ONNX graph that runs in ONNX Runtime.

    Can be pickled, for other processes: the graph is then opened again.

    Parameters
    ----------
    name
        The model's name in error messages.
    model
        The serialised graph, with all of its weights.
    threads
        CPU threads per call, at most :func:`usable_cores`; more only slow down, so that a larger
        number is reduced with a warning. None: one per physical core.
    providers
        Execution providers, in order of preference. None: the CPU.

    Raises
    ------
    ValueError
        ONNX Runtime cannot load the graph, the graph refers to other files, or a provider is not
        installed.
    """

    def __init__(
        self, name: str, model: bytes, threads: int | None, providers: Sequence[str] | None
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads: expected None or at least 1, got {threads}")
        available = available_providers()
        wanted = ["CPUExecutionProvider"] if providers is None else list(providers)
        absent = [provider for provider in wanted if provider not in available]
        if absent:
            raise ValueError(f"providers: {absent} are not installed; expected some of {available}")
        refuse_external_data(name, model)
        self._arguments = (name, model, _limited(threads), providers)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._arguments[2] or 0
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        options.add_session_config_entry("session.load_model_format", "ONNX")
        # Threads that wait in a loop for work would take the time of other work on the same cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=wanted)
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise ValueError(f"{name}: ONNX Runtime cannot load it: {error}") from error
        self.inputs = {node.name: tuple(node.shape) for node in self._session.get_inputs()}
        """Shapes by name, in the graph's order; a side of any length is a string or None."""
        self.outputs = {node.name: tuple(node.shape) for node in self._session.get_outputs()}
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        """The graph's own metadata."""

    def run(
        self, outputs: Sequence[str] | None, inputs: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[np.float32]]:
        """Return the named outputs; None: all, in the graph's order.

        Raises ValueError if ONNX Runtime cannot run the graph on these inputs.
        """
        try:
            return self._session.run(outputs, inputs)
        except Exception as error:  # as above
            raise ValueError(
                f"{self._arguments[0]}: ONNX Runtime cannot run it: {error}"
            ) from error

    def __reduce__(self) -> tuple[type[OnnxSession], tuple[Any, ...]]:
        return OnnxSession, self._arguments


def available_providers() -> tuple[str, ...]:
    """Return the execution providers of the installed ONNX Runtime."""
    return tuple(onnxruntime.get_available_providers())


def usable_cores() -> int:
    """Return the number of processor cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _limited(threads: int | None) -> int | None:
    """Return the number of threads, at most one per usable core."""
    cores = usable_cores()
    if threads is None:  # ONNX Runtime counts cores that other processes reserved
        return None if cores == os.cpu_count() else cores
    if threads > cores:
        message = f"threads: this process may use {cores} of the cores, so that {threads} threads"
        warnings.warn(f"{message} would be slower; using {cores}", stacklevel=2)
    return min(threads, cores)
