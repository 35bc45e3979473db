"""The options of ``trg predict`` by the group of its help page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from trg.app.cli.shared import Positive

if TYPE_CHECKING:
    from trg.app.outputs import Outputs
    from trg.estimator import HeadPoseEstimator
    from trg.geometry.camera_source import CameraLike
    from trg.io.eye_distances import EyeDistances
    from trg.io.inputs import MediaInput
    from trg.io.overlay import OverlayStyle

RecordFormatName = Literal["jsonl", "csv", "parquet", "openface"]

FrameName = Literal["opencv", "opengl", "unity", "ros", "blender"]

RECORD_SUFFIXES: dict[RecordFormatName, str] = {
    "jsonl": ".jsonl",
    "csv": ".csv",
    "openface": ".openface.csv",
    "parquet": ".parquet",
}
DEFAULT_RECORDS_NAME = "faces"
"""Name of the records of several arguments."""

RESULTS = Group.create_ordered("Results")
CAMERA = Group.create_ordered("Camera")
FACES = Group.create_ordered("Faces")
PROCESSING = Group.create_ordered("Processing")


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, slots=True)
class ResultOptions:
    """Which results are written, and where.

    Parameters
    ----------
    out
        Folder for results. The records are named after the input, or ``faces`` if there are
        several. A name that ends in ``.jsonl``, ``.csv`` or ``.parquet`` is that of the records.
    record_format
        ``jsonl`` (the default), ``csv``, ``parquet`` (needs the extra ``data``), or ``openface``:
        CSV with OpenFace's column names and conventions.
    frame
        The program in whose axes rotations, translations and 3D landmarks are recorded
        (docs/conventions.md).
    landmarks
        Also record the 1220 landmarks of each face.
    blendshapes
        Also record ARKit's 52 expression coefficients (docs/expressions.md); not in ``openface``.
    draw
        Write photos and videos with the faces drawn in; a video keeps its sound. Layers may follow,
        separated by commas: ``mesh``, ``landmarks``, ``errors``, ``axes``, ``box``, ``label``;
        without any, all but landmarks and errors.
    mesh
        Write the faces of each photo as ``obj``, ``ply`` or ``glb``; a video as ``glb`` with
        animated heads.
    mesh_photo
        Put the photo into its ``glb``: as texture of the faces, and on a plane behind them.
    resume
        Continue an earlier run; inputs that it finished are skipped.
    overwrite
        Replace results, and files of other programs, that have the same names.
    """

    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None
    record_format: Annotated[RecordFormatName | None, Parameter(name="--format")] = None
    frame: FrameName = "opencv"
    landmarks: bool = False
    blendshapes: bool = False
    draw: str | None = None
    mesh: Literal["obj", "ply", "glb"] | None = None
    mesh_photo: bool = False
    resume: bool = False
    overwrite: bool = False

    @property
    def style(self) -> OverlayStyle | None:
        """What is drawn; None without drawings."""
        from trg.io.overlay import OverlayStyle

        return None if self.draw is None else OverlayStyle.of(self.draw.split(","))

    @property
    def format(self) -> RecordFormatName:
        """The format of the records: as given, or by the name of their file."""
        name = "" if self.out is None or not self.names_records else self.out.name.lower()
        # The longest ending last: .openface.csv is also .csv.
        by_name = [each for each in RECORD_SUFFIXES if name.endswith(RECORD_SUFFIXES[each])]
        if self.record_format is None:
            return by_name[-1] if by_name else "jsonl"
        if by_name and RECORD_SUFFIXES[self.record_format] not in (
            RECORD_SUFFIXES[by_name[0]],
            *([".openface.csv"] if by_name[0] == "csv" else []),
        ):
            raise ValueError(
                f"{self.out}: expected a name that ends in {RECORD_SUFFIXES[self.record_format]} "
                f"for --format {self.record_format}"
            )
        return self.record_format

    @property
    def names_records(self) -> bool:
        """Whether ``out`` is the name of the records, and not of a folder of results."""
        if self.out is None or self.out.suffix.lower() not in RECORD_SUFFIXES.values():
            return False
        is_folder = self.out.is_dir()
        return not is_folder or self.out.suffix.lower() == RECORD_SUFFIXES["parquet"]

    def match(
        self, inputs: list[MediaInput], arguments: Sequence[str]
    ) -> tuple[list[MediaInput], Outputs]:
        """Return the inputs without results of earlier runs, and the outputs for them."""
        from trg.app.outputs import Outputs, output_stems

        if self.out is None:
            return inputs, Outputs(draw=self.style, mesh=self.mesh, mesh_photo=self.mesh_photo)
        if self.names_records:
            if self.draw or self.mesh:
                raise ValueError(
                    f"{self.out}: expected a folder for drawings and meshes (-o DIR), got the name "
                    "of a file"
                )
            return inputs, Outputs(self.out.parent, overwrite=self.overwrite)
        if self.out.exists() and not self.out.is_dir():
            raise NotADirectoryError(f"{self.out}: expected a folder for the results, got a file")
        stems = output_stems(inputs, arguments, self.out)
        inputs = [item for item in inputs if item.name in stems]
        return inputs, Outputs(
            self.out, stems, self.style, self.mesh, self.mesh_photo, self.overwrite
        )

    def records_path(self, arguments: Sequence[str]) -> Path | None:
        """Create the folder and return the path of the records; None for standard output."""
        from trg.app.outputs import fitting_stem

        if self.out is None:
            return None
        if self.names_records:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            return self.out
        self.out.mkdir(parents=True, exist_ok=True)
        name = DEFAULT_RECORDS_NAME
        if len(arguments) == 1 and os.path.exists(arguments[0]):
            path = Path(os.path.abspath(arguments[0]))
            name = (path.name if path.is_dir() else path.stem) or DEFAULT_RECORDS_NAME
        return self.out / f"{fitting_stem(name)}{RECORD_SUFFIXES[self.format]}"


@Parameter(name="*", group=CAMERA)
@dataclass(frozen=True, slots=True)
class CameraOptions:
    """The camera of all inputs; at most one of focal length, field of view and file.

    Parameters
    ----------
    focal
        The focal length in pixels.
    fov
        The field of view in degrees.
    fov_axis
        What ``--fov`` spans: ``horizontal`` (the default), ``vertical`` or ``diagonal``.
    camera
        A calibration file: OpenCV's YAML, XML or .npz, ROS's camera_info, Kalibr's camchain,
        COLMAP's cameras.txt, or JSON; or the name of a webcam or phone, as "Logitech C920" (``trg
        camera list``).
    """

    focal: float | None = None
    fov: float | None = None
    fov_axis: Literal["horizontal", "vertical", "diagonal"] | None = None
    camera: str | None = None

    def resolve(self) -> CameraLike | None:
        """Return the camera; None if none is specified."""
        from trg.geometry.camera_source import FieldOfView
        from trg.io.devices import camera_by_name

        if sum(each is not None for each in (self.focal, self.fov, self.camera)) > 1:
            raise ValueError("camera: expected one of --focal, --fov and --camera")
        if self.focal is not None and not 0.0 < self.focal < float("inf"):
            raise ValueError(f"focal length: expected pixels above 0, got {self.focal:g}")
        if self.fov is not None:
            return FieldOfView(self.fov, self.fov_axis or "horizontal")
        if self.fov_axis is not None:
            raise ValueError(
                f"field of view: expected --fov DEGREES beside --fov-axis {self.fov_axis}"
            )
        return self.focal if self.camera is None else camera_by_name(self.camera)


@Parameter(name="*", group=FACES)
@dataclass(frozen=True, slots=True)
class FaceOptions:
    """Which faces are found, and how they are scaled and smoothed.

    Parameters
    ----------
    boxes
        Face boxes of photos in JSON or CSV (docs/cli.md), in place of the detector.
    max_faces
        Maximum number of faces in an image.
    smallest_face
        Smallest face box to detect, px: the side of a square 1.5 times as large as the face from
        brows to chin. Smaller values need more time.
    ipd
        The person's distance between the pupils, mm; sets the scale of faces and distances. Or a
        CSV or JSON file with the distances of several people (docs/cli.md).
    smooth
        Smooth the poses of a video over time.
    size
        Where the size of the faces in a video comes from, and with it their distance: ``person``,
        from all frames of the person so far, or ``frame``, from each frame alone.
    two_pass
        Read each video twice: its people have the size of the whole video from the first frame on.
    same_person
        All photos show one person, whose largest face in each gets one size.
    """

    boxes: Path | None = None
    max_faces: Positive | None = None
    smallest_face: Positive | None = None
    ipd: str | None = None
    smooth: bool = True
    size: Literal["person", "frame"] = "person"
    two_pass: bool = False
    same_person: bool = False

    def interpupillary_m(self) -> float | EyeDistances | None:
        """Return the distance between the pupils in metres, or those of several people."""
        from trg.io.eye_distances import read_eye_distances

        if self.ipd is None:
            return None
        try:
            return float(self.ipd) / 1000.0
        except ValueError:
            return read_eye_distances(self.ipd)


@Parameter(name="*", group=PROCESSING)
@dataclass(frozen=True, slots=True)
class ProcessingOptions:
    """The network and how it runs.

    Parameters
    ----------
    model
        The weights: a name listed by ``trg models``, or a .trg file.
    flip_tta
        Average each estimate with that of the mirrored face (flip test-time augmentation): more
        accurate, at twice the cost.
    workers
        Processes that share photos and videos, each with one thread; by default one per core if
        there are enough inputs for them.
    threads
        CPU threads of the networks in one process; videos are read, drawn and encoded beside them.
    batch_size
        Photos that are processed together.
    fps
        Frame rate of numbered files, such as ``frame_%04d.jpg``, which make a clip.
    animated
        Process all frames of animated images, as of a video, not only the first.
    max_megapixels
        Largest photo; a photo needs about 8 MB of memory per megapixel.
    """

    model: Annotated[str | None, Parameter(name=["--model", "-m"])] = None
    flip_tta: bool = False
    workers: Positive | None = None
    threads: Positive = 1
    batch_size: Positive = 32
    fps: float | None = None
    animated: bool = False
    max_megapixels: Positive = 179

    def worker_count(self) -> int | None:
        """Return the number of processes; None: by the inputs.

        Raises ValueError for several threads in each of several processes.
        """
        if self.threads == 1:
            return self.workers
        if self.workers not in (None, 1):
            raise ValueError(
                f"workers: have one thread each; expected --workers or --threads, got both "
                f"({self.workers} and {self.threads})"
            )
        return 1

    def estimator(self, smallest_face_px: int | None) -> HeadPoseEstimator:
        """Return the estimator, with a detector for smaller faces if a size is given."""
        from trg.estimator import CANDIDATE_THRESHOLD, FALLBACK_THRESHOLD, HeadPoseEstimator
        from trg.inference.detector import FaceDetector

        detector = None
        if smallest_face_px is not None:
            detector = FaceDetector(
                threads=self.threads,
                threshold=CANDIDATE_THRESHOLD,
                fallback_threshold=FALLBACK_THRESHOLD,
                smallest_face_px=smallest_face_px,
            )
        return HeadPoseEstimator(self.model, detector, threads=self.threads, flip=self.flip_tta)
