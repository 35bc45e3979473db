"""Pose, shape and landmarks of the face in each photograph of a folder, from a weight bundle.

Each face is estimated on several crops of different size, each together with its mirror image. The
network locates the 68 landmarks by heatmaps and by projecting the regressed head; where the two
disagree, or the crops do, the labels are not to be trusted (:meth:`FaceEstimates.problem`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trg.estimator import FALLBACK_THRESHOLD
from trg.geometry.camera import Camera
from trg.geometry.crop import FaceCrop, crop_face, face_box, pixels_from_crop
from trg.geometry.rotations import nearest_rotation
from trg.inference.bundle import model_path
from trg.inference.detector import FaceDetector
from trg.inference.flip import FlipTTANetwork
from trg.inference.runtime import PoseNetwork, PoseRuntime
from trg.io.images import is_image_file, read_image
from trglab.datasets.files import file_sha256
from trglab.synth.cache import cached_arrays, fingerprint

Floats = NDArray[np.float64]

MODEL = "trg_m"
"""The most accurate bundled network."""

ESTIMATES_VERSION = 2
"""Version of the cached estimates; increase it with every change of their computation."""

CROP_SCALES = (0.9, 1.0, 1.12)
"""Sides of the crops over that of the face box."""

FOCAL_PX_PER_WIDTH = 4.0
"""Assumed focal length over image width: a portrait lens. Distances are relative to it."""

MAX_DISAGREEMENT = 0.010
"""Largest median distance between a landmark's heatmap and its projection, over the box's side."""

MAX_TAIL_DISAGREEMENT = 0.0165
"""The same for the 90th percentile."""

MAX_SPREAD = 0.006
"""Largest mean standard deviation of a landmark over the crops, over the box's side."""

MIN_BOX_PX = 80.0
"""Smallest side of the face box."""


@dataclass(frozen=True, eq=False)
class FaceEstimates:
    """Estimates of one face in each of n photographs; NaN where no face was found.

    Attributes
    ----------
    names
        File names, sorted.
    sizes_px
        ``(n, 2)``: width and height.
    landmarks68_px
        ``(n, 68, 2)`` from the heatmaps.
    vertices_px
        ``(n, 1220, 2)``: projections of the dense landmarks.
    rotation, translation_m, vertices_m
        ``(n, 3, 3)``, ``(n, 3)`` and ``(n, 1220, 3)``, for the camera that :func:`photo_camera`
        assumes.
    disagreement, tail, spread
        ``(n,)``: median and 90th percentile of the distance between heatmaps and projections, and
        the mean standard deviation of the landmarks over the crops; over the side of the face box.
    """

    names: tuple[str, ...]
    sizes_px: NDArray[np.int64]
    landmarks68_px: Floats
    vertices_px: Floats
    rotation: Floats
    translation_m: Floats
    vertices_m: Floats
    disagreement: Floats
    tail: Floats
    spread: Floats

    def __len__(self) -> int:
        return len(self.names)

    def problem(self, index: int) -> str | None:
        """Return why a photograph's labels are not to be trusted, or None."""
        if not np.isfinite(self.disagreement[index]):
            return "no single face found"
        low, high = self.landmarks68_px[index].min(0), self.landmarks68_px[index].max(0)
        box = face_box(self.landmarks68_px[index])
        if box[2] - box[0] < MIN_BOX_PX:
            return "small face"
        if (low < 1.0).any() or (high > self.sizes_px[index] - 1.0).any():
            return "face cut off by the image"
        if self.disagreement[index] > MAX_DISAGREEMENT or self.tail[index] > MAX_TAIL_DISAGREEMENT:
            return "heatmaps and projections disagree"
        if self.spread[index] > MAX_SPREAD:
            return "crops disagree"
        return None


def photo_camera(width: int, height: int) -> Camera:
    """Return the camera that is assumed for a photograph."""
    focal_px = FOCAL_PX_PER_WIDTH * width
    return Camera(focal_px, focal_px, width / 2.0, height / 2.0, width, height, source="assumed")


def photo_paths(folder: Path) -> list[Path]:
    """Return the images in a folder, sorted by name.

    Raises FileNotFoundError if there are none.
    """
    found = sorted(path for path in folder.iterdir() if is_image_file(str(path)))
    if not found:
        raise FileNotFoundError(f"photographs: expected image files in {folder}, found none")
    return found


