"""Beards, moustaches and brows with volume."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.scenes import lit
from trg.geometry.camera import Camera
from trg.geometry.projection import transform
from trglab.synth.accessories.facewear import LowerFaceRegions
from trglab.synth.accessories.facial_strands import (
    LENGTHS_M,
    FacialHair,
    StrandRoots,
    beard_strands,
    brow_strands,
    sample_facial_hair,
)
from trglab.synth.accessories.strands import HairColour
from trglab.synth.head.face_model import load_face_model
from trglab.synth.render.raster import render, visible_vertices
from trglab.synth.render.surface import Surface

BROWN = HairColour((74.0, 52.0, 37.0), (90.0, 64.0, 45.0))


@pytest.fixture(scope="module")
def model():
    return load_face_model()


@pytest.fixture(scope="module")
def roots(model):
    return StrandRoots.of(LowerFaceRegions.of(model), model.mean_m)


def visible_landmarks(model, extra: list[Surface]) -> np.ndarray:
    uv = np.zeros((len(model.mean_m), 2), np.float32)
    grey = np.full((1, 1, 4), 255, np.uint8)
    skin = Surface("skin", model.mean_m, model.part_triangles["skin"], uv, grey)
    camera, at_m = Camera(500.0, 500.0, 80.0, 80.0, 160, 160), np.array([0.0, 0.0, 0.7])
    black = np.zeros((160, 160, 3), np.float32)
    drawn = render([skin, *extra], np.eye(3), at_m, camera, lit(ambient=0.8), black)
    points = transform(model.mean_m[model.landmarks68].astype(float), np.eye(3), at_m)
    return visible_vertices(drawn, points, camera)


def test_a_moustache_that_hangs_over_the_mouth_hides_its_landmarks(model, roots):
    def hidden(overhang: float) -> int:
        hair = FacialHair("moustache", 0.03, overhang, BROWN, seed=3)
        surfaces = beard_strands(hair, roots, model.mean_m)
        bare, seen = visible_landmarks(model, []), visible_landmarks(model, surfaces)
        assert not (seen & ~bare).any()
        return int((bare & ~seen)[48:68].sum())

    assert hidden(1.0) > hidden(0.0)
    assert hidden(1.0) >= 3


def test_longer_beards_reach_lower_and_stubble_has_no_volume(model, roots):
    def lowest_m(length_m: float) -> float:
        hair = FacialHair("full", length_m, 0.0, BROWN, seed=1)
        (surface,) = beard_strands(hair, roots, model.mean_m)
        assert surface.triangles.max() < len(surface.vertices_m) == len(surface.occlusion)
        assert np.isfinite(surface.vertices_m).all()
        return float(np.percentile(surface.vertices_m[:, 1], 99))

    assert lowest_m(0.10) - lowest_m(0.02) > 0.03
    assert beard_strands(FacialHair("full", 0.002), roots, model.mean_m) == []
    assert beard_strands(FacialHair(None, 0.02), roots, model.mean_m) == []


def test_strands_follow_the_expression(model, roots):
    hair = FacialHair("full", 0.02, 0.5, BROWN, seed=1)
    (still,) = beard_strands(hair, roots, model.mean_m)
    (moved,) = beard_strands(hair, roots, model.mean_m + np.array([0, 0.01, 0], np.float32))
    shift_m = moved.vertices_m - still.vertices_m
    np.testing.assert_allclose(shift_m, np.broadcast_to([0, 0.01, 0], shift_m.shape), atol=1e-5)


def test_bushy_brows_stand_out_and_grow_outwards(model):
    landmarks_m = model.mean_m[model.landmarks68]
    (bushy,) = brow_strands(FacialHair(brow_m=0.015, seed=2), landmarks_m)
    (fine,) = brow_strands(FacialHair(brow_m=0.005, seed=2), landmarks_m)
    assert bushy.vertices_m[:, 2].min() < fine.vertices_m[:, 2].min() - 0.001
    assert np.ptp(bushy.vertices_m[:, 0]) > np.ptp(fine.vertices_m[:, 0])
    assert brow_strands(FacialHair(), landmarks_m) == []


def test_brows_move_with_their_landmarks_and_share_the_rest(model):
    landmarks_m = model.mean_m[model.landmarks68]
    hair = FacialHair(brow_m=0.008, seed=3)
    (still,) = brow_strands(hair, landmarks_m)
    (raised,) = brow_strands(hair, landmarks_m - np.array([0.0, 0.01, 0.0], np.float32))
    np.testing.assert_allclose(
        still.vertices_m - raised.vertices_m, [(0.0, 0.01, 0.0)] * len(still.vertices_m), atol=1e-6
    )
    assert raised.texture is still.texture
    assert raised.triangles is still.triangles


def test_old_men_have_longer_beards_and_bushier_brows():
    drawn = {}
    for age in (22.0, 72.0):
        rng = np.random.default_rng(0)
        drawn[age] = [sample_facial_hair(rng, "full", BROWN, age, True) for _ in range(400)]
    young, old = (np.array([h.length_m for h in hairs]) for hairs in drawn.values())
    assert old.mean() > 1.4 * young.mean()
    for low, high in LENGTHS_M.values():
        assert ((old >= low) & (old <= high)).mean() > 0.03
    bushy = [np.mean([hair.brow_m > 0.009 for hair in hairs]) for hairs in drawn.values()]
    assert bushy[1] > bushy[0] + 0.1
    grey = [np.mean([hair.beard_colour.grey_share for hair in hairs]) for hairs in drawn.values()]
    assert grey[1] > grey[0]
