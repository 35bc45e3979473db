"""Commands that render synthetic faces."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

from trg._util.files import write_atomic
from trg.app.cli.shared import NotNegative, Positive, messages

ShardLayout = Literal["webdataset", "clips"]
DatasetLayout = Literal["arkitface", "300wlp", "aflw2000", "biwi"]
Layout = ShardLayout | DatasetLayout
Split = Literal["train", "test"]


def synth(
    out: Path | None = None,
    /,
    *,
    count: Positive = 100,
    layout: Layout = "webdataset",
    split: Split | None = None,
    seed: NotNegative = 0,
    sheet: Path | None = None,
    labels: bool = True,
    workers: NotNegative = 0,
    resume: bool = False,
    clip_distance: float | None = None,
    camera: Path | None = None,
    profile: Path | None = None,
) -> None:
    """Render labelled synthetic faces: a folder of them, a contact sheet, or both.

    Parameters
    ----------
    out
        Folder to write; it must be new or empty, unless ``--resume``.
    count
        Number of images.
    layout
        Folder format: ``webdataset`` tar shards, or that of ARKitFace, 300W-LP, AFLW2000-3D or
        BIWI. ``clips``: tar shards of the frames of clips, 100 per person, for ``trg eval clips``.
    split
        ``arkitface``: write only this split; the other one may be in the folder. By default a
        fifth of the images, of other people, is the test split.
    seed
        Other seeds give other people.
    sheet
        Image file for a contact sheet of the faces. Without a folder it shows more people, with
        three images each.
    labels
        Draw landmarks and axes on the sheet.
    workers
        Processes that render a folder; 0: this one.
    resume
        Complete a folder that an earlier run left unfinished.
    clip_distance
        ``clips``: mean distance of the face in all clips, metres. By default from 0.4 to 1.0 m.
    camera
        Calibration file (docs/cameras.md) of the camera of all images, to train for it. By default
        each image has another one. Layout ``webdataset``, without ``--profile``.
    profile
        Folder of photographs, one main face each, to turn in depth in place of rendering people
        (face profiling): 8 images of each, the first in the photograph's own pose. Layouts
        ``webdataset``, ``300wlp`` and ``aflw2000``.
    """
    if clip_distance is not None and layout != "clips":
        raise ValueError(f"--clip-distance: expected --layout clips, got {layout}")
    if split is not None and layout != "arkitface":
        raise ValueError(f"--split: expected --layout arkitface, got {layout}, which has no splits")
    if camera is not None and (layout != "webdataset" or profile is not None):
        raise ValueError("--camera: expected --layout webdataset, without --profile")
    if out is None and sheet is None:
        raise ValueError("nothing to do: expected a folder to write, --sheet IMAGE, or both")
    if profile is not None:
        if sheet is not None:
            raise ValueError("--profile: expected no --sheet; trg data check OUT --sheet draws one")
        _write_profiled(out, profile, layout, seed, count, workers, resume)
        return
    if out is not None:
        if layout == "webdataset" or layout == "clips":
            faces = _faces(layout, seed, clip_distance, camera)
            _write_shards(out, faces, count, workers, resume)
        else:
            _write_splits(out, layout, split, seed, count, workers, resume)
    if sheet is not None:
        of_folder = None
        if out is not None or camera is not None:
            of_folder = _faces(layout, seed, clip_distance, camera)
        _draw_sheet(sheet, of_folder, seed, count, labels)


def _write_profiled(
    out: Path | None,
    photos: Path,
    layout: Layout,
    seed: int,
    count: int,
    workers: int,
    resume: bool,
) -> None:
    """Write photographs that are turned in depth."""
    from rich.progress import Progress

    from trglab.export.dataset_writer import PROFILED_WINDOW, write_profiled
    from trglab.synth.portraits.profiling import ProfiledPortraits

    if out is None:
        raise ValueError("--profile: expected a folder to write")
    if layout not in ("webdataset", "300wlp", "aflw2000"):
        raise ValueError(
            f"--profile: expected --layout webdataset, 300wlp or aflw2000, got {layout}; the "
            "others need one camera or metric shapes, which photographs do not have"
        )
    if layout == "webdataset":
        open_portraits = partial(
            ProfiledPortraits,
            seed=seed,
            folder=str(photos),
            window=PROFILED_WINDOW,
            first_unturned=True,
        )
        _write_shards(out, open_portraits, count, workers, resume)
        return
    with Progress(console=messages) as bar:
        task = bar.add_task(f"turning photographs, {layout}", total=count)
        write_profiled(
            out,
            layout,
            count,
            seed,
            photos,
            resume=resume,
            on_progress=lambda done: bar.update(task, completed=done),
        )


def _faces(
    layout: Layout, seed: int, clip_distance_m: float | None, calibration: Path | None
) -> partial[Any]:
    """Return what opens the faces of a layout, or of a camera."""
    from trglab.synth.clips import CLIPS_SEED, SyntheticClips
    from trglab.synth.dataset import LAYOUT_OPTIONS, SyntheticFaces

    if calibration is not None:
        options = {**LAYOUT_OPTIONS[layout], "camera": _camera_numbers(calibration)}
        return partial(SyntheticFaces, seed=seed, **options)
    if layout != "clips":
        return partial(SyntheticFaces, seed=seed, **LAYOUT_OPTIONS[layout])
    if clip_distance_m is None:
        return partial(SyntheticClips, seed=CLIPS_SEED + seed)
    range_m = (clip_distance_m, clip_distance_m)
    return partial(SyntheticClips, seed=CLIPS_SEED + seed, distance_m=range_m)


def _camera_numbers(calibration: Path) -> dict[str, Any]:
    """Return the camera of a calibration file as plain values."""
    from trg.geometry.camera import Camera
    from trg.io.calibration import read_calibration

    camera = read_calibration(calibration)
    if not isinstance(camera, Camera):
        raise ValueError(
            f"{calibration}: expected a calibration with the size of its images; add image_width "
            "and image_height"
        )
    return camera.to_dict()


def _write_shards(
    out: Path, open_faces: partial[Any], count: int, workers: int, resume: bool
) -> None:
    from rich.progress import Progress

    from trglab.datasets.sample_store import write_samples

    if not resume:
        _require_empty(out)
    name = f"{open_faces.func.__module__}:{open_faces.func.__qualname__}"
    with Progress(console=messages) as bar:
        task = bar.add_task("writing samples", total=count)
        write_samples(
            out,
            open_faces,
            range(count),
            provenance={"dataset": name, "options": open_faces.keywords},
            workers=workers,
            on_progress=lambda done: bar.update(task, completed=done),
        )


def _require_empty(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        raise FileExistsError(
            f"{out}: expected a new or empty folder; continue with --resume, or choose another"
        )


def _write_splits(
    out: Path,
    layout: DatasetLayout,
    split: Split | None,
    seed: int,
    count: int,
    workers: int,
    resume: bool,
) -> None:
    """Write the split that was asked for, or all that the layout has."""
    from trglab.export.dataset_writer import TEST_SHARE

    if layout != "arkitface" or split is not None:
        _write_folder(out, layout, split or "train", seed, count, workers, resume)
        return
    if count < 2:
        raise ValueError(
            f"--count: expected at least 2 for the two splits of arkitface, got {count}; "
            "--split train or --split test writes one of them"
        )
    if not resume:
        _require_empty(out)
    test_count = max(1, round(TEST_SHARE * count))
    _write_folder(out, layout, "train", seed, count - test_count, workers, resume)
    _write_folder(out, layout, "test", seed, test_count, workers, resume=True)


def _write_folder(
    out: Path,
    layout: DatasetLayout,
    split: Split,
    seed: int,
    count: int,
    workers: int,
    resume: bool,
) -> None:
    from rich.progress import Progress

    from trglab.export.dataset_writer import TEST_FIRST_PERSON, write_faces

    part = f"{layout}, {split}" if layout == "arkitface" else layout
    with Progress(console=messages) as bar:
        task = bar.add_task(f"writing {part}", total=count)

        def on_progress(done: int) -> None:
            bar.update(task, completed=done)

        write_faces(
            out,
            layout,
            count,
            seed,
            split=split,
            first_person=TEST_FIRST_PERSON if split == "test" else 0,
            workers=workers,
            resume=resume,
            on_progress=on_progress,
        )


def _draw_sheet(
    path: Path, open_faces: partial[Any] | None, seed: int, count: int, labels: bool
) -> None:
    """Draw the samples of a folder, or without one those of more people."""
    from rich.progress import track

    from trglab.datasets.sheet import contact_sheet
    from trglab.synth.dataset import IMAGES_PER_PERSON, SyntheticFaces

    faces = SyntheticFaces(seed) if open_faces is None else open_faces()
    stride = IMAGES_PER_PERSON // 3 if open_faces is None else 1
    indices = track(range(count), "drawing the sheet", console=messages)
    cells = (faces.sample(index * stride) for index in indices)
    sheet = contact_sheet(cells, labels=labels, edges=faces.topology.edges)
    write_atomic(path, sheet.save)


def asset(
    kind: Literal["face-model", "photo_skin", "panoramas", "hair_meshes"], path: Path, /
) -> None:
    """Register an asset of the synthetic faces, after checking that it can be read.

    Parameters
    ----------
    kind
        ``face-model``: ICT-FaceKit's FaceXModel folder or packed file. ``photo_skin``: the
        Face Research Lab London Set, or a folder of portraits without landmarks, which are fitted
        now (about a second each); the two are registered side by side. ``panoramas``: a folder of
        .hdr files. ``hair_meshes``: packed MakeHuman hair (layout: docs/synthetic.md).
    path
        The folder or file.
    """
    from rich.progress import Progress

    from trglab.synth.assets import remember_asset
    from trglab.synth.studio import import_asset

    with Progress(console=messages) as bar:
        task = bar.add_task("reading", total=None)

        def on_progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        found_in_it = import_asset(kind, path, on_progress)
    found = remember_asset(kind, path)
    messages.print(f"{kind}: {found}" + (f" ({found_in_it})" if found_in_it else ""))
