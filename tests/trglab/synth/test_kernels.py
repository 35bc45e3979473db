"""The cache of compiled kernels: hits for unchanged sources, misses for changed ones."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys

from trglab.synth import kernels

MODULE = """
from trglab.synth.kernels import kernel

@kernel
def double(x):
    return 2.0 * x
"""

POINT_MODULE = """
from typing import NamedTuple
from trglab.synth.kernels import kernel

class Point(NamedTuple):
    x: float
    y: float

@kernel
def norm(point):
    return point.x * point.x + point.y * point.y
"""


def cache_hits_on_first_call(path) -> int:
    spec = importlib.util.spec_from_file_location("some_kernels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.double(1.5) == 3.0
    return sum(module.double.stats.cache_hits.values())


def test_a_cached_kernel_is_loaded_until_any_kernel_source_changes(tmp_path, monkeypatch):
    path = tmp_path / "some_kernels.py"
    path.write_text(MODULE)
    assert [cache_hits_on_first_call(path) for _ in range(2)] == [0, 1]
    monkeypatch.setattr(kernels, "SOURCES_DIGEST", "of changed sources")
    assert cache_hits_on_first_call(path) == 0


def test_the_digest_covers_all_files_that_use_kernels_and_no_others(tmp_path):
    first, helper, other = (tmp_path / name for name in ("first.py", "helper.py", "other.py"))
    shutil.copy(kernels.__file__, first)
    helper.write_text(MODULE)
    other.write_text("x = 1\n")
    before = kernels.digest_kernel_sources(tmp_path)
    other.write_text("x = 2\n")
    assert kernels.digest_kernel_sources(tmp_path) == before
    helper.write_text(MODULE.replace("2.0", "3.0"))
    assert kernels.digest_kernel_sources(tmp_path) != before


def test_a_cache_of_renamed_types_is_ignored(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "point_kernels.py"
    for name in ("Point", "RenamedPoint"):
        path.write_text(POINT_MODULE.replace("Point", name))
        importlib.invalidate_caches()
        sys.modules.pop("point_kernels", None)
        module = importlib.import_module("point_kernels")
        assert module.norm(getattr(module, name)(3.0, 4.0)) == 25.0
    monkeypatch.delitem(sys.modules, "point_kernels")
