"""The help page shows the research verbs without importing them; their texts must match."""

from __future__ import annotations

import importlib

import pytest
from cyclopts import App

from trg.app.cli import RESEARCH_VERBS


@pytest.mark.parametrize("name", RESEARCH_VERBS)
def test_the_help_text_is_the_first_line_of_the_verbs_docstring(name):
    verb = RESEARCH_VERBS[name]
    module, _, attribute = verb.import_path.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    text = target.help if isinstance(target, App) else target.__doc__
    assert verb.help == text.splitlines()[0]
