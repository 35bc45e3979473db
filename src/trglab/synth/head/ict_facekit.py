"""Import of ICT-FaceKit, the face model of USC ICT (MIT licence).

Two forms are read: the ``FaceXModel`` folder of https://github.com/ICT-VGL/ICT-FaceKit (OBJ files
in centimetres: ``generic_neutral_mesh.obj``, ``identity000.obj`` and so on, one file per
expression) and the same data packed into one ``.npz`` in metres. Both have x right, y up and z
towards the viewer; a half turn about x gives the head frame and keeps the winding.

Layout of the parts' textures (v downward): *skin* has the face in its left half and the rest of the
head in its right half; *mouth* has gums and tongue in its left three quarters and the cavity in
its right quarter; the texture of an *eyeball* shows the front of the eye, the pupil in the middle.
Back of the eyes, irises behind the corneas, tear lines and blend strips are left out, because
nothing of them is visible.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trglab.synth.cache import cached_arrays, fingerprint
from trglab.synth.head.face_model import PARTS, FaceModel
from trglab.synth.head.mesh_indices import landmark_indices, rendered_indices

FORMAT_VERSION = 4
"""Of the cached arrays; increase it when their content changes."""

SOURCE = "ICT-FaceKit: https://github.com/ICT-VGL/ICT-FaceKit (MIT), its folder FaceXModel"
HEAD_FROM_ICT = np.array([1.0, -1.0, -1.0])
METRES_PER_CENTIMETRE = 0.01
NEUTRAL_FILE = "generic_neutral_mesh.obj"
INDEX_FILE = "vertex_indices.json"

LANDMARKS68 = (
    *(1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272),
    *(4088, 3443, 268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942),
    *(4857, 1140, 2075, 1147, 4269, 3360, 1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756),
    *(3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841),
    *(5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966),
)
"""The "Multi-PIE 68 point facial landmarks indices" of the kit's README."""

VERTEX_COUNT = 26719
GUMS_TILE = 2.0
"""First u of the unit tile that holds gums and tongue; that of the mouth's cavity starts at 1."""


@dataclass(frozen=True, slots=True, eq=False)
class IctArrays:
    """The kit's arrays in its own frame (x right, y up, z towards the viewer), in metres.

    Attributes
    ----------
    mean
        ``(V, 3)``; ``identity`` ``(I, V, 3)`` and ``expression`` ``(E, V, 3)`` are offsets.
    triangles, uv_triangles
        ``(F, 3)`` into V and into ``uv`` ``(K, 2)``, v upward, one unit tile per sheet.
    """

    mean: NDArray[np.float64]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    expression_names: tuple[str, ...]
    triangles: NDArray[np.int64]
    uv: NDArray[np.float64]
    uv_triangles: NDArray[np.int64]


def load_ict_facekit(path: Path) -> FaceModel:
    """Load the kit's folder or packed file, reduced to the rendered mesh. The result is cached.

    Raises
    ------
    FileNotFoundError
        ``path`` does not exist, or the folder lacks a file.
    ValueError
        The file or folder is damaged or contains another model.
    """
    if not path.exists():
        raise FileNotFoundError(f"face model {path}: expected a folder or an .npz file. {SOURCE}")

    def build() -> Mapping[str, NDArray[Any]]:
        arrays = read_folder(path) if path.is_dir() else read_packed(path)
        return face_model_from_ict(arrays).to_arrays()

    name = f"ict-facekit-{FORMAT_VERSION}-{fingerprint(path)}"
    return FaceModel.from_arrays(cached_arrays(name, build))


