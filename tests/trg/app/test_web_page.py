"""``trg web``: the page and its server. The page itself is tested in ``web/``."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

import pytest

from tests.support.cli import trg_cli  # noqa: F401 (a fixture)
from tests.support.constant_bundle import write_constant_bundle
from tests.support.synthetic_topology import ellipsoid_topology
from trg.app import web_page as module
from trg.app.web_page import WebPageServer, web_page, write_web_page
from trg.inference.detector import BUNDLED

pytestmark = [
    pytest.mark.filterwarnings("ignore:Cyclopts application invoked"),
    pytest.mark.skipif(not BUNDLED.is_file(), reason="this copy of the package has no detector"),
]


@pytest.fixture
def bundle_path(tmp_path):
    path = tmp_path / "constant.trg"
    write_constant_bundle(path, ellipsoid_topology(), (0.0, 0.0, 0.7))
    return path


@pytest.fixture
def page_folder(tmp_path, monkeypatch):
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>Head pose</h1>")
    (folder / "assets" / "code.wasm").write_bytes(b"\0asm")
    monkeypatch.setattr(module.web_page, "__defaults__", (folder,))
    return folder


@pytest.fixture
def server(page_folder, bundle_path):
    with WebPageServer(web_page(bundle_path)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def test_the_page_and_its_models_are_served_isolated_from_other_sites(server):
    with urllib.request.urlopen(server.url) as answer:
        assert answer.read() == b"<h1>Head pose</h1>"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert answer.headers["Content-Type"].startswith("text/html")
    with urllib.request.urlopen(server.url + "assets/code.wasm") as answer:
        assert answer.headers["Content-Type"] == "application/wasm"
    with urllib.request.urlopen(server.url + "models/constant.onnx.gz?again") as answer:
        assert answer.headers["Content-Encoding"] is None
        assert answer.read(2) == b"\x1f\x8b"


def test_only_this_machine_is_served(server):
    assert server.url.startswith("http://127.0.0.1:")
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("name", ["nothing", "../constant.trg", "assets", "assets/%2e%2e/x"])
def test_what_is_no_file_of_the_page_is_not_found(server, name):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(server.url + name)
    assert caught.value.code == 404


def test_the_page_is_written_for_a_static_server(trg_cli, page_folder, bundle_path, tmp_path):  # noqa: F811
    done = trg_cli("web", "--model", bundle_path, "--out", tmp_path / "site")
    assert done.code == 0, done.err
    names = {
        path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.*")
    }
    assert {"index.html", "assets/code.wasm", "models/model.json"} < names
    again = trg_cli("web", "--model", bundle_path, "--out", tmp_path / "site")
    assert again.code == 2
    assert "--overwrite" in again.err
    assert (
        trg_cli("web", "--model", bundle_path, "--out", tmp_path / "site", "--overwrite").code == 0
    )


def test_the_page_is_written_after_all_that_it_loads(tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "models").write_text("the folder's name is taken")
    with pytest.raises(OSError, match="models"):
        write_web_page({"index.html": b"", "models/model.json": b""}, site)
    assert not (site / "index.html").exists()


def test_a_package_without_the_page_says_how_to_build_it(trg_cli, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setattr(module.web_page, "__defaults__", (tmp_path,))
    done = trg_cli("web")
    assert done.code == 2
    assert "make web" in done.err


def test_a_taken_port_is_an_error_that_says_what_to_do(trg_cli, server, bundle_path):  # noqa: F811
    port = server.server_address[1]
    done = trg_cli("web", "--model", bundle_path, "--port", port)
    assert done.code == 2
    assert "0 for a free one" in done.err.replace("\n", " ")
