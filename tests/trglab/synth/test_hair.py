from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from trglab.synth.accessories.hair import GrownHair, Hairline, grown_hair_surfaces
from trglab.synth.accessories.hair_cards import load_hair_cards, sample_card_hair
from trglab.synth.accessories.hair_meshes import MeshHair, load_hair_meshes
from trglab.synth.accessories.hairstyles import sample_hairstyle
from trglab.synth.accessories.head_map import (
    HeadMap,
    azimuth_elevation,
    cast_rays,
    direction,
    slerp,
)
from trglab.synth.accessories.shapes import ellipsoid
from trglab.synth.accessories.strands import (
    HAIR_COLOURS,
    STRAND_KINDS,
    HairColour,
    sample_hair_colour,
    strand_texture,
)
from trglab.synth.assets import find_hair_alpha, require_hair_alpha
from trglab.synth.head.face_model import load_face_model

BROWN = HairColour((74.0, 52.0, 37.0), (90.0, 64.0, 45.0))


@pytest.fixture(scope="module")
def model():
    return load_face_model()


@pytest.fixture(scope="module")
def head_map(model):
    return HeadMap.of(model)


@pytest.fixture(scope="module")
def fields():
    return {kind: strand_texture(np.random.default_rng(0), kind) for kind in STRAND_KINDS}


def test_directions_and_angles_are_inverse():
    rng = np.random.default_rng(0)
    azimuth, elevation = rng.uniform(-179, 179, 50), rng.uniform(-89, 89, 50)
    directions = direction(azimuth, elevation)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1.0)
    np.testing.assert_allclose(azimuth_elevation(directions), (azimuth, elevation))
    np.testing.assert_allclose(direction(np.array(0.0), np.array(0.0)), (0, 0, -1), atol=1e-15)
    assert direction(np.array(90.0), np.array(0.0))[0] == 1.0
    assert direction(np.array(0.0), np.array(90.0))[1] == -1.0


def test_slerp_moves_at_constant_angular_speed():
    start, end = (
        direction(np.array([0.0]), np.array([80.0])),
        direction(np.array([90.0]), np.array([0.0])),
    )
    walk = slerp(start, end, np.linspace(0, 1, 6))[:, 0]
    np.testing.assert_allclose(walk[[0, -1]], [start[0], end[0]], atol=1e-12)
    angles = np.arccos((walk[1:] * walk[:-1]).sum(-1))
    np.testing.assert_allclose(angles, angles[0])


def test_rays_hit_concentric_spheres_at_their_radii():
    inner, outer = ellipsoid((0.1, 0.1, 0.1), 40, 60), ellipsoid((0.2, 0.2, 0.2), 40, 60)
    vertices = np.concatenate([inner.vertices_m, outer.vertices_m])
    triangles = np.concatenate([inner.triangles, outer.triangles + len(inner.vertices_m)])
    directions = direction(np.linspace(-170, 165, 30), np.linspace(-80, 80, 30))
    near, far = cast_rays(np.zeros(3), directions, vertices, triangles)
    for hits, radius in ((near, 0.1), (far, 0.2)):
        points = hits.points(vertices)
        np.testing.assert_allclose(hits.weights.sum(-1), 1.0, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(points, axis=-1), radius, rtol=5e-3)
        np.testing.assert_allclose(np.cross(points, directions), 0.0, atol=1e-6)


def test_transfer_to_the_mean_head_is_the_identity_and_follows_scale(model, head_map):
    rng = np.random.default_rng(1)
    points = head_map.centre_m + 0.12 * direction(
        rng.uniform(-180, 180, 40), rng.uniform(-20, 90, 40)
    )
    same = head_map.fit(model.mean_m)
    np.testing.assert_allclose(same.transfer(points), points, atol=1e-5)
    # A head that is 10 % larger about the skull's middle, and shifted.
    shift = np.array([0.0, 0.01, -0.02])
    larger = head_map.fit(head_map.centre_m + 1.1 * (model.mean_m - head_map.centre_m) + shift)
    expected = head_map.centre_m + 1.1 * (points - head_map.centre_m) + shift
    np.testing.assert_allclose(larger.transfer(points), expected, atol=2e-3)


