/**
 * The networks in onnxruntime-web give Python's poses, in Node.js.
 *
 * The browser's tests compare the same pictures in the page.
 */

import { readFileSync } from "node:fs";

import * as ort from "onnxruntime-web";
import { PNG } from "pngjs";
import { beforeAll, expect, test } from "vitest";

import { Camera, type CameraNumbers } from "../src/camera.ts";
import { LocalEstimator } from "../src/estimator.ts";
import { readModels } from "../src/models.ts";
import { frameRecord } from "../src/records.ts";
import { type StoredFace, dataPath, readJson } from "./data.ts";
import {
  LEAST_SHARE,
  MOST_DEG,
  MOST_RELATIVE,
  MOST_TRACKED_DEG,
  MOST_TRACKED_RELATIVE,
  differenceOf,
} from "./difference.ts";

interface StoredPicture {
  readonly file: string;
  readonly camera: CameraNumbers | null;
  readonly faces: StoredFace[];
  readonly record: object;
}

let estimator: LocalEstimator;

beforeAll(async () => {
  const models = await readModels(async (name) => readFileSync(dataPath("models", name)));
  estimator = await LocalEstimator.open(ort, models, "wasm");
}, 60_000);

const readPicture = (...names: string[]) => PNG.sync.read(readFileSync(dataPath(...names)));

test("pictures show the same faces, within 0.1 degrees and 0.2 %", async () => {
  const pictures = readJson<StoredPicture[]>("pictures.json");
  let count = 0;
  for (const { file, camera, faces: expected } of pictures) {
    const faces = await estimator.estimate(readPicture("pictures", file), camera ?? undefined);
    expect(faces.length, file).toBe(expected.length);
    faces.forEach((face, i) => {
      const { angleDeg, relative } = differenceOf(face, expected[i]!);
      expect(angleDeg, file).toBeLessThan(MOST_DEG);
      expect(relative, file).toBeLessThan(MOST_RELATIVE);
      count += 1;
    });
  }
  expect(count).toBeGreaterThanOrEqual(30);
}, 300_000);

test("a tracked clip has the same people, mostly within 0.1 degrees and 0.2 %", async () => {
  const clip = readJson<{ camera: CameraNumbers; frames: { time_s: number; faces: StoredFace[] }[] }>(
    "clip.json",
  );
  const tracker = estimator.tracker();
  let close = 0;

  const camera = new Camera(clip.camera);
  for (const [index, { time_s, faces: expected }] of clip.frames.entries()) {
    const name = `${String(index).padStart(3, "0")}.png`;
    const faces = await tracker.track(readPicture("clip", name), camera, time_s);
    expect(faces.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    faces.forEach((face, i) => {
      const { angleDeg, relative } = differenceOf(face, expected[i]!);
      expect(angleDeg, name).toBeLessThan(MOST_TRACKED_DEG);
      expect(relative, name).toBeLessThan(MOST_TRACKED_RELATIVE);
      close += angleDeg < MOST_DEG && relative < MOST_RELATIVE ? 1 : 0;
    });
  }
  expect(close).toBeGreaterThan(LEAST_SHARE * clip.frames.length);
}, 300_000);

test("a record has the names and shapes of Python's", async () => {
  const [picture] = readJson<StoredPicture[]>("pictures.json").filter(({ faces }) => faces.length > 0);
  const { file, camera, record } = picture!;
  const faces = await estimator.estimate(readPicture("pictures", file), camera ?? undefined);
  const found = { source: file, camera: faces[0]!.camera, faces, frame: null, timeS: null };
  expect(shapeOf(JSON.parse(JSON.stringify(frameRecord(found))))).toEqual(shapeOf(record));
}, 60_000);

/** The value with the kinds of its numbers and texts in their place. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (value === null || typeof value !== "object") return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, shapeOf(each)]));
}
