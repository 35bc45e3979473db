"""Rotations: conversions between representations, fits, comparison and validation.

A rotation is a matrix ``(..., 3, 3)`` that acts on column vectors, ``X_cam = R @ X_head``. Names
follow one pattern, ``rotation_from_x`` and ``rotation_to_x``:

==========  ====================================================================
``6d``      first two columns of R, ``(..., 6)`` (Zhou et al. 2019)
``euler``   three angles in degrees, ``(..., 3)``
``rotvec``  axis times angle in radians, ``(..., 3)`` (exponential coordinates)
``quat``    unit quaternion ``(4,)``, ordered x, y, z, w
==========  ====================================================================

The functions for 6D, Euler angles and geodesic distance accept NumPy arrays or torch tensors and
return the same kind, on the same device and with gradients; this module never imports torch. All
others are for NumPy arrays only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.array_namespace import ArrayT, constant_like, namespace_of
from trg._util.checks import finite_array

Floats = NDArray[np.float64]

ORTHONORMAL_TOLERANCE = 1e-3
"""Largest entry of ``|R @ R.T - I|``: accepts matrices written with four decimals."""

IDENTITY = np.eye(3)
"""The rotation by nothing."""

GIMBAL_LOCK_TOLERANCE = 1e-7
"""Cosine (or sine, for orders such as ``zxz``) of the middle Euler angle that counts as zero."""


def normalize(vectors: ArrayT, eps: float = 1e-12) -> ArrayT:
    """Scale vectors ``(..., d)`` to unit length; those shorter than ``eps`` are divided by it."""
    xp = namespace_of(vectors)
    length_squared = (vectors * vectors).sum(-1, keepdims=True)
    return vectors / xp.sqrt(xp.clip(length_squared, eps * eps, None))


def cross(a: ArrayT, b: ArrayT) -> ArrayT:
    """Return the cross product of vectors ``(..., 3)``."""
    xp = namespace_of(a)
    twice_a, twice_b = xp.concatenate([a, a], -1), xp.concatenate([b, b], -1)
    return twice_a[..., 1:4] * twice_b[..., 2:5] - twice_a[..., 2:5] * twice_b[..., 1:4]


def skew(vectors: ArrayLike) -> Floats:
    """Return the matrices ``(..., 3, 3)`` with ``skew(a) @ b == cross(a, b)``."""
    vectors = np.asarray(vectors, dtype=np.float64)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    K = np.zeros((*vectors.shape, 3))
    K[..., 0, 1], K[..., 0, 2], K[..., 1, 2] = -z, y, -x
    K[..., 1, 0], K[..., 2, 0], K[..., 2, 1] = z, -y, x
    return K


_SKEW_OF_AXES = skew(np.eye(3)).reshape(3, 9).tolist()
"""Rows: the flattened :func:`skew` matrices of the three axes, of which all others are sums."""


def rotation_from_6d(rotation_6d: ArrayT) -> ArrayT:
    """Turn the 6D representation ``(..., 6)`` into rotations ``(..., 3, 3)``.

    Gram-Schmidt, as in Zhou et al. 2019 (reference 52 of the paper), Eq. 15. The second axis is a
    cross product too, and all axes are scaled at once: fewer nodes in an exported graph.
    """
    xp = namespace_of(rotation_6d)
    rows = rotation_6d.reshape(*rotation_6d.shape[:-1], 2, 3)
    first, second = rows[..., :1, :], rows[..., 1:, :]
    # With rows for vectors, the cross product of first and v is v @ skew_first.T.
    skew_first = (first @ constant_like(first, _SKEW_OF_AXES)).reshape(*first.shape[:-2], 3, 3)
    third = second @ skew_first.swapaxes(-1, -2)
    axes = xp.concatenate([first, third @ skew_first, third], -2)
    return normalize(axes).swapaxes(-1, -2)


def rotation_to_6d(rotation: ArrayT) -> ArrayT:
    """Return the first two columns of ``(..., 3, 3)`` as ``(..., 6)``."""
    xp = namespace_of(rotation)
    return xp.concatenate([rotation[..., :, 0], rotation[..., :, 1]], -1)


def rotation_from_euler(yaw_pitch_roll_deg: ArrayT) -> ArrayT:
    """Build ``(..., 3, 3)`` from degrees ``(..., 3)``: R = Rz(roll) @ Rx(pitch) @ Ry(yaw).

    Equals SciPy's ``Rotation.from_euler("yxz", ...)``, the convention of the paper's tables.
    """
    xp = namespace_of(yaw_pitch_roll_deg)
    radians = yaw_pitch_roll_deg * (np.pi / 180.0)
    cos, sin = xp.cos(radians), xp.sin(radians)
    is_single = xp is np and radians.ndim == 1 and radians.dtype == np.float64
    if is_single:  # Python's floats: for one rotation NumPy takes several times as long
        (cy, cp, cr), (sy, sp, sr) = cos.tolist(), sin.tolist()
    else:
        cy, cp, cr = cos[..., 0], cos[..., 1], cos[..., 2]
        sy, sp, sr = sin[..., 0], sin[..., 1], sin[..., 2]
    rows = [
        [cr * cy - sr * sp * sy, -sr * cp, cr * sy + sr * sp * cy],
        [sr * cy + cr * sp * sy, cr * cp, sr * sy - cr * sp * cy],
        [-cp * sy, sp, cp * cy],
    ]
    if is_single:
        return np.array(rows)  # type: ignore[return-value]
    return xp.stack([xp.stack(row, -1) for row in rows], -2)


def rotation_to_euler(rotation: ArrayT, order: str = "yxz") -> ArrayT:
    """Return the Euler angles ``(..., 3)`` of rotations ``(..., 3, 3)``, in degrees.

    Parameters
    ----------
    rotation
        ``(..., 3, 3)``.
    order
        As in SciPy: three of ``xyz`` for rotations about the fixed axes, first letter first, or
        three of ``XYZ`` for rotations about the moving axes. The third letter may equal the first.
        The default gives yaw, pitch, roll and inverts :func:`rotation_from_euler`.

    Returns
    -------
    ArrayT
        The first and third angles lie in [-180, 180]. The middle one lies in [-90, 90], or in
        [0, 180] if the third letter equals the first. In gimbal lock, where the middle angle is at
        an end of its range and only the sum or difference of the others is defined, the third
        angle is 0.

    Raises
    ------
    ValueError
        The order is invalid.
    """
    xp = namespace_of(rotation)
    i, j, k = _fixed_axes(order)
    is_proper = i == k
    if is_proper:
        k = 3 - i - j
    parity = (i - j) * (j - k) * (k - i) // 2
    # With fixed axes R = R_k(third) @ R_j(middle) @ R_i(first), or R_i(third) if is_proper. Each
    # angle is the arc tangent of two entries of R that share one factor, `shared`.
    entry = {(row, column): rotation[..., row, column] for row in range(3) for column in range(3)}
    if is_proper:
        shared = xp.sqrt(entry[i, j] ** 2 + entry[i, k] ** 2)
        first = xp.arctan2(entry[i, j], parity * entry[i, k])
        middle = xp.arctan2(shared, entry[i, i])
        third = xp.arctan2(entry[j, i], -parity * entry[k, i])
    else:
        shared = xp.sqrt(entry[k, j] ** 2 + entry[k, k] ** 2)
        first = xp.arctan2(parity * entry[k, j], entry[k, k])
        middle = xp.arctan2(-parity * entry[k, i], shared)
        third = xp.arctan2(parity * entry[j, i], entry[i, i])
    is_locked, zero = shared < GIMBAL_LOCK_TOLERANCE, xp.zeros_like(shared)
    if order.islower():
        alone = xp.arctan2(-parity * entry[j, k], entry[j, j])
        first, third = xp.where(is_locked, alone, first), xp.where(is_locked, zero, third)
        angles = [first, middle, third]
    else:  # moving axes are the fixed ones in reverse, so the angle set to 0 is `first`
        side = parity * entry[k, j] if is_proper else -parity * entry[i, j]
        alone = xp.arctan2(side, entry[j, j])
        first, third = xp.where(is_locked, zero, first), xp.where(is_locked, alone, third)
        angles = [third, middle, first]
    return xp.stack(angles, -1) * (180.0 / np.pi) + 0.0  # + 0.0 turns -0.0 into 0.0


def rotation_to_roll_deg(rotation: ArrayLike) -> float:
    """Return the third of the default angles of :func:`rotation_to_euler` of one rotation."""
    (_, minus_sine, _), (_, cosine, _), (x, _, z) = np.asarray(rotation).tolist()
    is_locked = math.hypot(x, z) < GIMBAL_LOCK_TOLERANCE
    return 0.0 if is_locked else math.degrees(math.atan2(-minus_sine, cosine)) + 0.0


def rotation_from_rotvec(rotvec: ArrayLike) -> Floats:
    """Turn rotation vectors ``(..., 3)`` into rotations ``(..., 3, 3)``: Rodrigues' formula."""
    rotvec = np.asarray(rotvec, dtype=np.float64)
    if rotvec.ndim == 1:
        return _rotation_from_rotvec(*rotvec.tolist())
    length = np.sqrt((rotvec * rotvec).sum(-1))[..., None, None]
    angle = np.maximum(length, 1e-12)  # where both shares have reached their limits, 1 and 1 / 2
    sine_share = np.sin(angle) / angle
    cosine_share = 2.0 * (np.sin(angle / 2.0) / angle) ** 2  # 1 - cos(a) = 2 sin(a / 2) ** 2
    K = skew(rotvec)
    return np.eye(3) + sine_share * K + cosine_share * (K @ K)


