"""Where the engine's raw material lies: the user's own copies, named once and then remembered.

None of it is part of the package; each comes from its maker. A path is looked for in the arguments,
then in the environment, then among those that :func:`remember_asset` noted.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from trg._util.atomic import write_atomic
from trglab.synth.cache import cache_folder

NOTES_ENV = "TRG_SOURCES"
"""The file that remembers the places; by default one in the cache folder."""


@dataclass(frozen=True, slots=True)
class AssetKind:
    """One kind of raw material."""

    what: str
    where_to_get: str
    environment: str


ASSET_KINDS = {
    "face-model": AssetKind(
        "ICT-FaceKit: its FaceXModel folder, or the packed .npz",
        "github.com/ICT-VGL/ICT-FaceKit (MIT)",
        "TRG_FACE_MODEL",
    ),
    "photos": AssetKind(
        "the Face Research Lab London Set: the folder with NNN_03.jpg and their landmarks",
        "doi.org/10.6084/m9.figshare.5047666 (CC BY 4.0)",
        "TRG_PHOTOS",
    ),
    "panoramas": AssetKind(
        "a folder of Radiance .hdr panoramas",
        "polyhaven.com/hdris (CC0)",
        "TRG_PANORAMAS",
    ),
    "hair": AssetKind(
        "the packed MakeHuman hair meshes, .npz",
        "static.makehumancommunity.org (CC0)",
        "TRG_HAIR",
    ),
}


def find_asset(kind: str, given: str | Path | None = None) -> Path | None:
    """Return where the source of a kind lies, or None when nobody said.

    Raises
    ------
    FileNotFoundError
        Somebody said, but there is nothing at that path.
    """
    source = ASSET_KINDS[kind]
    told = given or os.environ.get(source.environment) or _remembered().get(kind)
    if told is None:
        return None
    path = Path(told).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"{kind}: expected {source.what} at {path}, found nothing there. "
            f"It comes from {source.where_to_get}; name its place with "
            f"`trg source {kind} PATH` or ${source.environment}"
        )
    return path


def require_asset(kind: str, given: str | Path | None = None) -> Path:
    """Return where the source of a kind lies, or raise FileNotFoundError that says what to do."""
    path = find_asset(kind, given)
    if path is None:
        source = ASSET_KINDS[kind]
        raise FileNotFoundError(
            f"{kind}: not installed. Expected {source.what}, from {source.where_to_get}; name its "
            f"place with `trg source {kind} PATH` or ${source.environment}"
        )
    return path


def remember_asset(kind: str, path: str | Path) -> Path:
    """Note where a source lies, for all later runs of this user, and return the absolute path.

    Raises
    ------
    ValueError
        There is no such kind.
    FileNotFoundError
        There is nothing at ``path``.
    """
    if kind not in ASSET_KINDS:
        raise ValueError(f"source kind: expected one of {tuple(ASSET_KINDS)}, got {kind!r}")
    found = require_asset(kind, path).resolve()
    noted = {**_remembered(), kind: str(found)}
    _notes().parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(noted, indent=1).encode()
    write_atomic(_notes(), lambda file: file.write(text))
    return found


def _notes() -> Path:
    return Path(os.environ.get(NOTES_ENV) or cache_folder() / "sources.json").expanduser()


def _remembered() -> dict[str, str]:
    try:
        return dict(json.loads(_notes().read_text()))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(
            f"{_notes()}: damaged ({error}); delete it and name the sources again"
        ) from None
