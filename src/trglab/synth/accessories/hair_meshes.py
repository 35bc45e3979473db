"""Hair meshes from MakeHuman (CC0), fitted to the mean head once and varied per person."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fast_simplification
import numpy as np

from trg.geometry.rotations import normalize
from trglab.synth.accessories.hair import FRAYED_FROM, HAIR_MATERIAL, frayed_v
from trglab.synth.accessories.head_map import HeadFit, HeadMap, azimuth_elevation, direction
from trglab.synth.accessories.shapes import UvMesh
from trglab.synth.accessories.strands import HairColour, StrandKind, StrandTexture
from trglab.synth.cache import cached_arrays, fingerprint
from trglab.synth.choice import choose
from trglab.synth.render.surface import Surface

FORMAT = 2
MAX_TRIANGLES = 5600

_EXCLUDED = ("afro01",)
"""Its stacked cards need their own alpha textures."""

_ON_MALE = ("afro01", "short01", "short02", "short04")
"""Hair modelled on the male body; all other hair fits the female body."""

_OFFSET_M = {"afro01": (0.0, 0.093, 0.0), "short04": (0.0, 0.093, 0.0)}
"""Offset (y up) of meshes that were modelled on a shorter body."""

_KIND_PROBABILITIES: dict[StrandKind, float] = {"straight": 0.6, "wavy": 0.3, "curly": 0.1}

_SOURCE = (
    "the packed CC0 hair of MakeHuman's system assets (static.makehumancommunity.org), arrays "
    "NAME_vertices, NAME_triangles, body_female_generic_* and body_male_generic_*"
)


@dataclass(frozen=True, slots=True)
class MeshHair:
    """A variation of a hair mesh.

    Attributes
    ----------
    index
        Index into :attr:`HairMeshes.names`.
    length, volume
        Scales of the part below the ears and of the height above the skull; 1: as modelled.
    """

    index: int = 0
    kind: StrandKind = "straight"
    mirrored: bool = False
    length: float = 1.0
    volume: float = 1.0
    wave_m: float = 0.0
    seed: int = 0
    has_cards: bool = False
    """Drawn as :class:`~trglab.synth.accessories.hair_cards.HairCards`, ``index`` into theirs."""


def sample_mesh_hair(rng: np.random.Generator, mesh_count: int) -> MeshHair:
    """Draw a mesh and its variation."""
    return MeshHair(
        index=int(rng.integers(mesh_count)),
        kind=choose(rng, _KIND_PROBABILITIES),
        mirrored=bool(rng.random() < 0.5),
        length=float(rng.uniform(0.6, 1.3)),
        volume=float(rng.uniform(0.75, 1.35)),
        wave_m=float(rng.uniform(0.0, 0.005)),
        seed=int(rng.integers(2**31)),
    )


@dataclass(frozen=True, slots=True)
class HairMeshes:
    """Hair meshes on the mean head."""

    names: tuple[str, ...]
    meshes: tuple[UvMesh, ...]

    def surfaces(
        self,
        hair: MeshHair,
        colour: HairColour,
        head_map: HeadMap,
        fit: HeadFit,
        strands: StrandTexture,
    ) -> list[Surface]:
        """Build a variation of a mesh on a person's head, in the head frame."""
        varied = vary_mesh(self.meshes[hair.index % len(self.meshes)], hair, head_map, fit)
        return [varied.surface("hair", strands.tinted(colour, FRAYED_FROM), HAIR_MATERIAL)]


def vary_mesh(mesh: UvMesh, hair: MeshHair, head_map: HeadMap, fit: HeadFit) -> UvMesh:
    """Return the variation ``hair`` of a mesh on the mean head, transferred to a person's head."""
    points, triangles = mesh.vertices_m.astype(np.float64), mesh.triangles
    if hair.mirrored:
        points = points * np.array([-1.0, 1.0, 1.0])
        triangles = np.ascontiguousarray(triangles[:, ::-1])
    out = points - head_map.centre_m
    radius = np.linalg.norm(out, axis=-1)
    skull = head_map.skull_radius_m(out)
    raised = skull + (radius - skull) * np.where(radius > skull, hair.volume, 1.0)
    points = head_map.centre_m + out * (raised / radius)[:, None]
    ears_y = head_map.centre_m[1] + 0.02
    below = np.maximum(points[:, 1] - ears_y, 0.0)
    points[:, 1] += (hair.length - 1.0) * below
    points = points + _waves(hair, points, head_map)
    return fit.transfer_mesh(UvMesh(points, triangles, mesh.uv))


