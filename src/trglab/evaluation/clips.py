"""What the tracker gains from time, on rendered clips: size memory, smoothing, lag and identities.

The network runs once per frame, as in ``trg predict``. Size memory and smoothing are then applied
to its faces in several ways, by the same classes as in :mod:`trg.inference.tracker`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg.estimator import HeadPoseEstimator
from trg.face import Face
from trg.inference.size_memory import SizeMemory
from trg.inference.smoothing import FaceSmoother
from trglab.datasets.sample import Dataset, Sample
from trglab.synth.clips import CLIP_FPS, CLIP_FRAMES, STILL_FRAME, STOP_FRAME

Floats = NDArray[np.float64]

SETTLED_S = 2.0
"""Time after which the size memory is judged."""

LAG_STEPS = np.linspace(-2.0, 4.0, 61)
"""Delays that are tried, in frames."""


class ClipFace(NamedTuple):
    """The face of one frame, by itself, with its labels."""

    frame: int
    time_s: float
    face: Face
    sample: Sample


@dataclass(frozen=True, slots=True)
class Treatment:
    """How faces of single frames become those of a track."""

    size: str
    """``frame``, ``person``, or ``two passes``."""
    smooth: bool

    @property
    def label(self) -> str:
        """Name of the row in the table."""
        return f"size: {self.size}{', smoothed' if self.smooth else ''}"

    def apply(self, clip: Sequence[ClipFace]) -> list[Face]:
        """Return the faces of one track."""
        memory = SizeMemory()
        if self.size == "two passes":
            for each in clip:
                memory.remember(each.face, each.time_s)
            memory = SizeMemory(memory.estimate)
        smoother = FaceSmoother()
        faces = []
        for each in clip:
            face = each.face
            if self.size != "frame":
                face = memory.remember(face, each.time_s)
            if self.smooth:
                face = smoother.smooth(face, each.time_s)
            faces.append(face)
        return faces


TREATMENTS = tuple(
    Treatment(size, smooth)
    for smooth in (False, True)
    for size in ("frame", "person", "two passes")
)

MEASURES: Mapping[str, str] = {
    "depth_percent": "depth %",
    "settled_depth_percent": f"after {SETTLED_S:g} s %",
    "depth_spread_percent": "spread in a clip %",
    "landmarks_mm": "landmarks mm",
    "still_depth_mm": "still: jitter in depth mm",
    "still_across_mm": "across mm",
    "lag_ms": "lag in depth ms",
}
"""Headings of the numbers of :func:`measure_clips`."""


@dataclass(frozen=True, slots=True)
class ClipReport:
    """Results on a set of clips."""

    clips: int
    frames: int
    missed: int
    """Frames without a face."""
    identities: int
    """Ids in all clips; as many as clips if each person keeps theirs."""
    rows: Mapping[Treatment, Mapping[str, float]]
    """The numbers of :data:`MEASURES`."""


def read_clip(
    estimator: HeadPoseEstimator, samples: Dataset, first: int
) -> tuple[list[ClipFace], int]:
    """Track one clip; return the faces nearest to its labels, and the number of ids."""
    shown: list[Sample] = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for index in range(first, first + CLIP_FRAMES):
            shown.append(samples[index])
            yield shown[-1].image

    camera = samples[first].camera
    faces: list[ClipFace] = []
    ids: set[int | None] = set()
    for result in estimator.stream(frames(), camera, smooth=False, size="frame", fps=CLIP_FPS):
        ids.update(face.id for face in result.faces)
        if result.faces:
            sample = shown[-1]
            face = min(
                result.faces, key=lambda each: float(np.abs(each.box_xyxy - sample.box_xyxy).sum())
            )
            faces.append(ClipFace(result.index, result.time_s, face, sample))
    return faces, len(ids)


def measure_clips(
    estimator: HeadPoseEstimator,
    samples: Dataset,
    on_progress: Callable[[int], None] | None = None,
) -> ClipReport:
    """Measure all treatments on the clips of a store.

    Raises
    ------
    ValueError
        The samples are not whole clips.
    """
    if not len(samples) or len(samples) % CLIP_FRAMES:
        raise ValueError(
            f"clips: expected a multiple of {CLIP_FRAMES} frames, got {len(samples)}; render them "
            "with `trg synth CLIPS --layout clips --count 4000`"
        )
    found: dict[Treatment, list[dict[str, Floats]]] = {each: [] for each in TREATMENTS}
    seen = identities = 0
    for first in range(0, len(samples), CLIP_FRAMES):
        clip, id_count = read_clip(estimator, samples, first)
        seen, identities = seen + len(clip), identities + id_count
        for treatment, clips in found.items():
            if clip:
                clips.append(clip_errors(clip, treatment.apply(clip)))
        if on_progress is not None:
            on_progress(first + CLIP_FRAMES)
    return ClipReport(
        len(samples) // CLIP_FRAMES,
        len(samples),
        len(samples) - seen,
        identities,
        {treatment: _summary(clips) for treatment, clips in found.items()},
    )


def clip_errors(clip: Sequence[ClipFace], faces: Sequence[Face]) -> dict[str, Floats]:
    """Return errors of the faces of one track.

    Per frame: ``depth``, the logarithm of estimated over true depth; ``landmarks_m``. Per pair of
    still frames: ``across_m`` and ``along_m``, the change of the head's position across and along
    the line of sight. One number: ``lag_s``.
    """
    frame = np.array([each.frame for each in clip])
    true_m = np.array([each.sample.translation_m for each in clip], np.float64)
    estimated_m = np.array([face.translation_m for face in faces])
    depth = np.log(estimated_m[:, 2] / true_m[:, 2])
    vertices_m = np.stack([np.asarray(each.sample.vertices_m) for each in clip])
    off_m = np.stack([face.landmarks_m for face in faces]) - vertices_m
    is_still = (frame[1:] > STILL_FRAME) & (np.diff(frame) == 1)
    change_m = np.diff(estimated_m, axis=0)[is_still]
    sight = true_m[1:][is_still]
    sight = sight / np.linalg.norm(sight, axis=1, keepdims=True)
    along_m = (change_m * sight).sum(1)
    moving = frame < STOP_FRAME
    return {
        "time_s": np.array([each.time_s for each in clip]),
        "depth": depth,
        "landmarks_m": np.linalg.norm(off_m, axis=-1).mean(1),
        "along_m": along_m,
        "across_m": np.linalg.norm(change_m - along_m[:, None] * sight, axis=1),
        "lag_s": np.array(
            [lag_s(frame[moving], np.log(estimated_m[moving, 2]), np.log(true_m[moving, 2]))]
        ),
    }


def lag_s(frame: NDArray[np.int_], estimated: Floats, true: Floats) -> float:
    """Return the delay of an estimated signal against the true one, seconds.

    The delay at which the true signal explains the estimated one best, up to a constant.
    """
    if len(frame) < 10:
        return float("nan")
    inner = slice(5, -5)
    rests = [
        float((estimated[inner] - np.interp(frame - delay, frame, true)[inner]).std())
        for delay in LAG_STEPS
    ]
    return float(LAG_STEPS[int(np.argmin(rests))] / CLIP_FPS)


def _summary(clips: Sequence[Mapping[str, Floats]]) -> dict[str, float]:
    """Return the numbers of :data:`MEASURES`; all are medians over clips or frames."""
    depth = np.concatenate([clip["depth"] for clip in clips])
    settled = np.concatenate([clip["time_s"] for clip in clips]) >= SETTLED_S
    error = np.abs(np.expm1(depth))
    return {
        "depth_percent": 100.0 * float(np.median(error)),
        "settled_depth_percent": 100.0 * float(np.median(error[settled])),
        "depth_spread_percent": 100.0 * float(np.median([clip["depth"].std() for clip in clips])),
        "landmarks_mm": 1000.0 * float(np.concatenate([c["landmarks_m"] for c in clips]).mean()),
        "still_depth_mm": _median_jitter_mm([clip["along_m"] for clip in clips]),
        "still_across_mm": _median_jitter_mm([clip["across_m"] for clip in clips]),
        "lag_ms": 1000.0 * float(np.nanmedian([clip["lag_s"][0] for clip in clips])),
    }


def _median_jitter_mm(changes_m: Sequence[Floats]) -> float:
    """Return the median over clips of the root mean square change from frame to frame."""
    jitter = [float(np.sqrt((change**2).mean())) for change in changes_m if len(change)]
    return 1000.0 * float(np.median(jitter)) if jitter else float("nan")
