r"""Names of files as valid Unicode, reversibly.

The name of a file may hold bytes that are not UTF-8 (on Windows: half a surrogate pair), which
Python represents by lone surrogates. JSON, CSV and Parquet with these are refused whole by their
readers. Records hold such a name with escapes instead::

    caf<E9>.jpg  ->  caf\xe9.jpg      the byte, as four characters
    a\xe9.jpg    ->  a\x5cxe9.jpg     a backslash that would read as an escape

All other names are unchanged.
"""

from __future__ import annotations

import re

_ESCAPE = r"x5c|x[89a-f][0-9a-f]|ud[89a-f][0-9a-f]{2}"
_TO_ESCAPE = re.compile(rf"\\(?={_ESCAPE})|[\ud800-\udfff]")
_ESCAPED = re.compile(rf"\\({_ESCAPE})")


def escape_name(name: str) -> str:
    """Return a file's name as valid Unicode; :func:`unescape_name` is the inverse."""
    return _TO_ESCAPE.sub(_escape, name)


def unescape_name(text: str) -> str:
    """Return the name of a file from the text in a record, as :func:`os.fsdecode` returns it."""
    return _ESCAPED.sub(_unescape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == ord("\\"):
        return r"\x5c"
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode's representation of the bytes 0x80 to 0xff
        return rf"\x{code - 0xDC00:02x}"
    return rf"\u{code:04x}"


def _unescape(match: re.Match[str]) -> str:
    code = int(match[1][1:], 16)
    return chr(0xDC00 + code if 0x80 <= code <= 0xFF else code)