def load_hair_meshes(path: Path, head_map: HeadMap) -> HairMeshes:
    """Read packed hair meshes and fit them to the mean head; the result is cached.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged or lacks an array.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"hair meshes: no file {path}; expected {_SOURCE}")
    key = f"hair-{FORMAT}-{fingerprint(path)}-{hash_of_head(head_map)}"
    arrays = cached_arrays(key, lambda: _fit_all(path, head_map))
    names = tuple(str(name) for name in arrays["names"])
    meshes = tuple(
        UvMesh(arrays[f"{name}_vertices"], arrays[f"{name}_triangles"], arrays[f"{name}_uv"])
        for name in names
    )
    return HairMeshes(names, meshes)


def hash_of_head(head_map: HeadMap) -> str:
    """Return a hash of the mean head, for keys of the cache."""
    parts = (head_map.centre_m, head_map.skull_m.ravel(), head_map.landmarks_m.ravel())
    rounded = np.round(np.concatenate(parts) * 1e5).astype(np.int64)
    return hashlib.sha256(rounded.tobytes()).hexdigest()[:12]


def _fit_all(path: Path, head_map: HeadMap) -> dict[str, np.ndarray]:
    fitted: dict[str, np.ndarray] = {}
    with packed_hair(path, head_map) as packed:
        names = [name for name in packed.names if name not in _EXCLUDED]
        fitted["names"] = np.array(names)
        for name in names:
            mesh = _simplified_with_uv(
                packed.points_on_mean(name), packed.arrays[f"{name}_triangles"], head_map
            )
            fitted[f"{name}_vertices"] = mesh.vertices_m
            fitted[f"{name}_triangles"] = mesh.triangles
            fitted[f"{name}_uv"] = mesh.uv
    return fitted


@contextmanager
def packed_hair(path: Path, head_map: HeadMap) -> Iterator[PackedHair]:
    """Open packed hair meshes; errors inside of the context say that the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as packed:
            arrays = {name: packed[name] for name in packed.files}
        bodies = {
            name: _Body.of(arrays[f"{name}_vertices"], arrays[f"{name}_triangles"], head_map)
            for name in ("body_female_generic", "body_male_generic")
        }
        yield PackedHair(arrays, bodies, head_map)
    except (KeyError, ValueError, IndexError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"hair meshes {path}: damaged ({error}); expected {_SOURCE}") from error


@dataclass(frozen=True, slots=True)
class PackedHair:
    """The arrays of packed hair meshes and the bodies they were modelled on."""

    arrays: dict[str, np.ndarray]
    bodies: dict[str, _Body]
    head_map: HeadMap

    @property
    def names(self) -> list[str]:
        """Names of the hairstyles."""
        return [str(name) for name in self.arrays["names"]]

    def points_on_mean(self, name: str) -> np.ndarray:
        """Return the vertices ``(n, 3)`` of a hairstyle on the mean head."""
        body = self.bodies["body_male_generic" if name in _ON_MALE else "body_female_generic"]
        shift = np.array(_OFFSET_M.get(name, (0.0, 0.0, 0.0)))
        return body.onto_mean(self.arrays[f"{name}_vertices"] + shift, self.head_map)


