"""Focal length of a camera from a clip of one person who turns and leans.

The bundle adjustment of :mod:`trg.geometry.self_calibration` fits the 68 landmarks of the network's
heatmaps. The projected landmarks of a :class:`~trg.face.Face` would not do: they follow the focal
length that the network is told. Errors of the heatmaps are alike in all views of a person, so that
the error bar is wider than that of independent ones; its constants are measured on synthetic clips
(``scripts/measure_camera_calibration.py``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.estimator import MIN_CONFIDENCE, HeadPoseEstimator
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.self_calibration import LANDMARK_STD, FaceViews, FocalFit, fit_focal
from trg.geometry.shape_basis import bundled_shape_basis
from trg.inference.bundle import bundled
from trg.inference.pose_pipeline import FaceRequest, PosePipeline
from trg.inference.runtime import PoseRuntime
from trg.io.video import VideoReader

Floats = NDArray[np.float64]

CALIBRATION_MODEL = "trg_m"
"""The weights that the correction is measured with."""

PRIOR_FOCAL = 0.69
"""Most probable focal length over the diagonal of the picture: a field of view of 72 degrees, as of
webcams (78, by most data sheets) and of phones, whose stabilised videos are cropped."""

PRIOR_LOG_STD = 0.25
"""Standard deviation of its logarithm: two thirds of cameras have 59 to 86 degrees."""

FIT_SHARE, FIT_OFFSET, FIT_LOG_STD, FIT_STD_FACTOR = 0.9, -0.04, 0.03, 0.32
"""Of the fit, in the logarithm of the focal length from the assumed one: the share of the way to
the truth that it goes, because heatmaps are drawn to usual faces; its mean error; the least
standard deviation, and the factor of what a single view with independent errors would give: errors
that all views share are not lowered by more views. Fitted to 82 clips of 28 people."""

USUAL_STD = 0.0104
"""Standard deviation of a landmark by the network, in sizes of the face, root mean square over the
same clips."""

MAX_SURPRISE = 2.0
"""Difference from the prior, in standard deviations, beyond which the error bar is widened."""

MAX_TRACKED, MAX_VIEWS, MIN_VIEWS = 200, 60, 8
"""Frames in which the face is followed, views of the fit, and views without which there is none."""

SECOND_PERSON_SHARE = 0.2
"""Share of the frames of the first person from which another one counts."""

VIEW_SCALES = (15.0, 8.0, 0.1, 0.1, 0.1)
"""Differences of yaw and pitch in degrees, of log depth, and of the direction of sight, that make
two views equally different."""

GOOD_LOG_STD, USABLE_LOG_STD = 0.12, 0.2
"""Standard deviations up to which an estimate is good, and up to which it is worth writing."""

FAR_M, LITTLE_TURN_DEG, LITTLE_LEAN, HARD_TO_SEE = 0.9, 12.0, 0.07, 1.25
"""Median distance, standard deviations of yaw and of log depth, and those of landmarks over the
usual ones, that make a clip weak."""

WHAT_TO_DO = (
    "sit 0.3 to 0.6 m from the camera, turn your head slowly left and right, up and down, and lean "
    "in and out for 10 seconds, alone in the picture and in good light"
)


class View(NamedTuple):
    """One frame of the clip, with the face in it."""

    frame: int
    face: Face
    landmarks68_px: Floats
    """``(68, 2)``: by the heatmaps."""


@dataclass(frozen=True, eq=False)
class ClipCalibration:
    """What a clip tells about its camera."""

    camera: Camera
    """With ``source`` "clip" and ``focal_std_px``."""
    views: int
    halves_px: tuple[float, float]
    """The focal length from the first and from the second half of the views."""
    residuals: Floats
    """``(n, 68, 2)``: landmarks of the fit minus those of the network, in sizes of the face."""
    distance_m: float
    """Median distance of the face."""
    weaknesses: tuple[str, ...]
    """What makes the clip tell little, in plain words."""

    @property
    def log_std(self) -> float:
        """Standard deviation of the logarithm of the focal length."""
        assert self.camera.focal_std_px is not None
        return self.camera.focal_std_px / self.camera.fx

    @property
    def is_good(self) -> bool:
        """Whether the estimate is as good as those of varied clips."""
        return self.log_std <= GOOD_LOG_STD

    @property
    def is_usable(self) -> bool:
        """Whether the clip tells more than the fields of view of cameras in general."""
        return self.log_std <= USABLE_LOG_STD


def calibrate_from_clip(
    path: str | PathLike[str], face_id: int | None = None, model: str = CALIBRATION_MODEL
) -> ClipCalibration:
    """Estimate the focal length of a video of one person.

    Parameters
    ----------
    face_id
        The person, if there are several: the id that tracking gives.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        The video cannot be read, shows several people, or shows a face in too few frames.
    """
    tracks = _follow(path)
    chosen = choose_frames(one_person(tracks, face_id), MAX_VIEWS)
    pipeline = PosePipeline(PoseRuntime(bundled(model), threads=1))
    views = []
    with VideoReader(path) as reader:
        for frame in islice(reader, max(chosen) + 1):
            if frame.index in chosen:
                face = chosen[frame.index]
                found = pipeline.estimate_with_features(
                    [FaceRequest(frame.pixels, face.camera, face)]
                )[0]
                if found is not None and found.face.confidence >= MIN_CONFIDENCE:
                    views.append(View(frame.index, found.face, found.heatmap68_px()))
    return calibrate_from_views(views)


def _follow(path: str | PathLike[str]) -> dict[int, dict[int, Face]]:
    """Return the faces of the clip by id and frame, with the assumed camera."""
    with VideoReader(path) as reader:
        assumed = Camera.assumed(reader.width, reader.height)
        step = -(-(reader.frame_count or 1) // MAX_TRACKED)
        frames = (frame for frame in reader if frame.index % step == 0)
        tracks: dict[int, dict[int, Face]] = defaultdict(dict)
        for result in HeadPoseEstimator().stream(frames, assumed, smooth=False):
            for face in result.faces:
                tracks[face.id or 0][result.index] = face
    return tracks


def one_person(tracks: Mapping[int, dict[int, Face]], face_id: int | None) -> dict[int, Face]:
    """Return the faces by frame of the person with an id, or of the only one.

    Raises ValueError if there is none, or several.
    """
    by_length = sorted(tracks, key=lambda each: -len(tracks[each]))
    shown = ", ".join(f"{each} in {len(tracks[each])} frames" for each in by_length[:6])
    if face_id is not None:
        if face_id not in tracks:
            raise ValueError(f"face: expected one of the ids {shown or '(none)'}, got {face_id}")
        return tracks[face_id]
    if not by_length:
        raise ValueError(f"the clip shows no face; {WHAT_TO_DO}")
    longest = len(tracks[by_length[0]])
    others = [each for each in by_length[1:] if len(tracks[each]) > SECOND_PERSON_SHARE * longest]
    if others:
        raise ValueError(
            f"the clip shows several people, or one who was lost for a while: ids {shown}. The fit "
            "needs one face; choose it with --face ID"
        )
    return tracks[by_length[0]]


def choose_frames(faces: Mapping[int, Face], count: int) -> dict[int, Face]:
    """Return at most ``count`` frames that differ most in pose, distance and position.

    The farthest from all that are chosen comes next (Gonzalez 1985), from the one with the most
    typical pose on. The order is that of the clip.
    """
    frames = list(faces)
    features = np.array([_features(face) for face in faces.values()]) / VIEW_SCALES
    chosen = [int(np.linalg.norm(features - np.median(features, 0), axis=1).argmin())]
    nearest = np.full(len(frames), np.inf)
    while len(chosen) < min(count, len(frames)):
        nearest = np.minimum(nearest, np.linalg.norm(features - features[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return {frames[index]: faces[frames[index]] for index in sorted(chosen)}


def calibrate_from_views(views: Sequence[View]) -> ClipCalibration:
    """Estimate the focal length from views of one person by one assumed camera.

    Raises ValueError if there are fewer than :data:`MIN_VIEWS`.
    """
    if len(views) < MIN_VIEWS:
        raise ValueError(
            f"expected a face in at least {MIN_VIEWS} frames, got {len(views)}; {WHAT_TO_DO}"
        )
    assumed = views[0].face.camera
    sizes_px = _face_sizes(views)
    half = len(views) // 2
    fit, *half_fits = (_fit(part) for part in (views, views[:half], views[half:]))
    focal_px, log_std = corrected_focal(fit, assumed)
    halves = [corrected_focal(each, assumed)[0] for each in half_fits]
    # The mean of two halves is off by half of their difference, typically.
    log_std = max(log_std, 0.5 * abs(float(np.log(halves[0] / halves[1]))))
    size = assumed.width, assumed.height
    camera = Camera(
        focal_px,
        focal_px,
        assumed.cx,
        assumed.cy,
        *size,
        source="clip",
        focal_std_px=focal_px * log_std,
    )
    yaw_deg, _, log_depth, *_ = np.array([_features(view.face) for view in views]).T
    distance_m = float(np.exp(np.median(log_depth)) * focal_px / assumed.fx)
    weaknesses = []
    if abs(np.log(halves[0] / halves[1])) > 2.0 * GOOD_LOG_STD:
        weaknesses.append(f"its halves disagree, {halves[0]:.0f} and {halves[1]:.0f} px")
    if distance_m > FAR_M:
        weaknesses.append(f"the face is far, {distance_m:.1f} m")
    if yaw_deg.std() < LITTLE_TURN_DEG:
        weaknesses.append(f"the head turns little, by {yaw_deg.std():.0f} degrees")
    if log_depth.std() < LITTLE_LEAN:
        weaknesses.append(f"the distance hardly changes, by {log_depth.std():.0%}")
    if uncertainty(views) > HARD_TO_SEE:
        weaknesses.append("the face is partly covered or hard to see")
    if len(views) < MAX_VIEWS // 2:
        weaknesses.append(f"the face is seen in {len(views)} frames only")
    return ClipCalibration(
        camera,
        len(views),
        (halves[0], halves[1]),
        fit.residuals / sizes_px[:, None, None],
        distance_m,
        tuple(weaknesses),
    )


def corrected_focal(fit: FocalFit, assumed: Camera) -> tuple[float, float]:
    """Return the focal length and the standard deviation of its logarithm, with the prior."""
    seen = (np.log(fit.focal_px / assumed.fx) - FIT_OFFSET) / FIT_SHARE
    one_view_std = fit.log_focal_std * np.sqrt(len(fit.residuals))
    seen_std = np.hypot(FIT_LOG_STD, FIT_STD_FACTOR * one_view_std) / FIT_SHARE
    diagonal_px = np.hypot(assumed.width, assumed.height)
    prior = np.log(PRIOR_FOCAL * diagonal_px / assumed.fx)
    # Hardly any camera is two standard deviations off: rather the landmarks are wrong.
    surprise = abs(seen - prior) / np.hypot(seen_std, PRIOR_LOG_STD)
    factor = surprise if surprise > MAX_SURPRISE else 1.0
    precision = seen_std**-2 + PRIOR_LOG_STD**-2
    mean = (seen / seen_std**2 + prior / PRIOR_LOG_STD**2) / precision
    return float(assumed.fx * np.exp(mean)), float(factor * precision**-0.5)


def _fit(views: Sequence[View]) -> FocalFit:
    basis, topology = bundled_shape_basis(), views[0].face.topology
    basis.require_mesh(topology)
    camera = views[0].face.camera
    landmarks_px = np.array([view.landmarks68_px for view in views])
    return fit_focal(
        FaceViews(
            landmarks_px - (camera.cx, camera.cy),
            landmark_std_px(views),
            np.array([view.face.rotation for view in views]),
            np.array([view.face.translation_m for view in views]),
            camera.fx,
        ),
        basis,
        topology.landmarks68,
    )


def landmark_std_px(views: Sequence[View]) -> Floats:
    """Return the landmarks' standard deviations ``(n, 68)``: in proportion as the network says.

    :data:`USUAL_STD` means :data:`LANDMARK_STD`, since errors that views share weigh more than
    their size tells. Without error bars all landmarks are equally good.
    """
    return LANDMARK_STD / USUAL_STD * _face_sizes(views)[:, None] * _std_shares(views)


def uncertainty(views: Sequence[View]) -> float:
    """Return the standard deviation of the landmarks over the usual one."""
    return float(np.sqrt(np.mean(_std_shares(views) ** 2))) / USUAL_STD


def _std_shares(views: Sequence[View]) -> Floats:
    """Return the landmarks' standard deviations by the network, in sizes of the face."""
    predicted = [view.face.landmarks_std_px for view in views]
    known = [each for each in predicted if each is not None]
    if len(known) < len(views):
        return np.full((len(views), len(views[0].landmarks68_px)), USUAL_STD)
    return np.array(known) / _face_sizes(views)[:, None]


def _features(face: Face) -> list[float]:
    yaw_deg, pitch_deg, _ = face.euler()
    x, y, z = face.translation_m
    return [yaw_deg, pitch_deg, float(np.log(z)), x / z, y / z]


def _face_sizes(views: Sequence[View]) -> Floats:
    """Return the geometric mean of width and height of the 68 landmarks, ``(n,)`` px."""
    extent = np.array([np.ptp(view.landmarks68_px, axis=0) for view in views])
    return np.sqrt(extent.prod(1))
