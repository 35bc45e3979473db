"""What goes in and out, as Pydantic models: the options are validated by them, answers described.

The models of answers only describe: the records are those of
:func:`trg.io.records.frame_record.frame_record`, and the tests compare the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trg._util.checks import box_array
from trg.geometry.axes import FrameConvention
from trg.geometry.camera import FovAxis
from trg.geometry.camera_source import CameraLike, FieldOfView
from trg.io.boxes import PhotoBoxes
from trg.io.calibration import parse_calibration
from trg.io.devices import find_device

MAX_DEVICE_NAME = 100


class RequestOptions(BaseModel):
    """Options of a request, named as those of `trg predict`, for all of its pictures."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[
        str | None, Field(description="The weights, by a name of `/v1/models`; else the first.")
    ] = None
    focal: Annotated[
        float | None, Field(gt=0, le=1e9, description="The camera's focal length, px.")
    ] = None
    fov: Annotated[
        float | None, Field(gt=0, lt=180, description="The camera's field of view, degrees.")
    ] = None
    fov_axis: Annotated[
        FovAxis | None, Field(description="What `fov` spans; horizontal by default.")
    ] = None
    camera: Annotated[
        str | None,
        Field(
            min_length=1,
            description="The content of a calibration (JSON, OpenCV's YAML or XML, ROS, Kalibr), "
            'or the name of a webcam or phone, as "Logitech C920".',
        ),
    ] = None
    boxes: Annotated[
        str | None,
        Field(
            description="Face boxes as JSON in place of the detector: `[[x0, y0, x1, y1], ...]` "
            'in px of the upright picture, or `{"a.jpg": [...], ...}` for several pictures.'
        ),
    ] = None
    max_faces: Annotated[
        int | None, Field(ge=1, description="Largest number of faces in a picture.")
    ] = None
    ipd: Annotated[
        float | None,
        Field(ge=30, le=90, description="The person's distance between the pupils, mm."),
    ] = None
    frame: Annotated[
        FrameConvention, Field(description="The program whose axes poses are stated in.")
    ] = "opencv"
    landmarks: Annotated[bool, Field(description="Also the dense landmarks.")] = False
    blendshapes: Annotated[bool, Field(description="Also 52 expression coefficients.")] = False

    @model_validator(mode="after")
    def _check(self) -> RequestOptions:
        if sum(each is not None for each in (self.focal, self.fov, self.camera)) > 1:
            raise ValueError("camera: expected one of focal, fov and camera")
        if self.fov_axis is not None and self.fov is None:
            raise ValueError("fov_axis: expected fov as well, whose axis it is")
        return self

    def resolve_camera(self) -> CameraLike | None:
        """Return the given camera, None if there is none; raises ValueError if it is none."""
        if self.fov is not None:
            return FieldOfView(self.fov, self.fov_axis or "horizontal")
        if self.camera is None:
            return self.focal
        text = self.camera.strip()
        if "\n" in text or text.startswith(("{", "<")):
            return parse_calibration(text.encode())
        return find_device(text[:MAX_DEVICE_NAME]).view

    def resolve_boxes(self, sources: list[str], max_faces: int) -> PhotoBoxes | None:
        """Return the boxes by the name of the picture; raises ValueError if they are none."""
        if self.boxes is None:
            return None
        try:
            given = json.loads(self.boxes)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"boxes: expected JSON ({error})") from None
        if isinstance(given, list):
            if len(sources) > 1:
                raise ValueError('boxes: expected {"a.jpg": [...], ...} for several pictures')
            given = {sources[0]: given}
        if not isinstance(given, dict):
            raise ValueError("boxes: expected lists [[x0, y0, x1, y1], ...]")
        boxes = {name: box_array("boxes", each) for name, each in given.items()}
        if any(len(each) > max_faces for each in boxes.values()):
            raise ValueError(f"boxes: expected at most {max_faces} in a picture")
        return boxes


def validation_message(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong in one line, from the errors as Pydantic lists them."""
    parts = []
    for each in errors:
        name = str(each["loc"][-1]) if each["loc"] else ""
        got = "" if isinstance(each.get("input"), dict) else f", got {each.get('input')!r:.60}"
        parts.append(f"{name[:40]}{': ' if name else ''}{each['msg']}{got}")
    return "; ".join(parts)[:1000]


class EulerAngles(BaseModel):
    """Angles in degrees."""

    yaw: float
    pitch: float
    roll: float


class FaceRecord(BaseModel):
    """A face; docs/outputs.md describes each value."""

    model_config = ConfigDict(extra="forbid")

    id: int | None
    confidence: float
    box_xyxy: list[float]
    rotation: list[list[float]]
    translation_m: list[float]
    euler_deg: EulerAngles
    euler_sight_deg: EulerAngles
    distance_m: float
    interpupillary_m: float
    frame_interpupillary_m: float | None
    size_std: float | None
    landmarks68_px: list[list[float]]
    rotation_std_deg: list[float] | None
    translation_std_m: list[float] | None
    landmarks_std_m: dict[str, float] | None
    landmarks_std_px: list[float] | None
    landmarks_px: list[list[float]] | None = None
    landmarks_m: list[list[float]] | None = None
    blendshapes: dict[str, float] | None = None


class CameraRecord(BaseModel):
    """The camera of a picture."""

    model_config = ConfigDict(extra="forbid")

    fx: float
    fy: float
    cx: float
    cy: float
    distortion: list[float] | None = None
    lens_model: str | None = None
    source: str


class PictureRecord(BaseModel):
    """The faces of a picture: a record as `trg predict` writes it."""

    model_config = ConfigDict(extra="forbid")

    source: str
    frame: None
    time_s: None
    size: list[int]
    camera: CameraRecord
    axes: FrameConvention
    faces: list[FaceRecord]


class FailureRecord(BaseModel):
    """A picture without a result, and why."""

    model_config = ConfigDict(extra="forbid")

    source: str
    error: str


PREDICTION_EXAMPLE = {
    "model": "trg_s",
    "records": [
        {
            "source": "a.jpg",
            "frame": None,
            "time_s": None,
            "size": [640, 480],
            "camera": {"fx": 692.82, "fy": 692.82, "cx": 320.0, "cy": 240.0, "source": "assumed"},
            "axes": "opencv",
            "faces": [],
        },
        {"source": "b.jpg", "error": "image: the image is damaged or truncated"},
    ],
}


class Prediction(BaseModel):
    """The records of a request's pictures, in their order."""

    model: str
    records: list[PictureRecord | FailureRecord]


class Problem(BaseModel):
    """Why a request was refused."""

    error: str
    records: list[FailureRecord] | None = None
    """Where no picture could be read."""


class Health(BaseModel):
    """State of the service."""

    status: Literal["ready", "stopping"]
    version: str


class ServedModel(BaseModel):
    """Weights that the service runs."""

    name: str
    sha256: str | None
    licence: str
    attribution: list[str]


class ServedModels(BaseModel):
    """The models; the first is that of requests without one."""

    models: list[ServedModel]
