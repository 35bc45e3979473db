"""``trg predict`` in several processes: order, deaths, stops, and what a second run adds."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from tests.support.cli_predict_runs import lines_of
from tests.support.clips import write_clip
from tests.support.pixel_estimator import KILL, KILL_ONCE, SLEEP_ONCE, PixelEstimator, save_grey
from trg.app.outputs import Outputs
from trg.app.predict.options import PredictOptions
from trg.app.predict.predictor import Predictor, worth_workers
from trg.io.inputs import PhotoInput, UnreadableFolder, VideoInput, find_inputs
from trg.io.records.writers import open_records

pytestmark = pytest.mark.skipif(os.name != "posix", reason="ends processes by signals")

BATCH_SIZE = 8


class Observer:
    """Notes errors and shares, and stops after some results."""

    def __init__(self, most=None):
        self.errors, self.shares, self.results, self.most = {}, {}, [], most

    def on_measuring(self, name, total): ...

    def on_measured(self): ...

    def on_video_start(self, video, frame_count): ...

    def on_assumed_camera(self, item, face): ...

    def on_warning(self, item, message): ...

    def on_result(self, item):
        self.results.append(item.name)

    def on_share(self, item, share):
        self.shares.setdefault(item.name, []).append(share)

    def on_error(self, item, message):
        self.errors[item.name] = message

    def should_stop(self):
        return self.most is not None and len(self.results) >= self.most


def predict(tmp_path, inputs, observer, workers=2):
    estimator = PixelEstimator(tmp_path / "killed_once")
    with open_records("jsonl", tmp_path / "faces.jsonl", resume=True) as records:
        predictor = Predictor(
            estimator, records, observer, PredictOptions(batch_size=BATCH_SIZE), Outputs(), workers
        )
        try:
            predictor.run(inputs)
        finally:
            assert not multiprocessing.active_children()
    return predictor.summary


def test_results_are_in_order_whatever_happens_to_the_workers(tmp_path):
    folder = tmp_path / "photos"
    values = [0] * (2 * BATCH_SIZE + 3)
    values[2], values[12] = KILL_ONCE, KILL
    for number, value in enumerate(values):
        save_grey(folder / f"{number:02d}.png", value)
    (folder / "05.png").write_bytes(b"no image")
    write_clip(folder / "07_clip.mp4", frames=70)
    inputs = find_inputs([str(folder)])
    inputs.insert(9, UnreadableFolder("locked", "locked", "locked: cannot be read"))
    observer = Observer()
    summary = predict(tmp_path, inputs, observer)
    records = lines_of(tmp_path / "faces.jsonl")
    assert list(dict.fromkeys(each["source"] for each in records)) == [each.name for each in inputs]
    assert [each.get("frame") for each in records].count(69) == 1
    assert len(records) == len(inputs) + 69
    bad = {os.path.basename(name): message for name, message in observer.errors.items()}
    assert set(bad) == {"05.png", "locked", "12.png"}
    assert "SIGKILL" in bad["12.png"]
    assert "twice" in bad["12.png"]
    assert (summary.photos, summary.frames, summary.failed) == (len(values) - 2, 70, 3)
    assert 0.0 < observer.shares[str(folder / "07_clip.mp4")][0] < 1.0


def test_a_stopped_run_is_continued_without_loss_or_repetition(tmp_path):
    for number in range(3 * BATCH_SIZE):
        save_grey(tmp_path / f"photos/{number:02d}.png", SLEEP_ONCE if number == 20 else 0)
    inputs = find_inputs([str(tmp_path / "photos")])
    with pytest.raises(KeyboardInterrupt):
        predict(tmp_path, inputs, Observer(most=BATCH_SIZE))
    assert 0 < len(lines_of(tmp_path / "faces.jsonl")) < len(inputs)
    (tmp_path / "killed_once").touch()  # the first run may have stopped before it came to sleep
    predict(tmp_path, inputs, Observer(), workers=1)
    sources = [each["source"] for each in lines_of(tmp_path / "faces.jsonl")]
    assert sources == [each.name for each in inputs]


def test_few_photos_start_no_processes():
    photos = [PhotoInput("a.jpg", "a.jpg")] * 63
    clip, webcam = VideoInput("a.mp4", "a.mp4"), VideoInput("webcam 0", 0, is_live=True)
    assert worth_workers(photos, 8) == 1
    assert worth_workers(photos * 2, 8) == 3
    assert worth_workers([clip, clip, webcam], 8) == 2
    assert worth_workers(photos * 9, 4) == 4
