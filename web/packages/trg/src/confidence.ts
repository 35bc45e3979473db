/**
 * The probability that an estimate's landmarks lie on a face.
 *
 * A logistic regression, whose weights are on the card of the network. Mirrors
 * `trg.inference.confidence`.
 */

import { BOX_MARGIN } from "./virtualCamera.ts";

/** Inputs of the regression; distances are shares of the crop box's side. */
export interface ConfidenceFeatures {
  readonly bias: number;
  /** Log of the median distance between heatmap landmark and projected landmark. */
  readonly disagreement: number;
  /** Log of the 90th percentile of these distances. */
  readonly tail: number;
  /** Log of the mean heatmap peak. */
  readonly peak: number;
  /** Absolute log ratio of the sides of the landmarks' box and the crop box. */
  readonly side: number;
  /** Distance between the centres of the two boxes. */
  readonly offset: number;
}

/** Of estimates that are not finite; their confidence is about 0. */
const WORST_FEATURES: ConfidenceFeatures = {
  bias: 1, disagreement: 7, tail: 7, peak: -9, side: 7, offset: 3,
};

/** Clips confidence to 1e-4 from 0 and 1. */
export const LARGEST_LOGIT = 9;

export function predictConfidence(
  features: ConfidenceFeatures,
  weights: Readonly<Record<keyof ConfidenceFeatures, number>>,
): number {
  let logit = 0;
  for (const name of Object.keys(WORST_FEATURES) as (keyof ConfidenceFeatures)[]) {
    logit += features[name] * weights[name];
  }
  return 1 / (1 + Math.exp(-Math.min(Math.max(logit, -LARGEST_LOGIT), LARGEST_LOGIT)));
}

/**
 * @param projected68 The landmarks of the regressed head, in crop coordinates from -1 to 1.
 * @param heatmap68 Those of the heatmaps.
 * @param peaks The largest softmax value of each heatmap.
 */
export function confidenceFeatures(
  projected68: ArrayLike<number>,
  heatmap68: ArrayLike<number>,
  peaks: ArrayLike<number>,
): ConfidenceFeatures {
  const distances = new Float64Array(68);
  let [left, top, right, bottom, peak] = [Infinity, Infinity, -Infinity, -Infinity, 0];
  for (let i = 0; i < 68; i++) {
    const [x, y] = [projected68[2 * i]! / 2, projected68[2 * i + 1]! / 2];
    distances[i] = Math.hypot(x - heatmap68[2 * i]! / 2, y - heatmap68[2 * i + 1]! / 2);
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
    peak += peaks[i]! / 68;
  }
  distances.sort(); // NaN comes last
  const side = BOX_MARGIN * Math.max(right - left, bottom - top);
  const features: ConfidenceFeatures = {
    bias: 1,
    disagreement: Math.log(distances[34]! + 1e-3),
    tail: Math.log(distances[61]! + 1e-3),
    peak: Math.log(Math.max(peak, 1e-4)),
    side: Math.abs(Math.log(Math.min(Math.max(side, 1e-3), 1e3))),
    offset: Math.min(Math.hypot((left + right) / 2, (top + bottom) / 2), 3),
  };
  return Object.values(features).every(Number.isFinite) ? features : WORST_FEATURES;
}
