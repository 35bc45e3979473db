"""Write what the tests of ``web/`` compare with: numbers, rendered pictures, a clip, and poses.

Usage::

    python -m tests.support.web_test_data FOLDER

The folder gets ``vectors.json`` (results of single functions), ``models/``, ``pictures/`` and
``clip/`` (PNG files) with ``pictures.json`` and ``clip.json`` (what this package estimates in
them), ``clip.y4m`` and ``clip.webm``, the same clip for a browser's pretended webcam and as a file,
and ``photo.jpg``, with a focal length in its EXIF.
Everything is made by this package.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import ExifTags, Image

import trg
from tests.support.rendered_heads import RenderedHead, plain_studio
from trg import error_bars, estimator, face
from trg.app.web_models import web_models, write_web_models
from trg.error_bars import STD_COUNT, ErrorBars
from trg.face import Face
from trg.geometry import virtual_camera
from trg.geometry.camera import Camera
from trg.geometry.rotations import (
    rotation_between,
    rotation_from_euler,
    rotation_to_euler,
    rotation_to_quat,
    rotation_to_rotvec,
)
from trg.geometry.virtual_camera import (
    crop_from_virtual_camera,
    virtual_camera_of_box,
    virtual_camera_of_landmarks,
)
from trg.inference import (
    confidence,
    detections,
    detector,
    identity,
    pose_pipeline,
    tracker,
)
from trg.inference.bundle import DEFAULT_BUNDLE
from trg.inference.confidence import FEATURES, ConfidenceModel, confidence_features
from trg.inference.identity import Signature
from trg.inference.runtime import PoseArrays
from trg.inference.size_memory import SizeMemory
from trg.inference.smoothing import FaceSmoother
from trg.io.records.csv_tables import CSV_COLUMNS
from trg.io.records.frame_record import FrameFaces, frame_record
from trglab.synth.dataset import SyntheticFaces

CONSTANTS = {
    "confidence": (confidence, "LARGEST_LOGIT"),
    "detections": (detections, "POINT_COUNT NMS_IOU"),
    "detector": (
        detector,
        "STRIDE UNIT_SIDE_PX MULTIPLE TILE_PX TILE_OVERLAP_PX LEVEL_STEP MAX_FINER_SCALE "
        "MAX_ENLARGEMENT MAX_ASPECT",
    ),
    "errorBars": (error_bars, "INTERPUPILLARY_STD MEAN_RADIUS_M STD_COUNT"),
    "estimator": (estimator, "MIN_CONFIDENCE CANDIDATE_THRESHOLD FINER_LEVELS"),
    "face": (face, "MIN_INTERPUPILLARY_M MAX_INTERPUPILLARY_M"),
    "identity": (
        identity,
        "POINT_STEP OTHER_DIFFERENCE BRIDGED_DIFFERENCE CLEARLY AVERAGED_FRAMES",
    ),
    "posePipeline": (
        pose_pipeline,
        "BOX_TOLERANCE MAX_REFINEMENTS LEVEL_ROLL_DEG MAX_CROP_ROLL_DEG CERTAIN_ROLL_DEG "
        "SEARCH_ROLLS_DEG SURE_CONFIDENCE AGREED_CONFIDENCE AGREED_ROLL_DEG FOUND_CONFIDENCE "
        "DUPLICATE_IOU",
    ),
    "tracker": (tracker, "SPARE_CANDIDATES"),
    "virtualCamera": (virtual_camera, "BOX_MARGIN MIN_BOX_PX MAX_BOX_SCALE MAX_SIDE_RAYS"),
}
"""Names of constants by module of the browser's package, and the module here that has them."""

PICTURES = 30
PAIRS = 4
"""Further pictures, of two people side by side."""
SIZES = (640, 480), (480, 640), (1280, 960)
CLIP_FRAMES, CLIP_FPS = 60, 15
CLIP_CAMERA = Camera.from_fov(65.0, 640, 480)


def write_web_test_data(folder: Path) -> None:
    """Write everything; see the module."""
    folder.mkdir(parents=True, exist_ok=True)
    write_web_models(web_models(DEFAULT_BUNDLE), folder / "models")
    _write_json(folder / "vectors.json", vectors())
    estimate = trg.HeadPoseEstimator()
    write_pictures(folder, estimate)
    write_photo(folder)
    write_clip(folder, estimate)


