"""``trg eval`` and ``trg bench`` refuse options that their measurement would not look at."""

from __future__ import annotations

import pytest

from tests.support.cli import trg_cli  # noqa: F401 (a fixture)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("eval stills photos --predictions theirs.npz", "stills: expected no --predictions,"),
        ("eval stills photos --out out --by age", "stills: expected no --by, --out,"),
        ("eval clips clips --method mediapipe", "clips: expected no --method,"),
        ("eval biwi BIWI --far --without panoramas", "biwi: expected no --far, --without,"),
        ("eval synthetic --pack pack --count 10", "synthetic: expected no --count,"),
        ("eval synthetic folder --pack pack", "synthetic: expected a folder or --pack, got both"),
        ("eval blendshapes --align reference", "blendshapes: expected no --align,"),
        ("eval blendshapes --predictions theirs.npz", "blendshapes: expected no --predictions,"),
        ("bench synth --peer mediapipe", "--peer: expected a network to compare, got synth"),
        ("bench trg_s --peer-python python", "--peer-python: expected --peer NAME as well"),
    ],
)
def test_an_option_that_would_change_nothing_is_an_error(trg_cli, command, message):  # noqa: F811
    done = trg_cli(*command.split())
    assert done.code == 2
    assert message in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--by age,foo", "--by: expected some of ['age', "),
        ("--reference face.trg", "--reference: expected --align reference as well"),
        ("--python python", "--python: expected --method NAME as well"),
        ("--predictions x.npz --method mediapipe", "expected --method or --predictions, got both"),
        ("--predictions x.npz --align reference", "--align reference: expected --reference with"),
    ],
)
def test_wrong_options_are_named_before_any_data_are_read(trg_cli, options, message):  # noqa: F811
    done = trg_cli("eval", "biwi", "/nowhere", *options.split())
    assert done.code == 2
    assert message in done.err
    assert "/nowhere" not in done.err


@pytest.mark.parametrize(
    "command",
    [
        "eval biwi BIWI --by yaw --boxes truth --limit 5 --out out",
        "eval synthetic --pack pack --far --view virtual",
        "eval stills photos --flip-tta --bundle trg_m",
    ],
)
def test_options_that_are_used_are_taken(trg_cli, tmp_path, monkeypatch, command):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    done = trg_cli(*command.split())
    assert done.code == 2
    assert "change nothing" not in done.err
    assert "found none" in done.err
