"""Synthetic samples end to end on the built-in head: determinism, exact labels, borders, assets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.projection import transform
from trg.geometry.shape_basis import EXPRESSION_NAMES
from trglab.datasets.sample import Sample
from trglab.datasets.sheet import contact_sheet
from trglab.datasets.store_writer import SHARD_SIZE
from trglab.datasets.workers import CHUNK
from trglab.synth.assets import find_asset, remember_asset, require_asset
from trglab.synth.dataset import IMAGES_PER_PERSON, SyntheticFaces
from trglab.synth.head.expressions import arkit_weights
from trglab.synth.head.procedural_head import load_procedural_head

PLAIN = {"photo_skin": False, "panoramas": False}


@pytest.fixture(scope="module")
def faces() -> SyntheticFaces:
    return SyntheticFaces(3, window=(96, 1.6), ingredients=PLAIN)


def assert_same(a: Sample, b: Sample) -> None:
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.rotation, b.rotation)
    np.testing.assert_array_equal(a.translation_m, b.translation_m)
    np.testing.assert_array_equal(a.vertices_m, b.vertices_m)
    np.testing.assert_array_equal(a.landmarks68_visible, b.landmarks68_visible)
    assert a.camera == b.camera
    assert a.identity == b.identity


def test_a_sample_depends_on_seed_and_index_alone(faces):
    """Not on earlier samples, nor on the object that renders it."""
    indices = [IMAGES_PER_PERSON * 2 + 1, 0, 5 * IMAGES_PER_PERSON - 1]
    forwards = {index: faces.sample(index) for index in indices}
    for index in reversed(indices):
        assert_same(faces.sample(index), forwards[index])
    other = SyntheticFaces(3, window=(96, 1.6), ingredients=PLAIN)
    assert_same(other.sample(indices[0]), forwards[indices[0]])
    assert not np.array_equal(
        SyntheticFaces(4, window=(96, 1.6), ingredients=PLAIN).sample(0).image, forwards[0].image
    )


def test_neighbouring_indices_share_a_person(faces):
    assert CHUNK == IMAGES_PER_PERSON  # a worker makes whole people
    assert SHARD_SIZE % CHUNK == 0
    identities = [faces.sample(i).identity for i in (0, IMAGES_PER_PERSON - 1)]
    assert identities[0] == identities[1]
    assert faces.sample(IMAGES_PER_PERSON).identity != identities[0]


@pytest.mark.parametrize("index", range(0, 60, 7))
def test_labels_agree_with_each_other(faces, index):
    sample = faces.sample(index)
    topology = faces.topology
    cam = transform(sample.vertices_m.astype(float), sample.rotation, sample.translation_m)
    projected = sample.camera.project(cam)
    np.testing.assert_allclose(projected[topology.landmarks68], sample.landmarks68_px, atol=0.01)
    np.testing.assert_allclose(face_box(sample.landmarks68_px), sample.box_xyxy)
    side = sample.box_xyxy[2] - sample.box_xyxy[0]
    assert side == pytest.approx(96 / 1.6, rel=0.06)  # f_x != f_y: square in rays, not in pixels
    assert np.abs(sample.rotation @ sample.rotation.T - np.eye(3)).max() < 1e-9


def test_a_sample_tells_the_expression_that_its_vertices_have(faces):
    model = load_procedural_head()
    for index in (0, 5, 30):
        sample = faces.sample(index)
        true = dict(zip(EXPRESSION_NAMES, sample.expressions, strict=True))
        modes = model.expression[:, model.dense].reshape(len(model.expression), -1)
        moving = np.flatnonzero(modes.any(1))
        offsets_m = (sample.vertices_m - faces.neutral_m(index)).ravel()
        fitted = np.zeros(len(modes), np.float32)
        fitted[moving] = np.linalg.lstsq(modes[moving].T, offsets_m, rcond=None)[0]
        # The person's scale multiplies the offsets; gaze moves only the eyes of this head.
        found = dict(zip(EXPRESSION_NAMES, arkit_weights(model, fitted), strict=True))
        for name in ("jawOpen", "mouthSmileLeft", "browInnerUp", "mouthPucker"):
            assert found[name] == pytest.approx(true[name], rel=0.15, abs=1e-3), name
    assert true["eyeLookInLeft"] > 0.0 or true["eyeLookOutLeft"] > 0.0


def test_the_rendered_face_is_where_the_labels_say(monkeypatch):
    """Vertices that face the camera lie within 0.5 px of the triangles drawn around them."""
    drawn = []
    monkeypatch.setattr(
        "trglab.synth.dataset.render",
        lambda *args, **kwargs: drawn.append((args, _render(*args, **kwargs))) or drawn[-1][1],
    )
    faces = SyntheticFaces(
        5, window=None, camera=OFF_CENTRE.to_dict(), ingredients={**PLAIN, "occluders": False},
        shots={"distance_m": (0.3, 0.8), "cut_off_share": 0.0},
    )  # fmt: skip
    checked = 0
    for index in range(3):
        sample = faces.sample(index)
        (surfaces, *_), rendering = drawn[-1]
        skin = next(i for i, surface in enumerate(surfaces) if surface.name == "skin")
        cam = transform(
            surfaces[skin].vertices_m.astype(float), sample.rotation, sample.translation_m
        )
        labels = transform(sample.vertices_m.astype(float), sample.rotation, sample.translation_m)
        px = sample.camera.project(cam)
        first = rendering.first_triangle[skin]
        ids = rendering.triangle_id - first
        is_skin = (ids >= 0) & (ids < len(surfaces[skin].triangles))
        rows, columns = np.nonzero(is_skin)
        triangles = surfaces[skin].triangles[ids[rows, columns]]
        centres = np.stack([columns + 0.5, rows + 0.5], -1) / 2.0
        corners = px[triangles]
        low, high = corners.min(1) - 0.5, corners.max(1) + 0.5
        assert ((centres >= low) & (centres <= high)).all()
        seen = np.zeros(len(cam), bool)
        seen[triangles] = True
        distance = np.linalg.norm(labels[:, None] - cam[seen][None], axis=-1).min(1)
        checked += (distance < 1e-6).sum()
    assert checked > 300  # landmark vertices are vertices that were drawn


OFF_CENTRE = Camera(430.0, 450.0, 170.0, 110.0, 320, 240, (0.08, -0.03, 0.002, -0.001, 0.0))


def _render(*args, **kwargs):
    from trglab.synth.render.raster import render

    return render(*args, **kwargs)


def test_pixels_outside_the_image_are_black_and_landmarks_there_invisible():
    faces = SyntheticFaces(
        1, window=(96, 1.6), ingredients=PLAIN,
        shots={"cut_off_share": 1.0, "off_centre_share": 1.0},
    )  # fmt: skip
    cut = 0
    for index in range(40):
        sample = faces.sample(index)
        black = (sample.image == 0).all(-1)
        if not black.any():
            continue
        x, y = np.floor(sample.landmarks68_px).astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < 96) & (y < 96)
        outside = black[y[inside], x[inside]] & (black.mean() > 0.2)
        cut += outside.sum()
        assert not sample.landmarks68_visible[inside][outside & _deep(black, x, y, inside)].any()
        if cut > 20:
            break
    assert cut > 20


def _deep(black: np.ndarray, x: np.ndarray, y: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return which points are surrounded by black only: dark skin has black pixels, too."""
    padded = np.pad(black, 3, constant_values=True)
    return np.array(
        [padded[b : b + 7, a : a + 7].all() for a, b in zip(x[inside], y[inside], strict=True)]
    )


