from __future__ import annotations

import numpy as np
import pytest

from trg.geometry.shape_basis import EXPRESSION_NAMES
from trglab.synth.head.expressions import (
    STRONG_EXPRESSIONS,
    UNSIDED,
    VISEMES,
    arkit_parts,
    arkit_weights,
    sample_expression,
)
from trglab.synth.head.face_model import GAZE_DOWN_DEG, GAZE_SIDE_DEG
from trglab.synth.head.people import ADULT_MM, CHILD_SHARE, Population, sample_identity
from trglab.synth.head.procedural_head import load_procedural_head

COUNT = 1500

ARKIT = [
    *("jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft"),
    *("mouthRight", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthShrugLower"),
    "mouthShrugUpper",
    *(
        name + side
        for side in ("_L", "_R")
        for name in (
            *("browDown", "browInnerUp", "browOuterUp", "cheekPuff", "cheekSquint", "eyeBlink"),
            *("eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide"),
            *("mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile"),
            *("mouthStretch", "mouthUpperUp", "noseSneer"),
        )
    ),
]


class AllNames:
    """A stand-in for a model with all expressions."""

    expression_names = tuple(ARKIT)

    def __init__(self):
        self.expression_index = {name: index for index, name in enumerate(ARKIT)}


@pytest.fixture(scope="module")
def head():
    return load_procedural_head()


@pytest.fixture(scope="module")
def population(head):
    return Population(head)


@pytest.fixture(scope="module")
def people(population):
    rng = np.random.default_rng(0)
    return [population.sample(rng) for _ in range(COUNT)]


@pytest.fixture(scope="module")
def faces():
    rng = np.random.default_rng(0)
    drawn = np.stack([sample_expression(rng, AllNames()) for _ in range(COUNT)])
    return dict(zip(ARKIT, drawn.T, strict=True))


# ---- people ----------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["man", "woman"])
def test_adults_have_the_means_and_spreads_of_the_survey(population, people, group):
    measured = np.array([population.measures_mm(p) for p in people if p.group == group])
    mean, deviation = np.array(ADULT_MM[group]).T
    standard_error = deviation / np.sqrt(len(measured))
    assert (np.abs(measured.mean(0) - mean) < 4 * standard_error).all()
    # The built-in head has few modes, and they do not reach the widest and narrowest eyes.
    assert measured.std(0) == pytest.approx(deviation, rel=0.15)


def test_children_are_fewer_and_smaller_with_rounder_faces(population, people):
    children = np.array([population.measures_mm(p) for p in people if p.group == "child"])
    adults = np.array([population.measures_mm(p) for p in people if p.group != "child"])
    assert len(children) / COUNT == pytest.approx(CHILD_SHARE, abs=0.035)
    ratio = children.mean(0) / adults.mean(0)
    assert (ratio < 0.95).all()
    assert ratio[2] > ratio[1] + 0.02, "wide for their length"
    assert children[:, 0].min() > 42.0
    ages = [p.age_years for p in people if p.group == "child"]
    assert 4 <= min(ages) < 6
    assert 14 < max(ages) <= 16


def test_measures_equal_distances_on_the_head(population, head, people):
    for person in people[:20]:
        vertices = head.neutral(person.identity, person.scale)
        chin, bridge = vertices[head.landmarks68[[8, 27]]]
        eyes = [
            vertices[head.part_vertices[name]].mean(0) for name in ("eyeball_left", "eyeball_right")
        ]
        measured = population.measures_mm(person)
        assert measured[0] == pytest.approx(1000 * np.linalg.norm(eyes[0] - eyes[1]), abs=0.02)
        assert measured[1] == pytest.approx(1000 * np.linalg.norm(chin - bridge), abs=0.02)


def test_identities_stay_in_the_range_of_the_model(people):
    identity = np.stack([person.identity for person in people])
    assert np.abs(identity).max() <= 3.0
    assert 0.8 < identity.std() < 1.3


def test_sample_identity_is_a_truncated_normal():
    drawn = sample_identity(np.random.default_rng(0), 20000)
    assert np.abs(drawn).max() <= 2.5
    assert drawn.std() == pytest.approx(0.955, abs=0.02)


def test_the_same_generator_gives_the_same_people_and_faces(population, head):
    def draw():
        rng = np.random.default_rng(5)
        person = population.sample(rng)
        return person, sample_expression(rng, head)

    (first, face), (second, again) = draw(), draw()
    assert np.array_equal(first.identity, second.identity)
    assert (first.scale, first.group, first.age_years) == (
        second.scale,
        second.group,
        second.age_years,
    )
    assert np.array_equal(face, again)


# ---- expressions -----------------------------------------------------------------------------


def test_all_names_in_the_tables_are_arkit_names():
    for shapes in (*VISEMES.values(), *STRONG_EXPRESSIONS.values()):
        for name in shapes:
            assert name in ARKIT if name in UNSIDED else {f"{name}_L", f"{name}_R"} <= set(ARKIT)


def test_amounts_are_between_0_and_1_and_mostly_mild(faces):
    everything = np.stack(list(faces.values()))
    assert everything.min() >= 0
    assert everything.max() <= 1
    resting = np.stack([values for name, values in faces.items() if "eyeLook" not in name])
    assert 0.02 < resting.mean() < 0.12
    strong = (resting.max(0) > 0.6).mean()
    assert 0.1 < strong < 0.5
    assert (resting.max(0) < 0.25).mean() > 0.1, "faces at rest"


def test_every_expression_occurs(faces):
    for name in set(ARKIT) - {"mouthClose"}:
        assert faces[name].max() > 0.1, name


def test_sides_move_together_but_not_exactly(faces):
    for name in ("mouthSmile", "browInnerUp", "eyeSquint", "mouthUpperUp"):
        left, right = faces[f"{name}_L"], faces[f"{name}_R"]
        assert np.corrcoef(left, right)[0, 1] > 0.85
        assert not np.array_equal(left, right)


def test_eyes_look_in_the_same_direction_and_lids_are_consistent(faces):
    left = faces["eyeLookOut_L"] - faces["eyeLookIn_L"]
    right = faces["eyeLookIn_R"] - faces["eyeLookOut_R"]
    assert np.corrcoef(left, right)[0, 1] > 0.95
    assert (right >= left - 1e-6).all(), "eyes converge, they never spread"
    assert np.array_equal(faces["eyeLookDown_L"], faces["eyeLookDown_R"])
    both = faces["eyeBlink_L"] + faces["eyeWide_L"]
    assert both.max() <= 1.0 + 1e-6
    closed = (faces["eyeBlink_L"] > 0.8) & (faces["eyeBlink_R"] > 0.8)
    assert 0.02 < closed.mean() < 0.1


def test_lips_open_with_the_jaw_and_close_at_most_as_far_as_it_opens(faces):
    jaw = faces["jawOpen"]
    assert (faces["mouthClose"] <= jaw).all()
    open_lips = faces["mouthLowerDown_L"] + faces["mouthUpperUp_L"] + faces["mouthFunnel"]
    assert np.corrcoef(jaw, open_lips)[0, 1] > 0.2
    assert faces["mouthPress_L"][jaw > 0.9].max(initial=0) < 0.1


def test_the_gaze_can_be_given(head):
    face = sample_expression(np.random.default_rng(0), AllNames(), gaze_deg=(12.0, 7.0))
    by_name = dict(zip(ARKIT, face, strict=True))
    turned = by_name["eyeLookOut_L"] + by_name["eyeLookIn_R"]
    assert turned / 2 * GAZE_SIDE_DEG == pytest.approx(12.0, abs=1e-4)
    assert by_name["eyeLookDown_L"] * GAZE_DOWN_DEG == pytest.approx(7.0, abs=1e-4)
    known = sample_expression(np.random.default_rng(0), head)
    assert known.shape == (len(head.expression_names),)


def test_each_expression_of_the_face_model_is_part_of_one_of_arkits():
    parts = [part for name in EXPRESSION_NAMES for part in arkit_parts(name)]
    assert len(parts) == len(set(parts)) == 53
    assert arkit_parts("browInnerUp") == ("browInnerUp_L", "browInnerUp_R")
    assert arkit_parts("eyeLookOutRight") == ("eyeLookOut_R",)
    assert arkit_parts("jawLeft") == ("jawLeft",)
    assert arkit_parts("mouthUpperUpLeft") == ("mouthUpperUp_L",)
    assert arkit_parts("tongueOut") == ()


def test_arkits_weights_of_an_expression():
    model = AllNames()
    weights = np.zeros(len(model.expression_names), np.float32)
    for name, amount in (("browInnerUp_L", 0.8), ("browInnerUp_R", 0.4), ("eyeBlink_R", 1.0)):
        weights[model.expression_index[name]] = amount
    found = dict(zip(EXPRESSION_NAMES, arkit_weights(model, weights), strict=True))
    assert found["browInnerUp"] == pytest.approx(0.6)
    assert (found["eyeBlinkLeft"], found["eyeBlinkRight"], found["tongueOut"]) == (0.0, 1.0, 0.0)
