/** The estimator's side of the conversation with its worker, for which a stand-in answers. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { HeadPoseEstimator } from "../src/headPoseEstimator.ts";

const CARD = { pose: { vertex_count: 0, triangles: [], landmarks68: [] } };

/** Answers the first request alone. */
class StandIn extends EventTarget {
  postMessage({ id, kind }: { id: number; kind: string }): void {
    const answer = new MessageEvent("message", { data: { id, result: CARD } });
    if (kind === "open") queueMicrotask(() => this.dispatchEvent(answer));
  }

  terminate(): void {}
}

beforeEach(() => {
  vi.stubGlobal("Worker", StandIn);
  vi.stubGlobal("document", { baseURI: "http://localhost/" });
  vi.stubGlobal("createImageBitmap", async () => ({ width: 4, height: 3 }));
});
afterEach(() => vi.unstubAllGlobals());

test("what waits when the estimator is closed fails, and what is asked later", async () => {
  const estimator = await HeadPoseEstimator.create({ models: "models/", threads: 1 });
  const picture = {} as ImageData;
  const waiting = estimator.estimate(picture);
  await Promise.resolve();
  estimator.close();
  await expect(waiting).rejects.toThrow("the estimator was closed");
  await expect(estimator.estimate(picture)).rejects.toThrow("the estimator was closed");
  await expect(estimator.tracker().track(picture, 0)).rejects.toThrow("the estimator was closed");
});