def read_packed(path: Path) -> IctArrays:
    """Read the packed ``.npz``: mean, identity, expression, names, triangles, uv, uv_triangles."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return IctArrays(
                mean=stored["mean"].astype(np.float64),
                identity=stored["identity"].astype(np.float32),
                expression=stored["expression"].astype(np.float32),
                expression_names=tuple(stored["expression_names"].tolist()),
                triangles=stored["triangles"].astype(np.int64),
                uv=stored["uv"].astype(np.float64),
                uv_triangles=stored["uv_triangles"].astype(np.int64),
            )
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"face model {path}: expected a packed ICT-FaceKit, but it cannot be read ({error}). "
            f"{SOURCE}"
        ) from error


def read_folder(folder: Path) -> IctArrays:
    """Read a ``FaceXModel`` folder of OBJ files.

    ``vertex_indices.json`` lists the expressions. Without it, every OBJ file that is neither the
    neutral head nor an identity is an expression.

    Raises
    ------
    FileNotFoundError, ValueError
        A file is missing, unreadable, or has another number of vertices.
    """
    neutral = folder / NEUTRAL_FILE
    if not neutral.is_file():
        raise FileNotFoundError(f"face model {folder}: expected the file {NEUTRAL_FILE}. {SOURCE}")
    mean, uv, triangles, uv_triangles = _read_mesh(neutral)
    identities = sorted(folder.glob("identity[0-9]*.obj"))
    if not identities:
        raise FileNotFoundError(f"face model {folder}: expected files identity000.obj ... {SOURCE}")
    names = _expression_names(folder)

    def offsets(files: list[Path]) -> NDArray[np.float32]:
        shapes = np.empty((len(files), *mean.shape), dtype=np.float32)
        for out, file in zip(shapes, files, strict=True):
            out[:] = (_read_vertices(file, len(mean)) - mean) * METRES_PER_CENTIMETRE
        return shapes

    return IctArrays(
        mean=mean * METRES_PER_CENTIMETRE,
        identity=offsets(identities),
        expression=offsets([folder / f"{name}.obj" for name in names]),
        expression_names=names,
        triangles=triangles,
        uv=uv,
        uv_triangles=uv_triangles,
    )


def face_model_from_ict(arrays: IctArrays) -> FaceModel:
    """Reduce the kit's arrays to the rendered mesh, in the head frame.

    Raises
    ------
    ValueError
        The arrays are not those of the kit's 26,719-vertex model.
    """
    if len(arrays.mean) != VERTEX_COUNT:
        raise ValueError(
            f"face model: expected ICT-FaceKit's {VERTEX_COUNT} vertices, got {len(arrays.mean)}. "
            f"{SOURCE}"
        )
    rendered, landmarks = rendered_indices("ict_facekit"), landmark_indices("ict_facekit")
    mean_m, landmarks68 = arrays.mean * HEAD_FROM_ICT, np.array(LANDMARKS68)

    def shapes(offsets: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ascontiguousarray(offsets[:, rendered.vertices] * HEAD_FROM_ICT, np.float32)

    return FaceModel(
        name="ICT-FaceKit",
        mean_m=mean_m[rendered.vertices].astype(np.float32),
        identity=shapes(arrays.identity),
        expression=shapes(arrays.expression),
        expression_names=arrays.expression_names,
        triangles=rendered.triangles.astype(np.int32),
        uv=_part_uv(arrays.uv[rendered.uv_vertices], rendered.part).astype(np.float32),
        part=rendered.part,
        landmarks68=rendered.first_index_of(landmarks68),
        dense=rendered.first_index_of(landmarks.dense),
        topology=landmarks.topology(mean_m, landmarks68),
    )


def _part_uv(uv: NDArray[np.float64], part: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Map texture coordinates ``(V, 2)`` from the kit's unit tiles to one texture per part."""
    u, v = uv[:, 0], 1.0 - uv[:, 1]
    is_skin, is_mouth = part == PARTS.index("skin"), part == PARTS.index("mouth")
    is_gum = is_mouth & (u >= GUMS_TILE)
    is_cavity = is_mouth & ~is_gum
    new_u = np.select(
        [is_skin, is_gum, is_cavity], [u / 2.0, (u - GUMS_TILE) * 0.75, 0.75 + (u - 1.0)], u % 1.0
    )
    # The cavity's islands use less than a third of the height of their tile.
    return np.stack([new_u, np.where(is_cavity, v * 3.3, v)], axis=1)


def _expression_names(folder: Path) -> tuple[str, ...]:
    index = folder / INDEX_FILE
    if index.is_file():
        try:
            listed = json.loads(index.read_text(encoding="utf-8"))["expressions"]
        except (ValueError, KeyError) as error:
            raise ValueError(f"face model {index}: cannot be read ({error}). {SOURCE}") from error
        return tuple(str(name) for name in listed)
    stems = sorted(file.stem for file in folder.glob("*.obj"))
    return tuple(
        stem for stem in stems if not stem.startswith("identity") and f"{stem}.obj" != NEUTRAL_FILE
    )


def _read_vertices(file: Path, count: int) -> NDArray[np.float64]:
    """Return the ``v`` lines of an OBJ file, ``(count, 3)``."""
    if not file.is_file():
        raise FileNotFoundError(f"face model: expected the file {file}. {SOURCE}")
    lines = [line for line in file.read_text(encoding="ascii").splitlines() if line[:2] == "v "]
    try:
        numbers = np.array(" ".join(lines).replace("v", "").split(), dtype=np.float64)
        return finite_array("vertices", numbers.reshape(-1, 3), (count, 3))
    except ValueError as error:
        raise ValueError(f"face model {file}: damaged ({error}). {SOURCE}") from error


def _read_mesh(
    file: Path,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return vertices, texture vertices, triangles and texture triangles of an OBJ file."""
    lines = file.read_text(encoding="ascii").splitlines()
    triangles: list[list[int]] = []
    textured: list[list[int]] = []
    try:
        vertices = np.array([line.split()[1:4] for line in lines if line[:2] == "v "], np.float64)
        uv = np.array([line.split()[1:3] for line in lines if line[:3] == "vt "], np.float64)
        for line in lines:
            if line[:2] == "f ":
                corners = [corner.split("/") for corner in line.split()[1:]]
                vertex = [int(corner[0]) - 1 for corner in corners]
                texture = [int(corner[1]) - 1 for corner in corners]
                for k in range(1, len(corners) - 1):
                    triangles.append([vertex[0], vertex[k], vertex[k + 1]])
                    textured.append([texture[0], texture[k], texture[k + 1]])
        faces, uv_faces = np.array(triangles, np.int64), np.array(textured, np.int64)
        if faces.max() >= len(vertices) or uv_faces.max() >= len(uv):
            raise ValueError("faces refer to vertices that do not exist")
    except (ValueError, IndexError) as error:
        raise ValueError(f"face model {file}: damaged ({error}). {SOURCE}") from error
    return vertices, uv, faces, uv_faces
