"""The result for one face: head pose, dense 3D landmarks and their projections.

The camera frame is OpenCV's: x right, y down, z forward. The axes of the head frame agree with it
for a face that looks straight into the camera: x to the person's left, y down, z to the back of the
head. ``X_cam = rotation @ X_head + translation_m``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.error_bars import ErrorBars
from trg.geometry.axes import FrameConvention, pose_to_frame
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.expression_fit import SEEN_EXPRESSIONS, bundled_expression_fit
from trg.geometry.face_mesh import LANDMARK_GROUPS, FaceTopology
from trg.geometry.head_points import (
    MAX_INTERPUPILLARY_M,
    MIN_INTERPUPILLARY_M,
    Origin,
    head_origin_m,
    interpupillary_m,
)
from trg.geometry.lens import LensModelError
from trg.geometry.mesh import Mesh
from trg.geometry.projection import OPTICAL_AXIS, transform
from trg.geometry.rotations import (
    checked_rotation,
    rotation_between,
    rotation_to_euler,
    rotation_to_quat,
)
from trg.geometry.shape_basis import EXPRESSION_NAMES

AngleReference = Literal["camera", "sight"]
"""The frame that angles refer to: see :meth:`Face.euler`."""

STD_PROPERTIES = ("rotation_std_deg", "translation_std_m", "landmarks_std_m", "landmarks_std_px")
"""The properties of a face that are standard deviations."""


class PersonSize(NamedTuple):
    """How the size of a person was found for a face."""

    scale: float
    """The person's size over the one that this image alone gives."""
    std: float
    """Relative standard deviation of the person's size."""


