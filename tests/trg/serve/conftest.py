"""Services that the tests of this folder share."""

from __future__ import annotations

import pytest

from tests.support.cli import trg_cli  # noqa: F401 -- a fixture
from tests.support.constant_bundle import write_constant_bundle
from tests.support.http_service import GatedNetwork, RunningService
from tests.support.synthetic_topology import ellipsoid_topology
from trg.inference.runtime import PoseRuntime


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("serve") / "constant.trg"
    write_constant_bundle(path, ellipsoid_topology(), (0.0, 0.0, 0.6))
    return path


@pytest.fixture(scope="session")
def network(bundle_path):
    return PoseRuntime(bundle_path)


@pytest.fixture(scope="session")
def service(network):
    """A service with small limits; tests leave it as they find it."""
    with RunningService(
        network, origins=["https://friend.example"], body_bytes=200_000, images=3, faces=5
    ) as running:
        yield running


@pytest.fixture
def gated(network):
    return GatedNetwork(network)
