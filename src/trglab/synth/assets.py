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
from trg.io.images import is_image_file
from trglab.synth.cache import cache_folder
from trglab.synth.skin.photo_landmarks import has_landmarks

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
    "portraits": AssetKind(
        "a folder of portraits, one main face each, without landmarks",
        "github.com/unitedstates/images (portraits of the United States Congress, public domain)",
        "TRG_PHOTOS",
    ),
    "panoramas": AssetKind(
        "a folder of Radiance .hdr panoramas",
        "polyhaven.com/hdris (CC0)",
        "TRG_PANORAMAS",
    ),
    "hair_meshes": AssetKind(
        "packed MakeHuman hair meshes, .npz (layout: docs/synthetic.md); their textures "
        "NAME_diffuse.png in a folder `alpha` beside it",
        "static.makehumancommunity.org (CC0)",
        "TRG_HAIR",
    ),
}


def find_asset(kind: str, given: str | Path | None = None) -> Path | None:
    """Return the path of an asset, or None if it is not installed; of several, the first.

    Raises
    ------
    FileNotFoundError
        A path is configured but does not exist.
    """
    return next(iter(find_assets(kind, given)), None)


def find_assets(kind: str, given: str | Path | None = None) -> list[Path]:
    """Return all paths of an asset.

    ``$TRG_PHOTOS`` may name several folders, separated as in ``$PATH``. Those with photographs but
    without landmarks are ``portraits``, the others ``photo_skin``.

    Raises
    ------
    FileNotFoundError
        A path is configured but does not exist.
    """
    asset = ASSET_KINDS[kind]
    if given:
        return [_existing(kind, given)]
    configured = os.environ.get(asset.environment)
    if configured and kind in PHOTO_KINDS:
        paths = [_existing(kind, part) for part in configured.split(os.pathsep) if part]
        return [path for path in paths if photo_kind(path) == kind]
    configured = configured or _read_registry().get(kind)
    return [] if configured is None else [_existing(kind, configured)]


PHOTO_KINDS = ("photo_skin", "portraits")


def photo_kind(folder: Path) -> str:
    """Return which kind of photographs a folder holds, by whether landmarks lie beside them."""
    if not folder.is_dir() or has_landmarks(folder):
        return "photo_skin"
    return "portraits" if any(map(is_image_file, map(str, folder.iterdir()))) else "photo_skin"


def _existing(kind: str, configured: str | Path) -> Path:
    path = Path(configured).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"{kind}: expected {ASSET_KINDS[kind].description} at {path}, which does not exist. "
            f"{_remedy(kind)}"
        )
    return path


def find_hair_alpha() -> Path | None:
    """Return the folder of the textures of the hair meshes, or None if there is none."""
    meshes = find_asset("hair_meshes")
    if meshes is None:
        return None
    folder = meshes.resolve().parent / "alpha"
    return folder if folder.is_dir() else None


def require_hair_alpha() -> Path:
    """Return the folder of the textures of the hair meshes.

    Raises
    ------
    FileNotFoundError
        The meshes or the textures are not installed; the message says where to get them.
    """
    meshes, folder = require_asset("hair_meshes"), find_hair_alpha()
    if folder is None:
        raise FileNotFoundError(
            f"hair_alpha: expected the textures of the hair meshes, NAME_diffuse.png, in "
            f"{meshes.resolve().parent / 'alpha'}, found no such folder. Get them from "
            f"{ASSET_KINDS['hair_meshes'].origin}"
        )
    return folder


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

    A folder of portraits without landmarks, given as ``photo_skin``, is registered beside one with
    landmarks.

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
    if kind == "photo_skin" and found.is_dir():
        kind = photo_kind(found)
    text = json.dumps({**_read_registry(), kind: str(found)}, indent=1).encode()
    _registry_path().parent.mkdir(parents=True, exist_ok=True)
    write_atomic(_registry_path(), lambda file: file.write(text))
    return found


def _remedy(kind: str) -> str:
    asset = ASSET_KINDS[kind]
    command = "photo_skin" if kind in PHOTO_KINDS else kind
    return (
        f"Get it from {asset.origin}, then run `trg asset {command} PATH` or set "
        f"${asset.environment}"
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
