"""The cache of compiled kernels: hits for unchanged sources, misses for changed ones."""

from __future__ import annotations

import importlib.util
import shutil

from trglab.synth import kernels

MODULE = """
from trglab.synth.kernels import kernel

@kernel
def double(x):
    return 2.0 * x
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
