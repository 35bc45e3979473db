/** Messages between `HeadPoseEstimator` and its worker. */

import { type CameraLike } from "./camera.ts";
import { type FaceNumbers } from "./face.ts";
import { type ModelCard } from "./models.ts";
import { type Device } from "./runtime.ts";
import { type StageTimes } from "./stopwatch.ts";
import { type TrackingOptions } from "./tracker.ts";

/** Addresses of onnxruntime-web's two files. */
export interface RuntimeFiles {
  readonly wasm: string;
  readonly mjs: string;
}

export interface OpenOptions {
  /** Address of the folder that `trg export --to web` wrote. */
  readonly models: string;
  /** Where onnxruntime-web's files are; beside the package's own unless given. */
  readonly runtime?: RuntimeFiles | undefined;
  /** `wasm`: the processor. `webgpu`: the graphics card, where the browser has WebGPU. */
  readonly device: Device;
  /** Threads of the networks; more than one needs a page that is cross-origin isolated. */
  readonly threads: number;
}

/** The work that a worker does: the parameter and the result of each kind. */
export interface Work {
  open: [OpenOptions, ModelCard];
  estimate: [
    { readonly image: ImageBitmap; readonly camera?: CameraLike | undefined; readonly maxFaces: number },
    Found,
  ];
  track: [
    {
      readonly image: ImageBitmap;
      readonly camera?: CameraLike | undefined;
      readonly tracker: number;
      readonly options: Partial<TrackingOptions>;
      readonly timeS: number;
    },
    Found,
  ];
  closeTracker: [{ readonly tracker: number }, null];
}

export type Kind = keyof Work;

export interface Found {
  readonly faces: readonly FaceNumbers[];
  readonly times: StageTimes;
}

export type Request = { [K in Kind]: { id: number; kind: K; parameter: Work[K][0] } }[Kind];

export type Response =
  | { readonly id: number; readonly result: Work[Kind][1] }
  | { readonly id: number; readonly error: string };
