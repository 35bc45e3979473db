"""Objects that hide faces."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.scenes import lit
from trg.geometry.camera import Camera
from trg.geometry.projection import transform
from trglab.synth.accessories.hiding import HIDING_OBJECTS, hiding_surfaces
from trglab.synth.ingredients import Ingredients
from trglab.synth.render.raster import render, visible_vertices
from trglab.synth.studio import Studio

WORN = {"worn microphone"}
"""Too small to hide landmarks of every face."""


@pytest.fixture(scope="module")
def head():
    """A studio without anything before faces, a person and the vertices of their head."""
    nothing = {"photo_skin": False, "panoramas": False, "hair_meshes": False}
    studio = Studio(Ingredients(hair=False, occluders=False, **nothing))
    rng = np.random.default_rng(0)
    subject = studio.sample_subject(rng)
    vertices_m = subject.neutral_m
    surfaces = studio.build_surfaces(rng, subject, vertices_m, np.eye(3))
    return vertices_m[studio.model.landmarks68], surfaces


def seen_landmarks(surfaces, landmarks_m) -> np.ndarray:
    camera, at_m = Camera(300.0, 300.0, 80.0, 80.0, 160, 160), np.array([0.0, 0.0, 0.7])
    black = np.zeros((160, 160, 3), np.float32)
    drawn = render(surfaces, np.eye(3), at_m, camera, lit(ambient=0.8), black)
    points = transform(landmarks_m.astype(float), np.eye(3), at_m)
    return visible_vertices(drawn, points, camera)


@pytest.mark.parametrize("kind", HIDING_OBJECTS)
def test_hidden_landmarks_are_labelled_as_hidden(head, kind):
    landmarks_m, surfaces = head
    bare = seen_landmarks(surfaces, landmarks_m).sum()
    hidden = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        objects = hiding_surfaces(rng, landmarks_m, (200.0, 160.0, 140.0), kind)
        hidden.append(bare - seen_landmarks(surfaces + objects, landmarks_m).sum())
    assert bare > 55
    assert np.mean(hidden) > (0.1 if kind in WORN else 6), hidden
    assert max(hidden) < bare, "no object hides the whole face"


def test_an_unknown_object_is_named(head):
    with pytest.raises(ValueError, match=r"expected one of .*'pillow'.*, got 'wig'"):
        hiding_surfaces(np.random.default_rng(0), head[0], (200.0, 160.0, 140.0), "wig")