def _rotation_from_rotvec(x: float, y: float, z: float) -> Floats:
    """Turn one rotation vector into a rotation, in Python's floats."""
    angle = max(math.sqrt(x * x + y * y + z * z), 1e-12)
    s, c = math.sin(angle) / angle, 2.0 * (math.sin(angle / 2.0) / angle) ** 2
    return np.array(
        [
            [1.0 - c * (y * y + z * z), c * x * y - s * z, c * x * z + s * y],
            [c * x * y + s * z, 1.0 - c * (x * x + z * z), c * y * z - s * x],
            [c * x * z - s * y, c * y * z + s * x, 1.0 - c * (x * x + y * y)],
        ]
    )


def rotation_to_rotvec(rotation: ArrayLike) -> Floats:
    """Return the rotation vector ``(3,)`` of a rotation ``(3, 3)``, of a length in [0, pi]."""
    x, y, z, w = rotation_to_quat(rotation).tolist()
    sine = math.sqrt(x * x + y * y + z * z)  # of half the angle
    scale = 2.0 * math.atan2(sine, w) / sine if sine > 0.0 else 2.0
    return np.array([scale * x, scale * y, scale * z])


def rotations_to_rotvecs(rotations: Floats) -> Floats:
    """Return the rotation vectors ``(n, 3)`` of rotations ``(n, 3, 3)``, of lengths in [0, pi]."""
    R = np.asarray(rotations, dtype=np.float64)
    D = R - R.swapaxes(-1, -2)
    axial = np.stack([D[:, 2, 1], D[:, 0, 2], D[:, 1, 0]], -1)
    two_sine = np.sqrt((axial * axial).sum(-1))
    angle = np.arctan2(two_sine, np.trace(R, axis1=1, axis2=2) - 1.0)
    vectors = axial * np.where(two_sine > 1e-9, angle / np.maximum(two_sine, 1e-9), 0.5)[:, None]
    for row in np.flatnonzero(angle > 3.0):  # the axis of a half turn is lost in `axial`
        vectors[row] = rotation_to_rotvec(R[row])
    return vectors


