"""Reads Microsoft's rendered faces: Face Synthetics and SynthFace, for non-commercial research.

Face Synthetics (Wood et al. 2021)::

    NNNNNN.png              512x512
    NNNNNN_ldmks.txt        70 rows of x, y in px: the 68 standard points, then the pupils

SynthFace (Hewitt et al. 2024, the faces of SynthMoCap)::

    img_PPPPPPP_FFF.jpg     person and frame
    metadata_PPPPPPP_FFF.json    camera (camera_to_image 3x3, resolution), landmarks 2D (70)

The points are projections of points on the head, so they lie on its true outline. Face Synthetics
has no cameras. SynthFace has a head rotation whose axes are not documented, so that it is not read:
both serve the 2D landmark losses. The position of pixel centres is not documented either; the first
pixel's is taken as (0, 0).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trglab.datasets.files import UnreadableFileError, read_image, read_json, read_text
from trglab.datasets.sample import Sample
from trglab.datasets.w300lp import nominal_camera

POINT_COUNT = 70
PIXEL_CENTRE = 0.0
"""Coordinate of the centre of the first pixel"""


class FaceSynthetics:
    """The images of a folder of Face Synthetics, with 68 points and a nominal camera.

    Raises
    ------
    FileNotFoundError
        The folder or a file is missing.
    ValueError
        A file is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._names = _names(self._folder, r"(\d+)(?:\.png|_ldmks\.txt)", "NNNNNN.png")

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        """Read an image."""
        name = self._names[index]
        image = read_image(self._folder / f"{name}.png", "Face Synthetics")
        path = self._folder / f"{name}_ldmks.txt"
        words = read_text(path, "Face Synthetics").split()
        points = finite_array(str(path), words, (2 * POINT_COUNT,)).reshape(POINT_COUNT, 2)
        camera = nominal_camera(image.shape[1], image.shape[0])
        return _sample(image, camera, points, name, f"facesynthetics/{name}")


class SynthFace:
    """The images of a folder of SynthFace, with 68 points and their cameras.

    Raises
    ------
    FileNotFoundError
        The folder or a file is missing.
    ValueError
        A file is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        pattern = r"(?:img|metadata)_(\d{7}_\d{3})\.(?:jpg|json)"
        self._names = _names(self._folder, pattern, "img_PPPPPPP_FFF.jpg")

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        """Read an image."""
        name = self._names[index]
        image = read_image(self._folder / f"img_{name}.jpg", "SynthFace")
        path = self._folder / f"metadata_{name}.json"
        metadata = read_json(path)
        try:
            matrix = metadata["camera"]["camera_to_image"]
            points = metadata["landmarks"]["2D"]
        except (KeyError, TypeError) as error:
            raise UnreadableFileError(f"{path}: expected camera and landmarks, {error}") from error
        camera = Camera.from_matrix(
            finite_array(f"{path}: camera_to_image", matrix, (3, 3)),
            width=image.shape[1],
            height=image.shape[0],
            pixel_centre=PIXEL_CENTRE,
        )
        points_px = finite_array(f"{path}: landmarks", points, (POINT_COUNT, 2))
        return _sample(image, camera, points_px, name.partition("_")[0], f"synthface/{name}")


def _names(folder: Path, pattern: str, expected: str) -> list[str]:
    """Return the samples of which any file exists, in order."""
    found = {
        match.group(1)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := re.fullmatch(pattern, path.name))
    }
    if not found:
        raise FileNotFoundError(f"{folder}: expected files such as {expected}, found none")
    return sorted(found)


def _sample(
    image: NDArray[np.uint8], camera: Camera, points: NDArray[Any], identity: str, name: str
) -> Sample:
    landmarks_px = points[:68] + (0.5 - PIXEL_CENTRE)
    return Sample(
        image=image,
        camera=camera,
        box_xyxy=face_box(landmarks_px),
        rotation=None,
        translation_m=None,
        vertices_m=None,
        landmarks68_px=landmarks_px,
        landmarks68_visible=None,
        identity=identity,
        name=name,
    )
