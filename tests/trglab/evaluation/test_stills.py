from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.support.dot_faces import DotFaces
from trg.geometry.camera import Camera
from trg.geometry.crop import crop_from_pixels, face_box
from trglab.evaluation.stills import NME_POINTS, Stills

CROP = 96


def write_folder(folder: Path, count: int = 3) -> np.ndarray:
    points = []
    for index in range(count):
        sample = DotFaces(dots=(30,)).sample(index)
        Image.fromarray(sample.image).save(folder / f"{index:04d}.png")
        points.append(sample.landmarks68_px)
    names = [f"{index:04d}.png" for index in range(count)]
    np.savez(folder / "landmarks68.npz", names=names, points=np.stack(points))
    return np.stack(points)


def perfect(points_px: np.ndarray, shift_px: np.ndarray, fov_deg: float = 60.0):
    """A predictor that knows the truth and is off by ``shift_px`` in the photographs."""
    camera = Camera.from_fov(fov_deg, 320, 320, axis="diagonal")

    def predict(crops: np.ndarray, bbox_info: np.ndarray) -> np.ndarray:
        assert crops.shape == (len(points_px), CROP, CROP, 3)
        assert crops.dtype == np.uint8
        pairs = zip(points_px + shift_px, bbox_info.astype(np.float64), strict=True)
        return np.stack([crop_from_pixels(camera, each, numbers) for each, numbers in pairs])

    return predict


def test_nme_of_true_and_shifted_points(tmp_path: Path) -> None:
    points = write_folder(tmp_path)
    stills = Stills(tmp_path, CROP)
    assert stills.measure(perfect(points, np.zeros(2))).nme11 == pytest.approx(0.0, abs=1e-6)
    result = stills.measure(perfect(points, np.array([3.0, 4.0])))
    extent = points.max(1) - points.min(1)
    expected = 5.0 / np.sqrt(extent[:, 0] * extent[:, 1])
    np.testing.assert_allclose(result.nme11, expected, rtol=1e-5)
    np.testing.assert_allclose(result.nme68, expected, rtol=1e-5)
    assert result.nme11_median == pytest.approx(np.median(expected), rel=1e-5)


def test_an_estimator_is_scored_by_its_nearest_face_and_by_misses(tmp_path: Path) -> None:
    points = write_folder(tmp_path)
    stills = Stills(tmp_path, CROP)
    answers = iter(
        [
            [
                SimpleNamespace(landmarks68_px=points[0] + 90.0),
                SimpleNamespace(landmarks68_px=points[0]),
            ],
            [],
            [SimpleNamespace(landmarks68_px=points[2])],
        ]
    )
    result = stills.measure_estimator(lambda pixels: next(answers))
    assert result.nme11.tolist() == [0.0, np.inf, 0.0]
    assert result.statistics()["nme11_mean"] == 0.0
    assert result.statistics()["nme11_over_10_percent"] == pytest.approx(1 / 3)


def test_only_the_eleven_points_count(tmp_path: Path) -> None:
    points = write_folder(tmp_path)
    shift = np.full((68, 2), 50.0)
    shift[list(NME_POINTS)] = 0.0
    result = Stills(tmp_path, CROP).measure(perfect(points, shift))
    assert result.nme11.max() < 1e-6
    assert result.nme68.min() > 0.1


def test_crops_show_the_photograph(tmp_path: Path) -> None:
    """The dot at landmark 30 lies in the crop where the box says."""
    points = write_folder(tmp_path, 1)
    still = Stills(tmp_path, CROP).crops[0]
    bright = still.crop.mean(-1) - 24.0
    weight = bright.clip(0.0)
    axis = np.arange(CROP) + 0.5
    found = np.array([(weight.sum(0) * axis).sum(), (weight.sum(1) * axis).sum()]) / weight.sum()
    expected = (crop_from_pixels(still.camera, points[0, 30:31], still.bbox_info)[0] + 1) * 48
    np.testing.assert_allclose(found, expected, atol=0.3)
    box = face_box(points[0])
    assert still.bbox_info[2] == pytest.approx((box[2] - box[0]) / still.camera.fx)


def test_invalid_stills_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected the stills' points"):
        Stills(tmp_path, CROP)
    write_folder(tmp_path, 2)
    stills = Stills(tmp_path, CROP)
    with pytest.raises(ValueError, match="predictor's landmarks: expected shape"):
        stills.measure(lambda crops, boxes: np.zeros((len(crops), 5, 2)))
    np.savez(tmp_path / "landmarks68.npz", names=["a"], points=np.zeros((1, 5, 2)))
    with pytest.raises(ValueError, match="points: expected shape"):
        Stills(tmp_path, CROP)