def test_transferred_hair_follows_a_persons_skull(model, head_map):
    """A shell 1 cm over the mean skull stays about 1 cm over another person's."""
    rng = np.random.default_rng(2)
    neutral = model.neutral(rng.normal(0.0, 1.0, len(model.identity)))
    directions = direction(rng.uniform(-180, 180, 200), rng.uniform(20, 85, 200))
    shell = head_map.above_skull(directions, 0.01)
    carried = head_map.fit(neutral).transfer(shell)
    skin = (model.part[model.triangles] == 0).all(1)
    back = carried - head_map.centre_m
    back = back / np.linalg.norm(back, axis=-1, keepdims=True)
    near, _ = cast_rays(head_map.centre_m, back, neutral.astype(float), model.triangles[skin])
    gap = np.linalg.norm(carried - near.points(neutral), axis=-1)
    assert 0.007 < np.median(gap) < 0.013
    assert np.percentile(gap, 2) > 0.004


def test_hairline_passes_through_its_parameters():
    line = Hairline(forehead_deg=40.0, sideburn_deg=-12.0, nape_deg=-40.0)
    assert line.elevation_deg(np.array(0.0)) == 40.0
    assert line.elevation_deg(np.array(-78.0)) == line.elevation_deg(np.array(78.0)) == -12.0
    assert line.elevation_deg(np.array(180.0)) == -43.0
    assert Hairline(peak_deg=5.0).elevation_deg(np.array(0.0)) == Hairline().forehead_deg - 5.0


@pytest.mark.parametrize("kind", STRAND_KINDS)
def test_strands_thin_out_towards_their_tips(fields, kind):
    field = fields[kind]
    filled = (field.alpha == 255).mean(axis=1)
    assert set(np.unique(field.alpha)) == {0, 255}
    assert filled[-3:].mean() < 0.55 < filled[20:80].mean()
    texture = field.tinted(BROWN, opaque=0.5)
    assert texture.shape == (256, 256, 4)
    assert texture.dtype == np.uint8
    assert (texture[:128, :, 3] == 255).all()
    np.testing.assert_allclose(texture[..., :3].mean((0, 1)), (70, 50, 36), atol=22)


def test_grey_strands_are_grey(fields):
    red, blue = (
        fields["straight"].tinted(replace(BROWN, grey_share=share))[..., [0, 2]].mean((0, 1))
        for share in (0.0, 1.0)
    )
    assert red[0] - red[1] > 20 > 18 > blue[0] - blue[1]


def test_dark_skin_goes_with_dark_hair():
    brightness = {}
    for tone in (0.1, 0.95):
        rng = np.random.default_rng(3)
        colours = [np.mean(sample_hair_colour(rng, tone).root_rgb) for _ in range(400)]
        brightness[tone] = np.array(colours)
    assert np.median(brightness[0.95]) < 40 < np.median(brightness[0.1])
    assert (brightness[0.1] < 35).any(), "light skin with black hair exists"
    assert len(HAIR_COLOURS) == 11


def test_procedural_hair_is_valid_small_and_reproducible(model, head_map, fields):
    fit = head_map.fit(model.mean_m)
    rng = np.random.default_rng(4)
    for number in range(12):
        hair = sample_hairstyle(rng, number % 2 == 0, 0.2, number / 12)
        if hair is None:
            continue
        surfaces = grown_hair_surfaces(hair, BROWN, head_map, fit, fields[hair.kind])
        again = grown_hair_surfaces(hair, BROWN, head_map, fit, fields[hair.kind])
        assert sum(len(surface.triangles) for surface in surfaces) <= 6000
        for one, two in zip(surfaces, again, strict=True):
            np.testing.assert_array_equal(one.vertices_m, two.vertices_m)
            assert one.vertices_m.dtype == np.float32
            assert np.isfinite(one.vertices_m).all()
            assert one.triangles.max() < len(one.vertices_m)
            assert 0.0 <= one.uv.min() <= one.uv.max() <= 1.0


