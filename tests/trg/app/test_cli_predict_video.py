"""``trg predict`` on videos and live inputs: frames, drawn videos with sound, animated heads."""

from __future__ import annotations

import errno
import json
import signal
import threading
import time
from contextlib import nullcontext

import numpy as np
import pytest

from tests.support.cli_predict_runs import (
    ALONE,
    FOCAL,
    PAIR,
    PredictCli,
    lines_of,
    save_photos,
)
from tests.support.clips import CODECS, sound_packets, write_clip
from tests.support.oracle_network import OracleNetwork, UnsureOfSize
from trg.app.cli.console import ConsoleObserver
from trg.io.video import VideoReader
from trg.io.video_writer import VideoWriter

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked")
TIMES_S = [0.0, 0.04, 0.1, 0.12, 0.2, 0.24, 0.32, 0.4]
SIZE = (640, 480)


@pytest.fixture
def cli(capsys, monkeypatch) -> PredictCli:
    """One head in every image, whatever its grey."""
    return PredictCli(capsys, monkeypatch, scenes=[[ALONE]])


def make_clip(path, **more):
    return write_clip(path, size=SIZE, times_s=TIMES_S, **more)


def glb_json(path) -> dict:
    data = path.read_bytes()
    return json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])


def test_frames_have_indices_times_and_identities(cli, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4")
    done = cli.predict(clip, *FOCAL)
    assert done.code == 0
    assert [record["frame"] for record in done.records] == list(range(8))
    np.testing.assert_allclose([r["time_s"] for r in done.records], TIMES_S, atol=1e-3)
    assert {face["id"] for record in done.records for face in record["faces"]} == {0}
    assert "8 faces in 8 frames" in done.err


@pytest.mark.parametrize(
    ("suffix", "coding", "written"),
    [(".mp4", "aac", ".mp4"), (".avi", "pcm_u8", ".mkv"), (".avi", "adpcm_ms", None)],
)
def test_the_drawn_video_keeps_times_and_sound(cli, monkeypatch, tmp_path, suffix, coding, written):
    """MP4 cannot hold the second one's sound, nor Matroska the third one's."""
    monkeypatch.setitem(CODECS, suffix, (CODECS[suffix][0], coding))
    clip = make_clip(tmp_path / f"clip{suffix}", sound=True)
    out = tmp_path / "out"
    done = cli.predict(clip, "-o", out, "--draw", "--mesh", "glb")
    assert done.code == 0
    overlay_path = out / f"clip{written or '.mp4'}"
    assert {path.name for path in out.iterdir()} == {
        *("clip.glb", "clip.jsonl", "clip.jsonl.finished", overlay_path.name)
    }
    with VideoReader(overlay_path) as overlay, VideoReader(clip) as original:
        pairs = list(zip(overlay, original, strict=True))
    for drawn, plain in pairs:
        assert drawn.time_s == pytest.approx(plain.time_s, abs=2e-3)
        assert (np.abs(drawn.pixels.astype(int) - plain.pixels).max(-1) > 60).sum() > 1000
    assert ("sound" in done.err) == (written is None)
    if written:
        heard = [b"".join(each for _, each in sound_packets(p)) for p in (clip, overlay_path)]
        assert heard[0] == heard[1]
    document = glb_json(out / "clip.glb")
    (animation,) = document["animations"]
    key_times = document["accessors"][animation["samplers"][0]["input"]]
    assert key_times["count"] == 8
    assert key_times["max"] == [pytest.approx(TIMES_S[-1], abs=1e-3)]


def test_smoothing_can_be_switched_off(capsys, monkeypatch, tmp_path):
    class Shaking(OracleNetwork):
        def __call__(self, crops, boxes):
            arrays = super().__call__(crops, boxes)
            shift = np.float32(0.01 * (-1) ** len(self.calls))
            return arrays._replace(translation_m=arrays.translation_m * (1 + shift))

    cli = PredictCli(capsys, monkeypatch, scenes=[[ALONE]])
    cli.network = Shaking([[ALONE]])
    clip = make_clip(tmp_path / "clip.mp4")

    def restlessness(*arguments) -> float:
        frames = cli.predict(clip, *FOCAL, *arguments).records
        return float(np.abs(np.diff([f["faces"][0]["translation_m"][2] for f in frames])).mean())

    assert restlessness() < 0.7 * restlessness("--no-smooth")


def test_sizes_are_the_persons_the_frames_or_those_of_the_whole_video(
    capsys, monkeypatch, tmp_path
):
    clip = make_clip(tmp_path / "clip.mp4")

    def faces(*arguments) -> list[dict]:
        cli = PredictCli(capsys, monkeypatch, scenes=[[ALONE]])
        cli.network = UnsureOfSize([[ALONE]])
        done = cli.predict(clip, *FOCAL, "--no-smooth", *arguments)
        return [record["faces"][0] for record in done.records]

    person, frame, whole = faces(), faces("--size", "frame"), faces("--two-pass")
    assert person[0]["interpupillary_m"] == frame[0]["interpupillary_m"]
    assert [face["frame_interpupillary_m"] for face in person] == pytest.approx(
        [face["interpupillary_m"] for face in frame], abs=2e-6
    )
    assert person[-1]["size_std"] < person[0]["size_std"]
    assert frame[0]["size_std"] is None
    assert len({face["interpupillary_m"] for face in whole}) == 1
    assert whole[0]["interpupillary_m"] == pytest.approx(person[-1]["interpupillary_m"])


def test_a_known_eye_distance_fixes_the_size_of_a_person_over_a_video(
    capsys, monkeypatch, tmp_path
):
    clip = make_clip(tmp_path / "clip.mp4")

    def eyes_m(*arguments) -> list[float]:
        cli = PredictCli(capsys, monkeypatch, scenes=[[ALONE]])
        cli.network = UnsureOfSize([[ALONE]])
        done = cli.predict(clip, *FOCAL, "--no-smooth", "--ipd", 62, *arguments)
        faces = [record["faces"][0] for record in done.records]
        known = {face["size_std"] is not None for face in faces}
        assert known == {"frame" not in arguments}
        return [face["interpupillary_m"] for face in faces]

    for arguments in ((), ("--two-pass",), ("--size", "frame")):
        assert eyes_m(*arguments) == pytest.approx([0.062] * len(TIMES_S), abs=1e-5)


def test_the_first_of_two_passes_reports_its_progress(cli, monkeypatch, tmp_path):
    calls: list[object] = []
    monkeypatch.setattr(
        ConsoleObserver, "on_measuring", lambda self, name, total: calls.append((name, total))
    )
    monkeypatch.setattr(ConsoleObserver, "on_measured", lambda self: calls.append("frame"))
    clip = make_clip(tmp_path / "clip.mp4")
    assert cli.predict(clip, *FOCAL, "--two-pass").code == 0
    assert calls == [(str(clip), len(TIMES_S)), *["frame"] * len(TIMES_S)]


def test_two_passes_need_a_file_and_people(cli, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4")
    for arguments, message in (
        (("0", "--two-pass"), "expected files, which can be read twice, got 'webcam 0'"),
        ((save_photos(tmp_path / "in", 0)[0], "--two-pass"), "expected a video among the inputs"),
        ((clip, "--two-pass", "--size", "frame"), "expected size person"),
    ):
        done = cli.predict(*arguments)
        assert done.code == 2
        assert message in done.err


def test_photos_and_videos_in_one_run_keep_their_order(cli, tmp_path):
    save_photos(tmp_path / "in", 0, 0)
    make_clip(tmp_path / "in" / "0b.mp4")
    (tmp_path / "in" / "0c.mp4").write_bytes(b"no video at all")
    out = tmp_path / "out"
    done = cli.predict(tmp_path / "in", "-o", out, "--draw", "--mesh", "glb")
    assert done.code == 1
    records = lines_of(out / "in.jsonl")
    names = [record["source"].rsplit("/", 1)[-1] for record in records]
    assert names == ["0.png", *["0b.mp4"] * 8, "0c.mp4", "1.png"]
    assert "error" in records[9]
    assert "in 2 photos and 8 frames" in done.err
    assert {path.name for path in out.iterdir()} == {
        *("0.jpg", "0.glb", "0b.mp4", "0b.glb", "1.jpg", "1.glb"),
        *("in.jsonl", "in.jsonl.finished", "in.jsonl.failures.csv"),
    }


def test_a_damaged_video_keeps_what_could_be_read(cli, tmp_path):
    clip = write_clip(tmp_path / "clip.mkv", size=SIZE, frames=40)
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    clip.write_bytes(data)
    out = tmp_path / "out"
    done = cli.predict(clip, "-o", out, "--draw")
    assert done.code == 1
    *frames, failure = lines_of(out / "clip.jsonl")
    assert 0 < len(frames) < 40
    assert "damaged" in failure["error"]
    with VideoReader(out / "clip.mp4") as overlay:
        assert len(list(overlay)) == len(frames)
    again = cli.predict(clip, "-o", out, "--draw", "--resume")
    assert again.code == 1, "a source that failed is tried again"
    assert len(lines_of(out / "clip.jsonl")) == len(frames) + 1, "its records are replaced"


@pytest.mark.parametrize(
    "trouble",
    [
        OSError("clip.mp4: cannot be read (broken)"),  # before the first frame
        None,  # no time at which a video could show its frames
    ],
)
def test_a_video_that_cannot_be_drawn_does_not_stop_the_others(cli, monkeypatch, tmp_path, trouble):
    clip = make_clip(tmp_path / "clip.mp4")
    (photo,) = save_photos(tmp_path / "in", 0)

    class Odd(VideoReader):
        def __next__(self):
            if trouble is not None:
                raise trouble
            return super().__next__()._replace(time_s=1e15)

    monkeypatch.setattr("trg.io.image_clip.VideoReader", Odd)
    out = tmp_path / "out"
    done = cli.predict(clip, photo, "-o", out, "--draw", *FOCAL)
    assert done.code == 1
    assert ("broken" if trouble else "times that rise") in done.err
    assert (out / "0.jpg").exists()
    assert not list(out.glob("*.mp4"))


def test_ctrl_c_in_a_video_leaves_no_incomplete_file(capsys, monkeypatch, tmp_path):
    class Pressing(OracleNetwork):
        def __call__(self, crops, boxes):
            if len(self.calls) == 3:
                signal.raise_signal(signal.SIGINT)
            return super().__call__(crops, boxes)

    cli = PredictCli(capsys, monkeypatch, scenes=[[ALONE]])
    calm, cli.network = cli.network, Pressing([[ALONE]])
    clip = make_clip(tmp_path / "clip.mp4")
    out = tmp_path / "out"
    arguments = (clip, "-o", out, "--draw", "--mesh", "glb")
    done = cli.predict(*arguments)
    assert done.code == 130
    assert "stopped after" in done.err
    assert {path.name for path in out.iterdir()} == {"clip.jsonl", "clip.jsonl.finished"}
    cli.network = calm
    assert cli.predict(*arguments, "--resume").code == 0
    assert [record["frame"] for record in lines_of(out / "clip.jsonl")] == list(range(8))
    assert (out / "clip.mp4").exists()


OUTPUTS = ("--draw", "mesh,landmarks,axes,box,label", "--mesh", "glb")


def test_stages_side_by_side_give_the_same_files_as_one_after_another(cli, monkeypatch, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", size=SIZE, frames=30, sound=True)
    assert cli.predict(clip, "-o", tmp_path / "threads", *OUTPUTS).code == 0
    monkeypatch.setattr("trg.app.predict.videos.read_ahead", lambda items: nullcontext(iter(items)))
    cli.network.calls.clear()
    assert cli.predict(clip, "-o", tmp_path / "sequence", *OUTPUTS).code == 0
    for name in ("clip.jsonl", "clip.glb", "clip.mp4"):
        files = [tmp_path / folder / name for folder in ("threads", "sequence")]
        assert files[0].read_bytes() == files[1].read_bytes(), name


def test_a_slow_disk_keeps_few_frames_in_memory(cli, monkeypatch, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", size=SIZE, frames=30)
    read, written, most = [0], [0], [0]

    class Counting(VideoReader):
        def __next__(self):
            frame = super().__next__()
            read[0] += 1
            return frame

    class Slow(VideoWriter):
        def write(self, pixels, time_s):
            time.sleep(0.01)
            written[0] += 1
            most[0] = max(most[0], read[0] - written[0])
            super().write(pixels, time_s)

    monkeypatch.setattr("trg.io.image_clip.VideoReader", Counting)
    monkeypatch.setattr("trg.io.video_writer.VideoWriter", Slow)
    assert cli.predict(clip, "-o", tmp_path / "out", "--draw").code == 0
    assert (read[0], written[0]) == (30, 30)
    assert most[0] <= 6


@pytest.mark.parametrize(
    ("stage", "error", "code"),
    [
        ("trg.app.outputs.draw_faces", MemoryError("drawing"), None),
        ("trg.io.video_writer.VideoWriter.write", OSError(errno.ENOSPC, "No space left"), 1),
        ("trg.io.video_writer.VideoWriter.close", OSError(errno.EIO, "I/O error"), 1),
        ("trg.inference.tracker.FaceTracker.track", MemoryError("tracking"), None),
    ],
)
def test_an_error_in_any_stage_ends_all(cli, monkeypatch, tmp_path, stage, error, code):
    clip = make_clip(tmp_path / "clip.mp4")

    def fail(*arguments):
        raise error

    monkeypatch.setattr(stage, fail)
    out = tmp_path / "out"
    if code is None:
        with pytest.raises(type(error), match=str(error)):
            cli.predict(clip, "-o", out, "--draw")
    else:
        done = cli.predict(clip, "-o", out, "--draw")
        assert (done.code, error.strerror in done.err) == (code, True)
    assert not list(out.glob("*.mp4")) + list(out.glob(".trg*"))
    assert not [each for each in threading.enumerate() if each.name.startswith("read_ahead")]


def test_ctrl_c_ends_a_live_input(cli, monkeypatch, tmp_path):
    clip = make_clip(tmp_path / "camera.mp4")

    class Endless(VideoReader):
        """A webcam: frames for ever, no file."""

        def __init__(self, source):
            assert source == 0
            super().__init__(clip)
            self.path = self.frame_count = None
            self._seen = 0

        def __next__(self):
            self._seen += 1
            if self._seen == 5:
                signal.raise_signal(signal.SIGINT)
            return super().__next__()

    monkeypatch.setattr("trg.io.image_clip.VideoReader", Endless)
    out = tmp_path / "out"
    done = cli.predict("0", "-o", out, "--draw")
    assert done.code == 0
    count = len(lines_of(out / "faces.jsonl"))
    assert count in (5, 6), "a further frame may be read before the signal arrives"
    with VideoReader(out / "webcam_0.mp4") as overlay:
        assert len(list(overlay)) == count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--mesh", "obj", "-o", "out"), "--mesh glb"), (("--boxes", "boxes.json"), "for photos")],
)
def test_options_for_photos_are_refused_for_videos(cli, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boxes.json").write_text("{}")
    clip = make_clip(tmp_path / "clip.mp4")
    done = cli.predict(clip, *arguments)
    assert done.code == 2
    assert message in done.err.replace("\n", " ")
    assert not list(tmp_path.rglob("*.jsonl"))


def test_two_people_keep_their_identities_in_the_animation(capsys, monkeypatch, tmp_path):
    cli = PredictCli(capsys, monkeypatch, scenes=[PAIR])
    make_clip(tmp_path / "clip.mp4")
    assert cli.predict(tmp_path / "clip.mp4", "-o", tmp_path, "--mesh", "glb").code == 0
    names = {node["name"] for node in glb_json(tmp_path / "clip.glb")["nodes"]}
    assert {"head 0", "head 1"} <= names
