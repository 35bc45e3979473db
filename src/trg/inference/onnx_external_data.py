"""Refusal of ONNX graphs whose weights lie in other files.

ONNX allows a tensor to name a file, or an address in memory, that holds its values; a graph from a
stranger could so read any file of its user. The weights of this package are always in the graph.
The graph is walked in protobuf's wire format, because `onnx` is needed for training only.
"""

from __future__ import annotations

from collections.abc import Iterator

# Messages of onnx.proto3 that lead to tensors: field number -> message.
_MESSAGES = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a tensor
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


def refuse_external_data(name: str, model: bytes) -> None:
    """Raise ValueError if a tensor of a serialised ONNX graph has its values elsewhere.

    Also raises it for what is not in protobuf's wire format. ``name`` is the model's in messages.
    """
    pending = [("Model", memoryview(model))]
    while pending:
        message, data = pending.pop()
        for field, value in _fields(name, data):
            if message == "Tensor":
                if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                    raise ValueError(
                        f"{name}: expected a graph that holds all of its weights, got one that "
                        "refers to another file for some; export it as a single file"
                    )
            elif field in _MESSAGES[message] and isinstance(value, memoryview):
                pending.append((_MESSAGES[message][field], value))


def _fields(name: str, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message; numbers of fixed width are 0."""
    at, end = 0, len(data)
    try:
        while at < end:
            tag, at = _varint(data, at)
            value: int | memoryview = 0
            wire_type = tag & 7
            if wire_type == _VARINT:
                value, at = _varint(data, at)
            elif wire_type == _BYTES:
                length, at = _varint(data, at)
                value = data[at : at + length]
                at += length
            elif wire_type in (_FIXED64, _FIXED32):
                at += 8 if wire_type == _FIXED64 else 4
            else:
                raise IndexError
            if at > end:
                raise IndexError
            yield tag >> 3, value
    except IndexError:
        raise ValueError(f"{name}: expected an ONNX graph, got damaged or other data") from None


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number at a place and the place after it."""
    number = 0
    for index in range(_MAX_VARINT_BYTES):
        byte = data[at + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, at + index + 1
    raise IndexError
