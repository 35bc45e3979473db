/** What `python -m tests.support.web_test_data` wrote, in the folder `$TRG_WEB_TEST_DATA`. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { type CameraNumbers } from "../src/camera.ts";
import { type RgbaImage } from "../src/image.ts";

export interface StoredPixels {
  readonly width: number;
  readonly height: number;
  /** Base64. */
  readonly rgb: string;
}

export interface StoredFace {
  readonly id: number | null;
  readonly confidence: number;
  readonly rotation: number[];
  readonly translation_m: [number, number, number];
  readonly euler_deg: number[];
  readonly euler_sight_deg: number[];
  readonly interpupillary_m: number;
  readonly box_xyxy: number[];
  readonly landmarks68_px: number[];
  readonly landmarks_m?: number[];
  readonly std: number[] | null;
}

export interface Vectors {
  /** By module and name. */
  readonly constants: Record<string, Record<string, unknown>>;
  readonly csv_header: string;
  readonly rotations: {
    rotation: number[];
    euler_deg: number[];
    quaternion: number[];
    rotvec: number[];
    source: [number, number, number];
    target: [number, number, number];
    between: number[];
  }[];
  readonly cameras: {
    fov_deg: number;
    camera: CameraNumbers;
    diagonal_deg: number;
    assumed: CameraNumbers;
    twice: CameraNumbers;
    point: [number, number, number];
    pixel: number[];
    box: [number, number, number, number];
    of_box: number[];
    of_box_cam_from_virtual: number[];
    landmarks: number[];
    of_landmarks: number[];
  }[];
  readonly resized: { image: StoredPixels; target: [number, number]; resized: StoredPixels }[];
  readonly crops: {
    image: StoredPixels;
    camera: CameraNumbers;
    box: [number, number, number, number];
    roll_deg: number;
    crop: StoredPixels;
    bbox_info: number[];
  }[];
  readonly confidence: {
    projected68: number[];
    heatmap68: number[];
    peaks: number[];
    features: Record<"bias" | "disagreement" | "tail" | "peak" | "side" | "offset", number>;
    weights: Record<"bias" | "disagreement" | "tail" | "peak" | "side" | "offset", number>;
    confidence: number;
  }[];
  readonly known_size: { std: number[]; scaled: number[]; size_std: number };
  readonly sequence: {
    camera: CameraNumbers;
    image: StoredPixels;
    vertex_count: number;
    triangles: number[];
    landmarks68: number[];
    frames: {
      time_s: number;
      face: StoredFace;
      sized: StoredFace;
      smoothed: StoredFace;
      known: StoredFace;
      known_sized: StoredFace;
      difference: number;
    }[];
  };
}

const FOLDER = process.env["TRG_WEB_TEST_DATA"];

export function dataPath(...names: string[]): string {
  if (FOLDER === undefined) {
    throw new Error("set TRG_WEB_TEST_DATA to the folder of tests.support.web_test_data; see `make test-web`");
  }
  return join(FOLDER, ...names);
}

export function readJson<T>(...names: string[]): T {
  return JSON.parse(readFileSync(dataPath(...names), "utf8")) as T;
}

export const vectors: Vectors = readJson("vectors.json");

export function imageOf({ width, height, rgb }: StoredPixels): RgbaImage {
  const bytes = Buffer.from(rgb, "base64");
  const data = new Uint8Array(4 * width * height);
  for (let i = 0; i < width * height; i++) data.set(bytes.subarray(3 * i, 3 * i + 3), 4 * i);
  return { width, height, data };
}

export function rgbOf(image: RgbaImage): number[] {
  return Array.from(image.data).filter((_, i) => i % 4 !== 3);
}
