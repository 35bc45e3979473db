"""The page on exporting names the inputs and outputs of the graphs that it hands out."""

from __future__ import annotations

import pytest

from tests.support.child_process import ROOT
from trg.inference.bundle import bundled_names
from trg.inference.runtime import PoseArrays

PAGE = ROOT / "docs" / "exporting.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")
@pytest.mark.skipif(not bundled_names(), reason="this copy of the package has no weights")
def test_inputs_and_outputs_have_the_names_of_the_graph():
    import onnxruntime

    from trg.inference.bundle import bundled, read_bundle

    page = PAGE.read_text(encoding="utf-8")
    graph = onnxruntime.InferenceSession(read_bundle(bundled("trg_fast")).model)
    names = [each.name for each in (*graph.get_inputs(), *graph.get_outputs())]
    assert {*PoseArrays._fields} < {*names}
    for name in names:
        assert f"`{name}`" in page, name
