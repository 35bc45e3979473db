"""Measure which of the 1220 landmarks lies nearest to each of MediaPipe's 468 points.

    python scripts/compute_mediapipe_points.py --python MEDIAPIPE_ENVIRONMENT/bin/python

Renders people (the face model must be installed: docs/synthetic.md), lets FaceMesh find their
points, and compares these with the true places of the landmarks that face the camera. The result
is ``src/trg/bundles/mediapipe_points.csv``, read by :mod:`trg.geometry.mediapipe`. Run it
again only if the landmark mesh changes.

A point's landmark is the one with the least mean distance, where distances above 15 mm count as
15 mm. The two sides of the face are measured together: for a point and its counterpart the sum of
the distances to a landmark and to its mirror image decides. Counterparts are found by measuring,
too: those whose distances to all mirrored landmarks are the most alike.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from trg._util.files import write_atomic
from trg.geometry.face_mesh import FaceTopology
from trg.geometry.mediapipe import BUNDLED_MAP, COLUMNS, DOUBTFUL_MM, MEDIAPIPE_COUNT
from trg.geometry.mesh import Mesh
from trg.geometry.projection import transform
from trglab.datasets.sample import Sample
from trglab.paper.peers import PeerMethod, peer_method
from trglab.synth.dataset import SyntheticFaces

Floats = NDArray[np.float64]

IMAGES = 400
SEED = 468
SHOTS = {
    "distance_m": (0.4, 1.2),
    "yaw_sd": 25.0,
    "yaw_max": 50.0,
    "pitch_sd": 12.0,
    "pitch_max": 30.0,
    "roll_sd": 8.0,
    "roll_max": 20.0,
    "uniform_share": 0.3,
    "cut_off_share": 0.0,
}
INGREDIENTS = {"occluders": False, "beard_volume": False, "hard_poses": False, "hard_light": False}
WINDOW = (512, 1.6)
IMAGES_PER_PERSON = 4

FACING_COSINE = 0.25
"""A landmark counts in an image if its normal is within 75 degrees of the line of sight."""
MIN_SHARE = 0.15
"""Landmarks that count in a smaller share of the images are not considered."""
CLIP_MM = 15.0


class Sightings(NamedTuple):
    """What is known about n images."""

    points_px: NDArray[np.float32]
    """``(n, 468, 2)``: MediaPipe's."""
    landmarks_px: NDArray[np.float32]
    """``(n, 1220, 2)``: the true ones; NaN where a landmark does not face the camera."""
    mm_per_px: NDArray[np.float32]
    """``(n,)``, at the depth of the face."""


def look(method: PeerMethod, faces: SyntheticFaces, count: int) -> Sightings:
    """Render ``count`` images and return those on which a face is found."""
    seen = []
    for index in range(count):
        sample = faces.sample(index)
        points_px = method.points_px(sample.image, np.asarray(sample.box_xyxy))
        if points_px is not None:
            seen.append((points_px, *true_landmarks(sample, faces.topology)))
    arrays = (np.array(column, np.float32) for column in zip(*seen, strict=True))
    return Sightings(*arrays)


def true_landmarks(sample: Sample, topology: FaceTopology) -> tuple[Floats, float]:
    """Return the landmarks in the image ``(1220, 2)`` and the millimetres of a pixel."""
    assert sample.vertices_m is not None
    assert sample.rotation is not None
    assert sample.translation_m is not None
    vertices_m = transform(
        sample.vertices_m.astype(np.float64), sample.rotation, sample.translation_m
    )
    to_camera = -vertices_m / np.linalg.norm(vertices_m, axis=-1, keepdims=True)
    normals = Mesh(vertices_m, topology.triangles).normals()
    landmarks_px = sample.camera.project(vertices_m)
    landmarks_px[(normals * to_camera).sum(-1) < FACING_COSINE] = np.nan
    depth_m = vertices_m[topology.landmarks68, 2].mean()
    return landmarks_px, 1000.0 * float(depth_m) / sample.camera.fx


def distances_mm(seen: Sightings) -> tuple[Floats, Floats]:
    """Return mean, clipped, and median distances ``(468, 1220)`` in millimetres.

    Infinite for landmarks that are seen too rarely, and medians of those that are far away.
    """
    is_rare = np.isfinite(seen.landmarks_px[..., 0]).mean(0) < MIN_SHARE
    count = seen.points_px.shape[1]
    means, medians = np.full((2, count, len(is_rare)), np.inf)
    kept = np.flatnonzero(~is_rare)
    for point in range(count):
        offsets_px = seen.landmarks_px[:, kept] - seen.points_px[:, point, None]
        apart_mm = np.linalg.norm(offsets_px, axis=-1) * seen.mm_per_px[:, None]
        means[point, kept] = np.nanmean(np.minimum(apart_mm, CLIP_MM), axis=0)
        near = kept[means[point, kept] < means[point].min() + 4.0]  # medians are slow
        columns = np.isin(kept, near)
        medians[point, near] = np.nanmedian(apart_mm[:, columns], axis=0)
    return means, medians


def counterparts(means_mm: Floats, mirror: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return for each point the one on the other side of the face, ``(468,)``."""
    kept = np.isfinite(means_mm).all(0) & np.isfinite(means_mm[:, mirror]).all(0)
    own, mirrored = means_mm[:, kept], means_mm[:, mirror][:, kept]
    unlike = np.stack([np.abs(mirrored - each).mean(1) for each in own])
    _, found = linear_sum_assignment(unlike + unlike.T)
    if not np.array_equal(found[found], np.arange(len(found))):
        raise ValueError("expected pairs of points on the two sides of the face; take more images")
    return np.asarray(found)


def nearest_landmarks(seen: Sightings, topology: FaceTopology) -> tuple[NDArray[np.int64], Floats]:
    """Return for each point its landmark, and the median distance on the worse side in mm."""
    means_mm, medians_mm = distances_mm(seen)
    other = counterparts(means_mm, topology.mirror)
    both_mm = means_mm + means_mm[other][:, topology.mirror]
    is_middle = topology.mirror == np.arange(topology.vertex_count)
    both_mm[np.ix_(other == np.arange(len(other)), ~is_middle)] = np.inf
    vertices = both_mm.argmin(1)
    own_mm = medians_mm[np.arange(len(other)), vertices]
    return vertices, np.maximum(own_mm, medians_mm[other, topology.mirror[vertices]])


def main() -> None:
    """Write the map and say how good it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="Python of an environment with MediaPipe")
    parser.add_argument("--images", type=int, default=IMAGES, help="number of images")
    parser.add_argument("--out", type=Path, default=BUNDLED_MAP, help="file to write")
    options = parser.parse_args()
    faces = SyntheticFaces(
        SEED,
        window=WINDOW,
        shots=SHOTS,
        ingredients=INGREDIENTS,
        images_per_person=IMAGES_PER_PERSON,
        for_training=True,
    )
    with peer_method("mediapipe", options.python, faces.topology) as method:
        seen = look(method, faces, options.images)
    vertices, median_mm = nearest_landmarks(seen, faces.topology)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for point in range(MEDIAPIPE_COUNT):
        table.writerow((point, vertices[point], f"{median_mm[point]:.1f}"))
    write_atomic(options.out, lambda file: file.write(text.getvalue().encode("ascii")))
    print(
        f"{options.out}: {len(seen.points_px)} of {options.images} faces found; median distance "
        f"{np.median(median_mm):.1f} mm, 95 % within {np.quantile(median_mm, 0.95):.1f} mm; "
        f"{(median_mm > DOUBTFUL_MM).sum()} points are doubtful"
    )


if __name__ == "__main__":
    main()
