"""Evaluation protocols of the data sets: reader, face boxes, reported errors, published rows.

The face boxes of all commands and figures come from :func:`method_with_boxes`, by default those of
the paper's protocol.

Every image shows one face. An image without an estimate counts as not found (see
:mod:`trglab.evaluation.scores`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trg.estimator import FALLBACK_THRESHOLD
from trg.geometry.face_mesh import FaceTopology, landmark_groups
from trg.inference.bundle import bundled, read_bundle
from trg.inference.detector import FaceDetector
from trg.inference.runtime import PoseNetwork, PoseRuntime
from trglab.datasets.aflw2000 import AFLW2000
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.biwi import BIWI, LANDMARK_VERTICES, MESH_VERTEX_COUNT
from trglab.datasets.catalogue import open_store
from trglab.datasets.completion import is_complete
from trglab.datasets.ddpose import BOX_SIDE_M, DDPose
from trglab.datasets.manifest import read_manifest
from trglab.datasets.sample import Sample
from trglab.datasets.sample_store import SampleStore
from trglab.datasets.view_store import ViewStore
from trglab.datasets.w300lp import W300LP
from trglab.evaluation.prediction import (
    BoxRule,
    BundleMethod,
    LabelledImages,
    SampleSequence,
    ViewRule,
)
from trglab.evaluation.predictions import mesh_sha256
from trglab.evaluation.published import (
    TABLE_2_AND_3,
    TABLE_4,
    V2_ARKITFACE,
    V2_BIWI,
    V2_BIWI_ALIGNED,
    PublishedRow,
)
from trglab.synth.assets import find_asset
from trglab.synth.head.face_model import load_face_model
from trglab.synth.head.procedural_head import BUILT_IN_HEAD
from trglab.synth.holdout import FAR_HOLDOUT_SHOTS, holdout_version, left_out_ingredients

ROTATION_ERRORS = ("yaw_deg", "pitch_deg", "roll_deg", "mae_r_deg", "ge_deg")
TRANSLATION_ERRORS = ("tx_mm", "ty_mm", "tz_mm", "mae_t_mm", "add_mm")

BoxName = Literal["paper", "truth", "detector", "landmarks"]
"""Face boxes by name: those of the paper's protocol for the data set; the labels; the detection; or
the landmarks that the measured network predicts inside the detection."""

SEVEN_LANDMARKS = (45, 42, 36, 39, 30, 54, 48)
"""The landmarks by which head origins are aligned, of the 68: outer and inner corner of the left
and of the right eye, tip of the nose, left and right corner of the mouth."""

_BOX_TEXTS = {
    "detector": "the detection",
    "landmarks": "1.5 times the extent of the landmarks that the measured network predicts inside "
    "the detection",
}
_SHIFTED = ", shifted back inside the image"

_PACK_TEXT = "All faces of the pack, boxes of 1.5 times the labelled landmarks' extent."

FAR_DISTANCE_M = FAR_HOLDOUT_SHOTS["distance_m"][0]
"""Smallest distance of the far hold-out"""


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """Evaluation protocol of one data set."""

    name: str
    title: str
    read: Callable[[Path], LabelledImages]
    columns: tuple[str, ...]
    """Names of the reported errors, in order"""
    boxes: BoxRule = "truth"
    """Source of the paper's boxes"""
    shift_boxes: bool = False
    true_boxes: str = "1.5 times the extent of the labelled landmarks"
    """The boxes ``truth`` in words"""
    published: tuple[PublishedRow, ...] = ()
    published_aligned: tuple[PublishedRow, ...] = ()
    """After the alignment of the head origins to ARKitFace's"""
    text: str = ""
    """Details that matter for a comparison with published numbers"""
    without: tuple[str, ...] = ()
    """What a synthetic hold-out lacks, also named in the title"""

    def describe_boxes(self, name: BoxName) -> str:
        """Return the face boxes of a name in words."""
        if name == "paper" and self.boxes == "landmarks":
            text = (
                "the paper's: 1.5 times the extent of landmarks predicted inside the detection, by "
                "the weights in the package for every method"
            )
        elif name == "paper":
            return f"the paper's: {self.true_boxes}"
        elif name == "truth":
            return self.true_boxes
        else:
            text = _BOX_TEXTS[name]
        return text + (_SHIFTED if self.shift_boxes else "")


def arkitface_images(frames: ARKitFace) -> LabelledImages:
    """Return the frames of ARKitFace as labelled images."""
    return LabelledImages(
        frames,
        "arkitface",
        None,
        mesh_sha256(frames.triangles),
        lambda _: frames.triangles,
        seven_vertices=lambda: frames.landmarks68[list(SEVEN_LANDMARKS)],
    )


def biwi_images(frames: BIWI) -> LabelledImages:
    """Return the frames of BIWI as labelled images; ADD's points are the person's own mesh."""
    return LabelledImages(
        frames,
        "biwi",
        lambda sample: frames.mesh(sample.identity).vertices_m,
        triangles=lambda sample: frames.mesh(sample.identity).triangles,
        seven_vertices=lambda: _seven_vertices_of_biwi(frames),
    )


