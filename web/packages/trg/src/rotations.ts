/**
 * Rotations as 3x3 matrices, row by row, that act on columns: `X_cam = R X_head`.
 *
 * Mirrors `trg.geometry.rotations`.
 */

export type Vector3 = readonly [number, number, number];

/** Nine numbers, row by row. */
export type Matrix3 = Float64Array;

/** Cosine of the middle Euler angle that counts as zero. */
const GIMBAL_LOCK_TOLERANCE = 1e-7;

/** Largest entry of `|R R^T - I|` of a rotation. */
const ORTHONORMAL_TOLERANCE = 1e-3;

const DEGREES = 180 / Math.PI;

export const OPTICAL_AXIS: Vector3 = [0, 0, 1];

export function identity(): Matrix3 {
  return Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);
}

export function multiply(a: ArrayLike<number>, b: ArrayLike<number>): Matrix3 {
  const product = new Float64Array(9);
  for (let row = 0; row < 3; row++) {
    for (let column = 0; column < 3; column++) {
      for (let k = 0; k < 3; k++) product[3 * row + column]! += a[3 * row + k]! * b[3 * k + column]!;
    }
  }
  return product;
}

export function transpose(a: ArrayLike<number>): Matrix3 {
  return Float64Array.of(a[0]!, a[3]!, a[6]!, a[1]!, a[4]!, a[7]!, a[2]!, a[5]!, a[8]!);
}

export function rotate(a: ArrayLike<number>, v: ArrayLike<number>): Vector3 {
  const [x, y, z] = [v[0]!, v[1]!, v[2]!];
  return [
    a[0]! * x + a[1]! * y + a[2]! * z,
    a[3]! * x + a[4]! * y + a[5]! * z,
    a[6]! * x + a[7]! * y + a[8]! * z,
  ];
}

/** The least rotation that turns one direction onto another; undefined for opposite ones. */
export function rotationBetween(source: Vector3, target: Vector3): Matrix3 {
  const [ax, ay, az] = source;
  const [bx, by, bz] = target;
  const product = Math.max(Math.hypot(ax, ay, az) * Math.hypot(bx, by, bz), 1e-300);
  const cosine = (ax * bx + ay * by + az * bz) / product;
  const x = (ay * bz - az * by) / product;
  const y = (az * bx - ax * bz) / product;
  const z = (ax * by - ay * bx) / product;
  // Rodrigues' formula with the unnormalised axis, whose length is the sine.
  const k = 1 / Math.max(1 + cosine, 1e-300);
  return Float64Array.of(
    cosine + k * x * x, k * x * y - z, k * x * z + y,
    k * x * y + z, cosine + k * y * y, k * y * z - x,
    k * x * z - y, k * y * z + x, cosine + k * z * z,
  );
}

/** One step of Newton's method toward the nearest rotation, which squares the rounding error. */
export function orthonormalize(rotation: ArrayLike<number>): Matrix3 {
  const gram = multiply(transpose(rotation), rotation);
  return multiply(rotation, gram.map((value, i) => (i % 4 === 0 ? 1.5 : 0) - 0.5 * value));
}

export function isRotation(a: ArrayLike<number>): boolean {
  const gram = multiply(a, transpose(a));
  const determinant =
    a[0]! * (a[4]! * a[8]! - a[5]! * a[7]!) -
    a[1]! * (a[3]! * a[8]! - a[5]! * a[6]!) +
    a[2]! * (a[3]! * a[7]! - a[4]! * a[6]!);
  return (
    determinant > 0 &&
    gram.every((value, i) => Math.abs(value - (i % 4 === 0 ? 1 : 0)) <= ORTHONORMAL_TOLERANCE)
  );
}

/** The rotation vector, axis times angle in radians, of a length in [0, pi]. */
export function rotvecFromRotation(rotation: ArrayLike<number>): Vector3 {
  const [x, y, z, w] = quaternionFromRotation(rotation);
  const sine = Math.hypot(x, y, z); // of half the angle
  const factor = sine > 0 ? (2 * Math.atan2(sine, w)) / sine : 2;
  return [factor * x, factor * y, factor * z];
}

/** Rodrigues' formula. */
export function rotationFromRotvec([x, y, z]: Vector3): Matrix3 {
  const angle = Math.max(Math.hypot(x, y, z), 1e-12);
  const sineShare = Math.sin(angle) / angle;
  const cosineShare = 2 * (Math.sin(angle / 2) / angle) ** 2;
  const skew = Float64Array.of(0, -z, y, z, 0, -x, -y, x, 0);
  const square = multiply(skew, skew);
  return identity().map((one, i) => one + sineShare * skew[i]! + cosineShare * square[i]!);
}

/** The unit quaternion x, y, z, w with w >= 0, by the formula with the largest divisor. */
export function quaternionFromRotation(
  rotation: ArrayLike<number>,
): readonly [number, number, number, number] {
  const [a, b, c, d, e, f, g, h, i] = Array.from(rotation) as [
    number, number, number, number, number, number, number, number, number,
  ];
  const [wx, wy, wz, xy, xz, yz] = [h - f, c - g, d - b, b + d, c + g, f + h];
  const fourOuter: [number, number, number, number][] = [
    [1 + a - e - i, xy, xz, wx],
    [xy, 1 - a + e - i, yz, wy],
    [xz, yz, 1 - a - e + i, wz],
    [wx, wy, wz, 1 + a + e + i],
  ];
  let best = 0;
  for (let k = 1; k < 4; k++) if (fourOuter[k]![k]! > fourOuter[best]![best]!) best = k;
  const row = fourOuter[best]!;
  const leading = row[3] || row.find((value) => value !== 0) || 1;
  const scale = Math.sign(leading) / Math.hypot(...row);
  return [row[0] * scale, row[1] * scale, row[2] * scale, row[3] * scale];
}

/** Yaw, pitch and roll in degrees, with `R = Rz(roll) Rx(pitch) Ry(yaw)`; roll is 0 in gimbal lock. */
export function eulerDegFromRotation(rotation: ArrayLike<number>): Vector3 {
  const R = rotation;
  const shared = Math.hypot(R[6]!, R[8]!);
  const pitch = Math.atan2(R[7]!, shared);
  if (shared < GIMBAL_LOCK_TOLERANCE) return [Math.atan2(R[2]!, R[0]!) * DEGREES, pitch * DEGREES, 0];
  const yaw = Math.atan2(-R[6]!, R[8]!);
  const roll = Math.atan2(-R[1]!, R[4]!);
  return [yaw * DEGREES, pitch * DEGREES, roll * DEGREES];
}

export function rollDegFromRotation(rotation: ArrayLike<number>): number {
  return eulerDegFromRotation(rotation)[2];
}
