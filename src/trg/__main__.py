"""``python -m trg`` is the command ``trg``."""

from __future__ import annotations

from trg.app.cli import main

if __name__ == "__main__":
    main()
