/**
 * Face tracking over video frames: tracking by landmarks, re-detection, identities, smoothing.
 *
 * A frame costs one network call for all tracked faces and no detection. The detector runs every few
 * frames to find new faces, and at once when a track is lost. Mirrors `trg.inference.tracker`.
 */

import { type Camera } from "./camera.ts";
import { type Detection, boxIou } from "./detections.ts";
import { type Face } from "./face.ts";
import {
  BRIDGED_DIFFERENCE,
  OTHER_DIFFERENCE,
  Person,
  Signature,
  recognize,
} from "./identity.ts";
import { type RgbaImage } from "./image.ts";
import { type FaceRequest, type PosePipeline, isDuplicate, requestOf } from "./posePipeline.ts";
import { SizeMemory, type SizePrior } from "./sizeMemory.ts";
import { FaceSmoother } from "./smoothing.ts";
import { type Box } from "./virtualCamera.ts";

/** Detections to verify beyond `maxFaces`, because some may be false positives. */
export const SPARE_CANDIDATES = 2;

export interface TrackingOptions {
  /** Whether to smooth poses over time. */
  readonly smooth: boolean;
  /** Whether faces have the size of their person, remembered over the frames. */
  readonly personSize: boolean;
  /** Everybody's distance between the pupils, which then sets sizes and distances; null: unknown. */
  readonly interpupillaryM: number | null;
  /** Largest number of tracks. */
  readonly maxFaces: number;
  /** Frames between detections while all tracks are present. */
  readonly redetectEvery: number;
  /** Least confidence of a face that starts a track. */
  readonly newConfidence: number;
  /** Least confidence of a face that continues a track. */
  readonly keepConfidence: number;
  /** Frames after which a lost track is deleted. Its id remains that of the person. */
  readonly lostTrackBuffer: number;
  /** Time after which a face at the place of a lost one must be recognised more surely. */
  readonly bridgedS: number;
  /** Least intersection over union of a detection and a lost track's box to recover the track. */
  readonly minIou: number;
}

export const TRACKING: TrackingOptions = {
  smooth: true,
  personSize: true,
  interpupillaryM: null,
  maxFaces: Infinity,
  redetectEvery: 15,
  newConfidence: 0.5,
  keepConfidence: 0.3,
  lostTrackBuffer: 15,
  bridgedS: 2,
  minIou: 0.2,
};

interface Track {
  /** Where to search in the next frame. */
  lastFace: Face;
  /** The person; null: not yet known. */
  id: number | null;
  smoother: FaceSmoother | null;
  framesLost: number;
  /** The face in the current frame, by itself; null: lost. */
  face: Face | null;
}

export class FaceTracker {
  #tracks: Track[] = [];
  #framesSinceDetection = 0;
  readonly #people = new Map<number, Person>();
  readonly #sizes = new Map<number, SizeMemory>();

  constructor(
    private readonly pipeline: PosePipeline,
    private readonly detect: (image: RgbaImage, maxFaces: number) => Promise<Detection[]>,
    private readonly sizePrior: SizePrior,
    private readonly options: TrackingOptions = TRACKING,
  ) {}

  /** The faces of the next frame, in the order of their ids. */
  async track(image: RgbaImage, camera: Camera, timeS: number): Promise<Face[]> {
    const requests = this.#tracks.map(({ lastFace }) => ({ region: lastFace, rollDeg: 0, detectedRollDeg: null }));
    await this.#estimate(this.#tracks, image, camera, requests);
    if (this.#needsDetection()) await this.#redetect(image, camera);
    this.#mergeDuplicates();
    this.#identify(image, timeS);
    const faces: Face[] = [];
    for (const track of this.#tracks) {
      if (track.face === null || track.id === null) {
        track.framesLost += 1;
        continue;
      }
      track.framesLost = 0;
      track.lastFace = track.face;
      const sized = this.#sizes.get(track.id)?.remember(track.face, timeS) ?? track.face;
      const smoothed = track.smoother?.smooth(sized, timeS) ?? sized;
      const { personSize, interpupillaryM } = this.options;
      const isKnown = !personSize && interpupillaryM !== null;
      const face = isKnown ? smoothed.withInterpupillary(interpupillaryM) : smoothed;
      faces.push(face.with({ id: track.id, timeS }));
    }
    // A lost track must not block a place when all places are taken by visible faces.
    const buffer = faces.length === this.options.maxFaces ? 0 : this.options.lostTrackBuffer;
    this.#tracks = this.#tracks.filter(({ framesLost }) => framesLost <= buffer);
    return faces;
  }

  async #estimate(
    tracks: readonly Track[],
    image: RgbaImage,
    camera: Camera,
    requests: readonly FaceRequest[],
  ): Promise<void> {
    const faces = await this.pipeline.estimate(image, camera, requests);
    tracks.forEach((track, i) => {
      const { newConfidence, keepConfidence } = this.options;
      const needed = track.framesLost > 0 ? newConfidence : keepConfidence;
      const face = faces[i]!;
      track.face = face !== null && face.confidence >= needed ? face : null;
    });
  }

