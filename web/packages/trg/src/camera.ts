/**
 * A camera without lens distortion: intrinsics for one image size.
 *
 * The top left pixel covers [0, 1) x [0, 1), so that an image of w x h pixels spans [0, w] x [0, h].
 * The camera frame is OpenCV's: x right, y down, z forward. Mirrors `trg.geometry.camera`.
 */

import { type Vector3 } from "./rotations.ts";

export type CameraSource = "given" | "exif" | "fov" | "assumed";
export type FovAxis = "horizontal" | "vertical" | "diagonal";

/** Diagonal field of view of an unknown camera. Distances are proportional to the focal length. */
export const ASSUMED_FOV_DEG = 60;

/** Diagonal of 36 x 24 mm film, by which a 35 mm equivalent focal length is defined. */
export const FILM_DIAGONAL_MM = Math.hypot(36, 24);

export interface CameraNumbers {
  /** Focal lengths, px. */
  readonly fx: number;
  readonly fy: number;
  /** Principal point, px. */
  readonly cx: number;
  readonly cy: number;
  /** Image size, px. */
  readonly width: number;
  readonly height: number;
  readonly source: CameraSource;
}

export interface FieldOfView {
  readonly fovDeg: number;
  /** The borders or corners that the angle is measured between; horizontal unless given. */
  readonly axis?: FovAxis;
}

/** A camera, a field of view, or a 35 mm equivalent focal length. */
export type CameraLike = CameraNumbers | FieldOfView | { readonly focal35Mm: number };

export class Camera implements CameraNumbers {
  readonly fx: number;
  readonly fy: number;
  readonly cx: number;
  readonly cy: number;
  readonly width: number;
  readonly height: number;
  readonly source: CameraSource;

  /** @throws RangeError if a focal length or size is not positive, or a number not finite. */
  constructor({ fx, fy, cx, cy, width, height, source }: CameraNumbers) {
    const isValid =
      [fx, fy, width, height].every((value) => value > 0 && Number.isFinite(value)) &&
      [cx, cy].every(Number.isFinite);
    if (!isValid) {
      throw new RangeError(
        "camera: expected finite numbers with focal lengths and sizes above 0, got " +
          `fx ${fx}, fy ${fy}, cx ${cx}, cy ${cy}, ${width}x${height} px`,
      );
    }
    [this.fx, this.fy, this.cx, this.cy] = [fx, fy, cx, cy];
    [this.width, this.height, this.source] = [width, height, source];
  }

  /** A camera with square pixels and a centred principal point. */
  static ofFocalLength(focalPx: number, width: number, height: number, source: CameraSource): Camera {
    return new Camera({ fx: focalPx, fy: focalPx, cx: width / 2, cy: height / 2, width, height, source });
  }

  /** @throws RangeError unless the angle is above 0 and below 180 degrees. */
  static fromFov(
    fovDeg: number,
    width: number,
    height: number,
    axis: FovAxis = "horizontal",
    source: CameraSource = "fov",
  ): Camera {
    if (!(fovDeg > 0 && fovDeg < 180)) {
      throw new RangeError(`field of view: expected 0 < degrees < 180, got ${fovDeg}`);
    }
    const side = { horizontal: width, vertical: height, diagonal: Math.hypot(width, height) }[axis];
    const focalPx = (0.5 * side) / Math.tan((fovDeg * Math.PI) / 360);
    return Camera.ofFocalLength(focalPx, width, height, source);
  }

  /** The fallback for unknown cameras. */
  static assumed(width: number, height: number): Camera {
    return Camera.fromFov(ASSUMED_FOV_DEG, width, height, "diagonal", "assumed");
  }

  /**
   * The given camera for images of a size, or an assumed one.
   *
   * @throws RangeError if the numbers are invalid, or the camera is one for another aspect ratio.
   */
  static resolve(width: number, height: number, given?: CameraLike): Camera {
    if (given === undefined) return Camera.assumed(width, height);
    if ("fx" in given) return new Camera(given).resize(width, height);
    if ("fovDeg" in given) return Camera.fromFov(given.fovDeg, width, height, given.axis);
    const focalPx = (given.focal35Mm / FILM_DIAGONAL_MM) * Math.hypot(width, height);
    return Camera.ofFocalLength(focalPx, width, height, "exif");
  }

  /** Angle in degrees between opposite borders, or corners, of the image. */
  fovDeg(axis: FovAxis = "horizontal"): number {
    const { fx, fy, cx, cy, width, height } = this;
    const ends = {
      horizontal: [[-cx / fx, 0], [(width - cx) / fx, 0]],
      vertical: [[0, -cy / fy], [0, (height - cy) / fy]],
      diagonal: [[-cx / fx, -cy / fy], [(width - cx) / fx, (height - cy) / fy]],
    }[axis] as [[number, number], [number, number]];
    const [[ax, ay], [bx, by]] = ends;
    const cosine = (ax * bx + ay * by + 1) / (Math.hypot(ax, ay, 1) * Math.hypot(bx, by, 1));
    return (Math.acos(cosine) * 180) / Math.PI;
  }

  /**
   * The camera of the image resized to a size.
   *
   * @throws RangeError if the aspect ratio differs by more than a pixel of rounding.
   */
  resize(width: number, height: number): Camera {
    if (width === this.width && height === this.height) return this;
    const roundingPx = Math.min(
      Math.abs((width * this.height) / this.width - height),
      Math.abs((height * this.width) / this.height - width),
    );
    if (roundingPx > 1) {
      throw new RangeError(
        `camera: it is for ${this.width}x${this.height} px, the image has ${width}x${height}, ` +
          "another aspect ratio",
      );
    }
    const [scaleX, scaleY] = [width / this.width, height / this.height];
    return new Camera({
      fx: this.fx * scaleX,
      fy: this.fy * scaleY,
      cx: this.cx * scaleX,
      cy: this.cy * scaleY,
      width,
      height,
      source: this.source,
    });
  }

  /** The pixel of a point in the camera frame; NaN at or behind the camera. */
  project(x: number, y: number, z: number): [number, number] {
    if (!(z > 0)) return [NaN, NaN];
    return [(x / z) * this.fx + this.cx, (y / z) * this.fy + this.cy];
  }

  /** The direction of a pixel, with z = 1. */
  direction(u: number, v: number): Vector3 {
    return [(u - this.cx) / this.fx, (v - this.cy) / this.fy, 1];
  }
}
