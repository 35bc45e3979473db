"""Other methods that the user has installed, measured by the same code as this package's networks.

A method runs in a process of its own (:mod:`trglab.paper.peer_process`), with the Python of an
environment that has it. It gets whole images, or crops of the face box where it has no detector.

MediaPipe's FaceMesh gives points in the image. 68 of its 468 points stand for the standard
landmarks, and the pose that projects the mean face of this package's weights onto them
(:mod:`trglab.paper.pnp`) is its pose: metric, in this package's head frame, with the size of the
mean face.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trg.geometry.face_mesh import FaceTopology
from trg.geometry.mediapipe import MEDIAPIPE_OF_68
from trglab.datasets.sample import Sample
from trglab.datasets.w300lp import rotation_from_pose
from trglab.evaluation.prediction import Estimate
from trglab.evaluation.predictions import PredictionMetadata
from trglab.paper.pnp import solve_pnp

Floats = NDArray[np.float64]

PeerName = Literal["mediapipe", "6drepnet"]
"""The methods with an adapter."""

PEER_FILE = Path(__file__).with_name("peer_process.py")

LABELS: Mapping[PeerName, str] = {"mediapipe": "MediaPipe FaceMesh", "6drepnet": "6DRepNet"}
PACKAGES: Mapping[PeerName, str] = {
    "mediapipe": "mediapipe 0.10.21 or another version that has mediapipe.solutions",
    "6drepnet": "sixdrepnet, whose weights it downloads when it is first used",
}


class PeerMethod:
    """A method in its own process, which estimates one face per image.

    Of several faces the one counts whose centre is nearest to that of the labelled face box.

    Parameters
    ----------
    process
        Runs :mod:`trglab.paper.peer_process`.
    topology
        The mesh whose mean face is fitted to landmarks.
    folder
        For the images that the process is given.

    Attributes
    ----------
    times_ms
        CPU time of each image so far.
    """

    def __init__(
        self,
        name: PeerName,
        process: subprocess.Popen[str],
        topology: FaceTopology,
        folder: Path,
    ) -> None:
        self._name, self._process = name, process
        self._points_m = topology.template_m[topology.landmarks68].astype(np.float64)
        self._image_path = folder / "image.npy"
        self.times_ms: list[float] = []

    @property
    def metadata(self) -> PredictionMetadata:
        """The method's name and the source of its face boxes."""
        boxes = "its own detector" if self._name == "mediapipe" else "truth"
        return PredictionMetadata(LABELS[self._name], settings={"boxes": boxes})

    def estimate(self, samples: Sequence[Sample]) -> list[Estimate | None]:
        """Return one estimate per sample, or None where no face was found.

        Raises ValueError if the process ended.
        """
        return [self._estimate(sample) for sample in samples]

    def _estimate(self, sample: Sample) -> Estimate | None:
        box = np.asarray(sample.box_xyxy, dtype=np.float64)
        if self._name == "6drepnet":
            faces = self._faces(sample.image, box)
            if not faces:
                return None
            angles_rad = np.deg2rad(faces[0]["pitch_yaw_roll_deg"])
            return Estimate(rotation_from_pose(angles_rad), box_xyxy=box)
        points_px = self.points_px(sample.image, box)
        if points_px is None:
            return None
        nearest = points_px[MEDIAPIPE_OF_68]
        rays = sample.camera.unproject(nearest)
        try:
            pose = solve_pnp(self._points_m, rays, np.random.default_rng(0))
        except ValueError:  # degenerate points
            return None
        return Estimate(pose.rotation, pose.translation_m, landmarks68_px=nearest)

    def points_px(self, image: NDArray[np.uint8], box_xyxy: Floats) -> Floats | None:
        """Return MediaPipe's 468 points ``(468, 2)`` of the face nearest to a box, px, or None.

        Raises ValueError if the process ended.
        """
        faces = self._faces(image, box_xyxy)
        if not faces:
            return None
        points_px = np.array([face["points_px"] for face in faces], dtype=np.float64)
        landmarks_px = points_px[:, MEDIAPIPE_OF_68]
        offsets_px = (landmarks_px.min(1) + landmarks_px.max(1)) / 2.0
        offsets_px = offsets_px - box_xyxy.reshape(2, 2).mean(0)
        nearest: Floats = points_px[np.linalg.norm(offsets_px, axis=-1).argmin()]
        return nearest

    def _faces(self, image: NDArray[np.uint8], box_xyxy: Floats) -> list[dict[str, Any]]:
        np.save(self._image_path, image)
        request = json.dumps({"image": str(self._image_path), "box": box_xyxy.tolist()})
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(request, file=self._process.stdin, flush=True)
            answer = json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            raise ValueError(
                f"{LABELS[self._name]} ended. Expected a Python with {PACKAGES[self._name]}: "
                "--python ENVIRONMENT/bin/python"
            ) from None
        self.times_ms.append(float(answer["ms"]))
        faces: list[dict[str, Any]] = answer["faces"]
        return faces


@contextmanager
def peer_method(name: PeerName, python: str, topology: FaceTopology) -> Iterator[PeerMethod]:
    """Start a method with another environment's Python, for a ``with`` block.

    Raises ValueError if the interpreter cannot be started.
    """
    try:
        process = subprocess.Popen(
            [python, "-I", str(PEER_FILE), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except OSError as error:
        raise ValueError(
            f"--python: expected the Python of an environment with {PACKAGES[name]}, cannot start "
            f"{python} ({error})"
        ) from error
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield PeerMethod(name, process, topology, Path(folder))
    finally:
        process.kill()
        process.communicate()
