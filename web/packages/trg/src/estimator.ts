/** Faces of pictures and videos, in the thread that calls it. Mirrors `trg.estimator`. */

import { Camera, type CameraLike } from "./camera.ts";
import { FaceDetector } from "./detector.ts";
import { type Face } from "./face.ts";
import { type RgbaImage } from "./image.ts";
import { type Models } from "./models.ts";
import { PosePipeline, dropDuplicates, requestOf } from "./posePipeline.ts";
import {
  type DetectorNetwork,
  type Device,
  OnnxDetectorNetwork,
  OnnxPoseNetwork,
  type OrtModule,
  type PoseNetwork,
} from "./runtime.ts";
import { type SizePrior } from "./sizeMemory.ts";
import { Stopwatch } from "./stopwatch.ts";
import { FaceTracker, SPARE_CANDIDATES, TRACKING, type TrackingOptions } from "./tracker.ts";

/** Detected faces with less confidence are dropped. */
export const MIN_CONFIDENCE = 0.5;

/** Below the detector's own threshold: false positives are removed by their low confidence. */
export const CANDIDATE_THRESHOLD = 0.4;

/** For the best candidate of a picture without any other. */
export const FALLBACK_THRESHOLD = 0.3;

/** Finer pyramid levels for the small faces of large pictures. */
export const FINER_LEVELS = 2;

export class LocalEstimator {
  readonly stopwatch = new Stopwatch();
  readonly #pipeline: PosePipeline;
  readonly #pictureDetector: FaceDetector;
  readonly #videoDetector: FaceDetector;

  readonly #sizePrior: SizePrior;

  private constructor(detector: DetectorNetwork, pose: PoseNetwork) {
    this.#sizePrior = pose.card.size_memory;
    this.#pipeline = new PosePipeline(pose, this.stopwatch);
    this.#pictureDetector = new FaceDetector(
      detector, CANDIDATE_THRESHOLD, FALLBACK_THRESHOLD, FINER_LEVELS,
    );
    // A video has no time for finer levels and false candidates.
    this.#videoDetector = new FaceDetector(detector, CANDIDATE_THRESHOLD, CANDIDATE_THRESHOLD, 0);
  }

  static async open(ort: OrtModule, models: Models, device: Device): Promise<LocalEstimator> {
    const detector = await OnnxDetectorNetwork.open(ort, models.detectorGraph, device);
    const { pose } = models.card;
    const network = await OnnxPoseNetwork.open(ort, models.poseGraph, device, pose, models.topology);
    return new LocalEstimator(detector, network);
  }

  /** The faces of a picture, those with the highest detection scores first. */
  async estimate(image: RgbaImage, camera?: CameraLike, maxFaces = Infinity): Promise<Face[]> {
    const resolved = Camera.resolve(image.width, image.height, camera);
    const detections = await this.stopwatch.timeAsync("detector", () =>
      this.#pictureDetector.detect(image, maxFaces + SPARE_CANDIDATES),
    );
    const faces = await this.#pipeline.estimate(image, resolved, detections.map(requestOf));
    const confident = faces.filter((face) => face !== null && face.confidence >= MIN_CONFIDENCE);
    return dropDuplicates(confident as Face[]).slice(0, maxFaces);
  }

  /** A tracker of one video. */
  tracker(options: Partial<TrackingOptions> = {}): FaceTracker {
    return new FaceTracker(
      this.#pipeline,
      (image, maxFaces) =>
        this.stopwatch.timeAsync("detector", () => this.#videoDetector.detect(image, maxFaces)),
      this.#sizePrior,
      { ...TRACKING, ...options },
    );
  }
}
