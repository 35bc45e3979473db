/** Confidence, error bars, size memory, smoothing, identity and records agree with Python's. */

import { describe, expect, test } from "vitest";

import { Camera } from "../src/camera.ts";
import { confidenceFeatures, predictConfidence } from "../src/confidence.ts";
import { boxIou, nonMaximumSuppression } from "../src/detections.ts";
import { ErrorBars } from "../src/errorBars.ts";
import { Face } from "../src/face.ts";
import { Person, Signature, recognize } from "../src/identity.ts";
import { type ModelCard } from "../src/models.ts";
import { CSV_HEADER, toCsvRows, toJsonLines } from "../src/records.ts";
import { SizeMemory } from "../src/sizeMemory.ts";
import { FaceSmoother } from "../src/smoothing.ts";
import { type StoredFace, imageOf, readJson, vectors } from "./data.ts";
import { expectClose } from "./expectClose.ts";

const { sequence } = vectors;
const topology = {
  vertexCount: sequence.vertex_count,
  triangles: Uint16Array.from(sequence.triangles),
  landmarks68: Uint16Array.from(sequence.landmarks68),
};
const camera = new Camera(sequence.camera);

function faceOf(stored: StoredFace): Face {
  return new Face(
    {
      rotation: Float64Array.from(stored.rotation),
      translationM: stored.translation_m,
      landmarksM: Float64Array.from(stored.landmarks_m!),
      confidence: stored.confidence,
      camera,
      id: stored.id,
      timeS: null,
      std: stored.std && Float64Array.from(stored.std),
      personSize: null,
    },
    topology,
  );
}

function expectSameFace(face: Face, expected: StoredFace): void {
  expectClose(face.rotation, expected.rotation, 1e-9);
  expectClose(face.translationM, expected.translation_m, 1e-9);
  expectClose(face.eulerDeg, expected.euler_deg, 1e-9);
  expectClose(face.eulerSightDeg, expected.euler_sight_deg, 1e-9);
  expectClose([face.interpupillaryM], [expected.interpupillary_m], 1e-9);
  expectClose(face.boxPx, expected.box_xyxy, 1e-9);
  expectClose(face.landmarks68Px, expected.landmarks68_px, 1e-9);
  expectClose(face.std ?? [], expected.std ?? [], 1e-9);
}

test("confidence follows from heatmaps and projections as in Python", () => {
  for (const each of vectors.confidence) {
    const features = confidenceFeatures(each.projected68, each.heatmap68, each.peaks);
    expectClose(Object.values(features), Object.values(each.features), 1e-7);
    expectClose([predictConfidence(features, each.weights)], [each.confidence], 1e-7);
  }
});

test("an estimate that is not finite has no confidence", () => {
  const features = confidenceFeatures(new Float64Array(136).fill(NaN), new Float64Array(136), []);
  const weights = { bias: -1, disagreement: -3, tail: -1, peak: 5, side: -4, offset: -14 };
  expect(predictConfidence(features, weights)).toBeLessThan(2e-4);
});

test("error bars of a known size are Python's", () => {
  const { std, scaled, size_std } = vectors.known_size;
  const bars = new ErrorBars(Float64Array.from(std));
  expectClose(bars.withKnownSize(1.1, 0.04).std, scaled, 1e-12);
  expectClose([bars.sizeStd(0.063)], [size_std], 1e-12);
});

describe("a sequence of faces", () => {
  test("gets Python's sizes, smoothing and differences", () => {
    const prior = readJson<ModelCard>("models", "model.json").pose.size_memory;
    const memory = new SizeMemory(prior);
    const knownMemory = new SizeMemory(prior, 0.063);
    const smoother = new FaceSmoother();
    const image = imageOf(sequence.image);
    const first = Signature.of(faceOf(sequence.frames[0]!.face), image);
    for (const frame of sequence.frames) {
      const face = faceOf(frame.face);
      expectSameFace(face, frame.face);
      expectSameFace(face.withInterpupillary(0.063), frame.known);
      expectSameFace(knownMemory.remember(face, frame.time_s), frame.known_sized);
      const sized = memory.remember(face, frame.time_s);
      expectSameFace(sized, frame.sized);
      expectSameFace(smoother.smooth(sized, frame.time_s), frame.smoothed);
      expectClose([first.difference(Signature.of(face, image))], [frame.difference], 1e-9);
    }
  });

  test("keeps its pixels in another size", () => {
    const face = faceOf(sequence.frames[0]!.face);
    expectClose(face.withPersonSize(1.3, 0.03).landmarks68Px, face.landmarks68Px, 1e-9);
    expect(() => face.withInterpupillary(63)).toThrow("63 mm is 0.063");
  });
});

test("somebody who was seen before is recognised, unless two are alike", () => {
  const image = imageOf(sequence.image);
  const signature = Signature.of(faceOf(sequence.frames[0]!.face), image);
  const person = new Person(signature, [0, 0, 10, 10], 0);
  expect(recognize(signature, new Map(), new Set())).toBeNull();
  expect(recognize(signature, new Map([[4, person]]), new Set())).toBe(4);
  expect(recognize(signature, new Map([[4, person], [5, person]]), new Set())).toBeNull();
});

test("of overlapping detections the one with the highest score stays", () => {
  const detection = (x: number, score: number) =>
    ({ box: [x, 0, x + 10, 10], score, pointsPx: new Float64Array(10) }) as const;
  expect(boxIou([0, 0, 10, 10], [5, 0, 15, 10])).toBeCloseTo(1 / 3);
  const kept = nonMaximumSuppression([detection(0, 0.6), detection(1, 0.9), detection(30, 0.5)]);
  expect(kept.map(({ score }) => score)).toEqual([0.9, 0.5]);
});

describe("records", () => {
  const found = {
    source: 'a, "b".png',
    camera,
    faces: [faceOf(sequence.frames[0]!.face)],
    frame: null,
    timeS: null,
  };

  test("in JSON Lines have a line per picture", () => {
    const lines = toJsonLines([found, { ...found, faces: [] }]).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line).faces.length)).toEqual([1, 0]);
  });

  test("in CSV have a row per face, quoted names, and one for a picture without", () => {
    const lines = toCsvRows([found, { ...found, faces: [] }]).trimEnd().split("\n");
    expect(lines).toHaveLength(2);
    expect(CSV_HEADER).toBe(vectors.csv_header);
    expect(lines[0]!.startsWith('"a, ""b"".png",,,160,120,')).toBe(true);
  });
});
