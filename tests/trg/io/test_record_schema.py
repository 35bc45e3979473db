"""``record.schema.json`` describes what is written as JSON, and nothing else."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import get_args

import numpy as np
import pytest

from tests.support.cli import trg_cli  # noqa: F401  (a fixture)
from tests.support.cli_predict_runs import FOCAL, cli, save_photos  # noqa: F401  (cli: a fixture)
from tests.support.faces import VGA, make_face, shaped_face
from tests.support.live_frames import live_face, live_frame
from tests.support.oracle_network import grey_image
from trg.app.selftest import IMAGE_NAME, SELFTEST_FOLDER
from trg.error_bars import STD_COUNT, ErrorBars
from trg.geometry.axes import FrameConvention
from trg.geometry.camera import Camera, CameraSource
from trg.geometry.lens import LensModel
from trg.inference.bundle import DEFAULT_BUNDLE, bundled_names
from trg.io.records.frame_record import FrameFaces, frame_record
from trg.io.video_writer import VideoWriter
from trg.live.json_lines import live_record

jsonschema = pytest.importorskip("jsonschema")

SCHEMA = json.loads((files("trg.io.records") / "record.schema.json").read_text())


def check(record):
    """Raise ValidationError unless the record, as it is read from a file, follows the schema."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(json.loads(json.dumps(record)))


def full_record(landmarks=True, **changes):
    face = shaped_face({"jawOpen": 0.5}, error_bars=ErrorBars(np.full(STD_COUNT, 0.01)), id=3)
    found = FrameFaces("clip.mp4", VGA, [face], frame=7, time_s=0.25, **changes)
    return frame_record(found, landmarks, blendshapes=True)


def test_the_schema_itself_is_valid():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_photos_videos_and_failures_of_trg_predict_follow_the_schema(cli, tmp_path):  # noqa: F811
    photos = save_photos(tmp_path, 0, 1, 2)
    clip = tmp_path / "clip.mp4"
    with VideoWriter(clip, 640, 480, 25.0) as video:
        video.write(grey_image(0), 0.0)
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    done = cli.predict(*photos, clip, damaged, *FOCAL)
    assert done.code == 1
    assert [len(each.get("faces", ())) for each in done.records] == [1, 2, 0, 1, 0]
    assert [each.get("frame") for each in done.records] == [None, None, None, 0, None]
    assert "error" in done.records[-1]
    for record in done.records:
        check(record)


def test_records_with_everything_follow_the_schema_in_all_axes():
    for axes in get_args(FrameConvention):
        check(full_record(landmarks=axes == "unity", axes=axes))


def test_records_of_distorted_cameras_and_without_error_bars_follow_the_schema():
    fisheye = Camera(
        310.0, 310.0, 320.0, 240.0, 640, 480, (-0.01, 0.02, 0.0, 0.0), lens_model="fisheye"
    )
    for camera in (fisheye, Camera(600.0, 600.0, 320.0, 240.0, 640, 480, (-0.1, 0, 0, 0, 0))):
        check(frame_record(FrameFaces("a.jpg", camera, [make_face(camera=camera)])))


def test_records_of_trg_live_follow_the_schema():
    check(live_record(live_frame(live_face(expression={"jawOpen": 0.25})), "unity"))
    check(live_record(live_frame(), "opencv"))


@pytest.mark.skipif(DEFAULT_BUNDLE not in bundled_names(), reason="the package has no weights")
def test_records_of_the_bundled_weights_follow_the_schema(trg_cli):  # noqa: F811
    done = trg_cli("predict", SELFTEST_FOLDER / IMAGE_NAME, "--landmarks", "--blendshapes")
    (record,) = done.records
    check(record)
    assert record["faces"][0]["rotation_std_deg"]
    assert record["faces"][0]["blendshapes"]


def test_the_schema_has_every_key_that_is_written_and_no_other():
    written = full_record() | live_record(live_frame(), "opencv")
    image, face = (SCHEMA["$defs"][name]["properties"] for name in ("image", "face"))
    assert set(image) == set(written)
    assert set(face) == {*full_record()["faces"][0], "live"}


def test_the_schema_has_every_name_of_a_camera_lens_and_axes():
    definitions = SCHEMA["$defs"]
    camera = definitions["camera"]["properties"]
    assert set(camera["source"]["enum"]) == set(get_args(CameraSource))
    assert set(camera["lens_model"]["enum"]) == set(get_args(LensModel))
    assert set(definitions["image"]["properties"]["axes"]["enum"]) == set(get_args(FrameConvention))


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("camera"),
        lambda record: record.update(unknown=1),
        lambda record: record.update(error="and a result"),
        lambda record: record["faces"][0].update(rotation=[[1.0, 0.0], [0.0, 1.0]]),
        lambda record: record["faces"][0].update(confidence=1.5),
        lambda record: record["faces"][0]["landmarks68_px"].pop(),
        lambda record: record["faces"][0].update(distance_m=None),
    ],
)
def test_a_damaged_record_does_not_follow_the_schema(damage):
    record = full_record(landmarks=False)
    check(record)
    damage(record)
    with pytest.raises(jsonschema.ValidationError):
        check(record)
