"""Mesh files for 3D programs: OBJ, PLY, GLB, and GLB with the animated heads of a video.

All use metres and the axes of such programs: x right, y up, z towards the viewer, with the camera
at the origin looking along -z. This is the package's camera frame rotated by 180 degrees about x:
``(x, y, z) -> (x, -y, -z)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trg._util.files import write_atomic
from trg.face import Face, Mesh
from trg.io.gltf import GltfBuilder
from trg.io.overlay import colour_of

Floats = NDArray[np.float64]

Y_UP = np.diag([1.0, -1.0, -1.0])
"""Rotation from the camera frame to the files' axes; its own inverse."""

_FRAME_NOTE = "trg: metres; x right, y up, z towards the viewer; the camera is at the origin"


def write_obj(path: str | PathLike[str], faces: Sequence[Face]) -> None:
    """Write faces as a Wavefront OBJ file: one object each, with normals.

    Raises
    ------
    ValueError
        There is no face.
    OSError
        The file is not writable; then none is left.
    """
    lines = [f"# {_FRAME_NOTE}"]
    first = 1
    for number, face in enumerate(_not_empty(faces)):
        vertices, normals, triangles = _mesh(face)
        lines.append(f"o {_name(face, number)}")
        lines += ["v {:.6f} {:.6f} {:.6f}".format(*vertex) for vertex in vertices.tolist()]
        lines += ["vn {:.4f} {:.4f} {:.4f}".format(*normal) for normal in normals.tolist()]
        lines += ["f {0}//{0} {1}//{1} {2}//{2}".format(*t) for t in (triangles + first).tolist()]
        first += len(vertices)
    _write(path, ("\n".join(lines) + "\n").encode())


def write_ply(path: str | PathLike[str], faces: Sequence[Face]) -> None:
    """Write faces as one binary little-endian PLY mesh with normals.

    The vertex property ``face`` is the index of the face, from 0. Raises the errors of
    :func:`write_obj`.
    """
    properties = ("x", "y", "z", "nx", "ny", "nz")
    vertex_type = np.dtype([*((name, "<f4") for name in properties), ("face", "<i4")])
    triangle_type = np.dtype([("count", "u1"), ("corners", "<i4", (3,))])
    vertex_rows, triangle_rows, first = [], [], 0
    for number, face in enumerate(_not_empty(faces)):
        vertices, normals, triangles = _mesh(face)
        rows = np.empty(len(vertices), vertex_type)
        for axis, name in enumerate("xyz"):
            rows[name], rows[f"n{name}"] = vertices[:, axis], normals[:, axis]
        rows["face"] = number
        vertex_rows.append(rows)
        corners = np.empty(len(triangles), triangle_type)
        corners["count"], corners["corners"] = 3, triangles + first
        triangle_rows.append(corners)
        first += len(vertices)
    header = ["ply", "format binary_little_endian 1.0", f"comment {_FRAME_NOTE}"]
    header.append(f"element vertex {first}")
    header += [f"property float {name}" for name in properties]
    header.append("property int face")
    header.append(f"element face {sum(map(len, triangle_rows))}")
    header += ["property list uchar int vertex_indices", "end_header\n"]
    body = np.concatenate(vertex_rows).tobytes() + np.concatenate(triangle_rows).tobytes()
    _write(path, "\n".join(header).encode() + body)


def write_glb(path: str | PathLike[str], faces: Sequence[Face]) -> None:
    """Write faces as a GLB scene: one mesh per head in the head frame, posed by its node.

    The head frame is rotated to y up like the camera frame, so a node without rotation faces the
    camera. Raises the errors of :func:`write_obj`.
    """
    builder = GltfBuilder()
    for number, face in enumerate(_not_empty(faces)):
        rotation, translation_m = _head_pose(face)
        builder.add_node(
            _name(face, number),
            mesh=_add_head(builder, face, number, face.landmarks_m, _name(face, number)),
            rotation=rotation.tolist(),
            translation=translation_m.tolist(),
        )
    _write(path, builder.to_bytes())


MESH_WRITERS: Mapping[str, Callable[[str | PathLike[str], Sequence[Face]], None]] = {
    "obj": write_obj,
    "ply": write_ply,
    "glb": write_glb,
}
"""The writers by file suffix."""


class _HeadTrack:
    """The poses of one identity, and the sum of its landmarks."""

    def __init__(self, face: Face) -> None:
        self.first = face
        self.landmarks_sum_m = np.zeros_like(face.landmarks_m, dtype=np.float64)
        self.frames: list[int] = []
        self.quaternions: list[Floats] = []
        self.translations_m: list[Floats] = []

    def add(self, frame: int, face: Face) -> None:
        quaternion, translation_m = _head_pose(face)
        # q and -q are the same rotation; equal signs make the interpolation take the short way.
        if self.quaternions and quaternion @ self.quaternions[-1] < 0:
            quaternion = -quaternion
        self.frames.append(frame)
        self.quaternions.append(quaternion)
        self.translations_m.append(translation_m)
        self.landmarks_sum_m += face.landmarks_m


