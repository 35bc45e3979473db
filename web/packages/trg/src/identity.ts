/**
 * Which person a face is, by its shape and by the colours of its skin and features.
 *
 * The difference of two faces is the product of the differences of both. Mirrors
 * `trg.inference.identity`.
 */

import { type Face } from "./face.ts";
import { type RgbaImage } from "./image.ts";
import { type Box } from "./virtualCamera.ts";

/** Every tenth landmark is part of a signature. */
export const POINT_STEP = 10;
/** Least difference of two people. */
export const OTHER_DIFFERENCE = 0.08;
/** The same for a face that reappears soon, at the same place. */
export const BRIDGED_DIFFERENCE = 0.15;
/** A person is recognised if the difference is less than this share of that from anybody else. */
export const CLEARLY = 0.6;
/** Number of frames over which signatures are averaged. */
export const AVERAGED_FRAMES = 30;

export class Signature {
  private constructor(
    /** Points with a root mean square distance of 1 from their mean. */
    private readonly shape: Float64Array,
    /** RGB at the points, 0 to 255. */
    private readonly colours: Float64Array,
  ) {}

  static of(face: Face, image: RgbaImage): Signature {
    const count = Math.ceil(face.topology.vertexCount / POINT_STEP);
    const shape = new Float64Array(3 * count);
    const colours = new Float64Array(3 * count);
    const mean = [0, 0, 0];
    for (let i = 0; i < count; i++) {
      const vertex = i * POINT_STEP;
      const column = clampIndex(face.landmarksPx[2 * vertex]!, image.width);
      const row = clampIndex(face.landmarksPx[2 * vertex + 1]!, image.height);
      const at = 4 * (row * image.width + column);
      for (let axis = 0; axis < 3; axis++) {
        shape[3 * i + axis] = face.landmarksM[3 * vertex + axis]!;
        mean[axis]! += shape[3 * i + axis]! / count;
        colours[3 * i + axis] = image.data[at + axis]!;
      }
    }
    const centred = shape.map((value, i) => value - mean[i % 3]!);
    const size = Math.sqrt(dot(centred, centred) / count);
    return new Signature(centred.map((value) => value / size), colours);
  }

  /** 0 for equal faces, about 0.2 for two people. */
  difference(other: Signature): number {
    const count = this.shape.length / 3;
    const offsets = this.shape.map((value, i) => value - other.shape[i]!);
    const changes = this.colours.map((value, i) => Math.abs(value - other.colours[i]!));
    const colour = Math.max(changes.reduce((a, b) => a + b) / changes.length, 1);
    const pattern = 1 - dot(standardized(this.colours), standardized(other.colours));
    return Math.sqrt((dot(offsets, offsets) / count) * colour * Math.max(pattern, 0));
  }

  /** The mean of this one and a share of the other. */
  towards(other: Signature, share: number): Signature {
    const mix = (a: Float64Array, b: Float64Array) => a.map((v, i) => v + share * (b[i]! - v));
    return new Signature(mix(this.shape, other.shape), mix(this.colours, other.colours));
  }
}

/** Somebody who was seen in a video. */
export class Person {
  #signature: Signature;
  #lastSignature: Signature;
  #frames = 1;

  constructor(
    signature: Signature,
    public lastBox: Box,
    public lastTimeS: number,
  ) {
    this.#signature = this.#lastSignature = signature;
  }

  see(signature: Signature, box: Box, timeS: number): void {
    this.#frames = Math.min(this.#frames + 1, AVERAGED_FRAMES);
    this.#signature = this.#signature.towards(signature, 1 / this.#frames);
    [this.#lastSignature, this.lastBox, this.lastTimeS] = [signature, box, timeS];
  }

  /** How much a face differs from the mean or the last one, whichever it is nearer. */
  difference(signature: Signature): number {
    return Math.min(this.#signature.difference(signature), this.#lastSignature.difference(signature));
  }
}

/**
 * The id of the absent person whom a new face shows; null if that is not sure.
 *
 * @param nearby The ids of those who were lost a short while ago at the same place.
 */
export function recognize(
  signature: Signature,
  absent: ReadonlyMap<number, Person>,
  nearby: ReadonlySet<number>,
): number | null {
  const ranked = [...absent]
    .map(([id, person]) => ({ id, difference: person.difference(signature) }))
    .sort((a, b) => a.difference - b.difference);
  const [best, next] = ranked;
  if (best === undefined) return null;
  const limit = nearby.has(best.id) ? BRIDGED_DIFFERENCE : OTHER_DIFFERENCE;
  const isSure = best.difference < Math.min(limit, CLEARLY * (next?.difference ?? Infinity));
  return isSure ? best.id : null;
}

function clampIndex(position: number, length: number): number {
  const index = Number.isNaN(position) ? 0 : Math.trunc(position);
  return Math.min(Math.max(index, 0), length - 1);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** The brightness of colours, with mean 0 and length 1. */
function standardized(colours: Float64Array): Float64Array {
  const brightness = Float64Array.from(
    { length: colours.length / 3 },
    (_, i) => colours[3 * i]! + colours[3 * i + 1]! + colours[3 * i + 2]!,
  );
  const mean = brightness.reduce((a, b) => a + b) / brightness.length;
  const centred = brightness.map((value) => value - mean);
  const length = Math.max(Math.sqrt(dot(centred, centred)), 1e-6);
  return centred.map((value) => value / length);
}
