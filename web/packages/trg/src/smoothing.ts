/**
 * Temporal smoothing of faces with One-Euro filters (Casiez, Roussel and Vogel, CHI 2012).
 *
 * A low-pass filter whose cut-off frequency rises with speed: little jitter at rest, little lag in
 * motion. Mirrors `trg.inference.smoothing`.
 */

import { type Face } from "./face.ts";
import {
  type Matrix3,
  multiply,
  orthonormalize,
  rotationFromRotvec,
  rotvecFromRotation,
  transpose,
} from "./rotations.ts";

/** Cut-off of the filter on the speed. */
export const SPEED_CUTOFF_HZ = 1;

/** Side of the 3D box around a face in section 3.4 of the paper. */
export const FACE_BOX_M = 0.2;

export interface OneEuroParameters {
  /** Cut-off frequency at rest. Lower: less jitter, more lag at the start of a motion. */
  readonly minCutoffHz: number;
  /** Rise of the cut-off per unit of speed. Higher: less lag, more jitter in motion. */
  readonly beta: number;
}

/** Parameters of the parts of a face, tuned at 30 frames per second. */
export const FACE_SMOOTHING = {
  /** Speeds in radians per second. */
  rotation: { minCutoffHz: 1, beta: 8 },
  /** Position in the image, (x / z, y / z); speeds in face widths per second. */
  position: { minCutoffHz: 1.5, beta: 8 },
  /** Logarithm of the distance. */
  depth: { minCutoffHz: 0.7, beta: 15 },
  /** Landmarks in the head frame; speeds in metres per second. */
  shape: { minCutoffHz: 1.5, beta: 200 },
} as const satisfies Record<string, OneEuroParameters>;

/** What a filter's values have in common: their differences are vectors. */
interface Space {
  difference(start: Float64Array, end: Float64Array): Float64Array;
  add(start: Float64Array, change: Float64Array): Float64Array;
}

const VECTORS: Space = {
  difference: (start, end) => end.map((value, i) => value - start[i]!),
  add: (start, change) => start.map((value, i) => value + change[i]!),
};

/** Differences are rotation vectors, radians. */
const ROTATIONS: Space = {
  difference: (start, end) => Float64Array.from(rotvecFromRotation(multiply(end, transpose(start)))),
  add: (start, change) => {
    const turn = rotationFromRotvec([change[0]!, change[1]!, change[2]!]);
    return orthonormalize(multiply(turn, start)); // rounding would accumulate
  },
};

class OneEuroFilter {
  #timeS = -Infinity;
  #value: Float64Array | null = null;
  #velocity: Float64Array = new Float64Array();

  /** `dimensions`: of each point of a point set, over which the speed is a root mean square. */
  constructor(
    private readonly parameters: OneEuroParameters,
    private readonly dimensions: number,
    private readonly space: Space = VECTORS,
  ) {}

  /** The filtered value; `unit` is the length that counts as 1 in the speed. */
  smooth(value: Float64Array, timeS: number, unit = 1): Float64Array {
    const elapsedS = timeS - this.#timeS;
    if (this.#value === null || elapsedS < 0) {
      this.#velocity = this.space.difference(value, value);
      this.#timeS = timeS;
      return (this.#value = value);
    }
    if (elapsedS === 0) return this.#value;
    this.#timeS = timeS;
    const change = this.space.difference(this.#value, value);
    const alpha = smoothingFactor(SPEED_CUTOFF_HZ, elapsedS);
    this.#velocity = this.#velocity.map((v, i) => v + alpha * (change[i]! / elapsedS - v));
    const squares = this.#velocity.reduce((sum, v) => sum + v * v, 0);
    const speed = Math.sqrt(squares / (this.#velocity.length / this.dimensions)) / unit;
    const weight = smoothingFactor(
      this.parameters.minCutoffHz + this.parameters.beta * speed,
      elapsedS,
    );
    return (this.#value = this.space.add(this.#value, change.map((each) => weight * each)));
  }
}

/** Smooths the faces of one track, frame by frame, and keeps each face self-consistent. */
export class FaceSmoother {
  readonly #rotation = new OneEuroFilter(FACE_SMOOTHING.rotation, 3, ROTATIONS);
  readonly #position = new OneEuroFilter(FACE_SMOOTHING.position, 2);
  readonly #depth = new OneEuroFilter(FACE_SMOOTHING.depth, 1);
  readonly #shape = new OneEuroFilter(FACE_SMOOTHING.shape, 3);

  smooth(face: Face, timeS: number): Face {
    const [x, y, z] = face.translationM;
    const position = this.#position.smooth(Float64Array.of(x / z, y / z), timeS, FACE_BOX_M / z);
    const rotation: Matrix3 = this.#rotation.smooth(face.rotation, timeS);
    const depthM = Math.exp(this.#depth.smooth(Float64Array.of(Math.log(z)), timeS)[0]!);
    const landmarksM = this.#shape.smooth(face.landmarksM, timeS);
    const smoothed = face.with({
      rotation,
      translationM: [position[0]! * depthM, position[1]! * depthM, depthM],
      landmarksM,
    });
    // Very close to the lens, smoothing can move a landmark behind it.
    return smoothed.isVisible ? smoothed : face;
  }
}

/** The weight of a new value in a first-order low-pass filter. */
function smoothingFactor(cutoffHz: number, elapsedS: number): number {
  return 1 / (1 + 1 / (2 * Math.PI * cutoffHz * elapsedS));
}
