from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trglab.synth.colour import srgb_from_linear
from trglab.synth.head.procedural_head import load_procedural_head
from trglab.synth.skin.maps import skin_maps
from trglab.synth.skin.paint import SkinLayer
from trglab.synth.skin.photo_fit import LONDON_CONTOUR, LONDON_HAIRLINE, LONDON_TO_68, fit_photo
from trglab.synth.skin.photo_landmarks import read_landmarks
from trglab.synth.skin.photo_skin import (
    Portrait,
    blend_layers,
    extract_skin,
    load_photo_skins,
)
from trglab.synth.skin.photo_texture import mirror_layer, reduce_layer

SIZE, WIDTH, FOCAL = 96, 400, 1600.0
SKIN = np.array([0.52, 0.33, 0.24])


@pytest.fixture(scope="module")
def model():
    return load_procedural_head()


@pytest.fixture(scope="module")
def maps(model):
    return skin_maps(model, SIZE)


def project(points_m, translation):
    cam = points_m + translation
    return FOCAL * cam[:, :2] / cam[:, 2:] + WIDTH / 2


@pytest.fixture(scope="module")
def portrait(model):
    """An evenly coloured image with the 189 landmarks of a known head at a known place."""
    identity = np.zeros(len(model.identity), np.float32)
    identity[:2] = (0.6, -0.4)
    head = model.neutral(identity).astype(np.float64)
    translation = np.array([0.01, -0.005, 1.2])
    landmarks = project(head[model.landmarks68], translation)
    points = np.tile(landmarks[30], (189, 1))
    for index, sources in LONDON_TO_68.items():
        for source in sources:
            points[source] = landmarks[index]
    for source, jaw in zip(LONDON_CONTOUR, np.linspace(0, 16, len(LONDON_CONTOUR)), strict=True):
        low, share = int(jaw), jaw % 1
        points[source] = landmarks[low] * (1 - share) + landmarks[min(low + 1, 16)] * share
    third = landmarks[33, 1] - landmarks[19, 1]
    for source, x in zip(LONDON_HAIRLINE, np.linspace(-1, 1, len(LONDON_HAIRLINE)), strict=True):
        half = 0.5 * (landmarks[16, 0] - landmarks[0, 0])
        points[source] = (landmarks[27, 0] + x * half, landmarks[19, 1] - third * (1 - 0.5 * x * x))
    rgb = np.empty((WIDTH, WIDTH, 3), np.uint8)
    rgb[:] = srgb_from_linear(SKIN)
    return Portrait(rgb, points), head + translation, landmarks


def test_fit_lands_on_the_landmarks(model, portrait):
    photo, truth_cam, landmarks = portrait
    fit = fit_photo(model, photo.points_px, WIDTH, WIDTH)
    points = fit.vertices_cam_m[model.landmarks68]
    pixels = fit.focal_px * points[:, :2] / points[:, 2:] + WIDTH / 2
    # Averaged brow points spread over more than one landmark, so not every one is exact.
    middle = [27, 30, 36, 39, 42, 45, 48, 54, 57]
    assert np.abs(pixels[middle] - landmarks[middle]).max() < 4.0
    assert fit.error_px < 3.0
    assert fit.vertices_cam_m[:, 2].mean() / fit.focal_px == pytest.approx(
        truth_cam[:, 2].mean() / FOCAL, rel=0.08
    )


def test_uniform_photograph_gives_uniform_skin(model, maps, portrait):
    skin = extract_skin(model, maps, portrait[0])
    np.testing.assert_allclose(skin.tone_linear, SKIN, rtol=0.03)
    seen = skin.layer.weight > 0.5
    assert seen.sum() > 200
    assert np.abs(skin.layer.density[seen]).max() < 0.05
    assert (skin.layer.weight[maps.eyes_m < 0] == 0).all()
    assert (skin.layer.weight[maps.z_m > 0.05] == 0).all()


def test_a_mark_on_the_cheek_is_found_again(model, maps, portrait):
    photo, _, landmarks = portrait
    rgb = photo.rgb.copy()
    cheek = (0.5 * (landmarks[46] + landmarks[54]) + [4, 0]).astype(int)
    rgb[cheek[1] - 3 : cheek[1] + 4, cheek[0] - 3 : cheek[0] + 4] //= 3
    skin = extract_skin(model, maps, Portrait(rgb, photo.points_px))
    marked = skin.layer.density.mean(axis=-1) > 0.3
    assert marked.any()
    assert (maps.x_m[marked] > 0).all()
    assert np.abs(maps.x_m[marked]).max() < 0.08


def test_mirroring_twice_restores_and_swaps_sides(maps):
    density = np.repeat(maps.x_m[..., None], 3, axis=-1)
    layer = SkinLayer(density, maps.texels.used.astype(np.float32))
    once = mirror_layer(layer, maps)
    there = once.weight > 0
    assert there.any()
    np.testing.assert_allclose(once.density[there][:, 0], -maps.x_m[there], atol=0.004)