def test_whole_images_have_the_requested_size_and_camera():
    sample = SyntheticFaces(0, window=None, image_size=(200, 150), ingredients=PLAIN).sample(2)
    assert sample.image.shape == (150, 200, 3)
    assert (sample.camera.width, sample.camera.height) == (200, 150)
    fixed = SyntheticFaces(0, window=None, camera=OFF_CENTRE.to_dict(), ingredients=PLAIN)
    assert fixed.sample(0).camera == OFF_CENTRE


def test_distances_keep_the_requested_range():
    near = SyntheticFaces(0, window=(32, 1.6), ingredients=PLAIN, shots={"distance_m": [0.5, 0.6]})
    for index in range(2):
        assert 0.5 <= near.sample(index).translation_m[2] <= 0.6


def test_contact_sheet_draws_every_sample(faces):
    sheet = contact_sheet(
        (faces.sample(i) for i in range(3)), columns=2, cell_px=64, edges=faces.topology.edges
    )
    assert sheet.size == (128, 128)
    cells = np.asarray(sheet).reshape(2, 64, 2, 64, 3).swapaxes(1, 2).reshape(4, -1)
    assert [cell.std() > 5 for cell in cells] == [True, True, True, False]
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_a_missing_required_asset_is_named_with_its_origin():
    for ingredient, kind in (
        ("photo_skin", "photo_skin"),
        ("panoramas", "panoramas"),
        ("hair_meshes", "hair_meshes"),
    ):
        with pytest.raises(FileNotFoundError, match=f"{kind}: not installed.*{kind} PATH"):
            SyntheticFaces(0, ingredients={ingredient: True})


def test_assets_are_found_in_argument_environment_and_registry_in_that_order(tmp_path, monkeypatch):
    monkeypatch.setenv("TRG_SOURCES", str(tmp_path / "sources.json"))
    places = [tmp_path / name for name in ("noted", "environment", "argument")]
    for place in places:
        place.mkdir()
    assert find_asset("photo_skin") is None
    remember_asset("photo_skin", places[0])
    assert find_asset("photo_skin") == places[0]
    monkeypatch.setenv("TRG_PHOTOS", str(places[1]))
    assert find_asset("photo_skin") == places[1]
    assert find_asset("photo_skin", places[2]) == places[2]
    places[1].rmdir()
    with pytest.raises(FileNotFoundError, match=r"does not exist.*CC BY"):
        require_asset("photo_skin")
    with pytest.raises(ValueError, match="face-model"):
        remember_asset("wigs", places[0])


def test_a_damaged_registry_raises_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("TRG_SOURCES", str(tmp_path / "sources.json"))
    (tmp_path / "sources.json").write_text("{")
    with pytest.raises(ValueError, match="delete it"):
        find_asset("photo_skin")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"window": (0, 1.6)}, "window"),
        ({"window": (96, 0.0)}, "window"),
        ({"shots": {"distance_m": (2.0, 1.0)}}, "distance_m"),
        ({"face_model": "/nowhere/model.npz"}, "ICT-FaceKit"),
    ],
)
def test_invalid_options_raise_a_clear_error(options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        SyntheticFaces(**options)


@pytest.mark.skipif(
    not Path("../shared/facemodel").exists() or os.name != "posix",
    reason="needs ICT-FaceKit: ../shared/facemodel/ict_facekit.npz",
)
def test_samples_with_ict_facekit():
    shared = Path("../shared")
    faces = SyntheticFaces(
        0, window=(96, 1.6), face_model=shared / "facemodel/ict_facekit.npz", ingredients=PLAIN
    )
    sample = faces.sample(3)
    assert sample.vertices_m.shape == (1220, 3)
    assert sample.image.std() > 10
