"""Calibration files of OpenCV, ROS, COLMAP and this package (JSON), read as a ``Camera``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from trg._util.checks import finite_array
from trg._util.files import existing_file
from trg.geometry.camera import Camera

MAX_FILE_BYTES = 1_000_000
"""Larger files are not calibrations."""

MAX_NESTING = 20

COLMAP_PARAMETERS = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
}
"""COLMAP's camera models that are pinholes with Brown-Conrady distortion (``sensor/models.h``)."""

_PIXEL_CENTRE = 0.0  # of the first pixel in OpenCV and ROS; in COLMAP it is 0.5, as here
_MATRIX_KEYS = ("camera_matrix", "cameraMatrix", "CameraMatrix", "intrinsic_matrix", "K", "k")
_DISTORTION_KEYS = (
    "distortion_coefficients",
    "dist_coeffs",
    "distCoeffs",
    "dist_coeff",
    "dist_coefs",
    "distortion",
    "D",
    "d",
)
_WIDTH_KEYS = ("image_width", "imageWidth", "width")
_HEIGHT_KEYS = ("image_height", "imageHeight", "height")
_SIZE_KEYS = ("image_size", "imageSize", "img_size")
_JSON_KEYS = ("fx", "fy", "cx", "cy", "width", "height")


def read_calibration(path: str | PathLike[str]) -> Camera:
    """Read the camera from a calibration file.

    The format is recognised by the content:

    - OpenCV's FileStorage, YAML or JSON: ``camera_matrix``, ``distortion_coefficients`` (or
      ``dist_coeffs``), ``image_width`` and ``image_height``
    - ROS's ``camera_info`` YAML, as its calibrator writes it or as a message is echoed
    - COLMAP's ``cameras.txt`` with one camera; models ``COLMAP_PARAMETERS``
    - JSON as written by ``Camera.to_dict``

    The principal point of OpenCV and ROS is shifted by half a pixel, because they place the first
    pixel centre at 0; COLMAP places it at 0.5, as this package does.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file cannot be opened.
    ValueError
        The file is not a calibration, is incomplete, or describes another lens model than a
        pinhole with Brown-Conrady distortion (fisheye, rational).
    """
    path = existing_file(path, "a calibration file")
    text = _text(path)
    try:
        if path.suffix.lower() == ".txt":
            return _colmap_camera(text)
        return _camera_from_fields(_fields(text))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _text(path: Path) -> str:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{path}: expected a calibration file, got {size:,} bytes")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected a calibration as text (YAML, JSON, COLMAP's cameras.txt), "
            "got binary data"
        ) from error


def _fields(text: str) -> Mapping[str, Any]:
    """Parse YAML or JSON into a mapping."""
    if text.lstrip().startswith("<"):
        raise ValueError("XML is not read; save the calibration as .yml or .json")
    try:
        fields = json.loads(text) if text.lstrip().startswith("{") else _yaml(text)
    except Exception as error:  # PyYAML raises other exceptions than its own for some values
        reason = " ".join(str(error).split())
        raise ValueError(f"expected a calibration as YAML or JSON, got {reason}") from error
    if not isinstance(fields, Mapping):
        raise ValueError(f"expected a calibration with named fields, got {fields!r:.60}")
    return fields


def _yaml(text: str) -> Any:
    """Parse the first document, with OpenCV's matrices as plain mappings."""
    # OpenCV writes "%YAML:1.0", which is not valid YAML.
    text = re.sub(r"^%YAML.*$|!!opencv-(nd-)?matrix\b", "", text, flags=re.MULTILINE)
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > MAX_NESTING:
            raise ValueError("aliases (*name) or deep nesting, which no calibration has")
    return next(yaml.safe_load_all(text), None)


