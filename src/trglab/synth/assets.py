"""Paths of the assets that synthetic faces are rendered from.

Assets are not part of the package; users get them from their publishers. A path is taken from the
argument, else from the environment variable, else from the registry that :func:`remember_asset`
writes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from trg._util.files import write_atomic
from trglab.synth.cache import cache_folder

REGISTRY_ENV = "TRG_SOURCES"
"""Path of the registry; by default ``sources.json`` in the cache folder."""


@dataclass(frozen=True, slots=True)
class AssetKind:
    """One kind of asset."""

    description: str
    origin: str
    environment: str


ASSET_KINDS = {
    "face-model": AssetKind(
        "ICT-FaceKit: its FaceXModel folder, or the packed .npz",
        "github.com/ICT-VGL/ICT-FaceKit (MIT)",
        "TRG_FACE_MODEL",
    ),
    "photo_skin": AssetKind(
        "the Face Research Lab London Set: the folder with NNN_03.jpg and their landmarks",
        "doi.org/10.6084/m9.figshare.5047666 (CC BY 4.0)",
        "TRG_PHOTOS",
    ),
    "panoramas": AssetKind(
        "a folder of Radiance .hdr panoramas",
        "polyhaven.com/hdris (CC0)",
        "TRG_PANORAMAS",
    ),
    "hair_meshes": AssetKind(
        "packed MakeHuman hair meshes, .npz (layout: docs/synthetic.md)",
        "static.makehumancommunity.org (CC0)",
        "TRG_HAIR",
    ),
}


def find_asset(kind: str, given: str | Path | None = None) -> Path | None:
    """Return the path of an asset, or None if it is not installed.

    Raises
    ------
    FileNotFoundError
        A path is configured but does not exist.
    """
    asset = ASSET_KINDS[kind]
    configured = given or os.environ.get(asset.environment) or _read_registry().get(kind)
    if configured is None:
        return None
    path = Path(configured).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"{kind}: expected {asset.description} at {path}, which does not exist. {_remedy(kind)}"
        )
    return path


def require_asset(kind: str, given: str | Path | None = None) -> Path:
    """Return the path of an asset.

    Raises
    ------
    FileNotFoundError
        The asset is not installed; the message says where to get it.
    """
    path = find_asset(kind, given)
    if path is None:
        raise FileNotFoundError(
            f"{kind}: not installed. Expected {ASSET_KINDS[kind].description}. {_remedy(kind)}"
        )
    return path


def remember_asset(kind: str, path: str | Path) -> Path:
    """Register the path of an asset for later runs of this user; return the absolute path.

    Raises
    ------
    ValueError
        Unknown kind.
    FileNotFoundError
        ``path`` does not exist.
    """
    if kind not in ASSET_KINDS:
        raise ValueError(f"asset kind: expected one of {tuple(ASSET_KINDS)}, got {kind!r}")
    found = require_asset(kind, path).resolve()
    text = json.dumps({**_read_registry(), kind: str(found)}, indent=1).encode()
    _registry_path().parent.mkdir(parents=True, exist_ok=True)
    write_atomic(_registry_path(), lambda file: file.write(text))
    return found


def _remedy(kind: str) -> str:
    asset = ASSET_KINDS[kind]
    return (
        f"Get it from {asset.origin}, then run `trg asset {kind} PATH` or set ${asset.environment}"
    )


def _registry_path() -> Path:
    return Path(os.environ.get(REGISTRY_ENV) or cache_folder() / "sources.json").expanduser()


def _read_registry() -> dict[str, str]:
    path = _registry_path()
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(
            f"{path}: damaged ({error}); delete it and register the assets again"
        ) from None
