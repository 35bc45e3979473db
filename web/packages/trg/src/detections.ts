/** Face boxes, their overlap and non-maximum suppression. Mirrors `trg.inference.detections`. */

import { type Box } from "./virtualCamera.ts";

/** Landmarks of a detection: right and left eye, nose tip, right and left mouth corner. */
export const POINT_COUNT = 5;

/** Detections that overlap more than this are of one face. */
export const NMS_IOU = 0.4;

export interface Detection {
  /** A square, not clipped to the image. */
  readonly box: Box;
  /** 0 to 1. */
  readonly score: number;
  /** Five points, px; two numbers each. */
  readonly pointsPx: Float64Array;
}

/** Roll of the direction from the eyes to the mouth, clockwise in the image. */
export function rollDegOf({ pointsPx: p }: Detection): number {
  const x = (p[6]! + p[8]! - p[0]! - p[2]!) / 2;
  const y = (p[7]! + p[9]! - p[1]! - p[3]!) / 2;
  return (Math.atan2(-x, y) * 180) / Math.PI;
}

/** Intersection over union. */
export function boxIou(a: Box, b: Box): number {
  const width = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const height = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const area = (box: Box) => (box[2] - box[0]) * (box[3] - box[1]);
  return (width * height) / Math.max(area(a) + area(b) - width * height, 1e-12);
}

/** The highest-scoring of faces that overlap by more than the limit, sorted by score. */
export function nonMaximumSuppression(faces: readonly Detection[]): Detection[] {
  const kept: Detection[] = [];
  for (const face of [...faces].sort((a, b) => b.score - a.score)) {
    if (kept.every((other) => boxIou(face.box, other.box) <= NMS_IOU)) kept.push(face);
  }
  return kept;
}
