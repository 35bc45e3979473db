"""``trg label --engine ray`` on a local cluster of three raylets, some of whose processes die."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from tests.support.pixel_estimator import KILL, KILL_ONCE, PixelEstimator, save_grey
from trg.app.label.engines import label_local, label_ray
from trg.app.label.folder import LabelFolder
from trg.app.label.shards import Labelling
from trg.app.label.sources import find_shards
from trg.app.predict.options import PredictOptions
from trg.io.records.arrow_tables import ArrowTable

pytest.importorskip("ray", reason="needs ray, of the extra `ray`: make test-cluster")
pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra `data`")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="ends processes by signals"),
]


@pytest.fixture
def cluster(monkeypatch):
    """Three raylets with one core each; the last can be removed."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster, nodes
    cluster.shutdown()


class Observer:
    """Removes a node of the cluster after some shards."""

    def __init__(self, remove_node=lambda: None):
        self.shards, self.deaths, self._remove_node = [], [], remove_node

    def on_pictures(self, count): ...

    def raise_if_stopped(self): ...

    def on_shard(self, shard):
        self.shards.append(shard.name)
        if len(self.shards) == 3:
            threading.Thread(target=self._remove_node).start()

    def on_death(self, shard, reason):
        self.deaths.append(reason)


def test_ray_writes_the_files_of_the_local_engine_whatever_dies(tmp_path, cluster):
    cluster, nodes = cluster
    for number in range(120):
        value = {30: KILL_ONCE, 60: KILL}.get(number, 0)
        save_grey(tmp_path / f"photos/{number:03d}.png", value)
    (tmp_path / "photos/090.png").write_bytes(b"no image")
    shards = find_shards(str(tmp_path / "photos"), 4)
    files = []
    for engine in ("local", "ray"):
        out = str(tmp_path / engine)
        LabelFolder(out).open({})
        work = Labelling(
            out,
            PixelEstimator(tmp_path / f"{engine}_marker"),
            PredictOptions(),
            ArrowTable(),
            10**6,
        )
        if engine == "local":
            label_local(work, shards, 2, Observer())
        else:
            observer = Observer(lambda: cluster.remove_node(nodes[1], allow_graceful=False))
            label_ray(work, shards, observer)
            assert observer.deaths
            assert sorted(observer.shards) == sorted(each.name for each in shards)
        counts = LabelFolder(out).finish([each.name for each in shards], {})
        assert counts["pictures"] == 120
        assert counts["errors"] == 2
        files.append({path.name: path.read_bytes() for path in (tmp_path / engine).iterdir()})
    assert files[0] == files[1]
