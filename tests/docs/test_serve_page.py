"""The page on the service names every option and status, and its examples what is answered."""

from __future__ import annotations

import re

import pytest

from tests.support.child_process import ROOT
from trg.serve.app import PREDICT, create_app
from trg.serve.limits import Limits
from trg.serve.schema import PREDICTION_EXAMPLE, FaceRecord, Prediction, RequestOptions
from trg.serve.service import Service

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs").is_dir(), reason="the documentation is not beside the tests"
)


@pytest.fixture(scope="module")
def described():
    service = Service([], [], Limits(), 1, 1)
    yield create_app(service).openapi()
    service.close()


def test_the_page_names_every_option_route_and_status(described):
    page = (ROOT / "docs" / "serve.md").read_text()
    rows = " ".join(re.findall(r"^\| (`?[^|]*)\|", page, re.MULTILINE))
    options = set(re.findall(r"`(\w+)=", rows))
    assert options == {*RequestOptions.model_fields}
    routes = {f"{method} {path}" for method, path in re.findall(r"`(POST|GET) (\S+)`", rows)}
    assert routes - {"GET /openapi.json"} == {
        f"{method.upper()} {path}"
        for path, methods in described["paths"].items()
        for method in methods
    }
    statuses = set(re.findall(r"\d{3}", " ".join(re.findall(r"^\| ([\d, ]+) \|", page, re.M))))
    assert statuses == {*described["paths"][PREDICT]["post"]["responses"]} - {"200"}


def test_the_examples_read_fields_that_are_answered():
    Prediction.model_validate(PREDICTION_EXAMPLE)
    folder = ROOT / "examples" / "serve"
    code = (folder / "client.py").read_text() + (folder / "client.mjs").read_text()
    fields = set(re.findall(r"""face(?:\.|\[["'])(\w+)""", code))
    assert fields == {"euler_deg", "distance_m"} <= {*FaceRecord.model_fields}
    assert code.count(PREDICT) == 2
