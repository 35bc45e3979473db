"""Cross-references in docstrings: Sphinx roles become links in the reference, or code.

An extension of griffe, which zensical.toml names.
"""

from __future__ import annotations

import re
from typing import Any

import griffe
from scripts.build_docs import documented_modules

ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):`(~?)([\w.]+)`")


class DocstringRoles(griffe.Extension):
    """Replaces the roles in all docstrings of a package."""

    def __init__(self) -> None:
        super().__init__()
        self._modules = set(documented_modules())

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite the docstrings of a package whose members are all known."""
        self._rewrite(pkg)

    def _rewrite(self, owner: Any) -> None:
        if owner.docstring is not None:
            owner.docstring.value = ROLE.sub(
                lambda match: self._reference(owner, *match.groups()), owner.docstring.value
            )
        for member in owner.members.values():
            if not member.is_alias:
                self._rewrite(member)

    def _reference(self, owner: Any, short: str, name: str) -> str:
        text = name.rpartition(".")[2] if short else name
        path = self._documented_path(owner, name)
        return f"[`{text}`][{path}]" if path else f"`{text}`"

    def _documented_path(self, owner: Any, name: str) -> str | None:
        """Return the path under which the reference shows something; None if it does not."""
        try:
            path = name if name.startswith("trg.") else owner.resolve(name)
            found = owner.package[path.removeprefix("trg.")]
            found = found.final_target if found.is_alias else found
        except (KeyError, griffe.GriffeError):
            return None
        shown = found.has_docstring or not found.is_attribute
        return found.path if shown and found.module.path in self._modules else None
