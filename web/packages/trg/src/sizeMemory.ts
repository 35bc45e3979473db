/**
 * A person's size, remembered over the frames of one identity.
 *
 * The posterior of the logarithm of the face's size on a grid; each view counts by its uncertainty
 * and by how much is new in it. A face gets the person's size by a scaling about the camera's centre,
 * so that no pixel moves. Mirrors `trg.inference.size_memory`.
 */

import { INTERPUPILLARY_STD } from "./errorBars.ts";
import { type Face } from "./face.ts";

/** What is known of people's sizes and of the network's errors: on the card of the weights. */
export interface SizePrior {
  /** Time in which the errors of a moving head's sizes fall to 1/e of their correlation. */
  readonly correlation_s: number;
  /** Time in which a view's weight falls to 1/e. */
  readonly forget_s: number;
  /** Relative error of the size that all views of a person share. */
  readonly common_std: number;
  /** Of views without error bars: error at the confidence 1 - doubt, and its growth with doubt. */
  readonly view_std: number;
  readonly doubt: number;
  readonly doubt_power: number;
  /** Of views with error bars. */
  readonly least_std: number;
  /** Relative error of the eyes' estimated distance in a view without error bars. */
  readonly eyes_std: number;
  /** Of Student's t-distribution: outliers hardly count. */
  readonly degrees_of_freedom: number;
}

/** The grid of log sizes, from that of the first view. */
const OFFSETS = Float64Array.from({ length: 241 }, (_, i) => -0.3 + (0.6 * i) / 240);

export class SizeMemory {
  #logSizes = OFFSETS;
  #logLikelihood: Float64Array | null = null;
  #timeS = -Infinity;

  /** `interpupillaryM`: the person's distance between the pupils, which then sets the size. */
  constructor(
    private readonly prior: SizePrior,
    private readonly interpupillaryM: number | null = null,
  ) {}

  /** Adds a view of the person, and returns it in the person's size. */
  remember(face: Face, timeS: number): Face {
    const logSize = logFaceSize(face);
    let commonStd = this.prior.common_std;
    if (this.interpupillaryM === null) {
      this.#add(logSize, viewStd(face, this.prior), timeS);
    } else {
      const sized = face.withInterpupillary(this.interpupillaryM);
      this.#add(logFaceSize(sized), eyesStd(face, this.prior), timeS);
      commonStd = INTERPUPILLARY_STD;
    }
    const { mean, std } = this.#estimate();
    return face.withPersonSize(Math.exp(mean - logSize), Math.hypot(std, commonStd));
  }

  #add(logSize: number, std: number, timeS: number): void {
    const { correlation_s, forget_s, degrees_of_freedom } = this.prior;
    const elapsedS = Math.max(timeS - this.#timeS, 0);
    let novelty = 1;
    if (this.#logLikelihood === null) {
      this.#logSizes = OFFSETS.map((offset) => logSize + offset);
      this.#logLikelihood = new Float64Array(OFFSETS.length);
    } else {
      // Of many values with the correlation r from each to the next, each tells as much as
      // (1 - r) / (1 + r) independent ones.
      novelty = Math.tanh((0.5 * elapsedS) / correlation_s);
      const kept = Math.exp(-elapsedS / forget_s);
      this.#logLikelihood = this.#logLikelihood.map((value) => value * kept);
    }
    this.#timeS = timeS;
    const power = 0.5 * (degrees_of_freedom + 1);
    this.#logLikelihood = this.#logLikelihood.map((value, i) => {
      const off = (this.#logSizes[i]! - logSize) / std;
      return value - novelty * power * Math.log1p((off * off) / degrees_of_freedom);
    });
  }

  #estimate(): { mean: number; std: number } {
    const likelihood = this.#logLikelihood!;
    const largest = likelihood.reduce((a, b) => Math.max(a, b));
    const share = likelihood.map((value) => Math.exp(value - largest));
    const total = share.reduce((a, b) => a + b);
    const average = (of: (size: number) => number) =>
      share.reduce((sum, each, i) => sum + each * of(this.#logSizes[i]!), 0) / total;
    const mean = average((size) => size);
    return { mean, std: Math.sqrt(average((size) => (size - mean) ** 2)) };
  }
}

/** Logarithm of the root mean square distance of the landmarks from their mean. */
export function logFaceSize({ landmarksM }: Face): number {
  const count = landmarksM.length / 3;
  const sum = [0, 0, 0];
  let squares = 0;
  for (let i = 0; i < landmarksM.length; i++) {
    sum[i % 3]! += landmarksM[i]!;
    squares += landmarksM[i]! ** 2;
  }
  const mean = Math.hypot(...sum) / count;
  return 0.5 * Math.log(squares / count - mean * mean);
}

/** Standard deviation of the estimated distance between the pupils over the size. */
function eyesStd(face: Face, prior: SizePrior): number {
  const bars = face.errorBars;
  return bars === null ? prior.eyes_std : Math.max(bars.eyesStd(face.interpupillaryM), prior.least_std);
}

/** Standard deviation of a face's size about the person's mean. */
function viewStd(face: Face, prior: SizePrior): number {
  const bars = face.errorBars;
  if (bars === null) {
    const doubt = Math.max(1 - face.confidence, 1e-4) / prior.doubt;
    return prior.view_std * doubt ** prior.doubt_power;
  }
  const [along, alongSized] = [bars.of("along")[0]!, bars.of("along_sized")[0]!];
  const ownVariance = along ** 2 - alongSized ** 2 - prior.common_std ** 2;
  return Math.sqrt(Math.max(ownVariance, prior.least_std ** 2));
}
