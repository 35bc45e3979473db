"""Eyes and mouth from the 68 landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.faces import face_topology, frontal_face, shaped_face
from trg.geometry.expression_fit import SEEN_EXPRESSIONS
from trg.geometry.head_points import LEFT_EYELIDS, RIGHT_EYELIDS
from trg.live.expression import ARKIT_NAMES, INNER_LIPS, expression_of


def face_with(points: slice, height: float):
    """Return a face whose given landmarks are squeezed or stretched about their mean height."""
    topology = face_topology()
    landmarks_m = topology.template_m.astype(np.float64)
    vertices = topology.landmarks68[points]
    middle = landmarks_m[vertices, 1].mean()
    landmarks_m[vertices, 1] = middle + height * (landmarks_m[vertices, 1] - middle)
    return frontal_face(landmarks_m=landmarks_m)


def test_the_mean_face_has_open_eyes_and_a_closed_mouth():
    values = expression_of(frontal_face())
    assert values == {"eyeBlinkLeft": 0.0, "eyeBlinkRight": 0.0, "jawOpen": 0.0}
    assert set(values) <= set(ARKIT_NAMES)


@pytest.mark.parametrize(
    ("points", "height", "name"),
    [
        (LEFT_EYELIDS, 0.1, "eyeBlinkLeft"),
        (RIGHT_EYELIDS, 0.1, "eyeBlinkRight"),
        (INNER_LIPS, 6.0, "jawOpen"),
    ],
)
def test_each_part_has_its_own_value(points, height, name):
    values = expression_of(face_with(points, height))
    assert values.pop(name) > 0.9
    assert all(value == 0.0 for value in values.values())
    halfway = expression_of(face_with(points, 0.7 if height < 1.0 else 2.0))[name]
    assert 0.1 < halfway < 0.9


def test_live_link_faces_52_names_are_in_arkits_order():
    assert len(set(ARKIT_NAMES)) == len(ARKIT_NAMES) == 52
    assert (ARKIT_NAMES[0], ARKIT_NAMES[17], ARKIT_NAMES[51]) == (
        "eyeBlinkLeft",
        "jawOpen",
        "tongueOut",
    )


def test_on_the_bundled_mesh_the_coefficients_that_the_networks_see_are_sent():
    values = expression_of(shaped_face({"jawOpen": 0.6, "mouthSmileLeft": 0.8}))
    assert set(values) == {"eyeBlinkLeft", "eyeBlinkRight", *SEEN_EXPRESSIONS}
    assert values["jawOpen"] == pytest.approx(0.6, abs=0.15)
    assert values["mouthSmileLeft"] == pytest.approx(0.8, abs=0.15)
    assert values["mouthSmileRight"] < 0.15
