"""Named fields of calibration files in YAML, JSON, XML and NumPy's .npz, with bounded work.

Values are numbers, texts, lists and mappings, not yet checked. Numbers of YAML and XML stay texts.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from trg._util.archives import read_npy

MAX_FILE_BYTES = 1_000_000
"""Larger files are not calibrations."""

MAX_NESTING = 20

MAX_VALUES = 100_000
"""Numbers and names in a file; OpenCV's also list the corners of the chessboards."""

MAX_ARRAY_VALUES = 64
"""Numbers of an array that describes a camera; larger arrays of an .npz are not read."""

ARCHIVE_START = b"PK\x03\x04"


def read_fields(data: bytes) -> Mapping[str, Any]:
    """Parse the bytes of a calibration file into its named fields.

    Raises ValueError if the data are damaged, of another format, or too large.
    """
    if data.startswith(ARCHIVE_START):
        return _npz_fields(data)
    text = decode_text(data)
    start = text.lstrip()[:1]
    try:
        if start == "<":
            return _xml_fields(text)
        fields = json.loads(text) if start == "{" else _yaml_fields(text)
    except Exception as error:  # PyYAML raises other exceptions than its own for some values
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"expected a calibration as YAML, JSON or XML, got {reason}") from error
    if not isinstance(fields, Mapping):
        raise ValueError(f"expected a calibration with named fields, got {fields!r:.60}")
    return fields


def decode_text(data: bytes) -> str:
    """Return the text of a calibration file; ValueError if it is none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            "expected a calibration as text (YAML, JSON, XML, COLMAP's cameras.txt) or .npz, got "
            "other binary data"
        ) from error


def _yaml_fields(text: str) -> Any:
    """Parse the first document, with OpenCV's matrices as plain mappings."""
    import yaml  # takes 40 ms, for the few photos that come with a calibration

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # texts only: no cost, no code
    text = re.sub(r"^%YAML.*$", "", text, flags=re.MULTILINE)  # OpenCV's "%YAML:1.0" is not valid
    depth = 0
    for count, event in enumerate(yaml.parse(text, loader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > MAX_NESTING or count > MAX_VALUES:
            raise ValueError(
                f"aliases (*name), deep nesting or over {MAX_VALUES} values, which no calibration "
                "has"
            )
    return next(yaml.load_all(text, loader), None)


def _xml_fields(text: str) -> dict[str, Any]:
    """Parse OpenCV's XML: one element per field, a matrix with its numbers in ``<data>``."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("XML with a DOCTYPE, which no calibration has")
    fields = {}
    for element in ElementTree.fromstring(text):
        data = element.find("data")
        words = ((element if data is None else data).text or "").split()
        fields[element.tag] = words[0] if len(words) == 1 else words
    return fields


def _npz_fields(data: bytes) -> dict[str, Any]:
    """Read the small numeric arrays of an .npz archive; others are left out."""
    fields = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                # The header is at most 64 KiB; sizes are checked before anything is unpacked.
                if not member.filename.endswith(".npy") or member.file_size > 2**16:
                    continue
                array = read_npy(member.filename, archive.read(member), "fiu")
                if array is not None and 0 < array.size <= MAX_ARRAY_VALUES:
                    fields[member.filename.removesuffix(".npy")] = array.tolist()
    except Exception as error:  # zipfile and zlib raise many kinds for damaged archives
        raise ValueError(f"expected a calibration as .npz, got a damaged file ({error})") from error
    return fields
