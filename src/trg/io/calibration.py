"""Calibration files of OpenCV, ROS, Kalibr, COLMAP and this package (JSON), read as a camera."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any, NamedTuple

from trg._util.checks import finite_array
from trg._util.files import existing_file
from trg.geometry.camera import Camera
from trg.geometry.camera_source import SizelessCalibration
from trg.geometry.lens import LensModel
from trg.io.calibration_fields import MAX_FILE_BYTES, decode_text, read_fields

COLMAP_PARAMETERS: dict[str, str] = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
    "SIMPLE_RADIAL_FISHEYE": "f cx cy k1",
    "RADIAL_FISHEYE": "f cx cy k1 k2",
}
"""COLMAP's camera models with Brown-Conrady or fisheye distortion (``sensor/models.h``)."""

DISTORTION_MODELS: dict[str, LensModel] = {
    "": "brown_conrady",
    "none": "brown_conrady",
    "plumb_bob": "brown_conrady",
    "rational_polynomial": "brown_conrady",
    "radtan": "brown_conrady",
    "brown_conrady": "brown_conrady",
    "equidistant": "fisheye",
    "fisheye": "fisheye",
}
"""Names of the lens models in ROS (``distortion_models.hpp``), Kalibr and here."""

_OPENCV_CENTRE = 0.0  # of the first pixel in OpenCV, ROS and Kalibr; in COLMAP it is 0.5, as here

# Keys in lower case without separators: "camera_matrix", "cameraMatrix" and "Camera_Matrix" agree.
_MATRIX_KEYS = (
    *("cameramatrix", "intrinsicmatrix", "mtx", "cammtx", "cammatrix", "cameramtx", "matrix"),
    *("intrinsics", "k"),
)
_DISTORTION_KEYS = (
    *("distortioncoefficients", "distortioncoeffs", "distcoeffs", "distcoeff", "distcoefs"),
    *("distcoef", "distortion", "dist", "d"),
)
_WIDTH_KEYS = ("imagewidth", "imgwidth", "width", "w")
_HEIGHT_KEYS = ("imageheight", "imgheight", "height", "h")
_SIZE_KEYS = ("imagesize", "imgsize", "resolution", "size")
_JSON_KEYS = ("fx", "fy", "cx", "cy", "width", "height")


