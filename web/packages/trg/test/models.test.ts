/** The files of `trg export --to web` are verified. */

import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { readModels } from "../src/models.ts";
import { dataPath } from "./data.ts";

const read = async (name: string) => new Uint8Array(readFileSync(dataPath("models", name)));

test("the exported models are read", async () => {
  const { card, topology, poseGraph } = await readModels(read);
  expect(card.pose.licence).toBe("MIT");
  expect(topology.vertexCount).toBe(1220);
  expect(poseGraph.length).toBe(card.pose.bytes);
});

test("a damaged graph is refused", async () => {
  const damaged = async (name: string) =>
    name === "detector.onnx.gz" ? new TextEncoder().encode("not a graph") : read(name);
  await expect(readModels(damaged)).rejects.toThrow("it is damaged or another one");
});

test("another format and what is no card are refused", async () => {
  const text = (content: string) => async () => new TextEncoder().encode(content);
  await expect(readModels(text('{"format_version": 99}'))).rejects.toThrow("expected format 1, got 99");
  await expect(readModels(text("<!doctype html>"))).rejects.toThrow("expected JSON");
});