@dataclass(frozen=True, eq=False, repr=False)
class Face:
    """One face: pose, landmarks, and the camera that they refer to.

    Validated on construction; its arrays are read-only float64. Two faces are equal only if they
    are the same object.

    Attributes
    ----------
    rotation
        ``(3, 3)``: ``cam_from_head``.
    translation_m
        ``(3,)``: the origin of the head frame in the camera frame, metres.
    landmarks_m
        ``(n, 3)``: the dense landmarks in the head frame, metres.
    confidence
        0 to 1.
    camera
        The image's camera. Distances are proportional to its focal length: see ``camera.source``.
    topology
        Triangles and index sets of the landmarks.
    id
        Track number, constant for a person over a video; None for a single image.
    time_s
        Time of the video frame, seconds; None for a single image.
    error_bars
        How wrong the face may be; None if the network does not say. Its numbers in degrees, metres
        and pixels are :attr:`rotation_std_deg`, :attr:`translation_std_m`, :attr:`landmarks_std_m`
        and :attr:`landmarks_std_px`.
    person_size
        Set if size and distance come from several images of the person; None: from this image
        alone, or from a known interpupillary distance.

    Raises
    ------
    ValueError
        A number is out of range or not finite, a shape is wrong, the head's origin or a landmark
        lies at or behind the camera, or all of the 68 landmarks lie at one place.
    LensModelError
        The lens model of the camera folds over before it reaches a landmark.
    TypeError
        The camera or the topology has another type.
    """

    rotation: NDArray[np.float64]
    translation_m: NDArray[np.float64]
    landmarks_m: NDArray[np.float64]
    confidence: float
    camera: Camera
    topology: FaceTopology
    id: int | None = None
    time_s: float | None = None
    error_bars: ErrorBars | None = None
    person_size: PersonSize | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.camera, Camera):
            raise TypeError(f"face camera: expected a Camera, got {type(self.camera).__name__}")
        if not isinstance(self.topology, FaceTopology):
            kind = type(self.topology).__name__
            raise TypeError(f"face topology: expected a FaceTopology, got {kind}")
        count = self.topology.vertex_count
        confidence = float(self.confidence)
        if not 0.0 <= confidence <= 1.0:
            raise ValueError(f"face confidence: expected 0 to 1, got {confidence}")
        values: dict[str, Any] = {
            "rotation": _read_only(checked_rotation("face rotation", self.rotation)),
            "translation_m": _read_only(
                finite_array("face translation_m", self.translation_m, (3,))
            ),
            "landmarks_m": _read_only(
                finite_array("face landmarks_m", self.landmarks_m, (count, 3))
            ),
            "confidence": confidence,
        }
        if self.time_s is not None:
            values["time_s"] = float(finite_array("face time_s", self.time_s, ()))
        if self.id is not None:
            values["id"] = int(self.id)
        self.__dict__.update(values)
        self._check_visible()

    def _check_visible(self) -> None:
        """Raise ValueError unless the camera sees the head's origin and all landmarks."""
        points68_m = self._landmarks68_m
        is_point = points68_m[0].tolist() == points68_m[-1].tolist()
        if is_point and (points68_m == points68_m[0]).all():
            raise ValueError("face landmarks_m: expected 68 landmarks at different places, got one")
        max_angle_deg = self.camera.lens.max_angle_deg
        if max_angle_deg <= 90.0:
            depths_m = self.landmarks_m @ self.rotation[2] + self.translation_m[2]
            nearest_m = min(depths_m.min(), self.translation_m[2])
            if nearest_m <= 0.0:
                raise ValueError(
                    "face: expected the head's origin and all landmarks in front of the camera, "
                    f"got one at a depth of {nearest_m:.3g} m"
                )
        if self.camera.is_distorted and np.isnan(self.landmarks_px).any():
            raise LensModelError(
                "face: expected all landmarks where the camera's lens model is valid, up to "
                f"{max_angle_deg:.1f} degrees from the optical axis, got one beyond"
            )

    def __repr__(self) -> str:
        """Return one line without the arrays."""
        yaw, pitch, roll = self.euler()
        x, y, z = self.translation_m
        return (
            f"Face(id={self.id}, confidence={self.confidence:.2f}, yaw={yaw:.1f}, "
            f"pitch={pitch:.1f}, roll={roll:.1f} degrees, "
            f"translation_m=({x:.3f}, {y:.3f}, {z:.3f}), {len(self.landmarks_m)} landmarks)"
        )

    @cached_property
    def landmarks_px(self) -> NDArray[np.float64]:
        """``(n, 2)``: the dense landmarks in the image, pixels."""
        points_cam_m = transform(self.landmarks_m, self.rotation, self.translation_m)
        return _read_only(self.camera.project(points_cam_m))

    @cached_property
    def landmarks68_px(self) -> NDArray[np.float64]:
        """``(68, 2)``: the standard 68 landmarks in the image, pixels."""
        return _read_only(self.landmarks_px[self.topology.landmarks68])

    @cached_property
    def box_xyxy(self) -> NDArray[np.float64]:
        """``(4,)``: the paper's square box ``(x0, y0, x1, y1)`` around the 68 landmarks, pixels."""
        return _read_only(face_box(self.landmarks68_px))

    def in_track(self, id: int, time_s: float) -> Face:  # noqa: A002 -- the field's name
        """Return this face with a track number and a time.

        Raises ValueError if the time is not finite.
        """
        time_s = float(finite_array("face time_s", time_s, ()))
        face = object.__new__(Face)  # all else is checked already
        face.__dict__.update(self.__dict__, id=id, time_s=time_s)
        return face

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The pose ``cam_from_head`` as a 4x4 matrix, in OpenCV's axes."""
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = self.rotation, self.translation_m
        return pose

    @property
    def quaternion_xyzw(self) -> NDArray[np.float64]:
        """The rotation as a unit quaternion ``(4,)``, scalar last and not negative."""
        return rotation_to_quat(self.rotation)

    @property
    def distance_m(self) -> float:
        """Distance of the head's origin from the camera; its depth is ``translation_m[2]``."""
        return float(np.linalg.norm(self.translation_m))

    @property
    def interpupillary_m(self) -> float:
        """Distance between the eyes, metres: :func:`~trg.geometry.head_points.interpupillary_m`."""
        return interpupillary_m(self._landmarks68_m)

    @property
    def frame_interpupillary_m(self) -> float | None:
        """That of the size that this image alone gives; None if there is no other.

        The size of a face with :attr:`person_size` comes from several images.
        """
        return None if self.person_size is None else self.interpupillary_m / self.person_size.scale

    @property
    def rotation_std_deg(self) -> NDArray[np.float64] | None:
        """Standard deviations ``(3,)`` of the rotation about the head's x, y and z axis, degrees.

        For a head that faces the camera these are pitch, yaw and roll. None without error bars.
        """
        return None if self.error_bars is None else self.error_bars["rotation"]

    @property
    def translation_std_m(self) -> NDArray[np.float64] | None:
        """Standard deviations ``(3,)`` of the head's origin in the axes of the line of sight.

        These are the axes of a camera at the same place that looks straight at the head's origin:
        across the line of sight, horizontally and vertically, and along it. The last includes the
        unknown size of the head and the camera's ``focal_std_px``, to which distances are
        proportional; a focal length without one counts as exact. None without error bars.
        """
        if self.error_bars is None:
            return None
        across = self.error_bars["across"]
        focal_std = (self.camera.focal_std_px or 0.0) / self.camera.fx
        along = np.hypot(self.error_bars["along"], focal_std)
        return self.distance_m * np.concatenate([across, across, along])

    @property
    def landmarks_std_m(self) -> NDArray[np.float64] | None:
        """Standard deviations ``(6,)`` of the coordinates of :attr:`landmarks_m`, metres.

        One for each of :data:`~trg.geometry.face_mesh.LANDMARK_GROUPS`;
        :func:`~trg.geometry.face_mesh.landmark_groups` says to which group a landmark belongs.
        Includes the unknown size of the head. None without error bars.
        """
        return None if self.error_bars is None else self.error_bars["shape"]

    @property
    def landmarks_std_px(self) -> NDArray[np.float64] | None:
        """Standard deviations ``(68,)`` of the coordinates of :attr:`landmarks68_px`, pixels.

        None without error bars.
        """
        if self.error_bars is None:
            return None
        return self.error_bars["landmarks"] * (self.box_xyxy[2] - self.box_xyxy[0])

    @property
    def _landmarks68_m(self) -> NDArray[np.float64]:
        return self.landmarks_m[self.topology.landmarks68]

    def euler(
        self, order: str = "yxz", relative_to: AngleReference = "camera"
    ) -> NDArray[np.float64]:
        """Return the rotation's Euler angles ``(3,)`` in degrees.

        Parameters
        ----------
        order
            SciPy's: lower case for rotations about the camera's axes, upper case for rotations
            about the head's. The default gives yaw, pitch, roll as in the paper's tables; see
            :func:`~trg.geometry.rotations.rotation_to_euler` for ranges and gimbal lock.
        relative_to
            ``camera``: the angles between the head's axes and the camera's. ``sight``: those that
            a camera at the same place would see that looks straight at the head's origin, turned
            there by the least rotation. They are 0 for a head that faces the camera, wherever it
            is in the picture.

        Raises
        ------
        ValueError
            The order is not three of ``xyz`` or of ``XYZ`` without a letter twice in a row, or the
            reference is unknown.
        """
        if relative_to not in get_args(AngleReference):
            raise ValueError(
                f"relative_to: expected one of {get_args(AngleReference)}, got {relative_to!r}"
            )
        rotation = self.rotation
        if relative_to == "sight":
            rotation = rotation_between(OPTICAL_AXIS, self.translation_m).T @ rotation
        return rotation_to_euler(rotation, order)

    def origin_m(self, origin: Origin) -> NDArray[np.float64]:
        """Return a reference point of the head ``(3,)`` in the head frame, metres.

        ``head``, ``sellion`` or ``neck``: see :func:`~trg.geometry.head_points.head_origin_m`.
        Raises ValueError if the origin is unknown.
        """
        return head_origin_m(self._landmarks68_m, origin)

    def to_frame(self, frame: FrameConvention, origin: Origin = "head") -> NDArray[np.float64]:
        """Return the pose ``cam_from_head`` (4, 4) in another program's axes.

        Parameters
        ----------
        frame
            The program that defines the axes of camera and head: the table in
            :mod:`trg.geometry.axes`. In Unity the camera is its Transform; in Blender
            ``head.matrix_world = camera.matrix_world @ pose``.
        origin
            The point of the head that becomes the head frame's origin: see :meth:`origin_m`. The
            directions of the axes do not change.

        Raises
        ------
        ValueError
            The frame or the origin is unknown.
        """
        pose = self.matrix
        pose[:3, 3] += self.rotation @ self.origin_m(origin)
        return pose_to_frame(pose, frame)

    def with_interpupillary(self, interpupillary_m: float) -> Face:
        """Return this face scaled, in size and distance, to a known interpupillary distance.

        A single image cannot distinguish a large head far away from a small one nearby. The
        distance between the pupils of eyes that look far away, as opticians measure it, resolves
        the ambiguity. Rotation and pixels do not change.

        Raises ValueError if the distance is outside 0.03 to 0.09 metres.
        """
        known_m = float(finite_array("interpupillary_m", interpupillary_m, ()))
        if not MIN_INTERPUPILLARY_M <= known_m <= MAX_INTERPUPILLARY_M:
            raise ValueError(
                f"interpupillary_m: expected {MIN_INTERPUPILLARY_M} to {MAX_INTERPUPILLARY_M} "
                f"metres, got {known_m:g}; 63 mm is 0.063"
            )
        estimated_m = self.interpupillary_m
        if estimated_m <= 0.0:
            raise ValueError("interpupillary_m: this face's eye landmarks coincide")
        scale, bars = known_m / estimated_m, self.error_bars
        return self._scaled(
            scale,
            error_bars=bars and bars.with_known_size(scale, bars.size_std(known_m)),
            person_size=None,
        )

    def with_person_size(self, scale: float, size_std: float) -> Face:
        """Return this face scaled, in size and distance, to the size of its person.

        Rotation and pixels do not change.

        Parameters
        ----------
        scale
            The person's size over this face's.
        size_std
            Relative standard deviation of the person's size.

        Raises
        ------
        ValueError
            One of the numbers is not finite and positive.
        """
        for name, value in (("scale", scale), ("size_std", size_std)):
            if not 0.0 < value < float("inf"):
                raise ValueError(f"{name}: expected a finite number above 0, got {value}")
        return self._scaled(
            scale,
            error_bars=self.error_bars and self.error_bars.with_known_size(scale, size_std),
            person_size=PersonSize(scale, size_std),
        )

    def _scaled(self, scale: float, **changes: Any) -> Face:
        """Return this face, scaled about the camera's centre, with other changes."""
        face = object.__new__(Face)  # all is checked already, and no pixel moves
        face.__dict__.update(
            self.__dict__,
            translation_m=_read_only(self.translation_m * scale),
            landmarks_m=_read_only(self.landmarks_m * scale),
            **changes,
        )
        return face

    def distance_range_m(self, fov_error_deg: float = 10.0) -> tuple[float, float]:
        """Return the nearest and farthest distance if the camera's field of view was assumed.

        Distance is proportional to the focal length. The nearest distance corresponds to a diagonal
        field of view ``fov_error_deg`` wider than the camera's, the farthest to one that much
        narrower.

        Raises ValueError if the error is negative, or a field of view would leave (0, 180) degrees.
        """
        fov_deg = self.camera.fov_deg("diagonal")
        low_deg, high_deg = fov_deg - fov_error_deg, fov_deg + fov_error_deg
        if fov_error_deg < 0 or low_deg <= 0 or high_deg >= 180:
            raise ValueError(
                f"fov_error_deg: expected 0 or more, with {fov_deg:.0f} degrees plus and minus it "
                f"within 0 to 180, got {fov_error_deg}"
            )
        half_tangents = np.tan(np.radians([fov_deg, high_deg, low_deg]) / 2.0)
        nearest_m, farthest_m = self.distance_m * half_tangents[0] / half_tangents[1:]
        return float(nearest_m), float(farthest_m)

    def mesh(self) -> Mesh:
        """Return the dense landmarks as a mesh in the camera frame."""
        vertices_m = transform(self.landmarks_m, self.rotation, self.translation_m)
        return Mesh(vertices_m=vertices_m, triangles=self.topology.triangles)

    def blendshapes(self, seen_only: bool = False) -> dict[str, float]:
        """Return ARKit's 52 expression coefficients by name, 0 to 1.

        A bounded least-squares fit of the landmarks in the head frame to the face model's identity
        and expression modes (:mod:`trg.geometry.expression_fit`); about half a millisecond. The
        networks see few of the 52 well (docs/results.md): those of
        :data:`~trg.geometry.expression_fit.SEEN_EXPRESSIONS`; the others say little.

        Parameters
        ----------
        seen_only
            Leave out those that the bundled networks do not see.

        Raises
        ------
        ValueError
            The model's landmark mesh is another than that of the bundled ones.
        """
        fit = bundled_expression_fit()
        fit.basis.require_mesh(self.topology)
        weights = dict(zip(EXPRESSION_NAMES, fit.weights(self.landmarks_m).tolist(), strict=True))
        return {name: weights[name] for name in SEEN_EXPRESSIONS} if seen_only else weights

    def to_dict(self, landmarks: bool = False, blendshapes: bool = False) -> dict[str, Any]:
        """Return numbers, lists and strings, as in the JSON output.

        ``landmarks`` adds the dense landmarks in the image and in the head frame, ``blendshapes``
        the expression coefficients. The camera belongs to the image and is left out.
        """
        names, size = ("yaw", "pitch", "roll"), self.person_size
        result: dict[str, Any] = {
            "id": self.id,
            "confidence": self.confidence,
            "box_xyxy": self.box_xyxy.tolist(),
            "rotation": self.rotation.tolist(),
            "translation_m": self.translation_m.tolist(),
            "euler_deg": dict(zip(names, self.euler().tolist(), strict=True)),
            "euler_sight_deg": dict(
                zip(names, self.euler(relative_to="sight").tolist(), strict=True)
            ),
            "distance_m": self.distance_m,
            "interpupillary_m": self.interpupillary_m,
            "frame_interpupillary_m": self.frame_interpupillary_m,
            "size_std": size and size.std,
            "landmarks68_px": self.landmarks68_px.tolist(),
            **self._std_to_dict(),
        }
        if landmarks:
            result["landmarks_px"] = self.landmarks_px.tolist()
            result["landmarks_m"] = self.landmarks_m.tolist()
        if blendshapes:
            result["blendshapes"] = self.blendshapes()
        return result

    def _std_to_dict(self) -> dict[str, Any]:
        """Return the standard deviations by name; None without error bars."""
        result: dict[str, Any] = {
            name: None if (std := getattr(self, name)) is None else std.tolist()
            for name in STD_PROPERTIES
        }
        by_group = result["landmarks_std_m"]
        if by_group is not None:
            result["landmarks_std_m"] = dict(zip(LANDMARK_GROUPS, by_group, strict=True))
        return result


def _read_only(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a read-only copy."""
    frozen = array.copy()
    frozen.setflags(write=False)
    return frozen
