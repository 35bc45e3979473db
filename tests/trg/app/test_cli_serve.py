"""The verb `trg serve`: its process, messages and end."""

from __future__ import annotations

import re
import signal
import socket
import sys
import urllib.request

import pytest
from PIL import Image

from tests.support.child_process import start_python
from tests.support.cli import trg_cli  # noqa: F401 -- a fixture
from tests.support.constant_bundle import write_constant_bundle
from tests.support.synthetic_topology import ellipsoid_topology

RUN = "import sys; from trg.app.cli import main; sys.argv[0] = 'trg'; main()"


@pytest.fixture(autouse=True)
def same_size_limit(monkeypatch):
    """The limit of the verb is that of the whole process."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@pytest.fixture
def bundle_path(tmp_path):
    write_constant_bundle(tmp_path / "small.trg", ellipsoid_topology(), (0.0, 0.0, 0.6))
    return tmp_path / "small.trg"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_it_listens_on_this_machine_and_ends_on_sigterm(bundle_path):
    process = start_python(RUN, "serve", "--port", 0, "--model", bundle_path, text=True)
    try:
        line = process.stderr.readline()
        address = re.search(r"small at (http://127\.0\.0\.1:\d+)/v1/predict", line)
        assert address, line + process.stderr.read()
        with urllib.request.urlopen(f"{address[1]}/v1/models", timeout=20) as answer:
            assert b'"name":"small"' in answer.read()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (-signal.SIGTERM, "", "")


def test_others_than_this_machine_are_warned_of(trg_cli, bundle_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("trg.serve.server.run", lambda server, listening: listening.close())
    done = trg_cli("serve", "--host", "0.0.0.0", "--port", 0, "--model", bundle_path)
    assert done.code == 0
    assert "warning: everybody who can reach this address" in done.err
    done = trg_cli("serve", "--port", 0, "--model", bundle_path)
    assert "warning" not in done.err


def test_a_taken_port_is_an_error_with_a_remedy(trg_cli, bundle_path):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = trg_cli("serve", "--port", port, "--model", bundle_path)
    assert done.code == 2
    assert f"127.0.0.1:{port}: cannot listen there" in done.err


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_a_number_that_is_no_port_is_refused(trg_cli, bundle_path, monkeypatch, port):  # noqa: F811
    monkeypatch.setattr("trg.serve.server.run", lambda server, listening: listening.close())
    done = trg_cli("serve", "--port", port, "--model", bundle_path)
    assert (done.code, f"a port from 0 to 65535, got {port}" in done.err) == (2, True)


def test_a_missing_extra_is_named(trg_cli, bundle_path, monkeypatch):  # noqa: F811
    for name in [name for name in sys.modules if name.startswith("trg.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = trg_cli("serve", "--port", 0, "--model", bundle_path)
    assert done.code == 2
    assert "pip install 'trg-headpose[serve]'" in done.err


def test_limits_and_models_that_cannot_hold_are_refused(trg_cli, bundle_path):  # noqa: F811
    assert "queue" in trg_cli("serve", "--queue", 2, "--model", bundle_path).err
    twice = trg_cli("serve", "--model", bundle_path, bundle_path)
    assert (twice.code, "once" in twice.err) == (2, True)