def rotation_to_quat(rotation: ArrayLike) -> Floats:
    """Return the unit quaternion ``(x, y, z, w)`` of a rotation ``(3, 3)``, with w >= 0.

    Of the four equivalent formulas, the one with the largest divisor (Shepperd 1978). For half
    turns, where w is 0, the first nonzero component is positive.

    Raises ValueError if the matrix is not a rotation.
    """
    (a, b, c), (d, e, f), (g, h, i) = checked_rotation("rotation", rotation).tolist()
    wx, wy, wz, xy, xz, yz = h - f, c - g, d - b, b + d, c + g, f + h
    four_outer = (  # 4 * outer(quat, quat)
        (1.0 + a - e - i, xy, xz, wx),
        (xy, 1.0 - a + e - i, yz, wy),
        (xz, yz, 1.0 - a - e + i, wz),
        (wx, wy, wz, 1.0 + a + e + i),
    )
    x, y, z, w = max(four_outer, key=max)
    length = math.copysign(math.sqrt(x * x + y * y + z * z + w * w), w or x or y or z)
    return np.array([x / length, y / length, z / length, w / length]) + 0.0  # no -0.0


def rotation_between(source: ArrayLike, target: ArrayLike) -> Floats:
    """Return the least rotation ``(3, 3)`` that turns one direction onto another.

    Directions are ``(3,)``, of any length above 0. The result is undefined for opposite ones.
    """
    (ax, ay, az), (bx, by, bz) = np.asarray(source).tolist(), np.asarray(target).tolist()
    # Python's floats: for a single direction NumPy takes five times as long.
    product = max(math.hypot(ax, ay, az) * math.hypot(bx, by, bz), 1e-300)
    cosine = (ax * bx + ay * by + az * bz) / product
    x, y, z = (
        (ay * bz - az * by) / product,
        (az * bx - ax * bz) / product,
        (ax * by - ay * bx) / product,
    )
    # Rodrigues' formula with the unnormalised axis (x, y, z), whose length is the sine.
    k = 1.0 / max(1.0 + cosine, 1e-300)
    return np.array(
        [
            [cosine + k * x * x, k * x * y - z, k * x * z + y],
            [k * x * y + z, cosine + k * y * y, k * y * z - x],
            [k * x * z - y, k * y * z + x, cosine + k * z * z],
        ]
    )


