/**
 * The package's own face detector, an anchor-free convolutional network.
 *
 * Each level of an image pyramid is split into overlapping tiles, which the network sees one by one.
 * Mirrors `trg.inference.detector`.
 */

import { type Detection, POINT_COUNT, nonMaximumSuppression } from "./detections.ts";
import { type RgbaImage, resize, roundHalfEven } from "./image.ts";
import { type DetectorArrays, type DetectorNetwork } from "./runtime.ts";

/** Input pixels per output cell. */
export const STRIDE = 8;
/** The network's output for a box side is `log(side / UNIT_SIDE_PX)`. */
export const UNIT_SIDE_PX = 64;
/** The sides of the network's input are multiples of this. */
export const MULTIPLE = 32;
/** Longer side of the image at the first level. */
export const SIDE_PX = 320;
/** Larger pyramid levels are split into tiles of this side. */
export const TILE_PX = 768;
export const TILE_OVERLAP_PX = 128;
/** Ratio of the scales of neighbouring pyramid levels. */
export const LEVEL_STEP = 2;
/** Largest scale of the finer levels. */
export const MAX_FINER_SCALE = 0.5;
/** Largest factor by which small images are enlarged. */
export const MAX_ENLARGEMENT = 2;
/** The input size of longer images is computed as if they had this aspect ratio. */
export const MAX_ASPECT = 3;

const FACE_CHANNELS = 3 + 2 * POINT_COUNT;

/** A rectangle of the image, px, and the scale at which the network sees it. */
interface Tile {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
  readonly scale: number;
}

export class FaceDetector {
  /**
   * @param threshold Least score of a face.
   * @param fallbackThreshold Least score of the best face of an image in which none reaches
   *   `threshold`.
   * @param finerLevels Finer pyramid levels for the small faces of large pictures.
   */
  constructor(
    private readonly network: DetectorNetwork,
    private readonly threshold: number,
    private readonly fallbackThreshold: number,
    private readonly finerLevels: number,
  ) {}

  /** The faces of an image, highest score first. */
  async detect(image: RgbaImage, maxFaces = Infinity): Promise<Detection[]> {
    const least = Math.min(this.threshold, this.fallbackThreshold);
    const found: Detection[] = [];
    for (const tile of this.#tiles(image.width, image.height)) {
      const [width, height] = inputSize(tile);
      const [paddedWidth, paddedHeight] = [multipleOf(width), multipleOf(height)];
      const pixels = paddedRgb(resize(image, tile, width, height), paddedWidth, paddedHeight);
      const arrays = await this.network.run(pixels, paddedWidth, paddedHeight);
      found.push(...decode(arrays, paddedWidth / STRIDE, paddedHeight / STRIDE, tile, least));
    }
    const merged = nonMaximumSuppression(found);
    const count = merged.filter((detection) => detection.score >= this.threshold).length;
    return merged.slice(0, Math.min(Math.max(1, count), maxFaces));
  }

  *#tiles(width: number, height: number): Generator<Tile> {
    const longer = Math.min(Math.max(width, height), MAX_ASPECT * Math.min(width, height));
    let scale = Math.min(SIDE_PX / longer, MAX_ENLARGEMENT);
    yield* tilesOfLevel(width, height, scale);
    for (let level = 0; level < this.finerLevels; level++) {
      scale *= LEVEL_STEP;
      if (scale <= MAX_FINER_SCALE) yield* tilesOfLevel(width, height, scale);
    }
  }
}

/** Splits a pyramid level into overlapping tiles; most levels are one tile. */
function* tilesOfLevel(width: number, height: number, scale: number): Generator<Tile> {
  const spans = (length: number): [number, number][] => {
    const scaled = length * scale;
    const count =
      scaled > TILE_PX ? 1 + Math.ceil((scaled - TILE_PX) / (TILE_PX - TILE_OVERLAP_PX)) : 1;
    const size = Math.min(length, Math.ceil(TILE_PX / scale));
    return Array.from({ length: count }, (_, k) => {
      const start = roundHalfEven(((length - size) * k) / Math.max(count - 1, 1));
      return [start, start + size];
    });
  };
  for (const [top, bottom] of spans(height)) {
    for (const [left, right] of spans(width)) yield { left, top, right, bottom, scale };
  }
}

function inputSize({ left, top, right, bottom, scale }: Tile): [number, number] {
  return [
    Math.max(1, roundHalfEven((right - left) * scale)),
    Math.max(1, roundHalfEven((bottom - top) * scale)),
  ];
}

function multipleOf(side: number): number {
  return Math.ceil(side / MULTIPLE) * MULTIPLE;
}

/** RGB with black right and below. */
function paddedRgb(image: RgbaImage, width: number, height: number): Uint8Array {
  const padded = new Uint8Array(3 * width * height);
  for (let y = 0, at = 0; y < image.height; y++) {
    for (let x = 0, out = 3 * y * width; x < image.width; x++, at += 4, out += 3) {
      padded[out] = image.data[at]!;
      padded[out + 1] = image.data[at + 1]!;
      padded[out + 2] = image.data[at + 2]!;
    }
  }
  return padded;
}

/** Converts score peaks to boxes and landmarks in image pixels. */
function decode(
  { scores, faces }: DetectorArrays,
  columns: number,
  rows: number,
  tile: Tile,
  threshold: number,
): Detection[] {
  const [width, height] = inputSize(tile);
  // The input size is rounded, so the axes have slightly different scales.
  const factorX = (tile.right - tile.left) / width;
  const factorY = (tile.bottom - tile.top) / height;
  const found: Detection[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const cell = row * columns + column;
      const score = scores[cell]!;
      if (!(score >= threshold && isPeak(scores, columns, rows, row, column))) continue;
      const channels = faces.subarray(cell * FACE_CHANNELS, (cell + 1) * FACE_CHANNELS);
      const side = UNIT_SIDE_PX * Math.exp(channels[2]!);
      const x = (offset: number) => ((column + 0.5) * STRIDE + side * offset) * factorX + tile.left;
      const y = (offset: number) => ((row + 0.5) * STRIDE + side * offset) * factorY + tile.top;
      const [u, v] = [x(channels[0]!), y(channels[1]!)];
      const half = (side * (factorX + factorY)) / 4;
      found.push({
        box: [u - half, v - half, u + half, v + half],
        score,
        pointsPx: Float64Array.from(channels.subarray(3), (offset, i) => (i % 2 ? y : x)(offset)),
      });
    }
  }
  return found;
}

/** Whether no neighbour has a higher score. */
function isPeak(
  scores: Float32Array,
  columns: number,
  rows: number,
  row: number,
  column: number,
): boolean {
  const score = scores[row * columns + column]!;
  for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, rows - 1); y++) {
    for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, columns - 1); x++) {
      if (scores[y * columns + x]! > score) return false;
    }
  }
  return true;
}
