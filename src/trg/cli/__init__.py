"""The command line. Each verb imports what it needs when it is called."""

from __future__ import annotations

import os
import sys

from rich.markup import escape

from trg.cli import (  # noqa: F401  (they add their verbs)
    data,
    detect,
    doctor,
    evaluate,
    predict,
    synthetic,
    table,
    train,
)
from trg.cli.shared import app, messages

__all__ = ["app", "main"]


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