def write_pictures(folder: Path, estimate: trg.HeadPoseEstimator) -> None:
    """Write rendered pictures and the faces that this package finds in them."""
    (folder / "pictures").mkdir(exist_ok=True)
    entries = []
    for index, (pixels, camera) in enumerate(_pictures()):
        name = f"{index:02}.png"
        Image.fromarray(pixels).save(folder / "pictures" / name)
        faces = estimate(pixels, camera)
        used = faces[0].camera if faces else camera or Camera.assumed(*pixels.shape[1::-1])
        entries.append(
            {
                "file": name,
                "camera": camera and camera.to_dict(),
                "faces": [_face(face) for face in faces],
                "record": frame_record(FrameFaces(name, used, faces)),
            }
        )
    _write_json(folder / "pictures.json", entries)


def write_photo(folder: Path) -> None:
    """Write a picture as a photo of a lens of 28 mm, as on 35 mm film."""
    pixels = RenderedHead(plain_studio(), seed=3).render(CLIP_CAMERA, np.eye(3), (0.0, 0.0, 0.7))
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 28
    Image.fromarray(pixels).save(folder / "photo.jpg", quality=95, exif=exif)


def _pictures() -> Iterator[tuple[np.ndarray, Camera | None]]:
    """Pictures with their camera; every third without, so that it is assumed."""
    scenes = SyntheticFaces(910, window=None, image_size=(640, 480), images_per_person=1)
    studio, rng = plain_studio(), np.random.default_rng(30)
    heads = [_random_view(RenderedHead(studio, seed), rng) for seed in range(PICTURES + 2 * PAIRS)]
    for index in range(PICTURES):
        pixels, camera = heads[index]
        if index % 3 == 0:
            sample = scenes.sample(index)
            pixels, camera = sample.image, sample.camera
        yield pixels, camera if index % 3 else None
    for left, right in zip(heads[PICTURES::2], heads[PICTURES + 1 :: 2], strict=True):
        pair = [np.asarray(Image.fromarray(each[0]).resize((480, 480))) for each in (left, right)]
        yield np.concatenate(pair, 1), None


def _random_view(head: RenderedHead, rng: np.random.Generator) -> tuple[np.ndarray, Camera]:
    """Return a picture of a head near or far, anywhere in it, and at any roll in every fourth."""
    width, height = SIZES[rng.integers(len(SIZES))]
    camera = Camera.from_fov(rng.uniform(35.0, 80.0), width, height)
    roll_deg = rng.uniform(-180.0, 180.0) if rng.random() < 0.25 else rng.normal(0.0, 10.0)
    rotation = rotation_from_euler(np.array([rng.normal(0.0, 25.0), rng.normal(0, 12), roll_deg]))
    ray = camera.unproject(rng.uniform(0.3, 0.7, 2) * (width, height))
    depth_m = rng.uniform(0.35, 1.5) * camera.fx / width
    translation_m = np.append(ray, 1.0) * depth_m
    return head.render(camera, rotation, translation_m, noise_seed=1), camera


def write_clip(folder: Path, estimate: trg.HeadPoseEstimator) -> None:
    """Write a clip of a turning head, its true poses, and its faces as tracked."""
    (folder / "clip").mkdir(exist_ok=True)
    head = RenderedHead(plain_studio(), seed=5)
    tracking = estimate.tracker()
    frames, entries = [], []
    for index in range(CLIP_FRAMES):
        phase = 2.0 * math.pi * index / CLIP_FRAMES
        rotation = rotation_from_euler(
            np.array([30.0 * math.sin(phase), 8.0 * math.sin(2.0 * phase), 8.0 * math.cos(phase)])
        )
        translation_m = np.array([0.05 * math.cos(phase), 0.02, 0.5 + 0.03 * math.sin(phase)])
        pixels = head.render(CLIP_CAMERA, rotation, translation_m, noise_seed=index)
        Image.fromarray(pixels).save(folder / "clip" / f"{index:03}.png")
        frames.append(pixels)
        faces = tracking.track(pixels, CLIP_CAMERA, index / CLIP_FPS)
        entries.append(
            {
                "time_s": index / CLIP_FPS,
                "true_euler_deg": rotation_to_euler(rotation).tolist(),
                "faces": [_face(face) for face in faces],
            }
        )
    _write_json(folder / "clip.json", {"camera": CLIP_CAMERA.to_dict(), "frames": entries})
    _write_video(folder / "clip.webm", "libvpx", frames)
    _write_y4m(folder / "clip.y4m", frames)


