from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from tests.support.full_disk import full_after
from tests.support.mutations import mutated
from tests.support.network_cases import labelled_batch, seeded_network, tiny_config, wake_heads
from tests.support.synthetic_topology import ellipsoid_topology
from trg.network import checkpoint
from trg.network.checkpoint import load_checkpoint, save_checkpoint
from trg.network.config import table1_variants

TOPOLOGY = ellipsoid_topology()


@pytest.mark.parametrize("name", table1_variants(tiny_config()))
def test_a_checkpoint_rebuilds_its_network(name: str, tmp_path) -> None:
    network = wake_heads(seeded_network(table1_variants(tiny_config())[name], TOPOLOGY))
    optimiser = torch.optim.Adam(network.parameters())
    path = tmp_path / "net.pt"
    save_checkpoint(path, network, {"step": 7, "optimiser": optimiser.state_dict()})
    loaded = load_checkpoint(path)
    assert loaded.network.config == network.config
    assert loaded.extra["step"] == 7
    for key, array in TOPOLOGY.to_arrays().items():
        np.testing.assert_array_equal(getattr(loaded.network.topology, key), array)
    crops, targets = labelled_batch(TOPOLOGY, 32, 2)
    with torch.no_grad():
        before = network.eval()(crops, targets.bbox_info).steps[-1]
        after = loaded.network.eval()(crops, targets.bbox_info).steps[-1]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_changed_start_rotation_and_vertices_are_kept(tmp_path) -> None:
    network = seeded_network(tiny_config(), TOPOLOGY)
    network.start_rotation_6d.copy_(torch.arange(6.0))
    network.start_vertices_m.fill_(0.3)
    save_checkpoint(tmp_path / "net.pt", network)
    loaded = load_checkpoint(tmp_path / "net.pt").network
    assert torch.equal(loaded.start_rotation_6d, torch.arange(6.0))
    assert (loaded.start_vertices_m == 0.3).all()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    network = seeded_network(tiny_config(), TOPOLOGY)
    path = tmp_path / "net.pt"
    save_checkpoint(path, network, {"step": 1})

    def half_written(contents, file) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint.torch, "save", half_written)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, network, {"step": 2})
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["net.pt"]
    assert load_checkpoint(path).extra == {"step": 1}


def test_a_full_disk_is_an_os_error_and_the_old_file_stays(tmp_path) -> None:
    network = seeded_network(tiny_config(), TOPOLOGY)
    save_checkpoint(tmp_path / "a.pt", network, {"step": 1})
    size = (tmp_path / "a.pt").stat().st_size
    with full_after(size // 2), pytest.raises(OSError, match="File too large"):
        save_checkpoint(tmp_path / "a.pt", network, {"step": 2})
    assert load_checkpoint(tmp_path / "a.pt").extra == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def _rewrite(path, change) -> None:
    contents = torch.load(path, weights_only=True)
    change(contents)
    torch.save(contents, path)


def test_mismatched_weights_are_named(tmp_path) -> None:
    path = tmp_path / "net.pt"
    network = seeded_network(tiny_config(), TOPOLOGY)

    def fresh(change) -> None:
        save_checkpoint(path, network)
        _rewrite(path, change)

    fresh(lambda c: c["weights"].pop("heatmaps.bias"))
    with pytest.raises(ValueError, match=r"Missing: \['heatmaps.bias'\]"):
        load_checkpoint(path)
    fresh(lambda c: c["weights"].update(more=torch.zeros(1)))
    with pytest.raises(ValueError, match=r"Unexpected: \['more'\]"):
        load_checkpoint(path)
    fresh(lambda c: c["weights"].update({"heatmaps.bias": torch.zeros(5)}))
    with pytest.raises(ValueError, match=r"heatmaps.bias: expected \(68,\), got \(5,\)"):
        load_checkpoint(path)
    fresh(lambda c: c["config"].pop("decoder"))
    with pytest.raises(ValueError, match=r"network config: .*missing keys \['decoder'\]"):
        load_checkpoint(path)
    fresh(lambda c: c.pop("topology"))
    with pytest.raises(ValueError, match="a mapping 'topology'"):
        load_checkpoint(path)
    fresh(lambda c: c.update(version=99))
    with pytest.raises(ValueError, match="expected checkpoint version 1, got 99"):
        load_checkpoint(path)


def test_mutated_configurations_are_read_or_refused_by_name(tmp_path) -> None:
    _read_mutated_configurations(tmp_path / "net.pt", 150)


@pytest.mark.slow
def test_thousands_of_mutated_configurations_are_read_or_refused_by_name(tmp_path) -> None:
    _read_mutated_configurations(tmp_path / "net.pt", 3000)


def _read_mutated_configurations(path, count: int) -> None:
    rng = np.random.default_rng(7)
    save_checkpoint(path, seeded_network(tiny_config(), TOPOLOGY))
    contents = torch.load(path, weights_only=True)
    refused, accepted = 0, 0
    for _ in range(count):
        torch.save({**contents, "config": mutated(contents["config"], rng)}, path)
        try:
            load_checkpoint(path)
        except ValueError as error:
            refused += str(path) in str(error)
        else:
            accepted += 1
    assert refused + accepted == count
    assert accepted < count / 2


def test_hostile_checkpoints_are_refused_before_they_take_memory(tmp_path) -> None:
    path = tmp_path / "net.pt"
    save_checkpoint(path, seeded_network(tiny_config(), TOPOLOGY))
    whole = path.read_bytes()
    _rewrite(path, lambda c: c["weights"].update(more=torch.zeros(1).expand(2**32)))
    with pytest.raises(ValueError, match=r"net.pt: expected at most the file's size of tensors"):
        load_checkpoint(path)
    path.write_bytes(whole)
    wide = {"width": 512, "blocks": [64] * 4, "trunk": "resnet"}
    _rewrite(path, lambda c: c["config"].update(backbone=wide))  # 100 GB if it were built
    with pytest.raises(ValueError, match=r"net.pt: weights do not match the network"):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", bytes(2**24))
    with pytest.raises(ValueError, match=r"net.pt: expected a checkpoint of trg"):
        load_checkpoint(path)


def test_other_files_are_refused(tmp_path) -> None:
    path = tmp_path / "net.pt"
    with pytest.raises(FileNotFoundError, match="expected a checkpoint of trg"):
        load_checkpoint(path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="cannot be read safely"):
        load_checkpoint(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="another torch file"):
        load_checkpoint(path)
    torch.save({"format": "trg-checkpoint", "run": pytest.approx}, path)
    with pytest.raises(ValueError, match="cannot be read safely"):
        load_checkpoint(path)
