/**
 * Perspective crops from a virtual camera rotated toward the face, and about its axis upright.
 *
 * The network sees every face at the centre of such a camera; its pose is then converted back to the
 * image's camera. Mirrors `trg.geometry.virtual_camera`, for lenses without distortion.
 */

import { type Camera } from "./camera.ts";
import { type RgbaImage, reduce, resampleHomography, roundHalfEven } from "./image.ts";
import {
  type Matrix3,
  OPTICAL_AXIS,
  type Vector3,
  multiply,
  rotate,
  rotationBetween,
  transpose,
} from "./rotations.ts";

/** `x0, y0, x1, y1`, px. */
export type Box = readonly [number, number, number, number];

/** Side of the paper's face box over the larger side of the landmarks' bounding rectangle. */
export const BOX_MARGIN = 1.5;

/** Smallest side of a box, px: below, the crop has no information. */
export const MIN_BOX_PX = 4;

/** Largest side of a box, in image sizes. */
export const MAX_BOX_SCALE = 16;

/** Largest side of a virtual camera: a field of view of about 140 degrees. */
export const MAX_SIDE_RAYS = 6;

/** The network's input for one face, and how to convert its pose to the camera frame. */
export interface FaceCrop {
  /** RGB, row by row; black outside the image. */
  readonly pixels: Uint8Array;
  /** Centre and side of the box on the virtual camera's plane z = 1. */
  readonly bboxInfo: Vector3;
  readonly camFromVirtual: Matrix3;
}

/** An ideal camera with a square image, at the centre of the real one. */
export class VirtualCamera {
  constructor(
    /** The direction it looks in, in the real camera's frame. */
    readonly viewDirection: Vector3,
    /** Side of its image on its plane z = 1. */
    readonly sideRays: number,
    /** Rotation about its own axis, clockwise in the image: a face of this roll is upright. */
    readonly rollDeg = 0,
  ) {}

  /** The roll, then the least rotation of the axis onto the view direction. */
  get camFromVirtual(): Matrix3 {
    const camFromLevel = rotationBetween(OPTICAL_AXIS, this.viewDirection);
    if (this.rollDeg === 0) return camFromLevel;
    const angle = (this.rollDeg * Math.PI) / 180;
    const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
    return multiply(camFromLevel, [cos, -sin, 0, sin, cos, 0, 0, 0, 1]);
  }

  /** The same camera, turned further about its axis. */
  rolled(rollDeg: number): VirtualCamera {
    return new VirtualCamera(this.viewDirection, this.sideRays, this.rollDeg + rollDeg);
  }

  /** The camera that sees the square around a pixel box; null if the box shows no face. */
  static ofBox(camera: Camera, [x0, y0, x1, y1]: Box, rollDeg = 0): VirtualCamera | null {
    const sidePx = Math.max(x1 - x0, y1 - y0);
    const overlaps = x1 > 0 && y1 > 0 && x0 < camera.width && y0 < camera.height;
    const limitPx = MAX_BOX_SCALE * Math.max(camera.width, camera.height);
    if (!(overlaps && sidePx >= MIN_BOX_PX && sidePx <= limitPx)) return null;
    const [u, v, half] = [(x0 + x1) / 2, (y0 + y1) / 2, sidePx / 2];
    const centre = camera.direction(u, v);
    const virtualFromCam = transpose(rotationBetween(OPTICAL_AXIS, centre));
    const edges = [[-half, 0], [half, 0], [0, -half], [0, half]].map(([dx, dy]) =>
      rotate(virtualFromCam, camera.direction(u + dx!, v + dy!)),
    );
    if (edges.some(([, , z]) => z <= 0)) return null;
    const [left, right, top, bottom] = edges.map(([x, y, z]) => [x / z, y / z] as const) as [
      Ray, Ray, Ray, Ray,
    ];
    const area = distance(left, right) * distance(top, bottom);
    return new VirtualCamera(centre, Math.sqrt(area), rollDeg);
  }