def test_hair_stays_outside_the_skull_and_off_the_face(model, head_map, fields):
    fit = head_map.fit(model.mean_m)
    hair = GrownHair(kind="straight", mess=0.2, seed=3)
    points = np.concatenate(
        [s.vertices_m for s in grown_hair_surfaces(hair, BROWN, head_map, fit, fields["straight"])]
    )
    out = points - head_map.centre_m
    above = np.linalg.norm(out, axis=-1) - head_map.skull_radius_m(out)
    assert above.min() > -0.001
    assert above.max() < hair.top_m + 0.03
    azimuth, elevation = azimuth_elevation(out)
    assert elevation[np.abs(azimuth) < 30].min() > hair.hairline.forehead_deg - 12.0


def test_longer_hair_reaches_lower_and_thicker_hair_higher(model, head_map, fields):
    fit = head_map.fit(model.mean_m)

    def extent(**changes: float) -> tuple[float, float]:
        hair = replace(GrownHair(mess=0.0, locks=0, seed=1), **changes)
        surfaces = grown_hair_surfaces(hair, BROWN, head_map, fit, fields["straight"])
        y = np.concatenate([surface.vertices_m[:, 1] for surface in surfaces])
        return float(y.min()), float(y.max())

    _, short = extent(back_m=0.0)
    _, long = extent(back_m=0.2)
    assert 0.12 < long - short < 0.22
    flat, _ = extent(top_m=0.005)
    tall, _ = extent(top_m=0.03)
    assert 0.015 < flat - tall < 0.03


def test_fringe_comes_down_over_the_forehead(model, head_map, fields):
    fit = head_map.fit(model.mean_m)
    lowest = []
    for fringe_m in (0.0, 0.04):
        hair = GrownHair(parting_deg=((180.0, 66.0), (180.0, 78.0)), fringe_m=fringe_m, mess=0.0)
        points = np.concatenate(
            [
                s.vertices_m
                for s in grown_hair_surfaces(hair, BROWN, head_map, fit, fields["straight"])
            ]
        )
        azimuth, _ = azimuth_elevation(points - head_map.centre_m)
        lowest.append(points[np.abs(azimuth) < 20, 1].max())
    assert lowest[1] - lowest[0] > 0.02


def _packed_hair(folder, model):
    """A file in the packed format: two bodies that are the model's own head, and one helmet."""
    flip = np.array([1.0, -1.0, -1.0])
    skin = (model.part[model.triangles] == 0).all(1)
    body = model.mean_m * flip + np.array([0.0, 0.7, 0.05])
    centre = HeadMap.of(model).centre_m * flip + np.array([0.0, 0.7, 0.05])
    ball = ellipsoid((0.12, 0.12, 0.14), 12, 16)
    keep = (ball.vertices_m[ball.triangles][:, :, 1] < 0.03).all(1)
    arrays = {"names": np.array(["bob01", "afro01"])}
    for name in ("bob01", "afro01"):
        arrays[f"{name}_vertices"] = (ball.vertices_m * flip + centre).astype(np.float32)
        arrays[f"{name}_triangles"] = arrays[f"{name}_uv_triangles"] = ball.triangles[keep]
        arrays[f"{name}_uv"] = ball.uv
    for name in ("body_female_generic", "body_male_generic"):
        arrays[f"{name}_vertices"] = body.astype(np.float32)
        arrays[f"{name}_triangles"] = model.triangles[skin]
    path = folder / "hair.npz"
    np.savez(path, **arrays)
    return path


