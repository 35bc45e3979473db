/** What is shown: nothing, a picture, a clip or the webcam; and the faces in it. */

import {
  Camera,
  type CameraLike,
  type Estimate,
  type Face,
  type HeadPoseEstimator,
  type StageTimes,
} from "trg-headpose";

import { focal35MmOf } from "./exif.ts";
import { Records } from "./records.ts";

/** What the user knows beside the picture. */
export interface Known {
  /** Horizontal field of view; null: from EXIF, or else assumed. */
  readonly fovDeg: number | null;
  /** Distance between the pupils; null: unknown. */
  readonly interpupillaryM: number | null;
}

/** One picture or frame, with its faces. */
export interface Shown {
  readonly bitmap: ImageBitmap;
  readonly faces: readonly Face[];
  readonly camera: Camera;
  readonly times: StageTimes;
}

export interface SessionEvents {
  /** A picture or frame is to be drawn. */
  onShown(shown: Shown): void;
  /** The source changed, started, paused or ended. */
  onChange(): void;
  onError(message: string): void;
}

const WEBCAM = "webcam";

export class Session {
  records = new Records();
  /** Name of the file, or of the webcam; null: no source. */
  source: string | null = null;
  shown: Shown | null = null;

  #known: Known = { fovDeg: null, interpupillaryM: null };
  /** The camera that EXIF tells of the picture. */
  #exif: CameraLike | undefined;
  #tracking: AbortController | null = null;
  #isPicture = false;
  /** What is shown, or will be as soon as its faces are known. */
  #current: ImageBitmap | null = null;
  #isEstimating = false;
  /** Counts the ends of sources: what comes late of an earlier one is dropped. */
  #ends = 0;
  #isStale = false;

  constructor(
    private readonly estimator: HeadPoseEstimator,
    private readonly video: HTMLVideoElement,
    private readonly events: SessionEvents,
  ) {
    video.addEventListener("pause", () => events.onChange());
    video.addEventListener("play", () => events.onChange());
  }

  get isWebcam(): boolean {
    return this.video.srcObject !== null;
  }

  get isVideo(): boolean {
    return this.#tracking !== null;
  }

  get isPaused(): boolean {
    return this.isVideo && this.video.paused;
  }

  /** Uses other knowledge from now on. What stands still is estimated again. */
  setKnown(known: Known): void {
    const isOtherSize = known.interpupillaryM !== this.#known.interpupillaryM;
    this.#known = known;
    if (this.isVideo && isOtherSize) {
      this.#tracking?.abort();
      this.records = new Records(); // people have another size from here on
      void this.#track();
    }
    if (this.shown !== null && (!this.isVideo || this.isPaused)) void this.#estimateAgain();
  }