def test_a_reduced_layer_is_the_mean_of_its_texels():
    rng = np.random.default_rng(0)
    layer = SkinLayer(rng.random((8, 8, 3), dtype=np.float32), rng.random((8, 8), dtype=np.float32))
    half = reduce_layer(layer, 4)
    mean = layer.density.reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(half.density, mean, rtol=1e-6)
    np.testing.assert_allclose(
        half.weight, layer.weight.reshape(4, 2, 4, 2).mean(axis=(1, 3)), rtol=1e-6
    )
    assert reduce_layer(layer, 8) is layer


def test_blend_takes_each_where_told():
    first = SkinLayer(np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.float32))
    second = SkinLayer(np.ones((4, 4, 3), np.float32), np.ones((4, 4), np.float32))
    share = np.zeros((4, 4), np.float32)
    share[:, 2:] = 1.0
    mixed = blend_layers(first, second, share)
    assert (mixed.density[:, :2] == 0).all()
    assert (mixed.density[:, 2:] == 1).all()
    np.testing.assert_array_equal(mixed.weight, share)


@pytest.fixture
def folder(tmp_path, monkeypatch, portrait):
    monkeypatch.setenv("TRG_CACHE", str(tmp_path / "cache"))
    photos = tmp_path / "photos"
    photos.mkdir()
    names = np.array(["001_03.png", "002_03.png"])
    Image.fromarray(portrait[0].rgb).save(photos / names[0])
    Image.fromarray(portrait[0].rgb // 2).save(photos / names[1])
    points = np.stack([portrait[0].points_px] * 2)
    np.savez(photos / "landmarks189.npz", names=names, points=points)
    return photos


def test_bank_is_cached_rebuilt_when_damaged_and_repeatable(model, maps, folder, tmp_path):
    bank = load_photo_skins(model, maps, folder)
    assert len(bank) == 2
    (file,) = (tmp_path / "cache").glob("photo-skin-*.npy")
    built = file.stat().st_mtime_ns
    again = load_photo_skins(model, maps, folder)
    assert file.stat().st_mtime_ns == built
    np.testing.assert_array_equal(bank.encoded, again.encoded)
    assert (bank.tones_linear[0] > bank.tones_linear[1]).all()
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    mended = load_photo_skins(model, maps, folder)
    np.testing.assert_array_equal(
        np.asarray(mended.encoded),
        np.frombuffer(content, np.uint8)[-mended.encoded.shape[0] * (SIZE * SIZE * 4 + 12) :]
        .reshape(2, -1)[:, 12:]
        .reshape(mended.encoded.shape),
    )
    tone, layer = mended.sample(maps, np.random.default_rng(3))
    tone_again, layer_again = mended.sample(maps, np.random.default_rng(3))
    np.testing.assert_array_equal(layer.density, layer_again.density)
    np.testing.assert_array_equal(tone.density, tone_again.density)


def test_missing_and_damaged_folders_name_the_download(model, maps, folder):
    with pytest.raises(FileNotFoundError, match=r"10\.6084/m9\.figshare\.5047666"):
        load_photo_skins(model, maps, folder / "nowhere")
    whole = (folder / "landmarks189.npz").read_bytes()
    (folder / "landmarks189.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"landmarks189\.npz.*London Set"):
        load_photo_skins(model, maps, folder)
    (folder / "landmarks189.npz").write_bytes(whole)
    (folder / "002_03.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"002_03\.png.*London Set"):
        load_photo_skins(model, maps, folder)
    (folder / "002_03.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"002_03\.png"):
        load_photo_skins(model, maps, folder)
    np.savez(
        folder / "landmarks189.npz", names=np.array(["001_03.png"]), points=np.zeros((1, 68, 2))
    )
    with pytest.raises(ValueError, match="189"):
        load_photo_skins(model, maps, folder)


def test_published_folder_has_a_template_beside_each_photograph(tmp_path):
    rng = np.random.default_rng(0)
    original_px = rng.uniform(0.0, 1350.0, (189, 2))
    lines = ["189", *(f"{x:.4f}\t{y:.4f}" for x, y in original_px), "3", "0 1 2"]
    for number, size in (("002", (675, 675)), ("001", (1350, 1350))):
        Image.new("RGB", size).save(tmp_path / f"{number}_03.jpg")
        (tmp_path / f"{number}_03.tem").write_text("\n".join(lines), encoding="ascii")
    names, points = read_landmarks(tmp_path)
    assert names == ["001_03.jpg", "002_03.jpg"]
    np.testing.assert_allclose(points[0], original_px, atol=1e-3)
    np.testing.assert_allclose(points[1], 0.5 * original_px, atol=1e-3)
    np.savez(tmp_path / "landmarks189.npz", names=np.array(["x.jpg"]), points=points[:1])
    assert read_landmarks(tmp_path)[0] == ["x.jpg"]


def test_short_template_and_missing_photograph_are_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"_03\.tem"):
        read_landmarks(tmp_path)
    template = tmp_path / "001_03.tem"
    template.write_text("189\n1.0\t2.0\n", encoding="ascii")
    with pytest.raises(FileNotFoundError, match=r"001_03\.jpg"):
        read_landmarks(tmp_path)
    Image.new("RGB", (60, 60)).save(tmp_path / "001_03.jpg")
    with pytest.raises(ValueError, match=r"001_03\.tem.*189 points"):
        read_landmarks(tmp_path)
