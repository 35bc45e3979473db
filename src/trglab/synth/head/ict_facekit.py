"""Import of ICT-FaceKit, the light stage face model of USC ICT (MIT licence).

Two forms are read: the ``FaceXModel`` folder of https://github.com/ICT-VGL/ICT-FaceKit (OBJ files
in centimetres: ``generic_neutral_mesh.obj``, ``identity000.obj`` and on, one file per expression)
and the same packed into one ``.npz`` in metres. Both have x right, y up and z towards the viewer;
turning that half round about x gives the head frame and keeps the winding.

Texture sheets of the parts (v downward): *skin* has the face in its left half and the rest of the
head in its right half; *mouth* has gums and tongue in its left three quarters and the cavity in
its right quarter; an *eyeball*'s pupil is in the middle of its sheet, which shows the front of the
eye. The back of the eyes, the irises behind the corneas, tear lines and blend strips, which no
picture of a head shows, are left out.
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
from trglab.synth.head.reduce_model import FullFaceModel, reduce_face_model

FORMAT_VERSION = 3
"""Counts changes of what is stored in the cache."""

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
FACE_NARROW_END = 6706
PART_STARTS = {
    "face": 0,
    "head_neck": 9409,
    "mouth_socket": 11248,
    "eye_socket": 13294,
    "gums_tongue": 14062,
    "teeth": 17039,
    "eyeball_left": 21451,
    "eyeball_right": 23021,
    "lacrimal": 24591,
    "eye_blend": 24999,
    "eye_occlusion": 25047,
    "lashes": 25351,
}
"""First vertex of each part (the kit's README, "Face Model Topology")."""

_GROUP_OF = {
    "face": "skin",
    "head_neck": "skin",
    "mouth_socket": "skin",
    "eye_socket": "skin",
    "gums_tongue": "gums",
    "lacrimal": "",
    "eye_blend": "",
}
"""Parts whose group has another name than they; those without a group are left out."""

HIDDEN_WEIGHT = 0.1
NECK_WEIGHT = 0.3
TEETH_REACH_M = 0.012


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
    """Load the kit's folder or packed file as a light model; the first time takes a minute.

    Raises
    ------
    FileNotFoundError
        Nothing is at ``path``, or the folder lacks a file.
    ValueError
        The file or folder is damaged or of another model.
    """
    if not path.exists():
        raise FileNotFoundError(f"face model {path}: expected a folder or an .npz file. {SOURCE}")

    def build() -> Mapping[str, NDArray[Any]]:
        arrays = read_folder(path) if path.is_dir() else read_packed(path)
        return reduce_face_model(full_model_from_ict(arrays)).to_arrays()

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

    ``vertex_indices.json``, where present, says which expressions there are; else every OBJ file
    that is neither the neutral head nor an identity is one.

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


def full_model_from_ict(arrays: IctArrays) -> FullFaceModel:
    """Turn the kit's arrays into the head frame and sort its triangles into parts and sheets.

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
    names, starts = list(PART_STARTS), list(PART_STARTS.values())
    vertex_part = np.searchsorted(starts, np.arange(VERTEX_COUNT), side="right") - 1
    triangle_part = np.array(names)[vertex_part[arrays.triangles].min(1)]
    chart = _charts(arrays.uv_triangles, len(arrays.uv))
    part_name, uv = _sheets(arrays, triangle_part, chart)
    group = np.array([_GROUP_OF.get(name, name) for name in triangle_part])
    group[_behind_cornea(arrays, triangle_part, chart)] = ""
    visible = group != ""
    nose_tip = (arrays.triangles == LANDMARKS68[30]).any(1).argmax()
    region = (arrays.triangles < FACE_NARROW_END).all(1) & (chart == chart[nose_tip])
    return FullFaceModel(
        name="ICT-FaceKit",
        mean_m=arrays.mean * HEAD_FROM_ICT,
        identity=arrays.identity * HEAD_FROM_ICT.astype(np.float32),
        expression=arrays.expression * HEAD_FROM_ICT.astype(np.float32),
        expression_names=arrays.expression_names,
        triangles=arrays.triangles[visible],
        uv=uv.astype(np.float32),
        uv_triangles=arrays.uv_triangles[visible],
        part=np.array([PARTS.index(name) for name in part_name[visible]], dtype=np.uint8),
        group=group[visible],
        region=region[visible],
        weight=_detail_weight(arrays.mean, np.array(names)[vertex_part]),
        landmarks68=np.array(LANDMARKS68),
    )


def _sheets(
    arrays: IctArrays, triangle_part: NDArray[np.str_], chart: NDArray[np.int64]
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Return each triangle's part name in PARTS and the texture vertices packed into sheets."""
    part = triangle_part.astype("<U16")
    part[np.isin(triangle_part, ("face", "head_neck", "eye_socket"))] = "skin"
    cavity = np.isin(chart, chart[triangle_part == "mouth_socket"])  # inner lips and beyond
    part[cavity | (triangle_part == "gums_tongue")] = "mouth"
    part[np.isin(triangle_part, ("lacrimal", "eye_blend"))] = "skin"  # never drawn
    u, v = arrays.uv[:, 0], 1.0 - arrays.uv[:, 1]
    packed = np.stack([u % 1.0, v], axis=1)

    def assign(triangles: NDArray[np.bool_], new_u: Any, new_v: Any) -> None:
        corners = np.unique(arrays.uv_triangles[triangles])
        packed[corners, 0], packed[corners, 1] = new_u[corners], new_v[corners]

    assign(part == "skin", u / 2.0, v)
    assign(triangle_part == "gums_tongue", (u - 2.0) * 0.75, v)
    assign(cavity, 0.75 + (u - 1.0), v * 3.3)
    return part, packed


def _behind_cornea(
    arrays: IctArrays, triangle_part: NDArray[np.str_], chart: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark the eyeballs' triangles that are not of the front shell, their foremost chart."""
    hidden = np.zeros(len(triangle_part), dtype=bool)
    for name in ("eyeball_left", "eyeball_right"):
        ball = triangle_part == name
        foremost = np.flatnonzero(ball)[arrays.mean[arrays.triangles[ball], 2].max(1).argmax()]
        hidden |= ball & (chart != chart[foremost])
    return hidden


def _charts(triangles: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return ``(F,)``: the same number for triangles that hang together."""
    label = np.arange(count)
    while True:
        lowest = label[triangles].min(1)
        before = label.copy()
        np.minimum.at(label, triangles, lowest[:, None])
        label = label[label]
        if np.array_equal(label, before):
            return label[triangles[:, 0]]


def _detail_weight(mean: NDArray[np.float64], part: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return ``(V,)``: little for what is hidden in mouth, nose and sockets."""
    weight = np.ones(len(mean))
    weight[np.isin(part, ("mouth_socket", "eye_socket"))] = HIDDEN_WEIGHT
    weight[part == "head_neck"] = NECK_WEIGHT
    weight[(part == "face") & _inside_nostrils(mean)] = HIDDEN_WEIGHT
    biting = np.isin(part, ("teeth", "gums_tongue"))
    depth = mean[biting, 2].max() - mean[biting, 2]
    weight[biting] = HIDDEN_WEIGHT + np.exp(-((depth / TEETH_REACH_M) ** 2))
    return weight


def _inside_nostrils(mean: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark ``(V,)``: above the nose's base, behind its tip, between septum and wings."""
    tip, base = mean[LANDMARKS68[30]], mean[LANDMARKS68[33]]
    across = np.abs(mean[:, 0])
    inside = (across > 0.003) & (across < 0.014)
    inside &= (mean[:, 1] > base[1] + 0.001) & (mean[:, 1] < tip[1] + 0.004)
    return inside & (mean[:, 2] < base[2] + 0.004)


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
            raise ValueError("faces refer to vertices that are not there")
    except (ValueError, IndexError) as error:
        raise ValueError(f"face model {file}: damaged ({error}). {SOURCE}") from error
    return vertices, uv, faces, uv_faces
