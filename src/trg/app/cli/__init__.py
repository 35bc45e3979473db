"""The command line. Each verb imports what it needs when it is called."""

from __future__ import annotations

import os
import sys

from rich.markup import escape

from trg.app.cli import doctor, predict  # noqa: F401  (they add their verbs)
from trg.app.cli.shared import EVALUATION, RESEARCH, app, messages

__all__ = ["app", "main"]

RESEARCH_VERBS = {
    "train": ("trglab.cli.train:train", RESEARCH),
    "export": ("trglab.cli.train:export", RESEARCH),
    "calibrate": ("trglab.cli.train:calibrate", RESEARCH),
    "bench": ("trglab.cli.train:bench", RESEARCH),
    "synth": ("trglab.cli.synth:synth", RESEARCH),
    "source": ("trglab.cli.synth:source", RESEARCH),
    "data": ("trglab.cli.data:data", RESEARCH),
    "detector": ("trglab.cli.detector:detector", RESEARCH),
    "eval": ("trglab.cli.evaluate:evaluate", EVALUATION),
    "table": ("trglab.cli.table:table", EVALUATION),
}
"""Research verbs by import path: their package is loaded only when one of them is called."""

for _name, (_path, _group) in RESEARCH_VERBS.items():
    app.command(_path, name=_name, group=_group)


def main() -> None:
    """Run the command line; errors that a user can mend are one line on stderr, exit code 2."""
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("TRG_DEBUG"):
            raise
        messages.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        messages.print("stopped")
        sys.exit(130)
