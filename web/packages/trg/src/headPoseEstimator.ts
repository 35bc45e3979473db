/** The public entry point: faces of pictures and videos, estimated in a worker. */

import { type CameraLike } from "./camera.ts";
import { Face, type FaceTopology } from "./face.ts";
import { type ModelCard, topologyOf } from "./models.ts";
import { type Found, type Kind, type Request, type Response, type RuntimeFiles, type Work } from "./protocol.ts";
import { type Device } from "./runtime.ts";
import { type StageTimes } from "./stopwatch.ts";
import { type TrackingOptions } from "./tracker.ts";

/** Networks of this size gain little from more threads. */
const MOST_THREADS = 4;

export interface EstimatorOptions {
  /** Address of the folder that `trg export --to web` wrote, relative to the page. */
  readonly models: string | URL;
  /** Addresses of onnxruntime-web's files, where the bundler moves them. */
  readonly runtime?: RuntimeFiles;
  /** `wasm` unless given; `webgpu` where the browser has it. */
  readonly device?: Device;
  /** Threads of the networks; one on a page that is not cross-origin isolated. */
  readonly threads?: number;
}

/** The faces of one picture or video frame. */
export interface Estimate {
  readonly faces: readonly Face[];
  /** Size of the picture, px. */
  readonly width: number;
  readonly height: number;
  /** Milliseconds per stage, in the worker. */
  readonly times: StageTimes;
}

export interface FrameEstimate extends Estimate {
  /** Frame number, from 0. */
  readonly index: number;
  /** Time in the video, seconds. */
  readonly timeS: number;
  /** The frame itself; close it when it is drawn. */
  readonly bitmap: ImageBitmap;
}

export interface TrackOptions extends Partial<TrackingOptions> {
  /** The camera, or a function that is asked for it at each frame. */
  readonly camera?: CameraLike | (() => CameraLike | undefined);
  /** Ends the tracking. */
  readonly signal?: AbortSignal;
}

/** What `createImageBitmap` takes. */
export type Picture = ImageBitmapSource;

/** Tracks the faces of one video whose frames come one by one. */
export interface Tracker {
  /** The faces of the next frame, with ids, smoothed, in the size of their person. */
  track(picture: Picture, timeS: number, camera?: CameraLike): Promise<Estimate>;
  close(): void;
}

