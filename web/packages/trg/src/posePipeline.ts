/**
 * From face boxes to faces: crop, network, pose in the camera frame, refinement.
 *
 * A face is estimated again where its landmarks ask for another box or roll (at most twice), and
 * searched at other rolls where its confidence is low. Mirrors `trg.inference.pose_pipeline`.
 */

import { type Camera } from "./camera.ts";
import { type ConfidenceFeatures, confidenceFeatures, predictConfidence } from "./confidence.ts";
import { type Detection, boxIou, rollDegOf } from "./detections.ts";
import { ErrorBars } from "./errorBars.ts";
import { Face, pick } from "./face.ts";
import { type RgbaImage } from "./image.ts";
import {
  OPTICAL_AXIS,
  multiply,
  orthonormalize,
  rollDegFromRotation,
  rotate,
  rotationBetween,
  transpose,
} from "./rotations.ts";
import { type PoseArrays, type PoseNetwork } from "./runtime.ts";
import { type Stopwatch } from "./stopwatch.ts";
import { type Box, type FaceCrop, VirtualCamera, cropFromVirtualCamera } from "./virtualCamera.ts";

/** A box is refined where its centre or side is off by more than this share of its side. */
export const BOX_TOLERANCE = 0.15;
export const MAX_REFINEMENTS = 2;
/** Crops of faces with less roll than this are level. */
export const LEVEL_ROLL_DEG = 20;
/** A face is refined where it rolls more than this in its crop. */
export const MAX_CROP_ROLL_DEG = 30;
/** Landmarks of a detection turn the first crop beyond this. */
export const CERTAIN_ROLL_DEG = 45;
/** Further rolls at which a face is searched. */
export const SEARCH_ROLLS_DEG = [120, -120] as const;
/** Faces with less confidence are searched at other rolls. */
export const SURE_CONFIDENCE = 0.997;
/** A face of this confidence is not searched where its roll and the detector's differ by less. */
export const AGREED_CONFIDENCE = 0.98;
export const AGREED_ROLL_DEG = 45;
/** Least confidence of a face that was found by a search. */
export const FOUND_CONFIDENCE = 0.9;
/** Crops per call of the network. */
export const BATCH_SIZE = 8;
/** Boxes that overlap more than this show one face. */
export const DUPLICATE_IOU = 0.5;

/** One face to estimate in an image. */
export interface FaceRequest {
  /** Where the face is: a box, or the face in the previous frame. */
  readonly region: Box | Face;
  /** Approximate roll of the face in a box, clockwise in the image; it may be wrong. */
  readonly rollDeg: number;
  /** Roll by the detector's landmarks; null: not detected. */
  readonly detectedRollDeg: number | null;
}

interface ScoredFace {
  readonly face: Face;
  readonly features: ConfidenceFeatures;
}

export function requestOf(detection: Detection): FaceRequest {
  const detectedRollDeg = rollDegOf(detection);
  const rollDeg = Math.abs(detectedRollDeg) > CERTAIN_ROLL_DEG ? detectedRollDeg : 0;
  return { region: detection.box, rollDeg, detectedRollDeg };
}

export class PosePipeline {
  constructor(
    private readonly network: PoseNetwork,
    private readonly stopwatch: Stopwatch,
  ) {}

  /** One face per request; null where there is no face to estimate. */
  async estimate(
    image: RgbaImage,
    camera: Camera,
    requests: readonly FaceRequest[],
  ): Promise<(Face | null)[]> {
    const cameras = requests.map((request) => virtualCameraOf(request, camera));
    const results = await this.#estimateRefined(image, camera, cameras);
    const trials = cameras.flatMap((virtual, index) => {
      if (virtual === null || !needsSearch(requests[index]!, results[index]!)) return [];
      return SEARCH_ROLLS_DEG.map((rollDeg) => ({ index, virtual: virtual.rolled(rollDeg) }));
    });
    const found = await this.#estimateRefined(image, camera, trials.map(({ virtual }) => virtual));
    trials.forEach(({ index }, i) => {
      const confidence = confidenceOf(found[i]!);
      if (confidence >= FOUND_CONFIDENCE && confidence > confidenceOf(results[index]!)) {
        results[index] = found[i]!;
      }
    });
    return results;
  }

