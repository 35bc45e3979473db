"""`trg synth`: rendered folders of the built-in head, read back by the data sets' readers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.made_samples import as_fitted
from trglab.cli.synth import synth
from trglab.datasets.aflw2000 import AFLW2000
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.biwi import BIWI
from trglab.datasets.completion import complete_name, is_complete
from trglab.datasets.sample_store import SampleStore
from trglab.datasets.store import is_store
from trglab.datasets.w300lp import W300LP
from trglab.synth.dataset import IMAGES_PER_PERSON, LAYOUT_OPTIONS, SyntheticFaces
from trglab.synth.parallel import FaceSequence

COUNT = 1
SMALL = {"seed": 5, "window": (48, 1.6)}

READERS = {
    "webdataset": lambda folder: list(map(SampleStore(folder).__getitem__, range(COUNT))),
    "arkitface": lambda folder: list(map(ARKitFace(folder).__getitem__, range(COUNT))),
    "300wlp": lambda folder: list(map(W300LP(folder, rotations=True).__getitem__, range(COUNT))),
    "aflw2000": lambda folder: list(map(AFLW2000(folder).__getitem__, range(COUNT))),
    "biwi": lambda folder: list(map(BIWI(folder).__getitem__, range(COUNT))),
}


@pytest.mark.parametrize("layout", READERS)
def test_rendered_folders_read_back_to_their_labels(tmp_path, layout):
    folder = tmp_path / "faces"
    split = "train" if layout == "arkitface" else None
    synth(folder, count=COUNT, layout=layout, split=split, seed=4)
    assert is_store(folder) if layout == "webdataset" else is_complete(folder)
    read = READERS[layout](folder)
    faces = SyntheticFaces(4, **LAYOUT_OPTIONS[layout])
    for index, got in enumerate(read):
        made = faces.sample(index)
        if layout in ("300wlp", "aflw2000"):  # have neither a camera nor metres
            np.testing.assert_allclose(got.rotation, as_fitted(made).rotation, atol=1e-9)
            continue
        np.testing.assert_allclose(got.rotation, made.rotation, atol=1e-9)
        np.testing.assert_allclose(got.translation_m, made.translation_m, atol=1e-9)
        np.testing.assert_allclose(got.camera.matrix, made.camera.matrix, atol=1e-8)
        if got.vertices_m is not None:
            np.testing.assert_allclose(got.vertices_m, made.vertices_m, atol=1e-9)


def test_a_folder_is_resumed_only_with_equal_settings(tmp_path):
    folder = tmp_path / "faces"
    synth(folder, count=1, layout="biwi", seed=4)
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    with pytest.raises(FileExistsError, match="--resume"):
        synth(folder, count=1, layout="biwi", seed=4)
    with pytest.raises(ValueError, match="begun with"):
        synth(folder, count=1, layout="biwi", seed=7, resume=True)
    (folder / complete_name()).unlink()
    synth(folder, count=1, layout="biwi", seed=4, resume=True)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_workers_render_equal_faces_in_order():
    count = IMAGES_PER_PERSON + 1
    asked = [0, count - 1, 3]  # also backwards
    with FaceSequence(count, SMALL) as alone, FaceSequence(count, SMALL, workers=1) as shared:
        assert len(shared) == count
        for index in asked:
            np.testing.assert_array_equal(shared[index].image, alone[index].image)
        assert [shared[index].name for index in (1, 2)] == ["synthetic 5 1", "synthetic 5 2"]
        with pytest.raises(IndexError, match=f"0 to {count - 1}"):
            shared[count]
    with pytest.raises(ValueError, match="count of at least 1"):
        FaceSequence(0, SMALL)
