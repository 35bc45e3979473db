"""The speed table beside another program, which a script stands in for."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from trg.app import bench_peer
from trg.inference.bundle import bundled, read_bundle

FAKE_PEER = """
import json, sys
for line in sys.stdin:
    mode, count = line.split()
    times = [4.0 if mode == "video" else 6.0] * int(count)
    print(json.dumps({"times_ms": times, "found": FOUND}), flush=True)
"""


@pytest.fixture
def fake_peer(tmp_path, monkeypatch):
    """Return a function that replaces the other program; ``found`` is whether it sees a face."""

    def replace(found="True", script=FAKE_PEER):
        (tmp_path / "peer.py").write_text(script.replace("FOUND", found))
        monkeypatch.setattr(bench_peer, "PEER_FILE", tmp_path / "peer.py")

    return replace


def test_each_row_compares_two_times_of_one_run(fake_peer):
    fake_peer()
    bundle = read_bundle(bundled("trg_s"))
    rows = bench_peer.speed_table(bundle, bundle, sys.executable, 0.0)
    tracked, single, network, batch, around = rows
    assert (tracked.other_ms, single.other_ms, around.other_ms) == (4.0, 6.0, 4.0)
    assert 0.2 < network.ratio < 5.0  # the same network twice
    assert around.ms < tracked.ms < 4.0 * single.ms
    assert batch.ms < 2.0 * batch.other_ms
    text = bench_peer.format_speed_table(rows, 50.0)
    assert f"{tracked.ratio:.2f}" in text
    assert "50 GFLOP/s" in text


def test_a_peer_that_ends_or_sees_no_face_is_an_error(fake_peer):
    image = np.zeros((8, 8, 3), np.uint8)
    fake_peer(script="import mediapipe_that_is_not_installed")
    with (
        pytest.raises(ValueError, match="--peer-python ENVIRONMENT/bin/python"),
        bench_peer.face_mesh(sys.executable, image) as peer,
    ):
        peer.times_ms("video", 1)
    fake_peer(found="False")
    with (
        pytest.raises(ValueError, match="found no face"),
        bench_peer.face_mesh(sys.executable, image) as peer,
    ):
        peer.times_ms("video", 1)
