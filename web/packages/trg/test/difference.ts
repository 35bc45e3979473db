import { multiply, rotvecFromRotation, transpose } from "../src/rotations.ts";
import { type Vector3 } from "../src/rotations.ts";
import { type StoredFace } from "./data.ts";

/** The angle between two rotations, and the distance of two translations over their length. */
export function differenceOf(
  face: { readonly rotation: ArrayLike<number>; readonly translationM: Vector3 },
  expected: StoredFace,
): { angleDeg: number; relative: number } {
  const turn = rotvecFromRotation(multiply(face.rotation, transpose(expected.rotation)));
  const offsets = face.translationM.map((value, i) => value - expected.translation_m[i]!);
  return {
    angleDeg: (Math.hypot(...turn) * 180) / Math.PI,
    relative: Math.hypot(...offsets) / Math.hypot(...expected.translation_m),
  };
}
