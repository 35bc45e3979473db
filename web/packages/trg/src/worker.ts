/** The module worker in which the networks run. */

import * as ort from "onnxruntime-web/wasm";

import { Camera } from "./camera.ts";
import { LocalEstimator } from "./estimator.ts";
import { type Face } from "./face.ts";
import { type RgbaImage } from "./image.ts";
import { fetchFrom, readModels } from "./models.ts";
import { type Found, type Kind, type OpenOptions, type Request, type Response, type Work } from "./protocol.ts";
import { type OrtModule } from "./runtime.ts";
import { type FaceTracker } from "./tracker.ts";

type Handlers = { [K in Kind]: (parameter: Work[K][0]) => Promise<Work[K][1]> };

let estimator: LocalEstimator;
const trackers = new Map<number, FaceTracker>();
const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" })!;

const handlers: Handlers = {
  async open(options) {
    const models = await readModels(fetchFrom(options.models));
    estimator = await LocalEstimator.open(await loadRuntime(options), models, options.device);
    return models.card;
  },
  estimate: ({ image, camera, maxFaces }) =>
    found((pixels) => estimator.estimate(pixels, camera, maxFaces), image),
  track({ image, camera, tracker, options, timeS }) {
    const open = trackers.get(tracker) ?? estimator.tracker(options);
    trackers.set(tracker, open);
    return found((pixels) => open.track(pixels, Camera.resolve(pixels.width, pixels.height, camera), timeS), image);
  },
  async closeTracker({ tracker }) {
    trackers.delete(tracker);
    return null;
  },
};

// One request after another: the networks share their memory, and a tracker its state.
let last: Promise<void> = Promise.resolve();
addEventListener("message", ({ data }: MessageEvent<Request>) => {
  last = last.then(() => answer(data));
});

async function answer({ id, kind, parameter }: Request): Promise<void> {
  let response: Response;
  try {
    response = { id, result: await handlers[kind](parameter as never) };
  } catch (error) {
    response = { id, error: error instanceof Error ? error.message : String(error) };
  }
  postMessage(response);
}

async function loadRuntime({ runtime, device, threads }: OpenOptions): Promise<OrtModule> {
  const module = device === "webgpu" ? await import("onnxruntime-web/webgpu") : ort;
  if (runtime) module.env.wasm.wasmPaths = { ...runtime };
  module.env.wasm.numThreads = crossOriginIsolated ? threads : 1;
  return module;
}

async function found(
  work: (pixels: RgbaImage) => Promise<readonly Face[]>,
  image: ImageBitmap,
): Promise<Found> {
  const { stopwatch } = estimator;
  const faces = await stopwatch.timeAsync("total", () =>
    work(stopwatch.time("pixels", () => pixelsOf(image))),
  );
  return { faces: faces.map((face) => face.toNumbers()), times: stopwatch.lap() };
}

/** The pixels of a bitmap, which is closed; white behind transparent ones. */
function pixelsOf(image: ImageBitmap): RgbaImage {
  const { width, height } = image;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0);
  image.close();
  return context.getImageData(0, 0, width, height);
}