def read_calibration(path: str | PathLike[str]) -> Camera | SizelessCalibration:
    """Read the camera from a calibration file.

    The format is recognised by the content:

    - OpenCV's FileStorage, YAML, JSON or XML: ``camera_matrix``, ``distortion_coefficients`` (or
      ``dist_coeffs``), ``image_width`` and ``image_height``; with ``fisheye_model: 1`` a fisheye
    - any YAML, JSON or NumPy ``.npz`` with a 3x3 matrix and coefficients under such names, or as
      ``mtx`` and ``dist``, in any case, with or without underscores
    - ROS's ``camera_info`` YAML, as its calibrator writes it or as a message is echoed, with its
      region of interest and binning
    - Kalibr's camchain with one camera
    - COLMAP's ``cameras.txt`` with one camera; models ``COLMAP_PARAMETERS``
    - JSON as written by ``Camera.to_dict``

    The principal point of OpenCV, ROS and Kalibr is shifted by half a pixel, because they place the
    first pixel centre at 0; COLMAP places it at 0.5, as this package does.

    Returns
    -------
    Camera or SizelessCalibration
        The latter if the file does not tell the size of the images.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file cannot be opened.
    ValueError
        The file is not a calibration, is incomplete, or describes another lens model than
        Brown-Conrady (with up to 12 coefficients) or fisheye.
    """
    path = existing_file(path, "a calibration file")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{path}: expected a calibration file, got {size:,} bytes")
    data = path.read_bytes()
    try:
        if path.suffix.lower() == ".txt":
            return _colmap_camera(decode_text(data))
        return parse_calibration(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_calibration(data: bytes) -> Camera | SizelessCalibration:
    """Parse the content of a calibration file; COLMAP's is known by its suffix only.

    Raises ValueError as :func:`read_calibration`.
    """
    return _camera_from_fields(read_fields(data))


class _Fields(NamedTuple):
    """The fields of a file, found by any of several keys."""

    by_name: Mapping[str, Any]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> _Fields:
        return cls({re.sub(r"[\W_]", "", str(key)).lower(): fields[key] for key in fields})

    def first(self, keys: tuple[str, ...]) -> Any:
        return next((self.by_name[key] for key in keys if key in self.by_name), None)


def _camera_from_fields(given: Mapping[str, Any]) -> Camera | SizelessCalibration:
    if "fx" in given:
        return _json_camera(given)
    rig = [name for name in given if re.fullmatch(r"cam\d+", str(name))]
    if rig:
        return _kalibr_camera(given, rig)
    fields = _Fields.of(given)
    matrix = fields.first(_MATRIX_KEYS)
    if matrix is None:
        raise ValueError(
            "expected a camera matrix under one of camera_matrix, mtx, K or intrinsics, got the "
            f"fields {sorted(map(str, given))!r:.200}"
        )
    calibration = _calibration(
        finite_array("camera matrix", _numbers("camera matrix", matrix), (9,)).tolist(),
        _numbers("distortion", fields.first(_DISTORTION_KEYS)),
        _lens_model(fields),
        _size(fields),
    )
    return _binned_region(calibration, fields)


def _calibration(
    matrix: list[float], distortion: list[float], model: LensModel, size: tuple[int, int] | None
) -> Camera | SizelessCalibration:
    """Return the calibration of a row-major OpenCV matrix, for images of a size if it is known."""
    rows = [matrix[0:3], matrix[3:6], matrix[6:9]]
    if size is not None:
        return Camera.from_matrix(
            rows, *size, distortion, pixel_centre=_OPENCV_CENTRE, lens_model=model
        )
    camera = Camera.from_matrix(
        rows, 1, 1, distortion, pixel_centre=_OPENCV_CENTRE, lens_model=model
    )
    return SizelessCalibration(
        camera.fx, camera.fy, camera.cx, camera.cy, camera.distortion, camera.lens_model
    )


def _binned_region(
    calibration: Camera | SizelessCalibration, fields: _Fields
) -> Camera | SizelessCalibration:
    """Return the camera of ROS's region of interest and binning (``sensor_msgs/CameraInfo``).

    Both refer to the full image, for which the intrinsics are; the region comes first.
    """
    binning = [max(1, _whole(key, fields.first((key,)), "0")) for key in ("binningx", "binningy")]
    given = fields.first(("roi",))
    roi = _Fields.of(given if isinstance(given, Mapping) else {})
    left, top, width, height = (
        _whole(f"roi {key}", roi.first((key,)), "0")
        for key in ("xoffset", "yoffset", "width", "height")
    )
    if (left, top, width, height) == (0, 0, 0, 0) and binning == [1, 1]:
        return calibration
    if not isinstance(calibration, Camera):
        raise ValueError("expected the image size beside the region or binning, got none")
    if (width, height) == (0, 0):  # the whole image
        width, height = calibration.width - left, calibration.height - top
    if left + width > calibration.width or top + height > calibration.height:
        raise ValueError(
            f"roi: expected a region inside {calibration.width}x{calibration.height} px, got "
            f"{width}x{height} px at ({left}, {top})"
        )
    camera = calibration.crop(left, top, width, height)
    x_step, y_step = binning
    return replace(
        camera,
        fx=camera.fx / x_step,
        fy=camera.fy / y_step,
        cx=camera.cx / x_step,
        cy=camera.cy / y_step,
        width=camera.width // x_step,
        height=camera.height // y_step,
    )


def _lens_model(fields: _Fields) -> LensModel:
    if str(fields.first(("fisheyemodel", "fisheye")) or 0).lower() not in ("0", "false", "none"):
        return "fisheye"
    name = str(fields.first(("distortionmodel", "lensmodel")) or "")
    if name not in DISTORTION_MODELS:
        raise ValueError(
            f"expected one of the lens models {tuple(filter(None, DISTORTION_MODELS))}, got "
            f"{name!r:.40}; calibrate with one of them, or undistort the images first"
        )
    return DISTORTION_MODELS[name]


def _json_camera(fields: Mapping[str, Any]) -> Camera:
    known = {*_JSON_KEYS, "distortion", "source", "lens_model", "focal_std_px"}
    if not set(_JSON_KEYS) <= set(fields) <= known:
        raise ValueError(
            f"expected the fields {_JSON_KEYS} and perhaps 'distortion', 'lens_model', "
            f"'source' and 'focal_std_px', got {sorted(map(str, fields))!r:.200}"
        )
    fx, fy, cx, cy = _numbers("fx, fy, cx, cy", [fields[key] for key in _JSON_KEYS[:4]])
    size = _size(_Fields.of(fields))
    assert size is not None
    camera = Camera.from_matrix(
        [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]],
        *size,
        _numbers("distortion", fields.get("distortion")),
        source=fields.get("source", "given"),
        lens_model=fields.get("lens_model", "brown_conrady"),
    )
    if "focal_std_px" not in fields:
        return camera
    (deviation,) = finite_array("focal_std_px", [fields["focal_std_px"]], (1,)).tolist()
    return replace(camera, focal_std_px=deviation)


