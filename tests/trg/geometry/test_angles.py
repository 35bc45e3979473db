"""Angles of other programs, each held to what the program itself does with them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.faces import make_face
from trg.geometry.angles import ANGLE_CONVENTIONS
from trg.geometry.rotations import rotation_between

OUT_OF_THE_FACE = np.array([0.0, 0.0, -1.0])
ANGLES_DEG = np.array([(12.0, 25.0, -9.0), (-20.0, -40.0, 15.0), (0.0, 60.0, 30.0), (30.0, 0, 0)])
OWN_LEFT, UP, OWN_RIGHT_SHOULDER = "looks to their left", "looks up", "tilts to their right"

SIGNS = {  # of pitch, yaw and roll for the person in front of the camera
    "openface": {OWN_LEFT: (0, -1, 0), UP: (-1, 0, 0), OWN_RIGHT_SHOULDER: (0, 0, -1)},
    "300wlp": {OWN_LEFT: (0, -1, 0), UP: (1, 0, 0), OWN_RIGHT_SHOULDER: (0, 0, -1)},
    "6drepnet": {OWN_LEFT: (0, -1, 0), UP: (1, 0, 0), OWN_RIGHT_SHOULDER: (0, 0, -1)},
    "insightface": {OWN_LEFT: (0, 1, 0), UP: (1, 0, 0), OWN_RIGHT_SHOULDER: (0, 0, -1)},
}


@pytest.mark.parametrize("program", SIGNS)
def test_signs_for_the_person_in_front_of_the_camera(program):
    for movement, signs in SIGNS[program].items():
        rotation = ANGLE_CONVENTIONS[program].to_rotation(20.0 * np.array(signs))
        nose, crown = rotation @ OUT_OF_THE_FACE, rotation @ (0.0, -1.0, 0.0)
        seen = {  # in the image x is right, the person's left, and y down
            OWN_LEFT: nose[0] > 0.3 and abs(nose[1]) < 1e-9,
            UP: nose[1] < -0.3 and abs(nose[0]) < 1e-9,
            OWN_RIGHT_SHOULDER: crown[0] < -0.3 and abs(nose[0]) < 1e-9,
        }
        assert seen[movement], movement


def test_openface_multiplies_rotations_about_x_y_and_z():
    # The entries that its Euler2RotationMatrix documents: R = Rx * Ry * Rz.
    for angles_deg in ANGLES_DEG:
        rotation = ANGLE_CONVENTIONS["openface"].to_rotation(angles_deg)
        (s1, s2, s3), (c1, c2, c3) = np.sin(np.radians(angles_deg)), np.cos(np.radians(angles_deg))
        assert rotation[0] == pytest.approx([c2 * c3, -c2 * s3, s2])
        assert rotation[:, 2] == pytest.approx([s2, -c2 * s1, c1 * c2])


def test_6drepnet_draws_the_arrow_out_of_the_face():
    # Its draw_axis draws the axis out of the screen to (-sin yaw, -cos yaw sin pitch).
    for pitch, yaw, roll in ANGLES_DEG:
        nose = ANGLE_CONVENTIONS["6drepnet"].to_rotation((pitch, yaw, roll)) @ OUT_OF_THE_FACE
        p, y = np.radians((pitch, yaw))
        assert nose[:2] == pytest.approx([-np.sin(y), -np.cos(y) * np.sin(p)])


def test_insightface_fits_a_mean_face_that_counts_z_towards_the_camera():
    mean = np.random.default_rng(0).normal(size=(68, 3))
    for angles_deg in ANGLES_DEG:
        rotation = ANGLE_CONVENTIONS["insightface"].to_rotation(angles_deg)
        image = 7.0 * (mean * (1.0, 1.0, -1.0)) @ rotation[:2].T + (100.0, 50.0)
        # As it does: an affine fit to the points in the image, of which the first two rows count.
        fit = np.linalg.lstsq(np.column_stack([mean, np.ones(68)]), image, rcond=None)[0].T
        first, second = (row[:3] / np.linalg.norm(row[:3]) for row in fit)
        third = np.cross(first, second)
        found = (
            np.arctan2(third[1], third[2]),
            np.arctan2(-third[0], np.hypot(first[0], second[0])),
            np.arctan2(second[0], first[0]),
        )
        assert np.degrees(found) == pytest.approx(angles_deg)


@pytest.mark.parametrize("program", SIGNS)
def test_rotations_give_the_angles_they_were_made_of(program):
    convention = ANGLE_CONVENTIONS[program]
    rotations = convention.to_rotation(ANGLES_DEG)
    assert rotations.shape == (4, 3, 3)
    np.testing.assert_allclose(convention.from_rotation(rotations), ANGLES_DEG, atol=1e-9)


@pytest.mark.parametrize("program", SIGNS)
def test_programs_that_see_the_crop_give_angles_from_the_line_of_sight(program):
    convention = ANGLE_CONVENTIONS[program]
    face = make_face((25.0, -10.0, 5.0), (0.3, -0.2, 0.6))
    rotation = convention.to_rotation(convention.of(face))
    if convention.relative_to == "sight":
        rotation = rotation_between((0.0, 0.0, 1.0), face.translation_m) @ rotation
    np.testing.assert_allclose(rotation, face.rotation, atol=1e-9)
    assert (convention.relative_to == "camera") == (program == "openface")
