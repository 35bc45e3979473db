"""How well a network's landmarks sit on real photographs: NME-11 on a folder of stills.

For measuring and looking only. The stills are somebody else's pictures with machine-made points;
nothing is trained on them, and no setting is chosen by them.

The eleven points are those that mean the same in every convention: eye corners, nose tip and base,
mouth corners and lip middles, chin. Boxes come from the points themselves, so that the figures
speak of the network and not of a face detector; a whole chain is measured apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg._util.checks import finite_array
from trg.face import Face
from trg.geometry.camera import ASSUMED_FOV_DEG, Camera
from trg.geometry.crop import crop_face, face_box, pixels_from_crop
from trg.inference.runtime import PoseNetwork
from trglab.evaluation.metrics import nme, rectangle_size_px

Floats = NDArray[np.float64]

NME_POINTS = (36, 39, 42, 45, 30, 33, 48, 54, 51, 57, 8)
"""Of the 68 landmarks."""

POINTS_FILE = "landmarks68.npz"

Predictor = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.floating]]
"""From crops ``(n, s, s, 3)`` uint8 and box numbers ``(n, 3)`` to 68 points ``(n, 68, 2)`` in crop
coordinates. A network in torch and a bundle in ONNX Runtime both fit behind it."""


class Still(NamedTuple):
    """One photograph as the network is shown it."""

    name: str
    camera: Camera
    crop: NDArray[np.uint8]
    bbox_info: Floats
    points_px: Floats
    """``(68, 2)`` in the photograph"""


@dataclass(frozen=True, slots=True)
class StillsResult:
    """Errors per photograph, over the size of its points' bounding rectangle."""

    names: tuple[str, ...]
    nme11: Floats
    """``(n,)``; 0.03 is 3 %, infinity a face that was not found"""
    nme68: Floats
    """``(n,)``, all points; the contour's 17 mean different things at large yaw"""

    @property
    def nme11_median(self) -> float:
        """The headline figure."""
        return float(np.median(self.nme11))

    def figures(self) -> dict[str, float]:
        """Return medians and shares over all photographs, means over those with a face found."""
        found = self.nme11[np.isfinite(self.nme11)]
        return {
            "nme11_median": self.nme11_median,
            "nme11_mean": float(found.mean()) if len(found) else float("nan"),
            "nme68_median": float(np.median(self.nme68)),
            "nme11_over_10_percent": float((self.nme11 > 0.1).mean()),
        }

    def worst(self, count: int) -> list[str]:
        """Return the names of the photographs with the largest errors, the worst first."""
        return [self.names[i] for i in np.argsort(-self.nme11, kind="stable")[:count]]


class Stills:
    """A folder of photographs with 68 points each, cut once for one crop size.

    Parameters
    ----------
    folder
        Holds the pictures and ``landmarks68.npz`` with ``names`` ``(n,)`` and ``points``
        ``(n, 68, 2)`` in pixels, pixel centres at +0.5.
    crop_size
        Side of the network's crop.
    fov_deg
        Diagonal field of view that every camera is assumed to have.
    limit
        Read only this many.

    Raises
    ------
    FileNotFoundError
        The folder, its points or a picture is missing.
    ValueError
        The points are not ``(n, 68, 2)``.
    """

    def __init__(
        self,
        folder: Path,
        crop_size: int,
        *,
        fov_deg: float = ASSUMED_FOV_DEG,
        limit: int | None = None,
    ) -> None:
        path = folder / POINTS_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: expected the stills' points, found none; --stills takes a folder with "
                "pictures and that file"
            )
        with np.load(path) as arrays:
            missing = {"names", "points"} - set(arrays.files)
            if missing:
                raise ValueError(f"{path}: expected arrays names and points, {missing} missing")
            names = [str(name) for name in arrays["names"]][:limit]
            points = finite_array(f"{path} points", arrays["points"], (None, 68, 2))[:limit]
        if len(names) != len(points) or not names:
            raise ValueError(f"{path}: expected a name per set of points, got {len(names)}")
        self._folder = folder
        self.stills = [
            _read(folder / name, each, crop_size, fov_deg)
            for name, each in zip(names, points, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.stills)

    def measure(self, predict: Predictor, batch_size: int = 64) -> StillsResult:
        """Run a predictor on every still and compare in the photographs' pixels.

        Raises
        ------
        ValueError
            The predictor's answer is not ``(n, 68, 2)`` finite numbers.
        """
        predicted_px = []
        for start in range(0, len(self), batch_size):
            chunk = self.stills[start : start + batch_size]
            landmarks = finite_array(
                "the predictor's landmarks",
                predict(
                    np.stack([still.crop for still in chunk]),
                    np.stack([still.bbox_info for still in chunk]).astype(np.float32),
                ),
                (len(chunk), 68, 2),
            )
            predicted_px += [
                pixels_from_crop(still.camera, each, still.bbox_info)
                for still, each in zip(chunk, landmarks, strict=True)
            ]
        return self._result(np.stack(predicted_px))

    def measure_estimator(
        self, estimate: Callable[[NDArray[np.uint8]], Sequence[Face]]
    ) -> StillsResult:
        """Run a whole chain, with a detector of its own, on the photographs.

        Of several faces the one nearest to the labelled points counts.
        """
        predicted_px = np.full((len(self), 68, 2), np.inf)
        for row, still in enumerate(self.stills):
            faces = estimate(_pixels(self._folder / still.name))
            if faces:
                points = np.stack([face.landmarks68_px for face in faces])
                distance = np.linalg.norm(points - still.points_px, axis=-1).mean(1)
                predicted_px[row] = points[distance.argmin()]
        return self._result(predicted_px)

    def _result(self, predicted: Floats) -> StillsResult:
        """Compare points ``(n, 68, 2)`` in the photographs; infinite ones were not found."""
        true = np.stack([still.points_px for still in self.stills])
        found = np.isfinite(predicted[:, 0, 0])
        chosen = list(NME_POINTS)
        size = rectangle_size_px(true)
        return StillsResult(
            names=tuple(still.name for still in self.stills),
            nme11=_nme_of_found(found, predicted[:, chosen], true[:, chosen], size),
            nme68=_nme_of_found(found, predicted, true, size),
        )


def _nme_of_found(
    found: NDArray[np.bool_], predicted: Floats, true: Floats, size_px: Floats
) -> Floats:
    errors = np.full(len(found), np.inf)
    errors[found] = nme(predicted[found], true[found], size_px[found])
    return errors


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def predictors(runtime: PoseNetwork) -> dict[str, Predictor]:
    """Return a bundle's two answers by name: ``projected`` dense landmarks, and ``heatmap``."""
    landmarks68 = runtime.topology.landmarks68
    return {
        "projected": lambda crops, boxes: runtime(crops, boxes).vertices_crop[:, landmarks68],
        "heatmap": lambda crops, boxes: runtime(crops, boxes).landmarks68_crop,
    }


def _read(path: Path, points_px: Floats, crop_size: int, fov_deg: float) -> Still:
    image = _pixels(path)
    height, width = image.shape[:2]
    camera = Camera.from_fov(fov_deg, width, height, axis="diagonal", source="assumed")
    crop, bbox_info = crop_face(image, camera, face_box(points_px), crop_size)
    return Still(path.name, camera, crop, bbox_info, points_px)