def estimate_photos(
    folder: Path,
    model: str | Path = MODEL,
    on_progress: Callable[[int, int], None] | None = None,
) -> FaceEstimates:
    """Estimate the face in each photograph of a folder, or read the estimates from the cache.

    Parameters
    ----------
    model
        Name of a bundled network, or a weight bundle.
    on_progress
        Called with the numbers of photographs done and of all.

    Raises
    ------
    FileNotFoundError, ValueError
        The folder has no images, or the model is missing or damaged.
    """
    path = model_path(model)

    def build() -> dict[str, NDArray[np.generic]]:
        network, detector = (
            FlipTTANetwork(PoseRuntime(path)),
            FaceDetector(fallback_threshold=FALLBACK_THRESHOLD),
        )
        paths = photo_paths(folder)
        rows = []
        for number, photo in enumerate(paths):
            rows.append(estimate_photo(photo, network, detector))
            if on_progress is not None:
                on_progress(number + 1, len(paths))
        stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return {"names": np.array([photo.name for photo in paths]), **stacked}

    key = f"{fingerprint(folder)}-{file_sha256(path)[:8]}-{ESTIMATES_VERSION}"
    arrays = cached_arrays(f"photo-estimates-{key}", build)
    names = tuple(str(name) for name in arrays.pop("names"))
    return FaceEstimates(names, **arrays)


def estimate_photo(
    path: Path, network: PoseNetwork, detector: FaceDetector
) -> dict[str, NDArray[np.generic]]:
    """Estimate the most prominent face of a photograph; fields of :class:`FaceEstimates`.

    A damaged image counts as one without a face.
    """
    count = network.topology.vertex_count
    shapes = {
        "landmarks68_px": (68, 2), "vertices_px": (count, 2), "rotation": (3, 3),
        "translation_m": (3,), "vertices_m": (count, 3), "disagreement": (), "tail": (),
        "spread": (),
    }  # fmt: skip
    missing: dict[str, NDArray[np.generic]] = {
        name: np.full(shape, np.nan) for name, shape in shapes.items()
    }
    missing["sizes_px"] = np.zeros(2, np.int64)
    try:
        image = read_image(path).pixels
    except (OSError, ValueError):
        return missing
    height, width = image.shape[:2]
    missing["sizes_px"] = np.array([width, height])
    boxes = detector.detect(image, max_faces=1).boxes_xyxy
    if not len(boxes):
        return missing
    camera = photo_camera(width, height)
    box = boxes[0]
    for _ in range(2):  # the detector's box differs from the box around the landmarks
        box = face_box(
            _estimate_crops(network, image, camera, box, (1.0,))["vertices_px"][0][
                network.topology.landmarks68
            ]
        )
    found = _estimate_crops(network, image, camera, box, CROP_SCALES)
    side = box[2] - box[0]
    landmarks = found["landmarks68_px"].mean(0)
    vertices_px = found["vertices_px"].mean(0)
    distance = np.linalg.norm(vertices_px[network.topology.landmarks68] - landmarks, axis=-1) / side
    spread = np.linalg.norm(found["landmarks68_px"].std(0), axis=-1).mean() / side
    return {
        "sizes_px": missing["sizes_px"],
        "landmarks68_px": landmarks,
        "vertices_px": vertices_px,
        "rotation": nearest_rotation(found["rotation"].mean(0)),
        "translation_m": found["translation_m"].mean(0),
        "vertices_m": found["vertices_m"].mean(0),
        "disagreement": np.median(distance),
        "tail": np.quantile(distance, 0.9),
        "spread": spread,
    }


def _estimate_crops(
    network: PoseNetwork,
    image: NDArray[np.uint8],
    camera: Camera,
    box_xyxy: Floats,
    scales: tuple[float, ...],
) -> dict[str, Floats]:
    """Estimate a face on crops around a box; arrays with a leading axis over the crops."""
    centre, half = (box_xyxy[:2] + box_xyxy[2:]) / 2.0, (box_xyxy[2:] - box_xyxy[:2]) / 2.0
    crops: list[FaceCrop] = [
        crop_face(
            image,
            camera,
            np.concatenate([centre - scale * half, centre + scale * half]),
            network.crop_size,
        )
        for scale in scales
    ]
    info = np.stack([crop.bbox_info for crop in crops])
    arrays = network(np.stack([crop.pixels for crop in crops]), info.astype(np.float32))
    return {
        "landmarks68_px": pixels_from_crop(camera, arrays.landmarks68_crop.astype(float), info),
        "vertices_px": pixels_from_crop(camera, arrays.vertices_crop.astype(float), info),
        "rotation": arrays.rotation.astype(np.float64),
        "translation_m": arrays.translation_m.astype(np.float64),
        "vertices_m": arrays.vertices_m.astype(np.float64),
    }
