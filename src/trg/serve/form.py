"""Pictures and fields of a request's body: one picture, or a multipart form."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header
from starlette.exceptions import HTTPException

from trg.io.records.names import escape_name

IMAGE_FIELD = "image"
"""Name of the parts of a form that are pictures, and of a picture without a name."""

MAX_FIELDS = 32
MAX_FIELD_BYTES = 64 * 1024
MAX_NAME = 255


class NamedPicture(NamedTuple):
    """The bytes of a picture as they came; neither name nor bytes are to be trusted."""

    source: str
    """The last part of the file's name, valid Unicode."""
    data: bytes


class Submission(NamedTuple):
    """What a request's body holds."""

    pictures: list[NamedPicture]
    fields: dict[str, str]


def parse_body(content_type: str, body: bytes, max_pictures: int) -> Submission:
    """Parse the body of a request.

    Raises HTTPException if it is of another type (415), damaged (400), or holds no or too many
    pictures or fields (422).
    """
    kind, parameters = parse_options_header(content_type)
    if kind.startswith(b"image/") or kind == b"application/octet-stream":
        submission = Submission([NamedPicture(IMAGE_FIELD, body)] if body else [], {})
    elif kind == b"multipart/form-data":
        try:
            submission = _parse_form(parameters.get(b"boundary", b""), body, max_pictures)
        except (FormParserError, ValueError) as error:
            raise HTTPException(
                HTTPStatus.BAD_REQUEST, f"multipart: damaged ({error})"[:300]
            ) from None
    else:
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "content-type: expected image/*, application/octet-stream or multipart/form-data, got "
            f"{content_type[:80]!r}",
        )
    if not submission.pictures:
        raise _unprocessable(f"body: expected a picture, or a form with parts {IMAGE_FIELD!r}")
    return submission


def _parse_form(boundary: bytes, body: bytes, max_pictures: int) -> Submission:
    pictures: list[NamedPicture] = []
    fields: dict[str, str] = {}
    ends: list[bool] = []

    def on_file(file: File) -> None:
        content = file.file_object
        content.seek(0)
        add(file.field_name, _last_part(file.file_name), content.read())

    def on_field(field: Field) -> None:
        add(field.field_name, IMAGE_FIELD, field.value or b"")

    def add(field_name: bytes | None, source: str, data: bytes) -> None:
        name = (field_name or b"").decode(errors="replace")
        if name == IMAGE_FIELD:
            if len(pictures) == max_pictures:
                raise _unprocessable(f"body: expected at most {max_pictures} pictures")
            pictures.append(NamedPicture(source, data))
            return
        if name in fields or len(fields) == MAX_FIELDS or len(data) > MAX_FIELD_BYTES:
            raise _unprocessable(
                f"{name[:40]}: expected each field once, at most {MAX_FIELDS} fields, and at most "
                f"{MAX_FIELD_BYTES:,} bytes in each; pictures are parts {IMAGE_FIELD!r}"
            )
        try:
            fields[name] = data.decode()
        except UnicodeDecodeError:
            raise _unprocessable(
                f"{name[:40]}: expected text in UTF-8; pictures are parts {IMAGE_FIELD!r}"
            ) from None

    parser = FormParser(
        "multipart/form-data",
        on_field,
        on_file,
        lambda: ends.append(True),
        boundary,
        config={"MAX_MEMORY_FILE_SIZE": float("inf"), "UPLOAD_ERROR_ON_BAD_CTE": True},
    )
    parser.write(body)
    parser.finalize()
    if not ends:
        raise ValueError("it ends before its last boundary")
    return Submission(pictures, fields)


def _last_part(file_name: bytes | None) -> str:
    """Return the name without folders, which is shown and never opened."""
    name = re.split(r"[\\/]", (file_name or b"").decode(errors="surrogateescape"))[-1]
    return escape_name(name[:MAX_NAME]) or IMAGE_FIELD


def _unprocessable(message: str) -> HTTPException:
    return HTTPException(422, message)  # its name differs between Python's versions
