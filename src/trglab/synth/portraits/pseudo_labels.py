"""Real photographs with 2D pseudo-labels: the 68 landmarks that a trained network finds.

As 300W-LP in the paper's training, they have neither a camera nor a metric shape, so only the 2D
losses apply. Photographs on which the network contradicts itself are left out.
"""

from __future__ import annotations

from pathlib import Path

from trg.geometry.crop import face_box
from trg.io.images import read_image
from trglab.datasets.sample import Sample
from trglab.synth.assets import find_assets, require_asset
from trglab.synth.portraits.estimates import MODEL, estimate_photos, photo_camera


class PseudoLabelledPhotos:
    """The photographs of folders whose landmarks can be trusted.

    Opening it the first time estimates all faces, about half a second each; the estimates are
    cached.

    Parameters
    ----------
    folder
        A folder of photographs with one main face each; None: the folders of portraits without
        landmarks among the asset ``photo_skin``.
    model
        Name of a bundled network, or a weight bundle: the teacher.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such folder, or no photograph's landmarks can be trusted.
    """

    def __init__(self, folder: str | Path | None = None, model: str | Path = MODEL) -> None:
        require_asset("portraits", folder)
        self._photos = []
        for place in find_assets("portraits", folder):
            estimates = estimate_photos(place, model)
            self._photos += [
                (place / name, estimates.landmarks68_px[index])
                for index, name in enumerate(estimates.names)
                if estimates.problem(index) is None
            ]
        if not self._photos:
            raise ValueError("photographs: expected at least one with a consistent estimate")

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> Sample:
        """Read a photograph."""
        path, landmarks_px = self._photos[index]
        image = read_image(path).pixels
        height, width = image.shape[:2]
        return Sample(
            image=image,
            camera=photo_camera(width, height),
            box_xyxy=face_box(landmarks_px),
            rotation=None,
            translation_m=None,
            vertices_m=None,
            landmarks68_px=landmarks_px,
            landmarks68_visible=None,
            identity=path.name,
            name=f"photograph {path.name}",
        )
