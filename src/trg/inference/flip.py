"""Flip test-time augmentation: average the estimates of each crop and of its mirror image.

The mirror image of a crop is a valid view of the mirrored head. Both estimates are equally good
and their errors are only partly correlated, so the mean is more accurate. It costs twice the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
        plain = PoseArrays(*(array[:count] for array in both))
        unflipped = self._unflip(PoseArrays(*(array[count:] for array in both)))
        mean = PoseArrays(*((a + b) / 2.0 for a, b in zip(plain, unflipped, strict=True)))
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
        )