def test_hair_meshes_of_the_same_head_keep_their_position(
    tmp_path, monkeypatch, model, head_map, fields
):
    monkeypatch.setenv("TRG_CACHE", str(tmp_path / "cache"))
    path = _packed_hair(tmp_path, model)
    meshes = load_hair_meshes(path, head_map)
    assert meshes.names == ("bob01",)
    ball = ellipsoid((0.12, 0.12, 0.14), 12, 16)
    expected = head_map.centre_m + ball.vertices_m
    above = (ball.vertices_m[:, 1] < 0.0) & (
        head_map.skull_radius_m(ball.vertices_m) + 0.004 < 0.12
    )
    assert above.sum() > 20
    off = np.linalg.norm(meshes.meshes[0].vertices_m - expected, axis=-1)
    assert off[above].max() < 0.004
    again = load_hair_meshes(path, head_map)
    np.testing.assert_array_equal(again.meshes[0].vertices_m, meshes.meshes[0].vertices_m)
    fit = head_map.fit(model.mean_m)
    strands = fields["straight"]
    plain, mirrored = (
        meshes.surfaces(MeshHair(mirrored=flip, wave_m=0.0), BROWN, head_map, fit, strands)[0]
        for flip in (False, True)
    )
    a, b, c = (plain.vertices_m[plain.triangles[:, k]].astype(float) for k in range(3))
    outward = ((a + b + c) / 3.0 - head_map.centre_m) * np.cross(b - a, c - a)
    a, b, c = (mirrored.vertices_m[mirrored.triangles[:, k]].astype(float) for k in range(3))
    outward_mirrored = ((a + b + c) / 3.0 - head_map.centre_m) * np.cross(b - a, c - a)
    assert (outward.sum(-1) > 0).mean() == (outward_mirrored.sum(-1) > 0).mean()


def test_missing_and_damaged_meshes_name_the_download(tmp_path, monkeypatch, model, head_map):
    monkeypatch.setenv("TRG_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match="MakeHuman"):
        load_hair_meshes(tmp_path / "absent.npz", head_map)
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK not a zip file")
    with pytest.raises(ValueError, match=r"damaged.*MakeHuman"):
        load_hair_meshes(broken, head_map)
    np.savez(tmp_path / "poor.npz", names=np.array(["bob01"]))
    with pytest.raises(ValueError, match="body_female_generic"):
        load_hair_meshes(tmp_path / "poor.npz", head_map)


def _textures(folder):
    """Strands whose upper half of the picture is transparent, in MakeHuman's naming."""
    folder.mkdir()
    pixels = np.full((512, 512, 4), (90, 60, 40, 255), np.uint8)
    pixels[:, ::2, :3] = 45
    pixels[:256, :, 3] = 0
    for name in ("bob01", "afro"):
        Image.fromarray(pixels).save(folder / f"{name}_diffuse.png")


def test_hair_with_alpha_takes_the_textures_beside_the_meshes(
    tmp_path, monkeypatch, model, head_map
):
    monkeypatch.setenv("TRG_CACHE", str(tmp_path / "cache"))
    path = _packed_hair(tmp_path, model)
    monkeypatch.setenv("TRG_HAIR", str(path))
    assert find_hair_alpha() is None
    with pytest.raises(FileNotFoundError, match=r"hair_alpha: expected the textures.*alpha"):
        require_hair_alpha()
    _textures(tmp_path / "alpha")
    assert find_hair_alpha() == tmp_path / "alpha"
    cards = load_hair_cards(path, tmp_path / "alpha", head_map)
    assert cards.names == ("bob01", "afro01")
    hair = MeshHair(index=0, has_cards=True)
    (surface,) = cards.surfaces(hair, BROWN, head_map, head_map.fit(model.mean_m))
    assert surface.material.coverage
    # v of the packed meshes points up: what the picture's upper half shows is not drawn.
    assert surface.uv[surface.triangles].max(1)[:, 1].min() >= 0.49
    opaque = surface.texture[256:]
    np.testing.assert_allclose(opaque[..., :3].mean((0, 1)), (82, 58, 41), atol=6)
    assert (surface.texture[:256, :, 3] == 0).all()
    assert opaque[0, 1::2, :3].mean() > 1.2 * opaque[0, ::2, :3].mean(), (
        "strands keep their contrast"
    )


def test_cards_match_the_kind_of_hair_they_replace():
    names = ("afro01", "bob01", "short01")
    rng = np.random.default_rng(0)
    drawn = {
        (kind, longhaired): {
            hair.index
            for _ in range(40)
            if isinstance(
                hair := sample_card_hair(rng, GrownHair(kind=kind), longhaired, names), MeshHair
            )
        }
        for kind in ("straight", "coily")
        for longhaired in (False, True)
    }
    assert drawn == {
        ("straight", False): {2}, ("straight", True): {1},
        ("coily", False): {0}, ("coily", True): {0},
    }  # fmt: skip
