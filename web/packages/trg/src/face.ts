/**
 * The result for one face: head pose, dense 3D landmarks and their projections.
 *
 * The head frame agrees with the camera's for a face that looks straight into it: x to the person's
 * left, y down, z to the back of the head. `X_cam = R X_head + T`. Mirrors `trg.face`.
 */

import { Camera, type CameraNumbers } from "./camera.ts";
import { ErrorBars } from "./errorBars.ts";
import {
  type Matrix3,
  OPTICAL_AXIS,
  type Vector3,
  eulerDegFromRotation,
  isRotation,
  multiply,
  rotationBetween,
  transpose,
} from "./rotations.ts";
import { BOX_MARGIN, type Box } from "./virtualCamera.ts";

/** Indices among the 68 landmarks of the eyelids of the person's right and left eye. */
const RIGHT_EYELIDS = [36, 42] as const;
const LEFT_EYELIDS = [42, 48] as const;

/** Accepted interpupillary distances; people above infancy have 40 to 80 mm. */
export const MIN_INTERPUPILLARY_M = 0.03;
export const MAX_INTERPUPILLARY_M = 0.09;

/** The landmark mesh. */
export interface FaceTopology {
  readonly vertexCount: number;
  /** Three vertices each, counter-clockwise seen from outside. */
  readonly triangles: Uint16Array;
  /** The vertices that are the standard 68 landmarks. */
  readonly landmarks68: Uint16Array;
}

/** How the size of a person was found for a face. */
export interface PersonSize {
  /** The person's size over the one that this image alone gives. */
  readonly scale: number;
  /** Relative standard deviation of the person's size. */
  readonly std: number;
}

/** A face as plain values, which pass between threads. */
export interface FaceNumbers {
  /** `cam_from_head`, row by row. */
  readonly rotation: Matrix3;
  /** The head's origin in the camera frame, metres. */
  readonly translationM: Vector3;
  /** The dense landmarks in the head frame, metres; three numbers each. */
  readonly landmarksM: Float64Array;
  /** 0 to 1. */
  readonly confidence: number;
  readonly camera: CameraNumbers;
  /** Number of the person in a video; null for a picture. */
  readonly id: number | null;
  /** Time of the video frame, seconds; null for a picture. */
  readonly timeS: number | null;
  /** The numbers of `ErrorBars`; null if the network has none. */
  readonly std: Float64Array | null;
  /** Set if size and distance come from several frames. */
  readonly personSize: PersonSize | null;
}

export class Face implements FaceNumbers {
  readonly rotation: Matrix3;
  readonly translationM: Vector3;
  readonly landmarksM: Float64Array;
  readonly confidence: number;
  readonly camera: Camera;
  readonly id: number | null;
  readonly timeS: number | null;
  readonly std: Float64Array | null;
  readonly personSize: PersonSize | null;

  #landmarksPx: Float64Array | null = null;

  constructor(
    numbers: FaceNumbers,
    readonly topology: FaceTopology,
  ) {
    this.rotation = numbers.rotation;
    this.translationM = numbers.translationM;
    this.landmarksM = numbers.landmarksM;
    this.confidence = numbers.confidence;
    this.camera = numbers.camera instanceof Camera ? numbers.camera : new Camera(numbers.camera);
    this.id = numbers.id;
    this.timeS = numbers.timeS;
    this.std = numbers.std;
    this.personSize = numbers.personSize;
  }

  /** Whether this can be a face: a rotation, and all landmarks in front of the camera. */
  get isVisible(): boolean {
    if (!isRotation(this.rotation) || !(this.translationM[2] > 0)) return false;
    const points = this.landmarksCamM();
    for (let i = 2; i < points.length; i += 3) if (!(points[i]! > 0)) return false;
    return this.translationM.every(Number.isFinite) && points.every(Number.isFinite);
  }

  get errorBars(): ErrorBars | null {
    return this.std && new ErrorBars(this.std);
  }

  /** The dense landmarks in the camera frame, metres; three numbers each. */
  landmarksCamM(): Float64Array {
    const R = this.rotation;
    const [tx, ty, tz] = this.translationM;
    const points = this.landmarksM;
    const result = new Float64Array(points.length);
    for (let i = 0; i < points.length; i += 3) {
      const [x, y, z] = [points[i]!, points[i + 1]!, points[i + 2]!];
      result[i] = R[0]! * x + R[1]! * y + R[2]! * z + tx;
      result[i + 1] = R[3]! * x + R[4]! * y + R[5]! * z + ty;
      result[i + 2] = R[6]! * x + R[7]! * y + R[8]! * z + tz;
    }
    return result;
  }

  /** The dense landmarks in the image, px; two numbers each. */
  get landmarksPx(): Float64Array {
    if (this.#landmarksPx === null) {
      const points = this.landmarksCamM();
      this.#landmarksPx = new Float64Array((2 * points.length) / 3);
      for (let i = 0, out = 0; i < points.length; i += 3, out += 2) {
        const pixel = this.camera.project(points[i]!, points[i + 1]!, points[i + 2]!);
        this.#landmarksPx.set(pixel, out);
      }
    }
    return this.#landmarksPx;
  }

