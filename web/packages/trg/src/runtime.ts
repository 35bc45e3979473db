/** The networks in onnxruntime-web. No other module knows it. Mirrors `trg.inference.runtime`. */

import type * as Ort from "onnxruntime-web/wasm";

import { type FaceCrop } from "./virtualCamera.ts";
import { type FaceTopology } from "./face.ts";
import { type PoseCard } from "./models.ts";
import { STD_COUNT } from "./errorBars.ts";

export type OrtModule = typeof Ort;
export type Device = "wasm" | "webgpu";

/** Output of the pose network for one face, in the frame of the crop's virtual camera. */
export interface PoseArrays {
  readonly rotation: Float32Array;
  readonly translationM: Float32Array;
  /** In the head frame; three numbers each. */
  readonly verticesM: Float32Array;
  /** The projected vertices in crop coordinates, -1 to 1 over the box; two numbers each. */
  readonly verticesCrop: Float32Array;
  /** The heatmaps' landmarks in crop coordinates. */
  readonly landmarks68Crop: Float32Array;
  /** The largest softmax value of each heatmap. */
  readonly peaks: Float32Array;
  /** The numbers of `ErrorBars`, not calibrated; null if the weights have none. */
  readonly std: Float32Array | null;
}

/** What the pose pipeline needs of a network. */
export interface PoseNetwork {
  readonly card: PoseCard;
  readonly topology: FaceTopology;
  run(crops: readonly FaceCrop[]): Promise<PoseArrays[]>;
}

/** What the face detector needs of a network. */
export interface DetectorNetwork {
  /** For an RGB image whose sides are multiples of 32 px: one cell per 8 x 8 px. */
  run(pixels: Uint8Array, width: number, height: number): Promise<DetectorArrays>;
}

export interface DetectorArrays {
  /** One per cell. */
  readonly scores: Float32Array;
  /** 13 per cell: box centre x, y, log side, and five landmarks x, y. */
  readonly faces: Float32Array;
}

export class OnnxDetectorNetwork implements DetectorNetwork {
  private constructor(
    private readonly ort: OrtModule,
    private readonly session: Ort.InferenceSession,
  ) {}

  static async open(ort: OrtModule, graph: Uint8Array, device: Device): Promise<DetectorNetwork> {
    return new OnnxDetectorNetwork(ort, await openSession(ort, graph, device));
  }

  async run(pixels: Uint8Array, width: number, height: number): Promise<DetectorArrays> {
    const images = new this.ort.Tensor("uint8", pixels, [1, height, width, 3]);
    const { scores, faces } = await this.session.run({ images });
    return { scores: scores!.data as Float32Array, faces: faces!.data as Float32Array };
  }
}

export class OnnxPoseNetwork implements PoseNetwork {
  private constructor(
    private readonly ort: OrtModule,
    private readonly session: Ort.InferenceSession,
    readonly card: PoseCard,
    readonly topology: FaceTopology,
  ) {}

  static async open(
    ort: OrtModule,
    graph: Uint8Array,
    device: Device,
    card: PoseCard,
    topology: FaceTopology,
  ): Promise<PoseNetwork> {
    return new OnnxPoseNetwork(ort, await openSession(ort, graph, device), card, topology);
  }

  async run(crops: readonly FaceCrop[]): Promise<PoseArrays[]> {
    const size = this.card.crop_size;
    const pixels = new Uint8Array(crops.length * 3 * size * size);
    const boxes = new Float32Array(3 * crops.length);
    crops.forEach((crop, i) => {
      pixels.set(crop.pixels, i * 3 * size * size);
      boxes.set(crop.bboxInfo, 3 * i);
    });
    const [cropsName, boxesName] = this.card.inputs;
    const outputs = await this.session.run({
      [cropsName]: new this.ort.Tensor("uint8", pixels, [crops.length, size, size, 3]),
      [boxesName]: new this.ort.Tensor("float32", boxes, [crops.length, 3]),
    });
    const rows = (name: string, length: number, row: number) =>
      (outputs[name]!.data as Float32Array).slice(row * length, (row + 1) * length);
    const count = this.topology.vertexCount;
    return crops.map((_, row) => ({
      rotation: rows("rotation", 9, row),
      translationM: rows("translation_m", 3, row),
      verticesM: rows("vertices_m", 3 * count, row),
      verticesCrop: rows("vertices_crop", 2 * count, row),
      landmarks68Crop: rows("landmarks68_crop", 2 * 68, row),
      peaks: rows("peaks", 68, row),
      std: "std" in outputs ? rows("std", STD_COUNT, row) : null,
    }));
  }
}

function openSession(ort: OrtModule, graph: Uint8Array, device: Device): Promise<Ort.InferenceSession> {
  return ort.InferenceSession.create(graph, {
    executionProviders: device === "webgpu" ? ["webgpu", "wasm"] : ["wasm"],
    graphOptimizationLevel: "all",
    logSeverityLevel: 3, // errors only
  });
}