export class HeadPoseEstimator {
  readonly #waiting = new Map<number, { resolve(result: never): void; reject(error: Error): void }>();
  readonly #worker: Worker;
  #lastId = 0;
  #lastTracker = 0;
  #isClosed = false;
  #card!: ModelCard;
  #topology!: FaceTopology;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.addEventListener("message", ({ data }: MessageEvent<Response>) => this.#receive(data));
    worker.addEventListener("error", (event) => {
      this.#rejectAll(new Error(`the worker failed: ${event.message || "it cannot be loaded"}`));
    });
  }

  /**
   * Loads the models and starts the worker.
   *
   * @throws Error if a file cannot be fetched or is damaged, or the device is not available.
   */
  static async create(options: EstimatorOptions): Promise<HeadPoseEstimator> {
    const device = options.device ?? "wasm";
    if (device === "webgpu" && !("gpu" in navigator)) {
      throw new Error("device webgpu: this browser has no WebGPU; expected wasm");
    }
    const absolute = (address: string | URL) => new URL(address, document.baseURI).href;
    const { runtime } = options;
    const estimator = new HeadPoseEstimator(
      new Worker(new URL("./worker.js", import.meta.url), { type: "module" }),
    );
    try {
      estimator.#card = await estimator.#ask("open", {
        models: absolute(options.models),
        runtime: runtime && { wasm: absolute(runtime.wasm), mjs: absolute(runtime.mjs) },
        device,
        threads: options.threads ?? Math.min(navigator.hardwareConcurrency, MOST_THREADS),
      });
    } catch (error) {
      estimator.close();
      throw error;
    }
    estimator.#topology = topologyOf(estimator.#card.pose);
    return estimator;
  }

  /** The mesh of the landmarks. */
  get topology(): FaceTopology {
    return this.#topology;
  }

  /** Metadata of the networks, including their licence. */
  get card(): ModelCard {
    return this.#card;
  }

  /** The faces of a picture, without ids. */
  async estimate(picture: Picture, camera?: CameraLike, maxFaces = Infinity): Promise<Estimate> {
    const image = await bitmapOf(picture);
    const { width, height } = image;
    return this.#estimate(width, height, await this.#ask("estimate", { image, camera, maxFaces }, [image]));
  }

  /** A tracker of a video whose frames come one by one. */
  tracker(options: Partial<TrackingOptions> = {}): Tracker {
    const tracker = (this.#lastTracker += 1);
    return {
      track: async (picture, timeS, camera) => {
        const image = await bitmapOf(picture);
        const { width, height } = image;
        const parameter = { image, camera, tracker, options, timeS };
        return this.#estimate(width, height, await this.#ask("track", parameter, [image]));
      },
      close: () => void this.#ask("closeTracker", { tracker }).catch(() => undefined),
    };
  }

  /**
   * Tracks the faces of a playing video or webcam, until it ends or `signal` ends it.
   *
   * Frames that come while another is estimated are left out.
   */
  async *track(video: HTMLVideoElement, options: TrackOptions = {}): AsyncGenerator<FrameEstimate> {
    const { camera, signal, ...tracking } = options;
    const tracker = this.tracker(tracking);
    try {
      for (let index = 0; ; index++) {
        const timeS = await nextFrame(video, signal);
        if (timeS === null) return;
        const bitmap = await createImageBitmap(video);
        const given = typeof camera === "function" ? camera() : camera;
        yield { ...(await tracker.track(bitmap, timeS, given)), index, timeS, bitmap };
      }
    } finally {
      tracker.close();
    }
  }

  /** Ends the worker; what waits for it fails, and so does what is asked later. */
  close(): void {
    this.#isClosed = true;
    this.#worker.terminate();
    this.#rejectAll(closedError());
  }

  #estimate(width: number, height: number, { faces, times }: Found): Estimate {
    return { faces: faces.map((numbers) => new Face(numbers, this.#topology)), width, height, times };
  }

  #ask<K extends Kind>(kind: K, parameter: Work[K][0], transfer: Transferable[] = []): Promise<Work[K][1]> {
    if (this.#isClosed) return Promise.reject(closedError());
    const id = (this.#lastId += 1);
    return new Promise((resolve, reject) => {
      this.#worker.postMessage({ id, kind, parameter } as Request, transfer); // throws for what cannot be sent
      this.#waiting.set(id, { resolve, reject });
    });
  }

  #receive(response: Response): void {
    const waiting = this.#waiting.get(response.id);
    this.#waiting.delete(response.id);
    if ("error" in response) waiting?.reject(new Error(response.error));
    else waiting?.resolve(response.result as never);
  }

  #rejectAll(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

function closedError(): Error {
  return new Error("the estimator was closed");
}

/** A bitmap of its own, upright, with the picture's numbers as they are. */
function bitmapOf(picture: Picture): Promise<ImageBitmap> {
  return createImageBitmap(picture, { colorSpaceConversion: "none", premultiplyAlpha: "default" });
}

/** The time of the next frame of a video; null at its end. */
function nextFrame(video: HTMLVideoElement, signal?: AbortSignal): Promise<number | null> {
  return new Promise((resolve) => {
    const end = () => finish(null);
    const handle = video.requestVideoFrameCallback((_, { mediaTime }) => finish(mediaTime));
    const finish = (timeS: number | null) => {
      video.cancelVideoFrameCallback(handle);
      video.removeEventListener("ended", end);
      signal?.removeEventListener("abort", end);
      resolve(timeS);
    };
    video.addEventListener("ended", end);
    signal?.addEventListener("abort", end);
    if (signal?.aborted || video.ended) end();
  });
}