  /** The standard 68 landmarks in the image, px; two numbers each. */
  get landmarks68Px(): Float64Array {
    return pick(this.landmarksPx, this.topology.landmarks68, 2);
  }

  /** The paper's square box around the 68 landmarks, px. */
  get boxPx(): Box {
    const points = this.landmarks68Px;
    let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0; i < points.length; i += 2) {
      left = Math.min(left, points[i]!);
      right = Math.max(right, points[i]!);
      top = Math.min(top, points[i + 1]!);
      bottom = Math.max(bottom, points[i + 1]!);
    }
    const half = (BOX_MARGIN * Math.max(right - left, bottom - top)) / 2;
    const [x, y] = [(left + right) / 2, (top + bottom) / 2];
    return [x - half, y - half, x + half, y + half];
  }

  /** Distance of the head's origin from the camera; its depth is `translationM[2]`. */
  get distanceM(): number {
    return Math.hypot(...this.translationM);
  }

  /** Yaw, pitch and roll between the head's axes and the camera's, degrees. */
  get eulerDeg(): Vector3 {
    return eulerDegFromRotation(this.rotation);
  }

  /** Those that a camera at the same place would see that looks straight at the head's origin. */
  get eulerSightDeg(): Vector3 {
    const sight = transpose(rotationBetween(OPTICAL_AXIS, this.translationM));
    return eulerDegFromRotation(multiply(sight, this.rotation));
  }

  /** Distance between the means of each eye's eyelid landmarks, metres. */
  get interpupillaryM(): number {
    const points = pick(this.landmarksM, this.topology.landmarks68, 3);
    const [left, right] = [mean(points, LEFT_EYELIDS), mean(points, RIGHT_EYELIDS)];
    return Math.hypot(left[0] - right[0], left[1] - right[1], left[2] - right[2]);
  }

  /** Standard deviations of the rotation about the head's x, y and z axis, degrees. */
  get rotationStdDeg(): Float64Array | null {
    return this.errorBars && this.errorBars.of("rotation");
  }

  /** Standard deviations across the line of sight, twice, and along it, metres. */
  get translationStdM(): Vector3 | null {
    if (this.errorBars === null) return null;
    const across = this.distanceM * this.errorBars.of("across")[0]!;
    return [across, across, this.distanceM * this.errorBars.of("along")[0]!];
  }

  /**
   * This face scaled, in size and distance, to a known interpupillary distance.
   *
   * @throws RangeError outside 0.03 to 0.09 metres.
   */
  withInterpupillary(interpupillaryM: number): Face {
    if (!(interpupillaryM >= MIN_INTERPUPILLARY_M && interpupillaryM <= MAX_INTERPUPILLARY_M)) {
      throw new RangeError(
        `interpupillaryM: expected ${MIN_INTERPUPILLARY_M} to ${MAX_INTERPUPILLARY_M} metres, ` +
          `got ${interpupillaryM}; 63 mm is 0.063`,
      );
    }
    const scale = interpupillaryM / this.interpupillaryM;
    const sizeStd = this.errorBars ? this.errorBars.sizeStd(interpupillaryM) : 0;
    return this.#scaled(scale, sizeStd, null);
  }

  /** This face scaled, in size and distance, to the size of its person. */
  withPersonSize(scale: number, sizeStd: number): Face {
    return this.#scaled(scale, sizeStd, { scale, std: sizeStd });
  }

  /** This face with some numbers replaced. */
  with(changes: Partial<FaceNumbers>): Face {
    return new Face({ ...this.toNumbers(), ...changes }, this.topology);
  }

  toNumbers(): FaceNumbers {
    const { rotation, translationM, landmarksM, confidence, camera, id, timeS, std } = this;
    const plainCamera = { ...camera };
    return {
      rotation, translationM, landmarksM, confidence, camera: plainCamera, id, timeS, std,
      personSize: this.personSize,
    };
  }

  /** Scaled about the camera's centre: no pixel moves. */
  #scaled(scale: number, sizeStd: number, personSize: PersonSize | null): Face {
    const [x, y, z] = this.translationM;
    return this.with({
      translationM: [x * scale, y * scale, z * scale],
      landmarksM: this.landmarksM.map((value) => value * scale),
      std: this.errorBars && this.errorBars.withKnownSize(scale, sizeStd).std,
      personSize,
    });
  }
}

/** The points with some indices, `dimensions` numbers each. */
export function pick(points: Float64Array, indices: ArrayLike<number>, dimensions: number): Float64Array {
  const picked = new Float64Array(indices.length * dimensions);
  for (let i = 0; i < indices.length; i++) {
    const at = indices[i]! * dimensions;
    picked.set(points.subarray(at, at + dimensions), i * dimensions);
  }
  return picked;
}

function mean(points: Float64Array, [start, end]: readonly [number, number]): Vector3 {
  const sum: [number, number, number] = [0, 0, 0];
  for (let i = start; i < end; i++) {
    for (let axis = 0; axis < 3; axis++) sum[axis]! += points[3 * i + axis]! / (end - start);
  }
  return sum;
}