def orthonormalize(rotation: Floats) -> Floats:
    """Remove rounding errors from a rotation ``(3, 3)``.

    One step of Newton's method toward the nearest rotation (Higham 1986), which squares the error.
    """
    return rotation @ (1.5 * IDENTITY - 0.5 * (rotation.T @ rotation))


def nearest_rotation(matrix: NDArray[Any]) -> NDArray[Any]:
    """Project matrices ``(..., 3, 3)`` onto SO(3): the nearest rotations in the Frobenius norm.

    Of the mean of several rotations this is their chordal L2 mean (Hartley et al. 2013).
    """
    left, _, right = np.linalg.svd(matrix)
    left[..., :, 2] *= np.sign(np.linalg.det(left @ right))[..., None]  # exclude reflections
    return left @ right


def geodesic_angle_deg(rotation_a: ArrayT, rotation_b: ArrayT) -> ArrayT:
    """Return the angle of ``rotation_a @ rotation_b.T`` in degrees, ``(...)``.

    From sine and cosine together: near 0 and 180 degrees the usual arc cosine of the trace loses
    half its digits.
    """
    xp = namespace_of(rotation_a)
    relative = rotation_a @ rotation_b.swapaxes(-1, -2)
    axis_times_two_sin = xp.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        -1,
    )
    two_sin = xp.sqrt((axis_times_two_sin**2).sum(-1))
    two_cos = relative[..., 0, 0] + relative[..., 1, 1] + relative[..., 2, 2] - 1.0
    return xp.arctan2(two_sin, two_cos) * (180.0 / np.pi)


def is_rotation(matrix: ArrayLike) -> NDArray[np.bool_]:
    """Return which matrices ``(..., 3, 3)`` are rotations within :data:`ORTHONORMAL_TOLERANCE`."""
    R = np.asarray(matrix, dtype=np.float64)
    if R.ndim == 2:  # Python's floats: for one matrix NumPy takes ten times as long
        return np.bool_(_is_one_rotation(R.tolist()))  # type: ignore[return-value]
    error = np.abs(R @ R.swapaxes(-1, -2) - np.eye(3)).max((-1, -2))
    return (error <= ORTHONORMAL_TOLERANCE) & (np.linalg.det(R) > 0.0)


def _is_one_rotation(rows: list[list[float]]) -> bool:
    (a, b, c), (d, e, f), (g, h, i) = rows
    errors = (
        a * a + b * b + c * c - 1.0,
        d * d + e * e + f * f - 1.0,
        g * g + h * h + i * i - 1.0,
        a * d + b * e + c * f,
        a * g + b * h + c * i,
        d * g + e * h + f * i,
    )
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return all(abs(error) <= ORTHONORMAL_TOLERANCE for error in errors) and determinant > 0.0


def checked_rotation(
    name: str, value: ArrayLike, shape: tuple[int | None, ...] = (3, 3)
) -> NDArray[np.float64]:
    """Return ``value`` as float64 rotations of ``shape`` (None: any length).

    Raises ValueError if the shape differs, or a matrix is not a rotation (:func:`is_rotation`).
    """
    R = finite_array(name, value, shape)
    is_valid = is_rotation(R)
    if not is_valid.all():
        invalid = R[~is_valid][0] if R.ndim > 2 else R
        raise ValueError(
            f"{name}: expected rotations (R @ R.T = I, determinant 1), got a matrix with R @ R.T "
            f"off by {np.abs(invalid @ invalid.T - np.eye(3)).max():.2g} and determinant "
            f"{np.linalg.det(invalid):.3g}"
        )
    return R


def _fixed_axes(order: str) -> tuple[int, int, int]:
    """Return the axis numbers of an Euler order as rotations about the fixed axes."""
    letters = order.lower()
    is_valid = (
        len(letters) == 3
        and set(letters) <= set("xyz")
        and order in (letters, letters.upper())
        and letters[0] != letters[1] != letters[2]
    )
    if not is_valid:
        raise ValueError(
            "order: expected three of 'xyz' (rotations about the fixed axes) or of 'XYZ' (about "
            f"the moving axes), no letter twice in a row, got {order!r}"
        )
    i, j, k = ("xyz".index(letter) for letter in letters)
    return (i, j, k) if order == letters else (k, j, i)