  /** The camera of the paper's box around 68 landmarks in the camera frame, 3 numbers each. */
  static ofLandmarks(landmarksCam: Float64Array, rollDeg = 0): VirtualCamera {
    let viewDirection = meanDirection(landmarksCam);
    let side = 0;
    for (let pass = 0; pass < 2; pass++) {
      // The centre of the landmarks' rectangle depends on the view direction.
      const camFromVirtual = new VirtualCamera(viewDirection, 1, rollDeg).camFromVirtual;
      const virtualFromCam = transpose(camFromVirtual);
      let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
      for (let i = 0; i < landmarksCam.length; i += 3) {
        const [x, y, z] = rotate(virtualFromCam, landmarksCam.subarray(i, i + 3));
        const depth = Math.max(z, 1e-3);
        left = Math.min(left, x / depth);
        right = Math.max(right, x / depth);
        top = Math.min(top, y / depth);
        bottom = Math.max(bottom, y / depth);
      }
      viewDirection = rotate(camFromVirtual, [(left + right) / 2, (top + bottom) / 2, 1]);
      side = BOX_MARGIN * Math.max(right - left, bottom - top);
    }
    return new VirtualCamera(viewDirection, side, rollDeg);
  }
}

/** The virtual camera's view of an image; null if it would show nothing of the image. */
export function cropFromVirtualCamera(
  image: RgbaImage,
  camera: Camera,
  virtual: VirtualCamera,
  size: number,
): FaceCrop | null {
  const side = virtual.sideRays;
  if (!(side > 0 && side <= MAX_SIDE_RAYS)) return null;
  const camFromVirtual = virtual.camFromVirtual;
  const unit = side / size;
  const camFromCrop = multiply(camFromVirtual, [unit, 0, -side / 2, 0, unit, -side / 2, 0, 0, 1]);
  const project = (x: number, y: number) => camera.project(...rotate(camFromCrop, [x, y, 1]));
  const centre = project(size / 2, size / 2);
  const scaleX = distance(centre, project(size / 2 + 1, size / 2));
  const scaleY = distance(centre, project(size / 2, size / 2 + 1));
  if (!(Math.max(scaleX, scaleY) * size >= MIN_BOX_PX)) return null;
  const blockSize = Math.min(
    Math.max(roundHalfEven(Math.sqrt(scaleX * scaleY)), 1),
    camera.width,
    camera.height,
  );
  const imageFromCrop = multiply(
    [camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1],
    camFromCrop,
  );
  const corners = [project(0, 0), project(size, 0), project(size, size), project(0, size)];
  const part = cutOut(corners, camera, blockSize);
  if (part === null) return null;
  const { left, top } = part;
  const [source, partFromCrop] =
    blockSize === 1
      ? [image, imageFromCrop] // the rest of the image is not read
      : [
          reduce(image, part, blockSize, blockSize),
          multiply(
            [1 / blockSize, 0, -left / blockSize, 0, 1 / blockSize, -top / blockSize, 0, 0, 1],
            imageFromCrop,
          ),
        ];
  return {
    pixels: resampleHomography(source, partFromCrop, size),
    bboxInfo: [0, 0, side],
    camFromVirtual,
  };
}

/** The rectangle of the image that a crop with these corners reads; null if there is none. */
function cutOut(corners: readonly Ray[], { width, height }: Camera, blockSize: number) {
  const seen = corners.filter(([u]) => !Number.isNaN(u));
  // A corner behind the camera: the crop may reach any place of the image.
  const isBounded = seen.length === corners.length;
  const us = isBounded ? seen.map(([u]) => u) : [0, width];
  const vs = isBounded ? seen.map(([, v]) => v) : [0, height];
  const left = Math.max(Math.floor(Math.min(...us)) - 2 * blockSize, 0);
  const top = Math.max(Math.floor(Math.min(...vs)) - 2 * blockSize, 0);
  const right = Math.min(Math.ceil(Math.max(...us)) + 2 * blockSize, width);
  const bottom = Math.min(Math.ceil(Math.max(...vs)) + 2 * blockSize, height);
  return right > left && bottom > top ? { left, top, right, bottom } : null;
}

type Ray = readonly [number, number];

function distance([ax, ay]: Ray, [bx, by]: Ray): number {
  return Math.hypot(ax - bx, ay - by);
}

function meanDirection(points: Float64Array): Vector3 {
  const sum: [number, number, number] = [0, 0, 0];
  for (let i = 0; i < points.length; i += 3) {
    const length = Math.max(Math.hypot(points[i]!, points[i + 1]!, points[i + 2]!), 1e-12);
    for (let axis = 0; axis < 3; axis++) sum[axis]! += points[i + axis]! / length;
  }
  const count = points.length / 3;
  return [sum[0] / count, sum[1] / count, sum[2] / count];
}
