from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.support.known_methods import Known, disturbed
from tests.support.made_samples import TOPOLOGY, make_samples
from trg.geometry.projection import transform
from trg.geometry.rotations import rotation_from_euler
from trglab.evaluation.alignment import align, mean_rotation
from trglab.evaluation.bootstrap import SubjectBootstrap
from trglab.evaluation.ground_truth import ground_truth_from_samples
from trglab.evaluation.prediction import LabelledImages, run_on_dataset
from trglab.evaluation.predictions import PredictionMetadata, mesh_sha256
from trglab.evaluation.scores import score
from trglab.evaluation.summary import summarize

MESH = mesh_sha256(TOPOLOGY.triangles)
RNG = np.random.default_rng


def gathered(count: int = 6, change=lambda estimate: estimate, **options):
    images = LabelledImages(make_samples(count), "made", mesh_sha256=MESH)
    return run_on_dataset(images, Known(change, mesh_sha256=MESH), **options)


def _predictions_and_truth(change):
    run = gathered(change=change)
    return run.predictions, run.ground_truth


def test_alignment_removes_a_constant_change_of_the_head_frame() -> None:
    turn = rotation_from_euler(np.array([7.0, -3.0, 2.0]))
    origin_m = np.array([0.01, -0.02, 0.03])

    def other_frame(estimate):
        """The same heads in another frame: X_true = turn @ X_pred + origin."""
        return estimate._replace(
            rotation=estimate.rotation @ turn,
            translation_m=estimate.translation_m + estimate.rotation @ origin_m,
        )

    run = gathered(change=other_frame)
    scores = score(run.predictions, run.ground_truth)
    assert scores.errors["ge_deg"].min() > 5.0
    assert scores.errors["mae_t_mm"].min() > 3.0
    for name in ("yaw_deg", "pitch_deg", "roll_deg", "ge_deg", "tz_mm", "mae_t_mm", "add_mm"):
        np.testing.assert_allclose(scores.aligned_errors[name], 0.0, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(scores.alignment.rotation, turn, atol=1e-12)
    np.testing.assert_allclose(scores.alignment.offset_m, origin_m, atol=1e-12)


def test_mean_rotation_equals_scipy_and_is_equivariant() -> None:
    rng = RNG(1)
    noisy = Rotation.from_rotvec(rng.normal(0.0, 0.4, (50, 3))) * Rotation.from_euler("x", 1.0)
    mean = mean_rotation(noisy.as_matrix())
    np.testing.assert_allclose(mean, noisy.mean().as_matrix(), atol=1e-9)
    other = Rotation.random(rng=rng).as_matrix()
    np.testing.assert_allclose(mean_rotation(other @ noisy.as_matrix()), other @ mean, atol=1e-12)
    assert np.linalg.det(mean_rotation(-np.eye(3)[None])) == pytest.approx(1.0)


def test_the_offset_is_the_least_squares_one() -> None:
    rng = RNG(2)
    true = rotation_from_euler(rng.normal(0.0, 30.0, (40, 3)))
    predicted = true @ rotation_from_euler(rng.normal(0.0, 3.0, (40, 3)))
    t_true, t_pred = rng.normal(0.0, 1.0, (2, 40, 3))
    found = align(predicted, true, t_pred, t_true)
    aligned, _ = found.apply(predicted, t_pred)
    system = aligned.reshape(-1, 3)
    expected = np.linalg.lstsq(system, (t_pred - t_true).ravel(), rcond=None)[0]
    np.testing.assert_allclose(found.offset_m, expected, atol=1e-12)


def test_add_uses_the_true_vertices_under_both_poses() -> None:
    run = gathered(4, disturbed)
    scores = score(run.predictions, run.ground_truth)
    for row, sample in enumerate(make_samples(4)):
        true = transform(
            sample.vertices_m.astype(np.float64), sample.rotation, sample.translation_m
        )
        moved = transform(
            sample.vertices_m.astype(np.float64),
            run.predictions.rotation[row],
            run.predictions.translation_m[row],
        )
        expected = 1000.0 * np.linalg.norm(true - moved, axis=-1).mean()
        assert scores.errors["add_mm"][row] == pytest.approx(expected, abs=1e-4)


def test_missing_faces_count_as_wrong() -> None:
    worst = make_samples(6)[4].rotation

    def silent(estimate):
        return None if np.array_equal(estimate.rotation, worst) else disturbed(estimate)

    run = gathered(change=silent)
    scores = score(run.predictions, run.ground_truth)
    assert scores.found.tolist() == [True] * 4 + [False, True]
    assert np.isnan(scores.errors["add_mm"][4])
    summary = summarize(scores, RNG(0))
    assert summary.not_found == 1
    assert summary.statistics["ge_deg"].mean == pytest.approx(2.0)
    assert summary.shares["share_ge_deg_below_10"] == pytest.approx(5 / 6)
    assert [group.not_found for group in summary.by_subject] == [0, 0, 1]

    run = gathered(change=lambda estimate: None)
    summary = summarize(score(run.predictions, run.ground_truth), RNG(0))
    assert summary.not_found == 6
    assert np.isnan(summary.statistics["ge_deg"].mean)
    assert summary.shares["share_ge_deg_below_10"] == 0.0


def test_the_median_is_infinite_if_most_faces_are_missing() -> None:
    kept = make_samples(6)[0].rotation
    run = gathered(change=lambda each: each if np.array_equal(each.rotation, kept) else None)
    summary = summarize(score(run.predictions, run.ground_truth), RNG(0))
    assert summary.statistics["ge_deg"].median == np.inf
    assert summary.statistics["ge_deg"].mean == pytest.approx(0.0, abs=1e-9)


def test_errors_at_true_size_ignore_a_common_scale_of_face_and_depth() -> None:
    def shrunk(estimate):
        return estimate._replace(
            vertices_m=0.9 * estimate.vertices_m,
            translation_m=0.9 * estimate.translation_m,
        )

    scores = score(*_predictions_and_truth(shrunk)).errors
    np.testing.assert_allclose(scores["tz_relative"], 0.1, atol=1e-6)
    np.testing.assert_allclose(scores["tz_sized_relative"], 0.0, atol=1e-6)
    assert scores["landmarks_mm"].min() > 1.0
    np.testing.assert_allclose(scores["landmarks_sized_mm"], 0.0, atol=1e-4)
    deeper = score(
        *_predictions_and_truth(lambda each: each._replace(translation_m=1.1 * each.translation_m))
    ).errors
    np.testing.assert_allclose(deeper["tz_sized_relative"], 0.1, atol=1e-6)


def test_landmarks_of_another_mesh_are_not_compared() -> None:
    run = gathered()
    assert score(run.predictions, run.ground_truth).errors["landmarks_mm"].max() < 1e-6
    other = replace(run.predictions.metadata, mesh_sha256="another")
    scores = score(replace(run.predictions, metadata=other), run.ground_truth)
    assert "landmarks_mm" not in scores.errors
    assert "another mesh" in scores.notes[0]
    fewer = replace(run.predictions, vertices_m=run.predictions.vertices_m[:, :7])
    assert "landmarks_mm" not in score(fewer, run.ground_truth).errors
    anonymous = replace(run.predictions.metadata, mesh_sha256="")  # somebody's, who says nothing
    scores = score(replace(run.predictions, metadata=anonymous), run.ground_truth)
    assert "landmarks_mm" in scores.errors


def test_predictions_of_other_labels_are_refused() -> None:
    run = gathered()
    labels = make_samples(6)
    labels[3] = replace(labels[3], translation_m=labels[3].translation_m + 0.001)
    with pytest.raises(ValueError, match="other images or labels"):
        score(run.predictions, ground_truth_from_samples(labels))
    assert ground_truth_from_samples(make_samples(6)).sha256() == run.ground_truth.sha256()


def test_predictions_for_other_images_are_ignored_with_a_note() -> None:
    run = gathered()
    theirs = replace(run.predictions, metadata=PredictionMetadata("theirs"))
    found = score(theirs, ground_truth_from_samples(make_samples(6)[:4]))
    assert len(found) == 4
    assert any("2 predictions are for images" in note for note in found.notes)


def test_a_limit_is_spread_over_the_data_set() -> None:
    run = gathered(7, limit=3)
    assert run.ground_truth.names == ("made/0", "made/3", "made/6")
    assert run.predictions.metadata.settings["limit"] == 3


def test_ground_truth_needs_a_label_for_all_images_or_none() -> None:
    samples = make_samples(3)
    with pytest.raises(ValueError, match="rotation for all images or none, made/1 has none"):
        ground_truth_from_samples([samples[0], replace(samples[1], rotation=None)])
    with pytest.raises(ValueError, match="unique image names"):
        ground_truth_from_samples([samples[0], samples[0]])
    with pytest.raises(ValueError, match="at least one image"):
        ground_truth_from_samples([])


def test_intervals_account_for_images_of_the_same_person() -> None:
    rng = RNG(5)
    people = [str(person) for person in range(40) for _ in range(25)]
    of_person = np.repeat(rng.normal(10.0, 2.0, 40), 25)
    values = of_person + rng.normal(0.0, 0.1, 1000)
    low, high = SubjectBootstrap(people, RNG(0)).mean(values)
    assert low < values.mean() < high
    # The mean of 40 people with a spread of 2 is known to 1.96 x 2 / sqrt(40), not sqrt(1000).
    assert (high - low) / 2 == pytest.approx(1.96 * 2.0 / np.sqrt(40), rel=0.25)
    low, high = SubjectBootstrap(people, RNG(0)).median(values)
    assert low < np.median(values) < high
    assert SubjectBootstrap(people, RNG(0)).mean(values) == SubjectBootstrap(people, RNG(0)).mean(
        values
    )
    assert SubjectBootstrap(["a"] * 9, RNG(0)).mean(values[:9]) is None


def test_an_interval_of_the_mean_equals_a_loop_over_draws() -> None:
    rng = RNG(6)
    people = ["a", "b", "c", "a", "b", "d", "d", "d"]
    values = rng.normal(0.0, 1.0, 8)
    values[2] = np.nan  # c has no face found: a draw of c alone has no mean
    bootstrap = SubjectBootstrap(people, RNG(3), draws=200)
    drawn = RNG(3).multinomial(4, [0.25] * 4, size=200)
    means = []
    for times in drawn:
        row = [
            v
            for v, who in zip(values, people, strict=True)
            for _ in range(times["abcd".index(who)])
        ]
        if np.isfinite(row).any():
            means.append(np.nanmean(row))
    expected = (
        np.percentile(means, 2.5, method="lower"),
        np.percentile(means, 97.5, method="higher"),
    )
    np.testing.assert_allclose(bootstrap.mean(values), expected, rtol=1e-12)


def test_bins_hold_each_image_once() -> None:
    run = gathered(30)
    summary = summarize(score(run.predictions, run.ground_truth), RNG(0))
    for groups in (summary.by_distance, summary.by_yaw, summary.by_subject):
        assert sum(group.images for group in groups) == 30
    assert {group.label for group in summary.by_distance} <= {
        "0.45 to 0.6 m",
        "0.6 to 0.75 m",
        "0.75 to 0.9 m",
        "0.9 to 1.2 m",
    }