class HeadAnimation:
    """Collects the heads of a video for a GLB with their animation.

    It keeps seven numbers per face and frame, and one mesh per identity: the mean of its
    landmarks in the head frame. A head is scaled to zero while it is not visible, because glTF
    cannot animate visibility.
    """

    def __init__(self) -> None:
        self._times_s: list[float] = []
        self._tracks: dict[int, _HeadTrack] = {}

    def __bool__(self) -> bool:
        """Return whether there is a head to write."""
        return bool(self._tracks)

    def add(self, faces: Sequence[Face], time_s: float) -> None:
        """Add a frame; frames without faces are needed, too, to hide the heads.

        Faces without identity get their index as identity. Of two faces with the same identity
        the first is used.

        Raises ValueError if the time is not finite or not after the previous one.
        """
        if not np.isfinite(time_s) or (self._times_s and time_s <= self._times_s[-1]):
            last = f"above {self._times_s[-1]}" if self._times_s else "that is finite"
            raise ValueError(f"time_s: expected a time {last}, got {time_s}")
        self._times_s.append(float(time_s))
        frame = len(self._times_s) - 1
        for number, face in enumerate(faces):
            identity = number if face.id is None else face.id
            track = self._tracks.setdefault(identity, _HeadTrack(face))
            if not track.frames or track.frames[-1] != frame:
                track.add(frame, face)

    def write(self, path: str | PathLike[str]) -> None:
        """Write the GLB; its time starts with the first frame.

        Raises
        ------
        ValueError
            There was no face in any frame.
        OSError
            The file is not writable; then none is left.
        """
        if not self._tracks:
            raise ValueError("head animation: expected a face in at least one frame, got none")
        times_s = np.array(self._times_s) - self._times_s[0]
        builder = GltfBuilder()
        for identity, track in sorted(self._tracks.items()):
            mean_m = track.landmarks_sum_m / len(track.frames)
            name = f"head {identity}"
            node = builder.add_node(
                name,
                mesh=_add_head(builder, track.first, identity, mean_m, name),
                rotation=track.quaternions[0].tolist(),
                translation=track.translations_m[0].tolist(),
            )
            keys = builder.add_times(times_s[track.frames])
            builder.animate(node, "rotation", keys, track.quaternions)
            builder.animate(node, "translation", keys, track.translations_m)
            shown_from, scale = _visibility(track.frames, len(times_s))
            if len(scale) > 1:
                sizes = np.repeat(scale[:, None], 3, axis=1)
                builder.animate(
                    node, "scale", builder.add_times(times_s[shown_from]), sizes, "STEP"
                )
        _write(path, builder.to_bytes())


def _visibility(frames: Sequence[int], frame_count: int) -> tuple[NDArray[np.intp], Floats]:
    """Return the frames at which a head appears (1) or disappears (0), starting at frame 0."""
    seen = np.zeros(frame_count)
    seen[frames] = 1.0
    changes = np.append(0, np.flatnonzero(np.diff(seen)) + 1)
    return changes, seen[changes]


def _add_head(builder: GltfBuilder, face: Face, number: int, landmarks_m: Floats, name: str) -> int:
    mesh = Mesh(landmarks_m @ Y_UP, face.topology.triangles)
    colour = colour_of(face, number)
    return builder.add_mesh(name, mesh.vertices_m, mesh.normals(), mesh.triangles, colour)


def _head_pose(face: Face) -> tuple[Floats, Floats]:
    """Return quaternion (x, y, z, w) and translation with both frames rotated to y up."""
    x, y, z, w = face.quaternion_xyzw
    return np.array([x, -y, -z, w]), Y_UP @ face.translation_m


def _not_empty(faces: Sequence[Face]) -> Sequence[Face]:
    if not len(faces):
        raise ValueError("faces: expected at least one to write, got none")
    return faces


def _mesh(face: Face) -> tuple[Floats, Floats, NDArray[np.int32]]:
    """Return vertices and normals in the files' axes, and the triangles."""
    mesh = face.mesh()
    return mesh.vertices_m @ Y_UP, mesh.normals() @ Y_UP, mesh.triangles


def _name(face: Face, number: int) -> str:
    return f"face_{number}" if face.id is None else f"head_{face.id}"


def _write(path: str | PathLike[str], content: bytes) -> None:
    write_atomic(Path(path), lambda file: file.write(content))
