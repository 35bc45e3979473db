"""The command line, called in the process of the test."""

from __future__ import annotations

import json
import sys
from typing import NamedTuple

import pytest

from trg.app.cli import main


class Done(NamedTuple):
    """Exit code and outputs of a run."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """Calls ``trg`` with arguments."""

    def __init__(self, capsys, monkeypatch):
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments) -> Done:
        self.monkeypatch.setattr(sys, "argv", ["trg", *map(str, arguments)])
        self.capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return Done(code, *self.capsys.readouterr())


@pytest.fixture
def trg_cli(capsys, monkeypatch) -> Cli:
    return Cli(capsys, monkeypatch)