def _kalibr_camera(fields: Mapping[str, Any], names: list[str]) -> Camera | SizelessCalibration:
    """Read the only camera of a camchain (Kalibr's wiki, "YAML formats")."""
    if len(names) != 1:
        raise ValueError(
            f"expected a camchain with one camera, got {names!r:.200}; keep the block of the one "
            "that took the images"
        )
    camera = fields[names[0]]
    if not isinstance(camera, Mapping):
        raise ValueError(f"{names[0]}: expected the fields of a camera, got {camera!r:.60}")
    chain = _Fields.of(camera)
    model = chain.first(("cameramodel",))
    if model != "pinhole":
        raise ValueError(f"expected Kalibr's camera model 'pinhole', got {model!r:.40}")
    numbers = _numbers("intrinsics", chain.first(("intrinsics",)))
    fx, fy, cx, cy = finite_array("intrinsics (fu, fv, pu, pv)", numbers, (4,)).tolist()
    return _calibration(
        [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        _numbers("distortion_coeffs", chain.first(_DISTORTION_KEYS)),
        _lens_model(chain),
        _size(chain),
    )


def _colmap_camera(text: str) -> Camera:
    lines = [line.split() for line in text.splitlines()]
    cameras = [words for words in lines if words and not words[0].startswith("#")]
    if len(cameras) != 1:
        raise ValueError(
            f"expected COLMAP's cameras.txt with one camera, got {len(cameras)}; "
            "keep the line of the one that took the images"
        )
    if len(cameras[0]) < 4:
        raise ValueError(f"expected 'CAMERA_ID MODEL WIDTH HEIGHT PARAMS...', got {cameras[0]}")
    _id, model, width, height, *parameters = cameras[0]
    if model not in COLMAP_PARAMETERS:
        raise ValueError(
            f"expected one of COLMAP's models {tuple(COLMAP_PARAMETERS)}, got {model!r:.40}"
        )
    names = COLMAP_PARAMETERS[model].split()
    if len(parameters) != len(names):
        raise ValueError(f"{model}: expected the numbers {names}, got {parameters!r:.200}")
    values = dict(zip(names, _numbers(model, parameters), strict=True))
    fx, fy = (values.get(key, values.get("f", 0.0)) for key in ("fx", "fy"))
    is_fisheye = model.endswith("FISHEYE")
    order = "k1 k2 k3 k4" if is_fisheye else "k1 k2 p1 p2 k3 k4 k5 k6"
    size = _size(_Fields({"width": width, "height": height}))
    assert size is not None
    return Camera.from_matrix(
        [[fx, 0.0, values["cx"]], [0.0, fy, values["cy"]], [0.0, 0.0, 1.0]],
        *size,
        [values.get(key, 0.0) for key in order.split()],
        lens_model="fisheye" if is_fisheye else "brown_conrady",
    )


def _size(fields: _Fields) -> tuple[int, int] | None:
    """Return width and height; None if the file does not tell them."""
    sides = fields.first(_SIZE_KEYS)
    if sides is None:
        sides = [fields.first(_WIDTH_KEYS), fields.first(_HEIGHT_KEYS)]
        if sides == [None, None]:
            return None
    numbers = _numbers("image size", sides)
    if len(numbers) != 2 or any(n < 1 or n != int(n) for n in numbers):
        raise ValueError(f"expected a width and a height in whole pixels, got {sides!r:.60}")
    return int(numbers[0]), int(numbers[1])


def _whole(name: str, value: Any, default: str) -> int:
    (number,) = _numbers(name, [default if value is None else value])
    if number < 0 or number != int(number):
        raise ValueError(f"{name}: expected a whole number of pixels, got {value!r:.40}")
    return int(number)


def _numbers(name: str, value: Any) -> list[float]:
    """Return the numbers of a flat or nested list, or of a matrix with ``data``; none for None."""
    if isinstance(value, Mapping):
        value = value.get("data")
    if value is None or value == "null":
        return []
    if isinstance(value, list) and any(isinstance(row, list) for row in value):
        value = [number for row in value for number in (row if isinstance(row, list) else [row])]
    return finite_array(name, value, (None,)).tolist()
