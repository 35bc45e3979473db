"""The help page shows the verbs without importing them; their texts must match."""

from __future__ import annotations

import importlib
import inspect

import pytest
from cyclopts import App

from trg.app.cli import PRODUCT_VERBS, RESEARCH_VERBS
from trglab.cli.train import train
from trglab.training.recipes import RECIPES

VERBS = {**PRODUCT_VERBS, **RESEARCH_VERBS}


@pytest.mark.parametrize("name", VERBS)
def test_the_help_text_is_the_first_line_of_the_verbs_docstring(name):
    verb = VERBS[name]
    module, _, attribute = verb.import_path.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    text = target.help if isinstance(target, App) else target.__doc__
    assert verb.help == text.splitlines()[0]


def test_the_help_of_train_names_every_recipe():
    text = inspect.getdoc(train)
    assert [name for name in RECIPES if f"``{name}``" not in text] == []
