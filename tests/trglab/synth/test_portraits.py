"""Portraits without landmarks: estimates, fits, skins, profiled and pseudo-labelled samples."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.support.constant_bundle import write_constant_bundle
from tests.support.made_samples import as_fitted
from trg.geometry.camera import Camera
from trg.geometry.projection import OPTICAL_AXIS, transform
from trg.geometry.rotations import geodesic_angle_deg, rotation_between, rotation_from_euler
from trg.inference.runtime import PoseRuntime
from trglab.cli.synth import synth
from trglab.datasets.view import ViewSpec, view_from_sample
from trglab.datasets.w300lp import W300LP
from trglab.export import dataset_writer
from trglab.synth.assets import find_asset, find_assets, remember_asset
from trglab.synth.colour import srgb_from_linear
from trglab.synth.head.procedural_head import load_procedural_head
from trglab.synth.portraits import profiling, pseudo_labels, skin
from trglab.synth.portraits.estimates import FaceEstimates, estimate_photo
from trglab.synth.portraits.fit import fit_portrait
from trglab.synth.render.raster import render
from trglab.synth.skin.maps import skin_maps

WIDTH, HEIGHT, FOCAL = 240, 300, 960.0
SKIN = np.array([0.52, 0.33, 0.24])
ROTATION = rotation_from_euler(np.array([14.0, 4.0, -3.0]))
TRANSLATION = np.array([0.01, -0.02, 1.3])


@pytest.fixture(scope="module")
def model():
    return load_procedural_head()


@pytest.fixture(scope="module")
def maps(model):
    return skin_maps(model, 96)


def project(points_m):
    cam = transform(points_m.astype(np.float64), ROTATION, TRANSLATION)
    return FOCAL * cam[:, :2] / cam[:, 2:] + (WIDTH / 2, HEIGHT / 2)


@pytest.fixture(scope="module")
def estimates(model):
    """Four photographs: a good one, none found, contradictory, and one that is cut off."""
    identity = np.zeros(len(model.identity), np.float32)
    identity[:2] = (0.5, -0.5)
    head = model.neutral(identity)
    landmarks, dense = project(head[model.landmarks68]), project(head[model.dense])
    disagreement = np.array([0.004, np.nan, 0.05, 0.004])
    return FaceEstimates(
        names=("a.png", "b.png", "c.png", "d.png"),
        sizes_px=np.array([[WIDTH, HEIGHT]] * 4),
        landmarks68_px=np.stack([landmarks, landmarks, landmarks, landmarks + (90, 0)]),
        vertices_px=np.stack([dense] * 4),
        rotation=np.stack([np.eye(3)] * 4),
        translation_m=np.stack([TRANSLATION + 0.01] * 4),
        vertices_m=np.stack([head[model.dense]] * 4),
        disagreement=disagreement,
        tail=2 * disagreement,
        spread=np.full(4, 0.002),
    )


@pytest.fixture(scope="module")
def fit(model, estimates):
    return fit_portrait(model, estimates, 0)


@pytest.fixture
def folder(tmp_path, monkeypatch, estimates):
    """A folder of portraits whose estimates are known."""
    monkeypatch.setenv("TRG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRG_SOURCES", str(tmp_path / "sources.json"))
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in estimates.names:
        Image.fromarray(photo()).save(photos / name)
    for module in (skin, profiling, pseudo_labels):
        monkeypatch.setattr(module, "estimate_photos", lambda *_, **__: estimates)
    return photos


def photo():
    rgb = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    rgb[:] = srgb_from_linear(SKIN)
    return rgb


def test_labels_that_contradict_themselves_are_named(estimates):
    assert [estimates.problem(index) for index in range(4)] == [
        None,
        "no single face found",
        "heatmaps and projections disagree",
        "face cut off by the image",
    ]


def test_a_photograph_is_estimated_on_several_crops(tmp_path, model):
    bundle = tmp_path / "constant.trg"
    write_constant_bundle(bundle, model.topology, (0.0, 0.0, 1.0))
    network = PoseRuntime(bundle)
    Image.fromarray(photo()).save(tmp_path / "a.png")
    boxes = np.array([[60.0, 80.0, 160.0, 180.0]])
    detector = SimpleNamespace(detect=lambda *_, **__: SimpleNamespace(boxes_xyxy=boxes))
    found = estimate_photo(tmp_path / "a.png", network, detector)
    assert found["landmarks68_px"].shape == (68, 2)
    assert found["spread"] > 0.0  # the constant answer lies elsewhere in each crop
    np.testing.assert_allclose(found["rotation"], np.eye(3), atol=1e-6)
    (tmp_path / "b.png").write_bytes(b"no image")
    missing = estimate_photo(tmp_path / "b.png", network, detector)
    assert np.isnan(missing["disagreement"])
    assert missing.keys() == found.keys()


def test_the_fit_recovers_pose_and_landmarks(model, fit):
    assert geodesic_angle_deg(fit.rotation, ROTATION) < 2.5
    assert fit.error < 0.01
    assert (fit.expression >= 0.0).all()


def test_an_even_portrait_gives_even_skin(maps, fit):
    extracted = skin.extract_portrait_skin(maps, fit, photo())
    np.testing.assert_allclose(extracted.tone_linear, SKIN, rtol=0.03)
    seen = extracted.layer.weight > 0.5
    assert seen.sum() > 150
    assert np.abs(extracted.layer.density[seen]).max() < 0.05
    assert (extracted.layer.weight[maps.eyes_m < 0] == 0).all()
    assert extracted.glasses < skin.GLASSES_CONTRAST


def test_frames_below_the_eyes_mask_the_eye_region(model, maps, fit):
    rgb, points = photo(), project(fit.vertices_m[model.landmarks68])
    for eye in (slice(36, 42), slice(42, 48)):
        row = int(points[eye, 1].mean() + 0.32 * np.ptp(points[[36, 39], 0]) + 6)
        rgb[row : row + 3, int(points[eye, 0].min()) - 4 : int(points[eye, 0].max()) + 5] = 12
    extracted = skin.extract_portrait_skin(maps, fit, rgb)
    assert extracted.glasses > skin.GLASSES_CONTRAST
    near = (maps.eyes_m > 0.008) & (maps.eyes_m < 0.014) & (maps.y_m < maps.landmarks_m[29, 1])
    assert extracted.layer.weight[near].max() < 0.2


def test_teeth_in_an_open_mouth_are_masked(maps, fit):
    rgb = photo()
    closed = skin.extract_portrait_skin(maps, fit._replace(mouth_gap=0.0), rgb)
    opened = skin.extract_portrait_skin(maps, fit._replace(mouth_gap=0.3), rgb)
    seam = (maps.mouth_m < 0.001) & maps.texels.used
    assert opened.layer.weight[seam].max() < 0.2 < closed.layer.weight[seam].max()


def test_a_photograph_without_colour_is_refused(maps, fit):
    grey = np.full((HEIGHT, WIDTH, 3), 130, np.uint8)
    with pytest.raises(ValueError, match="in colour"):
        skin.extract_portrait_skin(maps, fit, grey)


def test_the_bank_counts_what_it_drops_and_draws_repeatably(model, maps, folder, monkeypatch):
    monkeypatch.setattr(skin, "STORED_SIZE", 96)
    bank = skin.load_portrait_skins(model, maps, [folder])
    assert len(bank) == 1
    assert sum(bank.dropped.values()) == 3
    again = skin.load_portrait_skins(model, maps, [folder])  # from the cache
    np.testing.assert_array_equal(bank.rows[0], again.rows[0])
    assert isinstance(again.rows[0], np.memmap)  # shared by all processes
    tone, layer, age = bank.sample(maps, np.random.default_rng(1), 60.0)
    tone_again, layer_again, _ = again.sample(maps, np.random.default_rng(1), 60.0)
    np.testing.assert_array_equal(layer.density, layer_again.density)
    np.testing.assert_array_equal(tone.density, tone_again.density)
    assert age == skin.NOT_GREY_YEARS
    assert layer.density.std() > 0.01  # fine detail is added


def test_tones_follow_the_stated_shares():
    rng = np.random.default_rng(0)
    drawn = np.array([skin.sample_typology(rng) for _ in range(4000)])
    for (low, high), share in skin.TONE_SHARES:
        assert ((drawn >= low) & (drawn < high)).mean() == pytest.approx(share, abs=0.03)
    assert sum(share for _, share in skin.TONE_SHARES) == pytest.approx(1.0)


@pytest.mark.parametrize("landmark", [27, 39, 51, 57])
def test_a_turned_photograph_shows_its_points_where_the_labels_say(model, fit, landmark):
    rgb, vertex = photo(), model.landmarks68[[landmark]]
    mark = project(fit.vertices_m[vertex])[0].astype(int)
    rgb[mark[1] - 2 : mark[1] + 3, mark[0] - 2 : mark[0] + 3] = (255, 0, 0)
    sheet = profiling.make_sheet(model, fit, rgb, "a")
    camera = Camera(600.0, 600.0, 100.0, 100.0, 200, 200)
    turned = rotation_from_euler(np.array([-20.0, 0.0, 8.0])) @ fit.rotation
    place = np.array([0.0, 0.0, 1.0])
    light, dark = profiling.ambient_light(), np.zeros((200, 200, 3), np.float32)
    shown = render([sheet.surface], turned, place, camera, light, dark).rgb
    rows, columns = np.nonzero(shown[..., 0] > 2.5 * shown[..., 1] + 0.1)
    label = camera.project(transform(sheet.vertices_m[vertex].astype(float), turned, place))[0]
    np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], label, atol=2.0)


def test_profiled_samples_stay_within_reach_and_are_repeatable(folder):
    portraits = profiling.ProfiledPortraits(2, folder=folder, window=(64, 1.6))
    sample, again = portraits.sample(5), portraits.sample(5)
    np.testing.assert_array_equal(sample.image, again.image)
    assert sample.image.shape == (64, 64, 3)
    assert sample.vertices_m.shape == (1220, 3)
    flat = profiling.ProfiledPortraits(2, folder=folder, window=(64, 1.6), pose_labels=False)
    assert flat.sample(5).rotation is None
    rng = np.random.default_rng(0)
    yaws = [profiling.turned_rotation(rng, np.eye(3)) for _ in range(100)]
    assert max(geodesic_angle_deg(each, np.eye(3)) for each in yaws) < 75.0


def test_depth_continues_smoothly_from_the_head_to_the_border():
    known = np.zeros((48, 40), bool)
    known[18:30, 14:26] = True
    depth = profiling.continue_depth(np.where(known, 1.0, 0.0), known, 2.0)
    assert (depth[known] == 1.0).all()
    assert (depth[0] == 2.0).all()
    assert 1.0 < depth[10, 20] < 2.0
    assert np.abs(np.diff(depth, axis=0)).max() < 0.3


def test_pseudo_labelled_photographs_have_2d_labels_only(folder):
    photos = pseudo_labels.PseudoLabelledPhotos(folder)
    assert len(photos) == 1
    sample = photos[0]
    assert sample.rotation is None
    assert sample.vertices_m is None
    view = view_from_sample(sample, ViewSpec(64))
    assert not view.has_pose
    assert not view.has_vertices
    assert np.isfinite(view.landmarks68_rays).all()


def test_photographs_with_and_without_landmarks_are_told_apart(folder, tmp_path, monkeypatch):
    landmarked = tmp_path / "landmarked"
    landmarked.mkdir()
    (landmarked / "landmarks189.npz").write_bytes(b"")
    remember_asset("photo_skin", folder)
    remember_asset("photo_skin", landmarked)
    assert (find_asset("portraits"), find_asset("photo_skin")) == (folder, landmarked)
    monkeypatch.setenv("TRG_PHOTOS", os.pathsep.join([str(folder), str(landmarked), str(folder)]))
    assert find_assets("portraits") == [folder, folder]
    assert find_assets("photo_skin") == [landmarked]


def test_the_first_image_of_a_photograph_keeps_its_pose_and_the_others_turn_exactly(folder, model):
    portraits = profiling.ProfiledPortraits(2, folder=folder, window=(64, 1.6), first_unturned=True)
    sheet = portraits._sheet(0)
    samples = [portraits.sample(index) for index in range(3)]

    def relative_to_sight(sample):
        return rotation_between(OPTICAL_AXIS, sample.translation_m).T @ sample.rotation

    assert geodesic_angle_deg(relative_to_sight(samples[0]), sheet.rotation) < 1e-6
    turns = [geodesic_angle_deg(relative_to_sight(each), sheet.rotation) for each in samples[1:]]
    assert min(turns) > 1.0
    for sample in samples:  # the same head, moved by the labelled pose
        points = transform(
            sheet.vertices_m[model.landmarks68].astype(float), sample.rotation, sample.translation_m
        )
        np.testing.assert_allclose(sample.camera.project(points), sample.landmarks68_px, atol=1e-6)


def test_photographs_of_a_user_become_a_folder_like_300wlp(folder, tmp_path, monkeypatch):
    pytest.importorskip("scipy")
    monkeypatch.setattr(dataset_writer, "PROFILED_WINDOW", (96, 2.0))
    out = tmp_path / "profiled"
    synth(out, count=2, layout="300wlp", seed=2, profile=folder)
    images = W300LP(out, rotations=True)
    assert len(images) == 2
    portraits = profiling.ProfiledPortraits(2, folder=folder, window=(96, 2.0), first_unturned=True)
    drawn = [as_fitted(portraits.sample(index)) for index in range(2)]
    for index in range(2):
        np.testing.assert_allclose(images[index].rotation, drawn[index].rotation, atol=1e-4)
        assert images[index].image.shape == (450, 450, 3)
    relative = images[1].rotation.T @ images[0].rotation
    np.testing.assert_allclose(relative, drawn[1].rotation.T @ drawn[0].rotation, atol=1e-4)
    with pytest.raises(ValueError, match="expected --layout webdataset, 300wlp or aflw2000"):
        synth(tmp_path / "other", layout="biwi", profile=folder)
    with pytest.raises(ValueError, match="expected no --sheet"):
        synth(tmp_path / "other", sheet=tmp_path / "a.png", profile=folder)
