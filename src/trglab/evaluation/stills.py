"""Landmark accuracy on real photographs: NME-11 on a folder of stills.

The stills serve evaluation only: nothing is trained on them and no setting is chosen by them. The
eleven points mean the same in every annotation scheme: eye corners, nose tip and base, mouth
corners, lip centres and chin. Boxes come from the labelled points, so that the error is the
network's and not the face detector's; :meth:`Stills.measure_estimator` includes a detector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.face import Face
from trg.geometry.camera import ASSUMED_FOV_DEG, Camera
from trg.geometry.crop import crop_face, face_box, pixels_from_crop
from trg.inference.runtime import PoseNetwork
from trg.io.images import open_image
from trglab.evaluation.metrics import nme, rectangle_size_px

Floats = NDArray[np.float64]

NME_POINTS = (36, 39, 42, 45, 30, 33, 48, 54, 51, 57, 8)
"""Of the 68 landmarks"""

POINTS_FILE = "landmarks68.npz"

LandmarkPredictor = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.floating]]
"""From crops ``(n, s, s, 3)`` and bbox_info ``(n, 3)`` to 68 points ``(n, 68, 2)`` in crop
coordinates"""


class Still(NamedTuple):
    """One photograph with its labelled points."""

    name: str
    image: NDArray[np.uint8]
    """``(h, w, 3)`` RGB"""
    points_px: Floats
    """``(68, 2)``"""


class StillCrop(NamedTuple):
    """The face of a photograph as a network sees it."""

    name: str
    camera: Camera
    crop: NDArray[np.uint8]
    bbox_info: Floats
    points_px: Floats
    """``(68, 2)`` in the photograph"""


@dataclass(frozen=True, slots=True)
class StillsResult:
    """Errors per photograph, relative to the size of its points' bounding rectangle."""

    names: tuple[str, ...]
    nme11: Floats
    """``(n,)``; 0.03 is 3 %, infinity stands for a face that was not found"""
    nme68: Floats
    """``(n,)``, all points; the 17 contour points are ambiguous at large yaw"""

    @property
    def nme11_median(self) -> float:
        """Median over all photographs."""
        return float(np.median(self.nme11))

    def statistics(self) -> dict[str, float]:
        """Return medians and shares over all photographs, means over those with a face found."""
        found = self.nme11[np.isfinite(self.nme11)]
        return {
            "nme11_median": self.nme11_median,
            "nme11_mean": float(found.mean()) if len(found) else float("nan"),
            "nme68_median": float(np.median(self.nme68)),
            "nme11_over_10_percent": float((self.nme11 > 0.1).mean()),
        }


def read_stills(folder: Path, limit: int | None = None) -> Iterator[Still]:
    """Read a folder of photographs one by one.

    Parameters
    ----------
    folder
        Holds the images and ``landmarks68.npz`` with ``names`` ``(n,)`` and ``points``
        ``(n, 68, 2)`` in pixels, pixel centres at +0.5.
    limit
        Read only this many.

    Raises
    ------
    FileNotFoundError
        The folder, its points or an image is missing.
    ValueError
        The points are not ``(n, 68, 2)``, or there are none.
    """
    path = folder / POINTS_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected the stills' points, found none; give a folder with images and "
            "that file"
        )
    with np.load(path) as arrays:
        if missing := {"names", "points"} - set(arrays.files):
            raise ValueError(f"{path}: expected arrays names and points, {missing} missing")
        names = [str(name) for name in arrays["names"]]
        points = finite_array(f"{path} points", arrays["points"], (None, 68, 2))
    if len(names) != len(points) or not names:
        raise ValueError(f"{path}: expected a name per set of points, got {len(names)}")
    for name, points_px in list(zip(names, points, strict=True))[:limit]:
        with open_image(folder / name) as image:
            yield Still(name, np.asarray(image.convert("RGB")), points_px)


class Stills:
    """A folder of photographs (see :func:`read_stills`), cropped once for one network.

    Parameters
    ----------
    crop_size
        Side of the network's crop, px.
    fov_deg
        Diagonal field of view that is assumed for every camera.
    """

    def __init__(
        self,
        folder: Path,
        crop_size: int,
        *,
        fov_deg: float = ASSUMED_FOV_DEG,
        limit: int | None = None,
    ) -> None:
        self._folder = folder
        self.crops = [_crop(still, crop_size, fov_deg) for still in read_stills(folder, limit)]

    def __len__(self) -> int:
        return len(self.crops)

    def measure(self, predict: LandmarkPredictor, batch_size: int = 64) -> StillsResult:
        """Run a predictor on every crop and compare in the photographs' pixels.

        Raises
        ------
        ValueError
            The prediction is not ``(n, 68, 2)`` finite numbers.
        """
        predicted_px = []
        for start in range(0, len(self), batch_size):
            batch = self.crops[start : start + batch_size]
            landmarks = finite_array(
                "the predictor's landmarks",
                predict(
                    np.stack([each.crop for each in batch]),
                    np.stack([each.bbox_info for each in batch]).astype(np.float32),
                ),
                (len(batch), 68, 2),
            )
            predicted_px += [
                pixels_from_crop(each.camera, points, each.bbox_info)
                for each, points in zip(batch, landmarks, strict=True)
            ]
        return self._result(np.stack(predicted_px))

    def measure_estimator(
        self, estimate: Callable[[NDArray[np.uint8]], Sequence[Face]]
    ) -> StillsResult:
        """Run an estimator with its own detector on the photographs.

        Of several faces the one nearest to the labelled points counts.
        """
        predicted_px = np.full((len(self), 68, 2), np.inf)
        for row, still in enumerate(read_stills(self._folder, len(self))):
            faces = estimate(still.image)
            if faces:
                points = np.stack([face.landmarks68_px for face in faces])
                distance = np.linalg.norm(points - still.points_px, axis=-1).mean(1)
                predicted_px[row] = points[distance.argmin()]
        return self._result(predicted_px)

    def _result(self, predicted_px: Floats) -> StillsResult:
        """Compare points ``(n, 68, 2)``, infinite where no face was found."""
        true_px = np.stack([each.points_px for each in self.crops])
        found = np.isfinite(predicted_px[:, 0, 0])
        size_px = rectangle_size_px(true_px)[found]

        def errors(points: list[int]) -> Floats:
            values = np.full(len(self), np.inf)
            values[found] = nme(predicted_px[found][:, points], true_px[found][:, points], size_px)
            return values

        names = tuple(each.name for each in self.crops)
        return StillsResult(names, errors(list(NME_POINTS)), errors(list(range(68))))


def landmark_predictors(network: PoseNetwork) -> dict[str, LandmarkPredictor]:
    """Return a network's two kinds of 68 points by name: ``projected`` vertices and ``heatmap``."""
    landmarks68 = network.topology.landmarks68
    return {
        "projected": lambda crops, boxes: network(crops, boxes).vertices_crop[:, landmarks68],
        "heatmap": lambda crops, boxes: network(crops, boxes).landmarks68_crop,
    }


def _crop(still: Still, crop_size: int, fov_deg: float) -> StillCrop:
    height, width = still.image.shape[:2]
    camera = Camera.from_fov(fov_deg, width, height, axis="diagonal", source="assumed")
    crop = crop_face(still.image, camera, face_box(still.points_px), crop_size)
    return StillCrop(still.name, camera, crop.pixels, crop.bbox_info, still.points_px)