  /** Whether a track is lost, or a search for new faces is due and may succeed. */
  #needsDetection(): boolean {
    this.#framesSinceDetection += 1;
    if (this.#tracks.length === 0 || this.#tracks.some(({ face }) => face === null)) return true;
    const isFull = this.#tracks.length === this.options.maxFaces;
    return !isFull && this.#framesSinceDetection >= this.options.redetectEvery;
  }

  /** Detects faces, recovers lost tracks and starts new ones. */
  async #redetect(image: RgbaImage, camera: Camera): Promise<void> {
    this.#framesSinceDetection = 0;
    const detections = await this.detect(image, this.options.maxFaces + SPARE_CANDIDATES);
    const tracked = boxesOf(this.#tracks);
    const candidates = detections.filter(({ box }) => !isDuplicate(box, tracked));
    const recovered: { track: Track; request: FaceRequest }[] = [];
    for (const track of this.#tracks.filter(({ face }) => face === null)) {
      const lastBox = track.lastFace.boxPx;
      const overlaps = candidates.map(({ box }) => boxIou(box, lastBox));
      const best = overlaps.indexOf(Math.max(...overlaps));
      if (best < 0 || overlaps[best]! < this.options.minIou) continue;
      const [detection] = candidates.splice(best, 1);
      recovered.push({ track, request: requestOf(detection!) });
    }
    const tracks = recovered.map(({ track }) => track);
    await this.#estimate(tracks, image, camera, recovered.map(({ request }) => request));
    await this.#startTracks(image, camera, candidates.map(requestOf));
  }

  /** Starts tracks from confident detections. */
  async #startTracks(
    image: RgbaImage,
    camera: Camera,
    requests: readonly FaceRequest[],
  ): Promise<void> {
    let present = boxesOf(this.#tracks).length;
    for (const face of await this.pipeline.estimate(image, camera, requests)) {
      if (present >= this.options.maxFaces) return;
      if (face === null || face.confidence < this.options.newConfidence) continue;
      if (isDuplicate(face.boxPx, boxesOf(this.#tracks))) continue;
      this.#tracks.push({ lastFace: face, id: null, smoother: null, framesLost: 0, face });
      present += 1;
    }
  }

  /**
   * Says which person each face of the current frame is.
   *
   * A track keeps its person as long as its face does not suddenly become another one, as at a cut.
   */
  #identify(image: RgbaImage, timeS: number): void {
    const unknown: { track: Track; signature: Signature; formerId: number | null }[] = [];
    for (const track of this.#tracks) {
      if (track.face === null) continue;
      const signature = Signature.of(track.face, image);
      if (track.id !== null) {
        const limit = track.framesLost > 0 ? BRIDGED_DIFFERENCE : OTHER_DIFFERENCE;
        const person = this.#people.get(track.id)!;
        if (person.difference(signature) < limit) {
          person.see(signature, track.face.boxPx, timeS);
          continue;
        }
      }
      unknown.push({ track, signature, formerId: track.id });
      track.id = null;
    }
    if (unknown.length === 0) return;
    for (const { track, signature, formerId } of unknown) {
      this.#name(track, signature, timeS, formerId);
    }
    const named = new Set(unknown.map(({ track }) => track.id));
    this.#tracks = this.#tracks
      .filter(({ face, id }) => face !== null || !named.has(id))
      .sort((a, b) => (a.id ?? -1) - (b.id ?? -1));
  }

  /** Gives a track the id of an absent person, or a new one. */
  #name(track: Track, signature: Signature, timeS: number, formerId: number | null): void {
    const box = track.face!.boxPx;
    const present = new Set(this.#tracks.filter(({ face }) => face !== null).map(({ id }) => id));
    const absent = new Map([...this.#people].filter(([id]) => !present.has(id)));
    const nearby = new Set<number>();
    for (const [id, person] of absent) {
      const isRecent = Math.abs(timeS - person.lastTimeS) <= this.options.bridgedS;
      const isHere = boxIou(person.lastBox, box) >= this.options.minIou;
      if (id !== formerId && isRecent && isHere) nearby.add(id);
    }
    track.id = recognize(signature, absent, nearby);
    if (track.id === null) {
      track.id = this.#people.size;
      this.#people.set(track.id, new Person(signature, box, timeS));
      if (this.options.personSize) this.#sizes.set(track.id, new SizeMemory(this.sizePrior, this.options.interpupillaryM));
    } else {
      this.#people.get(track.id)!.see(signature, box, timeS);
    }
    track.smoother = this.options.smooth ? new FaceSmoother() : null;
  }

  /** Where several tracks follow one face, keeps the oldest. */
  #mergeDuplicates(): void {
    const kept: Track[] = [];
    for (const track of this.#tracks) {
      if (track.face === null || !isDuplicate(track.face.boxPx, boxesOf(kept))) kept.push(track);
    }
    this.#tracks = kept;
  }
}

/** The boxes of the tracks that are present in the current frame. */
function boxesOf(tracks: readonly Track[]): Box[] {
  return tracks.flatMap(({ face }) => (face === null ? [] : [face.boxPx]));
}
