"""A minimal writer of binary glTF 2.0 (GLB): meshes, textures, cameras, nodes and one animation.

Requirements of the specification that are easy to miss: accessors are aligned to their component
size (here always four bytes), positions and key times have bounds, the JSON chunk is padded with
spaces and the binary one with zeros, and unsigned 16-bit indices are below 65535.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Interpolation = Literal["LINEAR", "STEP"]

_COMPONENT_TYPES = {"float32": 5126, "uint16": 5123, "uint32": 5125}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_CLAMP_TO_EDGE = 33071
_UNLIT = "KHR_materials_unlit"
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963


class GltfBuilder:
    """Builds one scene; :meth:`to_bytes` returns the file.

    The ``add_`` methods return the index of the new element.
    """

    def __init__(self) -> None:
        self._binary = bytearray()
        self._parts: dict[str, list[dict[str, Any]]] = {}
        self._channels: list[dict[str, Any]] = []
        self._samplers: list[dict[str, Any]] = []

    def add_mesh(
        self,
        name: str,
        vertices: ArrayLike,
        normals: ArrayLike,
        triangles: ArrayLike,
        colour: tuple[int, int, int] | None = None,
        *,
        texture: int | None = None,
        uv: ArrayLike = (),
    ) -> int:
        """Add a mesh of vertices and unit normals ``(n, 3)`` and triangles ``(m, 3)``.

        Its material is an sRGB colour, or a texture without lighting, such as a photo, with
        coordinates ``uv`` ``(n, 2)`` from 0 to 1, from the top left of the image.
        """
        vertices = np.asarray(vertices)
        index_type = np.uint16 if len(vertices) < 65535 else np.uint32
        linear = [round(float((value / 255.0) ** 2.2), 4) for value in colour or (255, 255, 255)]
        surface: dict[str, Any] = {
            "baseColorFactor": [*linear, 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.6,
        }
        material: dict[str, Any] = {
            "name": name,
            "pbrMetallicRoughness": surface,
            "doubleSided": True,  # a face mesh is an open surface
        }
        attributes = {
            "POSITION": self._add_accessor(vertices, np.float32, _ARRAY_BUFFER, bounds=True),
            "NORMAL": self._add_accessor(normals, np.float32, _ARRAY_BUFFER),
        }
        if texture is not None:
            surface["baseColorTexture"] = {"index": texture}
            material["extensions"] = {_UNLIT: {}}
            attributes["TEXCOORD_0"] = self._add_accessor(uv, np.float32, _ARRAY_BUFFER)
        primitive = {
            "attributes": attributes,
            "indices": self._add_accessor(
                np.ravel(np.asarray(triangles)), index_type, _ELEMENT_ARRAY_BUFFER
            ),
            "material": self._add("materials", material),
        }
        return self._add("meshes", {"name": name, "primitives": [primitive]})

    def add_texture(self, jpeg: bytes) -> int:
        """Add a JPEG image for :meth:`add_mesh`, which stores it in the file."""
        image = {"bufferView": self._add_view(jpeg), "mimeType": "image/jpeg"}
        sampler = {"wrapS": _CLAMP_TO_EDGE, "wrapT": _CLAMP_TO_EDGE}
        return self._add(
            "textures",
            {"source": self._add("images", image), "sampler": self._add("samplers", sampler)},
        )

    def add_camera(self, name: str, vertical_fov_rad: float, aspect_ratio: float) -> int:
        """Add a perspective camera for a node; it looks along -z, with y up."""
        perspective = {"yfov": vertical_fov_rad, "aspectRatio": aspect_ratio, "znear": 0.01}
        return self._add(
            "cameras", {"name": name, "type": "perspective", "perspective": perspective}
        )

    def add_node(self, name: str, **properties: Any) -> int:
        """Add a node to the scene; ``properties`` are glTF's: mesh, camera, rotation..."""
        return self._add("nodes", {"name": name, **properties})

    def add_times(self, times_s: ArrayLike) -> int:
        """Add key times ``(k,)`` in seconds, rising, for :meth:`animate`."""
        return self._add_accessor(times_s, np.float32, bounds=True)

    def animate(
        self,
        node: int,
        path: Literal["translation", "rotation", "scale"],
        times: int,
        values: ArrayLike,
        interpolation: Interpolation = "LINEAR",
    ) -> None:
        """Animate a property of a node with ``values`` ``(k, 3 or 4)`` at the key times."""
        output = self._add_accessor(values, np.float32)
        self._samplers.append({"input": times, "output": output, "interpolation": interpolation})
        target = {"node": node, "path": path}
        self._channels.append({"sampler": len(self._samplers) - 1, "target": target})

    def to_bytes(self) -> bytes:
        """Return the GLB file."""
        document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "trg"},
            "scene": 0,
            "scenes": [{"nodes": list(range(len(self._parts["nodes"])))}],
            **self._parts,
            "buffers": [{"byteLength": len(self._binary)}],
        }
        if "textures" in self._parts:
            document["extensionsUsed"] = [_UNLIT]
        if self._channels:
            document["animations"] = [
                {"name": "heads", "channels": self._channels, "samplers": self._samplers}
            ]
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        chunks = _chunk(b"JSON", text, b" ") + _chunk(b"BIN\0", bytes(self._binary), b"\0")
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def _add(self, kind: str, part: dict[str, Any]) -> int:
        parts = self._parts.setdefault(kind, [])
        parts.append(part)
        return len(parts) - 1

    def _add_view(self, content: bytes, target: int | None = None) -> int:
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(content)}
        if target is not None:
            view["target"] = target
        self._binary += content
        self._binary += bytes(-len(self._binary) % 4)
        return self._add("bufferViews", view)

    def _add_accessor(
        self, values: ArrayLike, dtype: Any, target: int | None = None, bounds: bool = False
    ) -> int:
        array: NDArray[Any] = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
        rows = array.reshape(len(array), -1)
        accessor: dict[str, Any] = {
            "bufferView": self._add_view(array.tobytes(), target),
            "componentType": _COMPONENT_TYPES[np.dtype(dtype).name],
            "count": len(array),
            "type": _KINDS[rows.shape[1]],
        }
        if bounds:
            accessor["min"] = rows.min(0).tolist()
            accessor["max"] = rows.max(0).tolist()
        return self._add("accessors", accessor)


def _chunk(kind: bytes, content: bytes, padding: bytes) -> bytes:
    content += padding * (-len(content) % 4)
    return struct.pack("<I4s", len(content), kind) + content