@dataclass(frozen=True, slots=True)
class _Body:
    """A MakeHuman body aligned with the mean head: ``X_head = scale * (x, -y, -z) + shift_m``."""

    scale: float
    shift_m: np.ndarray
    head_map: HeadMap
    """Radius maps of the body's own head."""

    @classmethod
    def of(cls, vertices_m: np.ndarray, triangles: np.ndarray, head_map: HeadMap) -> _Body:
        points = vertices_m.astype(np.float64) * np.array([1.0, -1.0, -1.0])
        top_y = points[:, 1].min()
        upper = points[(points[:, 1] < top_y + 0.25) & (np.abs(points[:, 0]) < 0.02)]
        nose = upper[upper[:, 2].argmin()]
        up = np.array([0.0, -1.0, 0.0])
        goal_top_y = head_map.centre_m[1] - float(head_map.skull_radius_m(up))
        goal_nose = head_map.landmarks_m[30]
        scale = float((goal_nose[1] - goal_top_y) / (nose[1] - top_y))
        shift = np.array([0.0, goal_nose[1] - scale * nose[1], goal_nose[2] - scale * nose[2]])
        aligned = scale * points + shift
        head = triangles[(aligned[triangles][:, :, 1] < goal_nose[1] + 0.12).all(axis=1)]
        measured = HeadMap.measure(aligned, head, head_map.landmarks_m)
        return cls(scale, shift, measured)

    def onto_mean(self, vertices_m: np.ndarray, head_map: HeadMap) -> np.ndarray:
        """Transfer hair to the mean head, keeping its distance from the scalp."""
        points = self.scale * vertices_m * np.array([1.0, -1.0, -1.0]) + self.shift_m
        out = points - self.head_map.centre_m
        radius = np.linalg.norm(out, axis=-1)
        off_skull = radius - self.head_map.skull_radius_m(out)
        goal = head_map.skull_radius_m(out) + np.maximum(off_skull, 0.0015)
        # The distance is additive: hair far from the skull (a braid) is not stretched.
        moved: np.ndarray = head_map.centre_m + out * (goal / radius)[:, None]
        return moved


def _simplified_with_uv(points_m: np.ndarray, triangles: np.ndarray, head_map: HeadMap) -> UvMesh:
    """Decimate a mesh and assign texture coordinates: strands run down from the crown."""
    points, faces = points_m.astype(np.float32), np.ascontiguousarray(triangles, dtype=np.int32)
    if len(faces) > MAX_TRIANGLES:
        points, faces = fast_simplification.simplify(points, faces, target_count=MAX_TRIANGLES)
    out = points - head_map.centre_m
    azimuth, _ = azimuth_elevation(out)
    crown = direction(np.array(180.0), np.array(72.0))
    angle = np.arccos(np.clip(normalize(out) @ crown, -1.0, 1.0))
    hanging = np.maximum(points[:, 1] - head_map.centre_m[1] - 0.03, 0.0)
    path = 0.1 * angle + 0.8 * hanging
    bins = ((azimuth + 180.0) // 15.0).astype(int) % 24
    longest = np.zeros(24)
    np.maximum.at(longest, bins, path)
    longest = np.maximum(longest, 0.06)
    longest = 0.5 * longest + 0.25 * (np.roll(longest, 1) + np.roll(longest, -1))
    total = np.interp(
        (azimuth + 172.5) % 360.0, np.arange(25) * 15.0, np.append(longest, longest[0])
    )
    frayed = np.clip(0.12 * total, 0.015, 0.04)
    v = frayed_v(path, total, frayed)
    u = np.abs((azimuth / 60.0 + 6.0) % 2.0 - 1.0)
    uv = np.stack([u, np.clip(v, 0.0, 1.0)], axis=-1)
    return UvMesh(points.astype(np.float32), faces.astype(np.int32), uv.astype(np.float32))


def _waves(hair: MeshHair, points_m: np.ndarray, head_map: HeadMap) -> np.ndarray:
    """Return smooth random offsets ``(n, 3)`` that grow with the distance from the scalp."""
    rng = np.random.default_rng(hair.seed)
    shape = rng.normal(0.0, 40.0, (3, 6))
    field = np.sin(points_m @ shape + rng.uniform(0.0, 6.3, 6)) @ rng.standard_normal((6, 3))
    out = points_m - head_map.centre_m
    off = np.linalg.norm(out, axis=-1) - head_map.skull_radius_m(out)
    return field * (hair.wave_m + 0.0008) * np.clip(off / 0.02, 0.0, 1.5)[:, None] * 0.3
