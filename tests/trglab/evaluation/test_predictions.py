from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trg.geometry.rotations import rotation_from_euler
from trglab.evaluation.prediction import Estimate, predictions_from_estimates
from trglab.evaluation.predictions import (
    SCHEMA,
    PredictionMetadata,
    Predictions,
    mesh_sha256,
    read_predictions,
    write_predictions,
)

NAMES = ("a", "b", "c")


def some(**changes) -> Predictions:
    rng = np.random.default_rng(0)
    arrays = {
        "rotation": rotation_from_euler(rng.normal(0.0, 30.0, (3, 3))),
        "found": np.array([True, False, True]),
        "translation_m": rng.normal(0.0, 1.0, (3, 3)),
        "vertices_m": rng.normal(0.0, 0.1, (3, 7, 3)).astype(np.float32),
        "landmarks68_px": rng.normal(0.0, 100.0, (3, 68, 2)),
        "box_xyxy": rng.normal(0.0, 100.0, (3, 4)),
        "metadata": PredictionMetadata("mine", "12", "biwi", "34", "56", {"boxes": "truth"}),
    }
    return Predictions(NAMES, **{**arrays, **changes})


def test_predictions_survive_the_file(tmp_path: Path) -> None:
    made = some()
    write_predictions(tmp_path / "p.npz", made)
    read = read_predictions(tmp_path / "p.npz")
    assert read.names == NAMES
    assert read.metadata == made.metadata
    for name in ("rotation", "found", "translation_m", "vertices_m", "landmarks68_px", "box_xyxy"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name), err_msg=name)
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


def test_a_file_needs_only_names_and_rotations(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "r.npz", schema=SCHEMA, names=["x", "y"], rotation=np.stack([np.eye(3)] * 2)
    )
    read = read_predictions(tmp_path / "r.npz")
    assert read.found.all()
    assert read.translation_m is None
    assert read.metadata == PredictionMetadata()


def test_rows_without_a_face_are_cleared() -> None:
    rotation = np.stack([np.eye(3), np.full((3, 3), np.nan), np.eye(3)])
    translation_m = np.array([[0.0, 0.0, 1.0], [np.nan, np.inf, 0.0], [0.0, 0.0, 2.0]])
    made = some(rotation=rotation, translation_m=translation_m)
    np.testing.assert_array_equal(made.rotation[1], np.eye(3))
    np.testing.assert_array_equal(made.translation_m[1], 0.0)
    assert np.isnan(rotation[1]).all()  # the caller's array is left alone


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rotation": np.ones((3, 3, 3))}, "rotation: expected rotations"),
        ({"rotation": np.eye(3)[None]}, "rotation: expected 3 rows"),
        ({"found": np.array([True])}, r"found: expected shape \(3,\)"),
        ({"translation_m": np.full((3, 3), np.nan)}, "translation_m: expected finite"),
        ({"vertices_m": np.zeros((3, 7, 2))}, "vertices_m: expected shape"),
        ({"names": ("a", "b", "a")}, "'a' again"),
    ],
)
def test_invalid_arrays_are_refused(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(some(), **changes)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"schema": "other 2"}, "expected the schema"),
        ({"schema": SCHEMA, "rotation": np.eye(3)[None]}, r"\['names'\] missing"),
        (
            {"schema": SCHEMA, "names": ["a"], "rotation": np.eye(3)[None], "facts": "[1"},
            "facts: expected a JSON object",
        ),
        ({"schema": SCHEMA, "names": ["a"], "rotation": np.zeros((1, 3, 3))}, "expected rotations"),
    ],
)
def test_invalid_files_are_refused(arrays, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(ValueError, match=rf"wrong\.npz.*{message}"):
        read_predictions(tmp_path / "wrong.npz")


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    with pytest.raises(FileNotFoundError, match=r"p\.npz"):
        read_predictions(path)
    write_predictions(path, some())
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot read it"):
        read_predictions(path)
    np.savez(path, schema=SCHEMA, names=np.array([{"a": 1}], dtype=object))  # would unpickle
    with pytest.raises(ValueError, match="cannot read it"):
        read_predictions(path)


def test_rows_follow_the_data_set_and_missing_ones_are_not_found() -> None:
    made = some(found=np.ones(3, dtype=bool))
    ordered = made.in_order(["c", "z", "a", "b"])
    assert ordered.found.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(ordered.rotation[[0, 2, 3]], made.rotation[[2, 0, 1]])
    np.testing.assert_array_equal(ordered.translation_m[1], 0.0)
    assert made.in_order(["b", "d"]).found.tolist() == [True, False]
    with pytest.raises(ValueError, match=r"all 3 are for images .* such as 'a'.* such as 'd'"):
        made.in_order(["d", "e"])
    none = Predictions((), np.zeros((0, 3, 3)), np.zeros(0, dtype=bool)).in_order(["a"])
    assert none.found.tolist() == [False]


def test_estimates_are_stacked() -> None:
    known = Estimate(np.eye(3), np.array([0.0, 0.0, 1.0]))
    made = predictions_from_estimates("abc", [None, known, None], PredictionMetadata("m"))
    assert made.found.tolist() == [False, True, False]
    np.testing.assert_array_equal(made.translation_m, [[0, 0, 0], [0, 0, 1], [0, 0, 0]])
    assert made.vertices_m is None
    with pytest.raises(ValueError, match="translation_m for all faces or none"):
        predictions_from_estimates("ab", [known, Estimate(np.eye(3))], PredictionMetadata())
    nothing = predictions_from_estimates("ab", [None, None], PredictionMetadata())
    assert nothing.translation_m is None
    assert not nothing.found.any()


def test_mesh_digest_depends_on_triangles_only() -> None:
    triangles = np.array([[0, 1, 2], [1, 2, 3]])
    assert mesh_sha256(triangles) == mesh_sha256(triangles.astype(np.int16))
    assert mesh_sha256(triangles) != mesh_sha256(triangles[::-1])


def test_unknown_metadata_is_ignored(tmp_path: Path) -> None:
    facts = json.dumps({"method": "m", "weather": "fine"})
    np.savez(tmp_path / "f.npz", schema=SCHEMA, names=["a"], rotation=np.eye(3)[None], facts=facts)
    assert read_predictions(tmp_path / "f.npz").metadata == PredictionMetadata("m")
