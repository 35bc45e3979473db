"""Flip test-time augmentation: average the estimates of each crop and of its mirror image.

The mirror image of a crop is a valid view of the mirrored head. Both estimates are equally good
and their errors are only partly correlated, so the mean is more accurate. It costs twice the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trg.error_bars import QUANTITIES
from trg.geometry.face_mesh import LANDMARKS68_MIRROR
from trg.geometry.projection import crop_from_rays, rays_from_points, transform
from trg.geometry.rotations import nearest_rotation
from trg.inference.runtime import ModelWrapper, PoseArrays, PoseNetwork

MIRROR = np.array([-1.0, 1.0, 1.0], np.float32)
"""Reflects points, translations and ``bbox_info`` in the plane x = 0."""


class FlipTTANetwork(ModelWrapper):
    """A pose network whose estimates are means over each crop and its mirror image.

    The wrapped network gets the crops and their mirror images in one call.
    """

    def __init__(self, network: PoseNetwork) -> None:
        super().__init__(network, "flip TTA")

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Estimate faces; parameters, result and errors are those of the wrapped network."""
        boxes = np.asarray(bbox_info)
        both = self._network(
            np.concatenate([crops, crops[:, :, ::-1]]), np.concatenate([boxes, boxes * MIRROR])
        )
        count = len(crops)
        plain, unflipped = both.rows(slice(count)), self._unflip(both.rows(slice(count, None)))
        mean = PoseArrays(*map(_mean, plain, unflipped))  # type: ignore[arg-type]  # only std is None
        rotation = nearest_rotation(mean.rotation)  # the chordal mean
        points_cam_m = transform(mean.vertices_m, rotation, mean.translation_m)
        vertices_crop = crop_from_rays(rays_from_points(points_cam_m), boxes)
        return mean._replace(rotation=rotation, vertices_crop=vertices_crop)

    def _unflip(self, arrays: PoseArrays) -> PoseArrays:
        """Reflect the estimates of mirrored crops back, and swap left and right points."""
        vertices = self.topology.mirror
        return PoseArrays(
            rotation=MIRROR[:, None] * arrays.rotation * MIRROR,
            translation_m=arrays.translation_m * MIRROR,
            vertices_m=arrays.vertices_m[:, vertices] * MIRROR,
            vertices_crop=arrays.vertices_crop[:, vertices] * MIRROR[:2],
            landmarks68_crop=arrays.landmarks68_crop[:, LANDMARKS68_MIRROR] * MIRROR[:2],
            peaks=arrays.peaks[:, LANDMARKS68_MIRROR],
            std=None if arrays.std is None else _unflip_std(arrays.std),
        )


def _mean(
    a: NDArray[np.float32] | None, b: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    return None if a is None or b is None else (a + b) / 2.0


def _unflip_std(std: NDArray[np.float32]) -> NDArray[np.float32]:
    """Swap left and right landmarks; a mirror image has the other standard deviations unchanged."""
    unflipped = std.copy()
    part = QUANTITIES["landmarks"]
    unflipped[:, part] = std[:, part][:, LANDMARKS68_MIRROR]
    return unflipped
