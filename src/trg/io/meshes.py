"""Mesh files for 3D programs: OBJ, PLY, GLB, and GLB with the animated heads of a video.

All use metres and the axes of such programs: x right, y up, z towards the viewer, with the camera
at the origin looking along -z. This is the package's camera frame rotated by 180 degrees about x:
``(x, y, z) -> (x, -y, -z)``.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg._util.files import write_atomic
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.mesh import Mesh
from trg.io.gltf import GltfBuilder
from trg.io.overlay import colour_of

Floats = NDArray[np.float64]

Y_UP = np.diag([1.0, -1.0, -1.0])
"""Rotation from the camera frame to the files' axes; its own inverse."""

PLANE_GAP_M = 0.1
"""From the farthest point of the heads to the plane with the photo."""

PLANE_CELLS = 32
"""Cells per side of the plane, if the lens bends straight lines."""

MAX_TEXTURE_PX, TEXTURE_QUALITY = 4096, 92
"""Larger photos are reduced; of the JPEG."""

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


def write_glb(
    path: str | PathLike[str], faces: Sequence[Face], photo: NDArray[np.uint8] | None = None
) -> None:
    """Write faces as a GLB scene with their camera: one mesh per head, posed by its node.

    The head frame is rotated to y up like the camera frame, so a node without rotation faces the
    camera. ``photo``, the RGB image ``(h, w, 3)`` of the faces, becomes the texture of the heads,
    and of a plane behind them that fills the camera's view. glTF's camera has its principal point
    in the middle and no distortion; the plane is placed by the true rays of its pixels, so heads
    cover their images on it when seen from the camera's position.

    Raises the errors of :func:`write_obj`; ValueError also if the image has another size than the
    camera's, or pixels that no ray reaches.
    """
    builder = GltfBuilder()
    camera = _not_empty(faces)[0].camera
    texture = None
    if photo is not None:
        if photo.shape != (camera.height, camera.width, 3):
            raise ValueError(
                f"photo: expected the camera's size {camera.width}x{camera.height}, got an array "
                f"of shape {photo.shape}"
            )
        texture = builder.add_texture(_jpeg(photo))
    for number, face in enumerate(faces):
        rotation, translation_m = _head_pose(face)
        builder.add_node(
            _name(face, number),
            mesh=_add_head(builder, face, number, face.landmarks_m, _name(face, number), texture),
            rotation=rotation.tolist(),
            translation=translation_m.tolist(),
        )
    if texture is not None:
        depths_m = [face.mesh().vertices_m[:, 2].max() for face in faces]
        depth_m = float(max(depths_m)) + PLANE_GAP_M
        builder.add_node("photo", mesh=_add_plane(builder, camera, depth_m, texture))
    _add_camera(builder, camera)
    _write(path, builder.to_bytes())


def _add_camera(builder: GltfBuilder, camera: Camera) -> None:
    fov_rad = 2.0 * float(np.arctan2(camera.height / 2.0, camera.fy))
    aspect_ratio = camera.width / camera.fx / (camera.height / camera.fy)
    builder.add_node("camera", camera=builder.add_camera("camera", fov_rad, aspect_ratio))


def _add_plane(builder: GltfBuilder, camera: Camera, depth_m: float, texture: int) -> int:
    """Add a plane at a depth that shows the image to the camera."""
    cells = PLANE_CELLS if camera.is_distorted else 1
    steps = np.linspace(0.0, 1.0, cells + 1)
    uv = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    rays = camera.unproject(uv * (camera.width, camera.height))
    vertices = np.column_stack([rays, np.ones(len(rays))]) * depth_m @ Y_UP
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    below = corner + cells + 1
    triangles = np.concatenate(
        [
            np.stack([corner, below, corner + 1], -1),
            np.stack([corner + 1, below, below + 1], -1),
        ]
    )
    normals = np.tile((0.0, 0.0, 1.0), (len(vertices), 1))
    return builder.add_mesh("photo", vertices, normals, triangles, texture=texture, uv=uv)


def _jpeg(photo: NDArray[np.uint8]) -> bytes:
    """Encode an image as JPEG, reduced to a size that graphics cards accept."""
    image = Image.fromarray(photo)
    image.thumbnail((MAX_TEXTURE_PX, MAX_TEXTURE_PX))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=TEXTURE_QUALITY)
    return content.getvalue()


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
        _add_camera(builder, next(iter(self._tracks.values())).first.camera)
        _write(path, builder.to_bytes())


def _visibility(frames: Sequence[int], frame_count: int) -> tuple[NDArray[np.intp], Floats]:
    """Return the frames at which a head appears (1) or disappears (0), starting at frame 0."""
    seen = np.zeros(frame_count)
    seen[frames] = 1.0
    changes = np.append(0, np.flatnonzero(np.diff(seen)) + 1)
    return changes, seen[changes]


def _add_head(
    builder: GltfBuilder,
    face: Face,
    number: int,
    landmarks_m: Floats,
    name: str,
    texture: int | None = None,
) -> int:
    mesh = Mesh(landmarks_m @ Y_UP, face.topology.triangles)
    geometry = (name, mesh.vertices_m, mesh.normals(), mesh.triangles)
    if texture is None:
        return builder.add_mesh(*geometry, colour_of(face, number))
    uv = face.landmarks_px / (face.camera.width, face.camera.height)
    return builder.add_mesh(*geometry, texture=texture, uv=uv)


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