def _seven_vertices_of_biwi(frames: BIWI) -> NDArray[np.integer]:
    """Return the vertices of BIWI's meshes, or of the face meshes of a stand-in."""
    mesh = frames.mesh(frames.frames[0].partition("/")[0])
    if len(mesh.vertices_m) == MESH_VERTEX_COUNT:
        return np.array([LANDMARK_VERTICES[number] for number in SEVEN_LANDMARKS])
    for topology in (
        read_bundle(bundled()).topology,
        load_face_model(find_asset("face-model")).topology,
        load_face_model(None).topology,
    ):
        if mesh_sha256(topology.triangles) == mesh_sha256(mesh.triangles):
            return topology.landmarks68[list(SEVEN_LANDMARKS)]
    raise ValueError(
        f"biwi: expected meshes of {MESH_VERTEX_COUNT} vertices, whose landmarks are known, or "
        f"those of a stand-in by this package; got {len(mesh.vertices_m)} vertices"
    )


def _aflw2000(folder: Path) -> LabelledImages:
    return LabelledImages(AFLW2000(folder), "aflw2000")


def _w300lp(folder: Path) -> LabelledImages:
    return LabelledImages(W300LP(folder, rotations=True), "300wlp")


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        EvaluationProtocol(
            "arkitface",
            "ARKitFace, test",
            lambda folder: arkitface_images(ARKitFace(folder, "test")),
            (*ROTATION_ERRORS, *TRANSLATION_ERRORS, "landmarks_mm"),
            published=(*V2_ARKITFACE, *TABLE_2_AND_3),
            text="All test frames, boxes of 1.5 times the labelled landmarks' extent, the data "
            "set's intrinsics, the last step's estimates.",
        ),
        EvaluationProtocol(
            "biwi",
            "BIWI",
            lambda folder: biwi_images(BIWI(folder)),
            (*ROTATION_ERRORS, *TRANSLATION_ERRORS),
            boxes="landmarks",
            shift_boxes=True,
            true_boxes="the extent of the person's projected mesh" + _SHIFTED,
            published=(*V2_BIWI, *TABLE_4),
            published_aligned=V2_BIWI_ALIGNED,
            text="All frames; the paper leaves out those without a detected face, here they are "
            "counted. Boxes of 1.5 times the extent of the landmarks predicted inside the "
            "detection, shifted back inside the image, the same for every method (the paper: MTCNN "
            "and FAN; here: this package's detector and weights); pose in the colour camera; ADD "
            "with the subject's own mesh.",
        ),
        EvaluationProtocol(
            "ddpose",
            "DD-Pose, frames with published poses",
            lambda folder: LabelledImages(DDPose(folder), "ddpose"),
            (*ROTATION_ERRORS, *TRANSLATION_ERRORS[:4]),
            boxes="landmarks",
            true_boxes=f"a square of {BOX_SIDE_M:g} m around the projected origin of the head",
            text="The training and validation part; poses of the test part are not published. The "
            "data set has neither boxes nor a mesh of the head, so that there is no ADD.",
        ),
        EvaluationProtocol(
            "aflw2000",
            "AFLW2000-3D",
            _aflw2000,
            (*ROTATION_ERRORS, "nme68"),
            text="Images with an angle beyond 99 degrees are left out, as is usual; no metric "
            "labels. Angles are in the order of the paper's tables, so that they differ slightly "
            "from those read directly from the files.",
        ),
        EvaluationProtocol(
            "300wlp",
            "300W-LP",
            _w300lp,
            (*ROTATION_ERRORS, "nme68"),
            text="A training set of most methods; rotations are a fitted model's, nothing is "
            "metric.",
        ),
    )
}
"""By name, without ``synthetic`` (:func:`synthetic_protocol`)"""

SYNTHETIC_COLUMNS = (
    *ROTATION_ERRORS,
    *TRANSLATION_ERRORS,
    "tz_relative",
    "tz_sized_relative",
    "nme68",
    "landmarks_sized_mm",
    "landmarks_mm",
)


def protocol(name: str) -> EvaluationProtocol:
    """Return a protocol by name, or raise ValueError."""
    if name not in PROTOCOLS:
        raise ValueError(f"data set: expected one of {sorted(PROTOCOLS)}, got {name!r}")
    return PROTOCOLS[name]


def method_with_boxes(
    protocol: EvaluationProtocol,
    network: PoseNetwork,
    boxes: BoxName = "paper",
    *,
    view: ViewRule = "crop",
    bundle_sha256: str = "",
) -> BundleMethod:
    """Return a pose network as a method, with the face boxes of a name.

    The paper's boxes on BIWI do not depend on the measured network: the landmarks around which
    they lie are predicted by the weights in the package, for every method alike.
    """
    rule = protocol.boxes if boxes == "paper" else boxes
    is_fixed = boxes == "paper" and rule == "landmarks"
    return BundleMethod(
        network,
        rule,
        None if rule == "truth" else FaceDetector(fallback_threshold=FALLBACK_THRESHOLD),
        landmark_network=PoseRuntime(bundled()) if is_fixed else None,
        shift_boxes=protocol.shift_boxes and rule != "truth",
        view=view,
        bundle_sha256=bundle_sha256,
        box_name=boxes,
    )


