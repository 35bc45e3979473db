"""The img2pose-style baseline: poses in a local camera around the face box.

img2pose (Albiero et al. 2021) regresses the pose inside each proposal: the network knows neither
where the face box lies in the image nor how large it is. Its pose is relative to a local camera,
whose axis points to the box centre and whose focal length is the sum of the box's sides, and is
converted to the image's camera afterwards.

:func:`local_config` gives the training data, :class:`LocalPoseNetwork` runs the trained network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg.geometry.face_mesh import FaceTopology
from trg.geometry.projection import (
    OPTICAL_AXIS,
    correction_from_translation,
    translation_from_correction,
)
from trg.geometry.rotations import rotation_between
from trg.inference.runtime import ModelWrapper, PoseArrays, PoseNetwork
from trglab.datasets.mesh import dataset_topology
from trglab.datasets.sample import Sample
from trglab.datasets.view import Views, ViewSpec, make_view
from trglab.datasets.view_store import ViewStore, sample_from_view
from trglab.paper.baselines import project_to_crop
from trglab.training.config import DatasetConfig
from trglab.training.data import open_dataset, open_infinite

Floats = NDArray[np.float64]

LOCAL_BBOX_INFO = np.array([0.0, 0.0, 0.5])
"""bbox_info of every face box in its local camera"""

TARGET = "trglab.paper.img2pose:LocalPoseDataset"


class LocalPoseNetwork(ModelWrapper):
    """A network trained on :class:`LocalPoseDataset`, returning poses in the image's camera."""

    def __init__(self, network: PoseNetwork) -> None:
        super().__init__(network, "local camera")

    def __call__(self, crops: NDArray[np.uint8], bbox_info: NDArray[np.float32]) -> PoseArrays:
        """Estimate faces; arguments and errors as the network's."""
        boxes = np.asarray(bbox_info, dtype=np.float64)
        local_boxes = np.broadcast_to(LOCAL_BBOX_INFO, boxes.shape).astype(np.float32)
        arrays = self._network(crops, local_boxes)
        rotation, translation_m = pose_from_local(
            arrays.rotation.astype(np.float64), arrays.translation_m.astype(np.float64), boxes
        )
        return arrays._replace(
            rotation=rotation.astype(np.float32),
            translation_m=translation_m.astype(np.float32),
            vertices_crop=project_to_crop(arrays.vertices_m, rotation, translation_m, boxes),
        )


def pose_to_local(
    rotation: Floats, translation_m: Floats, bbox_info: Floats
) -> tuple[Floats, Floats]:
    """Convert poses ``(..., 3, 3)``, ``(..., 3)`` to the local cameras of boxes ``(..., 3)``.

    The local translation has the same correction (Eq. 2), so that the head keeps its position and
    size in the box. The local rotation is relative to the viewing ray of the box centre.
    """
    correction = correction_from_translation(translation_m, bbox_info)
    cam_from_local = _cam_from_local(bbox_info)
    local_boxes = np.broadcast_to(LOCAL_BBOX_INFO, bbox_info.shape)
    local_translation_m = translation_from_correction(correction, local_boxes)
    return cam_from_local.swapaxes(-1, -2) @ rotation, local_translation_m


def pose_from_local(
    rotation: Floats, translation_m: Floats, bbox_info: Floats
) -> tuple[Floats, Floats]:
    """Invert :func:`pose_to_local`."""
    local_boxes = np.broadcast_to(LOCAL_BBOX_INFO, bbox_info.shape)
    correction = correction_from_translation(translation_m, local_boxes)
    return _cam_from_local(bbox_info) @ rotation, translation_from_correction(correction, bbox_info)


def local_view(view: Views) -> Views:
    """Return one view with boxes, landmarks and pose in the local camera of its face box.

    The image stays the same. The labels no longer depend on where the box was in the image and on
    its size.
    """
    box = view.face_bbox_info.astype(np.float64)
    zoom = LOCAL_BBOX_INFO[2] / box[2]
    view_box = np.append(view.view_bbox_info[:2] - box[:2], view.view_bbox_info[2]) * zoom
    view = view._replace(
        view_bbox_info=view_box.astype(np.float32),
        face_bbox_info=LOCAL_BBOX_INFO.astype(np.float32),
        landmarks68_rays=((view.landmarks68_rays - box[:2]) * zoom).astype(np.float32),
    )
    if not view.has_pose:
        return view
    rotation, translation_m = pose_to_local(
        view.rotation.astype(np.float64), view.translation_m.astype(np.float64), box
    )
    return view._replace(
        rotation=rotation.astype(np.float32), translation_m=translation_m.astype(np.float32)
    )


def local_config(config: DatasetConfig) -> DatasetConfig:
    """Return a recipe's dataset with its poses in local cameras."""
    options = {"target": config.target, "options": dict(config.options)}
    return replace(config, target=TARGET, options=options)


class LocalPoseDataset:
    """The views of another dataset, with poses in the local cameras of their boxes.

    Parameters
    ----------
    target, options
        As :class:`~trglab.training.config.DatasetConfig`'s.
    seed
        Of the order of a finite dataset.
    """

    def __init__(self, target: str, options: Mapping[str, Any], seed: int = 0) -> None:
        self._config = DatasetConfig(target, options)
        self._dataset = open_infinite(self._config, seed)

    @cached_property
    def topology(self) -> FaceTopology | None:
        """The mesh of the vertices."""
        return dataset_topology(open_dataset(self._config))

    def view(self, index: int, spec: ViewSpec) -> Views:
        """Return view number ``index`` with its pose in its local camera."""
        return local_view(make_view(self._dataset, index, spec))

    def sample(self, index: int) -> Sample:
        """Return a view as a sample: of a store as it is stored, else at the default size."""
        is_stored = self._config.is_view_store
        spec = ViewStore(**self._config.options).spec if is_stored else ViewSpec()
        view = self.view(index, spec)
        return sample_from_view(view, str(int(view.identity)), f"local/{index}")


def _cam_from_local(bbox_info: Floats) -> Floats:
    """Return the smallest rotations ``(..., 3, 3)`` of the optical axis to the box centres."""
    centre = np.concatenate([bbox_info[..., :2], np.ones_like(bbox_info[..., 2:])], -1)
    rotations = [rotation_between(OPTICAL_AXIS, each) for each in centre.reshape(-1, 3)]
    return np.reshape(rotations, (*centre.shape, 3))