def vectors() -> dict[str, Any]:
    """Return inputs and results of single functions."""
    rng = np.random.default_rng(20)
    return {
        "constants": {
            name: {each: getattr(module, each) for each in names.split()}
            for name, (module, names) in CONSTANTS.items()
        },
        "csv_header": ",".join(CSV_COLUMNS) + "\n",
        "rotations": [_rotation_vector(rng) for _ in range(12)],
        "cameras": [_camera_vector(rng) for _ in range(6)],
        "resized": [
            _resized_vector(rng, *sizes)
            for sizes in (((97, 61), (40, 25)), ((64, 48), (64, 48)), ((50, 40), (75, 60)))
        ],
        "crops": [_crop_vector(rng, index) for index in range(8)],
        "confidence": [_confidence_vector(rng) for _ in range(4)],
        "known_size": _known_size_vector(rng),
        "sequence": _sequence_vector(rng),
    }


def _rotation_vector(rng: np.random.Generator) -> dict[str, Any]:
    euler_deg = rng.uniform((-180.0, -89.0, -180.0), (180.0, 89.0, 180.0))
    rotation, (source, target) = rotation_from_euler(euler_deg), rng.normal(size=(2, 3))
    return {
        "rotation": rotation.ravel().tolist(),
        "euler_deg": rotation_to_euler(rotation).tolist(),
        "quaternion": rotation_to_quat(rotation).tolist(),
        "rotvec": rotation_to_rotvec(rotation).tolist(),
        "source": source.tolist(),
        "target": target.tolist(),
        "between": rotation_between(source, target).ravel().tolist(),
    }


def _camera_vector(rng: np.random.Generator) -> dict[str, Any]:
    fov_deg = float(rng.uniform(20.0, 120.0))
    width, height = (int(side) for side in rng.integers(100, 2000, 2))
    camera, point = Camera.from_fov(fov_deg, width, height), rng.uniform((-1, -1, 0.3), 1.0)
    box = np.sort(rng.uniform(0, min(width, height), (2, 2)), axis=0).ravel()
    virtual = virtual_camera_of_box(camera, box, 30.0)
    assert virtual is not None
    landmarks = rng.normal((0.1, 0.0, 1.0), 0.05, (68, 3))
    around = virtual_camera_of_landmarks(landmarks, -20.0)
    return {
        "fov_deg": fov_deg,
        "camera": camera.to_dict(),
        "diagonal_deg": camera.fov_deg("diagonal"),
        "assumed": Camera.assumed(width, height).to_dict(),
        "twice": camera.resize(2 * width, 2 * height).to_dict(),
        "point": point.tolist(),
        "pixel": camera.project(point).tolist(),
        "box": box.tolist(),
        "of_box": [*virtual.view_direction.tolist(), virtual.side_rays],
        "of_box_cam_from_virtual": virtual.cam_from_virtual.ravel().tolist(),
        "landmarks": landmarks.ravel().tolist(),
        "of_landmarks": [*around.view_direction.tolist(), around.side_rays],
    }


def _resized_vector(
    rng: np.random.Generator, size: tuple[int, int], target: tuple[int, int]
) -> dict[str, Any]:
    pixels = _noise_image(rng, *size)
    resized = Image.fromarray(pixels).resize(target, Image.Resampling.BILINEAR, reducing_gap=1.0)
    return {
        "image": _pixels(pixels),
        "target": list(target),
        "resized": _pixels(np.asarray(resized)),
    }