def open_data_set(name: str, folder: Path) -> tuple[EvaluationProtocol, LabelledImages]:
    """Open a data set's folder; title and published rows say if it is a synthetic stand-in.

    Raises
    ------
    FileNotFoundError, ValueError
        From the data set's reader, or there is no such protocol.
    """
    chosen = protocol(name)
    images = chosen.read(folder)
    if is_complete(folder) or is_complete(folder.parent):  # BIWI may be given without ``hpdb``
        chosen = replace(
            chosen,
            title=f"Synthetic stand-in for {chosen.title}",
            published=_of_the_real_set(chosen.published),
            published_aligned=_of_the_real_set(chosen.published_aligned),
        )
    return chosen, images


def _of_the_real_set(rows: Sequence[PublishedRow]) -> tuple[PublishedRow, ...]:
    return tuple(replace(row, source=f"{row.source} (on the real data set)") for row in rows)


def synthetic_protocol(
    *,
    far: bool = False,
    without: Collection[str] = (),
    face_model: str | None = None,
    version: int = 1,
) -> EvaluationProtocol:
    """Return the protocol of a fixed synthetic hold-out.

    Parameters
    ----------
    without
        Ingredients that are left out. Figures with and without them cannot be compared, so the
        title names them.
    face_model
        Name of the face model; None: not recorded. The title names the built-in head, which is
        simpler than the standard hold-out's.
    version
        Of the hold-out; the title names all but the first.
    """
    distance = "2 to 3 m, beyond all training distances" if far else "0.25 to 2 m"
    name = "Synthetic hold-out" if version == 1 else f"Synthetic hold-out {version}"
    lacking = tuple(each.replace("_", " ") for each in without)
    if face_model == BUILT_IN_HEAD:
        lacking = ("face model", *lacking)
    return EvaluationProtocol(
        "synthetic",
        f"{name}, {distance}" + (f", without {', '.join(lacking)}" if lacking else ""),
        read_pack,
        SYNTHETIC_COLUMNS,
        without=lacking,
        text=f"Rendered people that no training uses, distances {distance}, boxes of 1.5 times the "
        "labelled landmarks' extent.",
    )


def read_pack(folder: Path) -> LabelledImages:
    """Open a shard store of views or of whole images as labelled images.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no finished pack, it is not one of faces, or it has no mesh.
    """
    pack = open_store(folder)
    topology = pack.topology
    if topology is None:
        raise ValueError(f"{folder}: expected a pack with the mesh of its vertices, found none")
    return synthetic_images(PackedImages(pack), topology)


def synthetic_images(samples: SampleSequence, topology: FaceTopology) -> LabelledImages:
    """Return synthetic samples, stored or rendered on demand, as a data set."""
    triangles = topology.triangles
    return LabelledImages(
        samples,
        "synthetic",
        None,
        mesh_sha256(triangles),
        lambda _: triangles,
        landmark_groups(topology),
        lambda: topology.landmarks68[list(SEVEN_LANDMARKS)],
    )


def open_pack(folder: Path, *, far: bool = False) -> tuple[EvaluationProtocol, LabelledImages]:
    """Open a pack with the synthetic hold-out's protocol for its distances.

    The title of a pack that records another origin names that instead.

    Parameters
    ----------
    far
        Protocol for a pack that does not record its distances.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no finished pack, it has no mesh, or it is not the far one although ``far`` is set.
    """
    images = read_pack(folder)
    provenance = read_manifest(folder)["provenance"]
    options = provenance.get("options", {})
    distances_m = options.get("shots", {}).get("distance_m")
    nearest_m = None if distances_m is None else float(distances_m[0])
    if far and nearest_m is not None and nearest_m < FAR_DISTANCE_M:
        raise ValueError(
            f"{folder}: expected faces beyond {FAR_DISTANCE_M:g} m, "
            f"got a pack from {nearest_m:g} m on"
        )
    far = far or (nearest_m is not None and nearest_m >= FAR_DISTANCE_M)
    chosen = synthetic_protocol(
        far=far,
        without=left_out_ingredients(options),
        face_model=provenance.get("face_model"),
        version=holdout_version(options) or 1,
    )
    origin = _other_origin(provenance)
    return (chosen if origin is None else replace(chosen, title=origin, text=_PACK_TEXT)), images


def _other_origin(provenance: Mapping[str, Any]) -> str | None:
    """Return in words what a pack was made of; None: a hold-out, or not recorded."""
    if "data_set" in provenance:
        return f"Packed faces of {provenance['data_set']}"
    options = provenance.get("options", {})
    if "seed" in options and holdout_version(options) is None:
        return f"Rendered faces of seed {options['seed']}, not the hold-out"
    return None


class PackedImages:
    """A pack's faces as samples: each view is the image of an ideal camera."""

    def __init__(self, pack: ViewStore | SampleStore) -> None:
        self._pack = pack

    def __len__(self) -> int:
        return len(self._pack)

    def __getitem__(self, index: int) -> Sample:
        """Read one face."""
        return replace(self._pack[index], name=f"pack/{index:06d}")