def _camera_from_fields(fields: Mapping[str, Any]) -> Camera:
    if "fx" in fields:
        return _json_camera(fields)
    _check_lens_model(fields)
    matrix = _first(fields, _MATRIX_KEYS)
    if matrix is None:
        raise ValueError(f"expected a camera matrix under one of {_MATRIX_KEYS}, got none")
    width, height = _size(fields)
    distortion = _numbers("distortion", _first(fields, _DISTORTION_KEYS) or [])
    if any(distortion[5:]):
        raise ValueError(
            f"expected at most 5 distortion numbers (k1, k2, p1, p2, k3), got {len(distortion)} "
            "that are not zero; calibrate with OpenCV's default model or ROS's plumb_bob"
        )
    return Camera.from_matrix(
        finite_array("camera matrix", _numbers("camera matrix", matrix), (9,)).reshape(3, 3),
        width,
        height,
        distortion[:5],
        pixel_centre=_PIXEL_CENTRE,
    )


def _check_lens_model(fields: Mapping[str, Any]) -> None:
    model = fields.get("distortion_model", "plumb_bob")
    if fields.get("fisheye_model"):
        model = "fisheye"
    # A rational model whose last three coefficients are zero is a plumb_bob.
    if model not in ("", "plumb_bob", "rational_polynomial"):
        raise ValueError(
            f"expected the lens model 'plumb_bob' (Brown-Conrady), got {model!r}; "
            "calibrate with plumb_bob, or undistort the images first"
        )


def _json_camera(fields: Mapping[str, Any]) -> Camera:
    known = {*_JSON_KEYS, "distortion", "source"}
    if not set(_JSON_KEYS) <= set(fields) <= known:
        raise ValueError(
            f"expected the fields {_JSON_KEYS} and perhaps 'distortion' and 'source', "
            f"got {sorted(map(str, fields))}"
        )
    fx, fy, cx, cy = _numbers("fx, fy, cx, cy", [fields[key] for key in _JSON_KEYS[:4]])
    return Camera.from_matrix(
        [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]],
        *_size(fields),
        _numbers("distortion", fields.get("distortion", [])),
        source=fields.get("source", "given"),
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
            f"expected one of COLMAP's models {tuple(COLMAP_PARAMETERS)}, got {model!r}"
        )
    names = COLMAP_PARAMETERS[model].split()
    if len(parameters) != len(names):
        raise ValueError(f"{model}: expected the numbers {names}, got {parameters}")
    values = dict(zip(names, _numbers(model, parameters), strict=True))
    fx, fy = (values.get(key, values.get("f", 0.0)) for key in ("fx", "fy"))
    return Camera.from_matrix(
        [[fx, 0.0, values["cx"]], [0.0, fy, values["cy"]], [0.0, 0.0, 1.0]],
        *_size({"width": width, "height": height}),
        [values.get(key, 0.0) for key in ("k1", "k2", "p1", "p2")],
    )


def _size(fields: Mapping[str, Any]) -> tuple[int, int]:
    sides = _first(fields, _SIZE_KEYS)
    if sides is None:
        sides = [_first(fields, _WIDTH_KEYS), _first(fields, _HEIGHT_KEYS)]
    if None in (sides if isinstance(sides, list) else []):
        raise ValueError(
            "expected the image size in pixels, got none; add image_width and image_height"
        )
    numbers = _numbers("image size", sides)
    if len(numbers) != 2 or any(n < 1 or n != int(n) for n in numbers):
        raise ValueError(f"expected a width and a height in whole pixels, got {sides!r}")
    return int(numbers[0]), int(numbers[1])


def _first(fields: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((fields[key] for key in keys if key in fields), None)


def _numbers(name: str, value: Any) -> list[float]:
    """Return the numbers of a flat or nested list, or of a matrix with ``data``."""
    if isinstance(value, Mapping):
        value = value.get("data", [])
    if isinstance(value, list) and any(isinstance(row, list) for row in value):
        value = [number for row in value for number in (row if isinstance(row, list) else [row])]
    return finite_array(name, value, (None,)).tolist()
