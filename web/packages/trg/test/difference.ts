import { multiply, rotvecFromRotation, transpose } from "../src/rotations.ts";
import { type Vector3 } from "../src/rotations.ts";
import { type StoredFace } from "./data.ts";

/** Of a picture: rotation, degrees, and translation over the distance. */
export const MOST_DEG = 0.1;
export const MOST_RELATIVE = 0.002;

/**
 * Of a tracked frame, whose crop follows from the last one, so that rounding adds up. In Python
 * itself a crop that is larger by a ten-thousandth turns a head by up to 0.3 degrees in some frames.
 */
export const MOST_TRACKED_DEG = 0.5;
export const MOST_TRACKED_RELATIVE = 0.005;

/** Least share of a clip's frames that agree as well as pictures do. */
export const LEAST_SHARE = 0.8;

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
