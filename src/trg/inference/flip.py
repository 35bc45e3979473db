"""A network that looks at every face twice, the second time in a mirror, and averages.

A mirrored crop is what a camera could have seen of the mirrored head: both answers are worth the
same, and they do not share all of their errors. It costs twice the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trg.geometry.face_mesh import LANDMARKS68_MIRROR
from trg.geometry.projection import crop_from_rays, rays_from_points, transform
from trg.inference.pose_pipeline import ModelWrapper, PoseNetwork
from trg.inference.runtime import PoseArrays

MIRROR = np.array([-1.0, 1.0, 1.0], np.float32)
"""Mirrors points, translations and box numbers in the plane x = 0."""


class FlipTTANetwork(ModelWrapper):
    """A pose network whose answers are the means of those on a crop and on its mirror image.

    Parameters
    ----------
    network
        What is asked; mirrored crops go along in the same call.
    """

    def __init__(self, network: PoseNetwork) -> None:
        super().__init__(network, "mirrored too")

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Estimate faces; arguments, result and errors as the network's."""
        boxes = np.asarray(bbox_info)
        both = self._network(
            np.concatenate([crops, crops[:, :, ::-1]]), np.concatenate([boxes, boxes * MIRROR])
        )
        count = len(crops)
        plain = PoseArrays(*(array[:count] for array in both))
        mirrored = self._mirror(PoseArrays(*(array[count:] for array in both)))
        mean = PoseArrays(*((a + b) / 2.0 for a, b in zip(plain, mirrored, strict=True)))
        rotation = nearest_rotation(mean.rotation)
        points_m = transform(mean.vertices_m, rotation, mean.translation_m)
        projected = crop_from_rays(rays_from_points(points_m), boxes)
        return mean._replace(rotation=rotation, vertices_crop=projected)

    def _mirror(self, arrays: PoseArrays) -> PoseArrays:
        """Turn answers on mirrored crops into those on the crops."""
        partner = self.topology.mirror
        return PoseArrays(
            rotation=MIRROR[:, None] * arrays.rotation * MIRROR,
            translation_m=arrays.translation_m * MIRROR,
            vertices_m=arrays.vertices_m[:, partner] * MIRROR,
            vertices_crop=arrays.vertices_crop[:, partner] * MIRROR[:2],
            landmarks68_crop=arrays.landmarks68_crop[:, LANDMARKS68_MIRROR] * MIRROR[:2],
            peaks=arrays.peaks[:, LANDMARKS68_MIRROR],
        )


def nearest_rotation(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rotations nearest to ``(b, 3, 3)`` means of rotations: their chordal means."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right