  async #estimateRefined(
    image: RgbaImage,
    camera: Camera,
    cameras: readonly (VirtualCamera | null)[],
  ): Promise<(Face | null)[]> {
    const results = cameras.map((): Face | null => null);
    let pending = cameras.flatMap((virtual, index) => (virtual ? [{ index, virtual }] : []));
    for (let pass = 0; pass <= MAX_REFINEMENTS && pending.length > 0; pass++) {
      const crops = this.stopwatch.time("crop", () =>
        pending.flatMap(({ index, virtual }) => {
          const crop = cropFromVirtualCamera(image, camera, virtual, this.network.card.crop_size);
          return crop ? [{ index, crop }] : [];
        }),
      );
      const scored = await this.#estimateCrops(camera, crops.map(({ crop }) => crop));
      pending = [];
      crops.forEach(({ index, crop }, i) => {
        const found = scored[i]!;
        results[index] = found?.face ?? null;
        if (found && needsRefinement(found, crop)) {
          pending.push({ index, virtual: virtualCameraOfFace(found.face) });
        }
      });
    }
    return results;
  }

  async #estimateCrops(
    camera: Camera,
    crops: readonly FaceCrop[],
  ): Promise<(ScoredFace | null)[]> {
    const results: (ScoredFace | null)[] = [];
    for (let start = 0; start < crops.length; start += BATCH_SIZE) {
      const batch = crops.slice(start, start + BATCH_SIZE);
      const arrays = await this.stopwatch.timeAsync("network", () => this.network.run(batch));
      results.push(...arrays.map((each, i) => this.#scoredFace(camera, batch[i]!, each)));
    }
    return results;
  }

  #scoredFace(camera: Camera, crop: FaceCrop, arrays: PoseArrays): ScoredFace | null {
    const { card, topology } = this.network;
    const features = confidenceFeatures(
      pick(Float64Array.from(arrays.verticesCrop), topology.landmarks68, 2),
      arrays.landmarks68Crop,
      arrays.peaks,
    );
    const face = new Face(
      {
        rotation: multiply(crop.camFromVirtual, orthonormalize(arrays.rotation)),
        translationM: rotate(crop.camFromVirtual, arrays.translationM),
        landmarksM: Float64Array.from(arrays.verticesM),
        confidence: predictConfidence(features, card.confidence),
        camera,
        id: null,
        timeS: null,
        std: arrays.std && ErrorBars.calibrated(arrays.std, card.error_bars).std,
        personSize: null,
      },
      topology,
    );
    return face.isVisible ? { face, features } : null;
  }
}

/** Whether a face may be at another roll than the one that the network sees. */
function needsSearch({ region, detectedRollDeg }: FaceRequest, found: Face | null): boolean {
  const confidence = confidenceOf(found);
  if (region instanceof Face || confidence >= SURE_CONFIDENCE) return false;
  if (found === null || detectedRollDeg === null || confidence < AGREED_CONFIDENCE) return true;
  const turns = (levelRollDegOf(found) - detectedRollDeg) / 360;
  return 360 * Math.abs(turns - Math.round(turns)) > AGREED_ROLL_DEG;
}

/** Whether the landmarks' box differs too much from the crop, or the face rolls in it. */
function needsRefinement({ face, features }: ScoredFace, crop: FaceCrop): boolean {
  if (features.offset > BOX_TOLERANCE || features.side > Math.log1p(BOX_TOLERANCE)) return true;
  const virtualFromHead = multiply(transpose(crop.camFromVirtual), face.rotation);
  return Math.abs(rollDegFromRotation(virtualFromHead)) > MAX_CROP_ROLL_DEG;
}

/** Whether a box shows the same face as one of the others. */
export function isDuplicate(box: Box, others: readonly Box[]): boolean {
  return others.some((other) => boxIou(box, other) > DUPLICATE_IOU);
}

/** The faces without those whose box duplicates that of an earlier one. */
export function dropDuplicates(faces: readonly Face[]): Face[] {
  const kept: Face[] = [];
  for (const face of faces) {
    if (!isDuplicate(face.boxPx, kept.map((other) => other.boxPx))) kept.push(face);
  }
  return kept;
}

/** The roll of the crop for a face of some roll: 0 for nearly upright faces, and continuous. */
export function cropRollDeg(faceRollDeg: number): number {
  const size = Math.abs(faceRollDeg);
  const roll = Math.max(0, Math.min(size, 2 * (size - LEVEL_ROLL_DEG)));
  return faceRollDeg < 0 ? -roll : roll;
}

function virtualCameraOf({ region, rollDeg }: FaceRequest, camera: Camera): VirtualCamera | null {
  return region instanceof Face ? virtualCameraOfFace(region) : VirtualCamera.ofBox(camera, region, rollDeg);
}

function virtualCameraOfFace(face: Face): VirtualCamera {
  const landmarks68CamM = pick(face.landmarksCamM(), face.topology.landmarks68, 3);
  return VirtualCamera.ofLandmarks(landmarks68CamM, cropRollDeg(levelRollDegOf(face)));
}

/** The roll that a camera sees which looks straight at the head. */
function levelRollDegOf(face: Face): number {
  const levelFromCam = transpose(rotationBetween(OPTICAL_AXIS, face.translationM));
  return rollDegFromRotation(multiply(levelFromCam, face.rotation));
}

function confidenceOf(face: Face | null): number {
  return face === null ? -1 : face.confidence;
}
