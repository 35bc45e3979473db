/** The files that `trg export --to web` writes: fetched, verified and kept for the next visit. */

import { type ConfidenceFeatures } from "./confidence.ts";
import { type Quantity } from "./errorBars.ts";
import { type FaceTopology } from "./face.ts";
import { type SizePrior } from "./sizeMemory.ts";

const FORMAT_VERSION = 1;
const CARD = "model.json";
const CACHE_NAME = "trg-headpose-models";

interface GraphCard {
  /** Name of the compressed graph beside the card. */
  readonly file: string;
  /** Of the graph, not compressed. */
  readonly bytes: number;
  readonly sha256: string;
  readonly name: string;
  readonly licence: string;
  /** Sources of the training data, with the credits that their licences require. */
  readonly attribution: readonly string[];
}

export interface DetectorCard extends GraphCard {
  readonly threshold: number;
}

export interface PoseCard extends GraphCard {
  /** Side of the crops, px. */
  readonly crop_size: number;
  /** Names of the graph's inputs: of crops, then of `bboxInfo`. */
  readonly inputs: readonly [string, string];
  readonly confidence: Readonly<Record<keyof ConfidenceFeatures, number>>;
  readonly error_bars: Readonly<Record<Quantity, number>>;
  readonly size_memory: SizePrior;
  readonly vertex_count: number;
  readonly triangles: readonly number[];
  readonly landmarks68: readonly number[];
}

export interface ModelCard {
  readonly format_version: number;
  readonly detector: DetectorCard;
  readonly pose: PoseCard;
}

/** Reads a file beside the card, by its name. */
export type ReadFile = (name: string) => Promise<Uint8Array>;

export interface Models {
  readonly card: ModelCard;
  readonly topology: FaceTopology;
  readonly detectorGraph: Uint8Array;
  readonly poseGraph: Uint8Array;
}

/** @throws Error if a file cannot be read, is damaged, or is of another format. */
export async function readModels(read: ReadFile): Promise<Models> {
  const card = parseCard(new TextDecoder().decode(await read(CARD)));
  const [detectorGraph, poseGraph] = await Promise.all([
    readGraph(read, card.detector),
    readGraph(read, card.pose),
  ]);
  return { card, topology: topologyOf(card.pose), detectorGraph, poseGraph };
}

export function topologyOf(card: PoseCard): FaceTopology {
  return {
    vertexCount: card.vertex_count,
    triangles: Uint16Array.from(card.triangles),
    landmarks68: Uint16Array.from(card.landmarks68),
  };
}

/** Reads from a folder of a web server. Graphs are kept in the browser's cache by their digest. */
export function fetchFrom(folder: string): ReadFile {
  const base = folder.endsWith("/") ? folder : `${folder}/`;
  return async (name) => {
    const url = new URL(name, base);
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: expected a model's file, got status ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  };
}

function parseCard(text: string): ModelCard {
  let card: ModelCard;
  try {
    card = JSON.parse(text) as ModelCard;
  } catch {
    throw new Error(`${CARD}: expected JSON that \`trg export --to web\` wrote, got ${text.slice(0, 40)}`);
  }
  if (card.format_version !== FORMAT_VERSION) {
    throw new Error(
      `${CARD}: expected format ${FORMAT_VERSION}, got ${card.format_version}; export the model ` +
        "again with the version of trg that this package belongs to",
    );
  }
  return card;
}

async function readGraph(read: ReadFile, { file, sha256 }: GraphCard): Promise<Uint8Array> {
  const cache = await openCache();
  const key = `https://trg-headpose.invalid/${sha256}`; // a name, never fetched
  const kept = await cache?.match(key);
  if (kept) return new Uint8Array(await kept.arrayBuffer());
  const graph = await decompressed(await read(file));
  const digest = await sha256Of(graph);
  if (digest !== null && digest !== sha256) {
    throw new Error(`${file}: expected SHA-256 ${sha256}, got ${digest}; it is damaged or another one`);
  }
  // A full disk only means that the next visit fetches it again.
  await cache?.put(key, new Response(graph)).catch(() => undefined);
  return graph;
}

/** Only secure pages have a cache; private windows may refuse it. */
async function openCache(): Promise<Cache | null> {
  return globalThis.caches?.open(CACHE_NAME).catch(() => null) ?? null;
}

/** Some servers have decompressed the file already. */
async function decompressed(content: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  if (content[0] !== 0x1f || content[1] !== 0x8b) return new Uint8Array(content);
  const stream = new Blob([new Uint8Array(content)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function sha256Of(content: Uint8Array<ArrayBuffer>): Promise<string | null> {
  if (globalThis.crypto?.subtle === undefined) return null; // not a secure page
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