  async openFile(file: File): Promise<void> {
    const isCurrent = this.#restart();
    this.source = file.name;
    this.#isPicture = !file.type.startsWith("video/");
    this.events.onChange();
    try {
      await (this.#isPicture ? this.#openPicture(file, isCurrent) : this.#openClip(file, isCurrent));
    } catch {
      if (!isCurrent()) return;
      this.close();
      this.events.onError(`${file.name}: expected a picture or clip that this browser can show`);
    }
  }

  async openWebcam(): Promise<void> {
    const isCurrent = this.#restart();
    this.events.onChange();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" },
      });
      if (!isCurrent()) {
        stop(stream);
        return;
      }
      this.video.srcObject = stream;
      await this.video.play();
    } catch (error) {
      if (!isCurrent()) return;
      this.close();
      this.events.onError(webcamMessage(error));
      return;
    }
    if (!isCurrent()) return;
    this.source = WEBCAM;
    void this.#track();
  }

  togglePause(): void {
    if (this.video.paused) void this.video.play();
    else this.video.pause();
  }

  /** Ends the source; the last picture and the records stay. */
  close(): void {
    this.#ends += 1;
    this.#current = this.shown?.bitmap ?? null;
    this.#tracking?.abort();
    this.#tracking = null;
    if (this.video.srcObject instanceof MediaStream) stop(this.video.srcObject);
    this.video.srcObject = null;
    if (this.video.src) {
      URL.revokeObjectURL(this.video.src);
      this.video.removeAttribute("src");
      this.video.load();
    }
    this.#exif = undefined;
    this.#isPicture = false;
    this.source = null;
    this.events.onChange();
  }

  /** Makes room for another source; the function tells whether that one has not ended either. */
  #restart(): () => boolean {
    this.close();
    this.records = new Records();
    const ends = this.#ends;
    return () => ends === this.#ends;
  }

  async #openPicture(file: File, isCurrent: () => boolean): Promise<void> {
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
    const focal35Mm = await focal35MmOf(file, bitmap.width, bitmap.height);
    if (!isCurrent()) {
      bitmap.close();
      return;
    }
    this.#exif = focal35Mm === null ? undefined : { focal35Mm };
    await this.#estimate(bitmap);
  }

  async #openClip(file: File, isCurrent: () => boolean): Promise<void> {
    this.video.src = URL.createObjectURL(file);
    await this.video.play();
    if (isCurrent()) void this.#track();
  }

  /** Shows the frames of the video until it ends or another source is opened. */
  async #track(): Promise<void> {
    const tracking = (this.#tracking = new AbortController());
    this.events.onChange();
    const options = {
      camera: () => this.#camera,
      interpupillaryM: this.#known.interpupillaryM,
      signal: tracking.signal,
    };
    try {
      for await (const frame of this.estimator.track(this.video, options)) {
        if (tracking.signal.aborted) {
          frame.bitmap.close();
          break;
        }
        this.#show(frame.bitmap, frame, frame.index, frame.timeS);
      }
    } catch (error) {
      if (!tracking.signal.aborted) this.events.onError(messageOf(error));
    }
    if (this.#tracking === tracking) {
      this.#tracking = null;
      this.events.onChange();
    }
  }

  async #estimate(bitmap: ImageBitmap): Promise<void> {
    this.#current = bitmap;
    const estimate = await this.estimator.estimate(bitmap, this.#camera);
    if (this.#current === bitmap) this.#show(bitmap, estimate, null, null);
    else if (this.shown?.bitmap !== bitmap) bitmap.close(); // something else was opened meanwhile
  }

  /** Estimates what is shown again; of several calls while one runs, the last counts. */
  async #estimateAgain(): Promise<void> {
    this.#isStale = true;
    if (this.#isEstimating) return;
    this.#isEstimating = true;
    try {
      while (this.#isStale && this.shown !== null && this.#current === this.shown.bitmap) {
        this.#isStale = false;
        await this.#estimate(this.shown.bitmap);
      }
    } catch (error) {
      this.events.onError(messageOf(error));
    } finally {
      this.#isEstimating = false;
    }
  }

  get #camera(): CameraLike | undefined {
    const { fovDeg } = this.#known;
    return fovDeg === null ? this.#exif : { fovDeg };
  }

  #show(bitmap: ImageBitmap, estimate: Estimate, frame: number | null, timeS: number | null): void {
    const { interpupillaryM } = this.#known;
    const faces = estimate.faces.map((face) =>
      interpupillaryM === null || frame !== null ? face : face.withInterpupillary(interpupillaryM),
    );
    const camera = Camera.resolve(estimate.width, estimate.height, this.#camera);
    const found = { source: this.source ?? "", camera, faces, frame, timeS };
    if (frame !== null) this.records.add(found);
    else if (this.#isPicture) this.records.replace(found);
    if (this.shown !== null && this.shown.bitmap !== bitmap) this.shown.bitmap.close();
    this.#current = bitmap;
    this.shown = { bitmap, faces, camera, times: estimate.times };
    this.events.onShown(this.shown);
  }
}

function stop(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

function webcamMessage(error: unknown): string {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") {
    return "The webcam was not allowed. Allow it in the browser's settings of this page, or open a picture.";
  }
  if (name === "NotFoundError") return "There is no webcam. Open a picture or a clip instead.";
  return `The webcam cannot be used: ${messageOf(error)}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
