"""Checks data sets: reads every sample and counts what is missing, damaged or wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from trg.geometry.face_mesh import edges_of
from trg.geometry.rotations import is_rotation
from trglab.datasets.aflw2000 import AFLW2000
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.biwi import BIWI
from trglab.datasets.catalogue import DatasetFolder
from trglab.datasets.files import UnreadableFileError, read_or_error
from trglab.datasets.sample import Dataset, Sample
from trglab.datasets.sample_store import SampleStore
from trglab.datasets.sheet import contact_sheet
from trglab.datasets.view_store import ViewStore

FaultKind = Literal["missing", "unreadable", "wrong"]
"""A file is missing; it is truncated or damaged; its content is implausible."""

HEAD_EXTENT_M = (0.05, 0.6)
"""Plausible range of the largest side of a face's bounding box."""

OUTSIDE_LIMIT = 1.0
"""Landmarks may lie outside the image by this many widths or heights."""

SHEET_SAMPLES = 40


class Fault(NamedTuple):
    """A fault of a sample or file; the message names it."""

    kind: FaultKind
    message: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Contents and faults of a data set's folder.

    Attributes
    ----------
    listed
        Samples that the folder lists; ``published`` is the size of the complete data set, or None.
    tried, readable
        Samples that were read for this report, and those among them that could be decoded.
    people
        Different identities among those.
    image_sizes
        Number of images by size, such as ``"640x480"``.
    notes
        Remarks that are not faults.
    """

    listed: int
    published: int | None
    tried: int
    readable: int
    people: int
    image_sizes: dict[str, int]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    def count(self, kind: FaultKind) -> int:
        """Return the number of faults of a kind."""
        return sum(fault.kind == kind for fault in self.faults)


def check_data_set(
    data_set: DatasetFolder,
    *,
    every: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Read the samples of a data set and report faults.

    A folder that cannot be opened is one fault.

    Parameters
    ----------
    every
        Read only every n-th sample.
    on_progress
        Called with the number of samples read, and their total.

    Raises
    ------
    ValueError
        ``every`` is below 1.
    ImportError
        A package that the format needs is not installed.
    """
    if every < 1:
        raise ValueError(f"every: expected at least 1, got {every}")
    opened = read_or_error(lambda _: data_set.open(), 0)
    if isinstance(opened, OSError | ValueError):
        return CheckReport(0, data_set.published_count, 0, 0, 0, {}, (_fault(opened),))
    faults: list[Fault] = []
    people: set[str] = set()
    sizes: Counter[str] = Counter()
    wanted = range(0, len(opened), every)
    for done, index in enumerate(wanted, start=1):
        sample = read_or_error(opened.__getitem__, index)
        if isinstance(sample, OSError | ValueError):
            faults.append(_fault(sample))
        else:
            people.add(sample.identity)
            sizes["{1}x{0}".format(*sample.image.shape)] += 1
            faults += [
                Fault("wrong", f"{sample.name}: {what}") for what in implausible_labels(sample)
            ]
        if on_progress is not None:
            on_progress(done, len(wanted))
    if isinstance(opened, ViewStore | SampleStore):
        faults += [Fault("unreadable", what) for what in opened.damaged_files()]
    return CheckReport(
        listed=len(opened),
        published=data_set.published_count,
        tried=len(wanted),
        readable=sum(sizes.values()),
        people=len(people),
        image_sizes=dict(sizes),
        faults=tuple(faults),
        notes=tuple(_notes(opened)),
    )


def implausible_labels(sample: Sample) -> list[str]:
    """Return one sentence for each label that cannot be right."""
    return [what for what, is_right in _rules(sample) if not is_right]


def data_set_sheet(data_set: DatasetFolder, count: int = SHEET_SAMPLES) -> Image.Image:
    """Draw evenly spaced samples of a data set with their labels, without unreadable ones.

    Raises
    ------
    ValueError
        No sample can be read.
    """
    opened = data_set.open()
    edges = None
    if isinstance(opened, ARKitFace):
        edges = edges_of(opened.triangles)
    elif isinstance(opened, ViewStore) and (topology := opened.topology) is not None:
        edges = topology.edges
    indices = np.unique(np.linspace(0, len(opened) - 1, min(count, len(opened))).astype(int))
    found = [read_or_error(opened.__getitem__, index) for index in indices.tolist()]
    samples = [sample for sample in found if isinstance(sample, Sample)]
    if isinstance(opened, BIWI) and samples:  # has a mesh per person, none per sample
        edges = edges_of(opened.mesh(samples[0].identity).triangles)
        samples = [
            replace(sample, vertices_m=opened.mesh(sample.identity).vertices_m)
            for sample in samples
        ]
    return contact_sheet(samples, edges=edges)


def _rules(sample: Sample) -> Iterator[tuple[str, bool]]:
    """Yield the fault that each rule finds, with whether the rule holds."""
    camera, height, width = sample.camera, *sample.image.shape[:2]
    yield (
        f"the camera is for {camera.width}x{camera.height} px, the image has {width}x{height}",
        (camera.width, camera.height) == (width, height),
    )
    box = np.asarray(sample.box_xyxy)
    yield f"the face box {box.round(1).tolist()} is empty", bool((box[2:] > box[:2]).all())
    if sample.rotation is not None:
        yield "the rotation matrix is not a rotation", bool(is_rotation(sample.rotation))
    if sample.translation_m is not None:
        depth_m = float(sample.translation_m[2])
        yield f"the head is {depth_m:.3g} m in front of the camera", 0.02 < depth_m < 20.0
    if sample.vertices_m is not None:
        extent_m = np.ptp(np.asarray(sample.vertices_m), axis=0).max()
        yield (
            f"the face is {extent_m:.3g} m large",
            bool(HEAD_EXTENT_M[0] < extent_m < HEAD_EXTENT_M[1]),
        )
    if sample.landmarks68_px is not None:
        share = np.asarray(sample.landmarks68_px) / (width, height)
        is_near = bool((np.abs(share - 0.5) < 0.5 + OUTSIDE_LIMIT).all())
        yield "landmarks are far outside the image, or behind the camera", is_near


def _fault(error: OSError | ValueError) -> Fault:
    if isinstance(error, FileNotFoundError):
        return Fault("missing", str(error))
    is_unreadable = isinstance(error, UnreadableFileError | OSError)
    return Fault("unreadable" if is_unreadable else "wrong", str(error))


def _notes(opened: Dataset) -> Iterator[str]:
    """Yield remarks that are not faults."""
    if isinstance(opened, AFLW2000) and opened.left_out:
        yield f"{opened.left_out} images exceed the largest angle of the protocol and are left out"
    if isinstance(opened, ViewStore) and (skipped := opened.manifest["skipped"]):
        yield f"{len(skipped)} samples could not be packed, the first: {skipped[0]}"