def _crop_vector(rng: np.random.Generator, index: int) -> dict[str, Any]:
    """Return a crop inside the image, across its border, shrunk, enlarged or rolled."""
    pixels = _noise_image(rng, 160, 120)
    camera = Camera.from_fov((50.0, 95.0)[index % 2], 160, 120)
    centre, side = rng.uniform((30, 20), (130, 100)), (20.0, 40.0, 90.0, 150.0)[index % 4]
    box = [*(centre - side / 2), *(centre + side / 2)]
    virtual = virtual_camera_of_box(camera, box, (0.0, 140.0)[index // 4])
    assert virtual is not None
    crop = crop_from_virtual_camera(pixels, camera, virtual, 32)
    assert crop is not None
    return {
        "image": _pixels(pixels),
        "camera": camera.to_dict(),
        "box": [float(each) for each in box],
        "roll_deg": virtual.roll_deg,
        "crop": _pixels(crop.pixels),
        "bbox_info": crop.bbox_info.tolist(),
    }


def _confidence_vector(rng: np.random.Generator) -> dict[str, Any]:
    projected = rng.uniform(-0.7, 0.7, (1, 68, 2)).astype(np.float32)
    heatmap = projected + rng.normal(0.0, 0.1, projected.shape).astype(np.float32)
    peaks = rng.uniform(0.0, 1.0, (1, 68)).astype(np.float32)
    unused = np.zeros((1, 3, 3), np.float32)
    arrays = PoseArrays(unused, unused[0], unused, projected, heatmap, peaks)
    features = confidence_features(arrays, np.arange(68, dtype=np.int32))
    weights = rng.normal(size=len(FEATURES))
    return {
        "projected68": projected.ravel().tolist(),
        "heatmap68": heatmap.ravel().tolist(),
        "peaks": peaks.ravel().tolist(),
        "features": dict(zip(FEATURES, features[0].tolist(), strict=True)),
        "weights": dict(zip(FEATURES, weights.tolist(), strict=True)),
        "confidence": float(ConfidenceModel(tuple(weights.tolist())).predict(features)[0]),
    }


def _known_size_vector(rng: np.random.Generator) -> dict[str, Any]:
    std = rng.uniform(0.001, 0.1, STD_COUNT)
    return {
        "std": std.tolist(),
        "scaled": ErrorBars(std).with_known_size(1.1, 0.04).std.tolist(),
        "size_std": ErrorBars(std).size_std(0.063),
    }


def _sequence_vector(rng: np.random.Generator) -> dict[str, Any]:
    """Return faces of one person over time, sized and smoothed, and differences of signatures."""
    topology = trg.HeadPoseEstimator().topology
    camera, image = Camera.from_fov(60.0, 160, 120), _noise_image(rng, 160, 120)
    memory, smoother = SizeMemory(), FaceSmoother()
    known_memory = SizeMemory(interpupillary_m=0.063)
    frames, signatures = [], []
    for index in range(8):
        shape = topology.template_m * rng.normal(1.0, 0.03)
        face = Face(
            rotation_from_euler(rng.normal(0.0, 15.0, 3)),
            rng.normal((0.0, 0.0, 0.6), 0.05),
            shape + rng.normal(0.0, 1e-3, shape.shape),
            0.9,
            camera,
            topology,
            error_bars=ErrorBars(rng.uniform(0.03, 0.06, STD_COUNT)) if index % 2 else None,
        )
        signatures.append(Signature.of(face, image))
        sized = memory.remember(face, index / 30.0)
        smoothed = smoother.smooth(sized, index / 30.0)
        known = face.with_interpupillary(0.063)
        frames.append(
            {
                "time_s": index / 30.0,
                "face": _face(face, dense=True),
                "sized": _face(sized),
                "smoothed": _face(smoothed),
                "known": _face(known),
                "known_sized": _face(known_memory.remember(face, index / 30.0)),
                "difference": signatures[0].difference(signatures[-1]),
            }
        )
    return {
        "camera": camera.to_dict(),
        "image": _pixels(image),
        "vertex_count": topology.vertex_count,
        "triangles": topology.triangles.ravel().tolist(),
        "landmarks68": topology.landmarks68.tolist(),
        "frames": frames,
    }


def _face(face: Face, dense: bool = False) -> dict[str, Any]:
    values = {
        "id": face.id,
        "confidence": face.confidence,
        "rotation": face.rotation.ravel().tolist(),
        "translation_m": face.translation_m.tolist(),
        "euler_deg": face.euler().tolist(),
        "euler_sight_deg": face.euler(relative_to="sight").tolist(),
        "interpupillary_m": face.interpupillary_m,
        "box_xyxy": face.box_xyxy.tolist(),
        "landmarks68_px": face.landmarks68_px.ravel().tolist(),
        "std": face.error_bars and face.error_bars.std.tolist(),
    }
    if dense:
        values["landmarks_m"] = face.landmarks_m.ravel().tolist()
    return values


def _noise_image(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Return coarse noise, which shows both shifts and wrong filters."""
    coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    fine = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height)))
    return ((3 * smooth.astype(int) + fine) // 4).astype(np.uint8)


def _pixels(image: np.ndarray) -> dict[str, Any]:
    height, width = image.shape[:2]
    return {
        "width": width,
        "height": height,
        "rgb": base64.b64encode(np.ascontiguousarray(image).tobytes()).decode(),
    }


def _write_video(path: Path, codec: str, frames: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=CLIP_FPS, options={"crf": "8"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.bit_rate, stream.pix_fmt = 8_000_000, "yuv420p"
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, CLIP_FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _write_y4m(path: Path, frames: list[np.ndarray]) -> None:
    height, width = frames[0].shape[:2]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{CLIP_FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for pixels in frames:
            planes = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
            file.write(b"FRAME\n" + planes.to_ndarray().tobytes())


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


if __name__ == "__main__":
    write_web_test_data(Path(sys.argv[1]))
