"""Programs in ``examples/``: they parse, and agree with what is sent."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.live_frames import live_face, live_frame
from trg.live.json_lines import live_record

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not installed")


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.name)
def test_every_example_parses(path):
    ast.parse(path.read_text(), str(path))


def test_the_ros_node_reads_fields_that_are_sent():
    """ROS itself is no dependency; a node that runs needs ROS 2 with rclpy and tf2_ros."""
    code = (EXAMPLES / "ros2" / "head_pose_node.py").read_text()
    record = live_record(live_frame(live_face()), "ros")
    fields = set(re.findall(r'record\["(\w+)"\]', code))
    assert fields == {"captured_unix_s", "faces"} <= set(record)
    face = record["faces"][0]
    for name in set(re.findall(r"""face\[["'](\w+)["']\]""", code)):
        assert name in face
    for name in set(re.findall(r'face\["live"\]\["(\w+)"\]', code)):
        assert name in face["live"]
