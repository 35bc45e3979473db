/** Pixels, and the resampling that the networks were trained and calibrated with: Pillow's. */

/** RGBA, row by row, as `ImageData` has it. Opaque: the alpha channel is not read. */
export interface RgbaImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray | Uint8Array;
}

/** Averages blocks of `blockX` x `blockY` pixels of a rectangle; those at its end may be smaller. */
export function reduce(
  image: RgbaImage,
  rectangle: { left: number; top: number; right: number; bottom: number },
  blockX: number,
  blockY: number,
): RgbaImage {
  const { left, top, right, bottom } = rectangle;
  const width = Math.ceil((right - left) / blockX);
  const height = Math.ceil((bottom - top) / blockY);
  const data = new Uint8Array(4 * width * height);
  const source = image.data;
  const stride = 4 * image.width;
  for (let row = 0, out = 0; row < height; row++) {
    const y0 = top + row * blockY;
    const y1 = Math.min(y0 + blockY, bottom);
    for (let column = 0; column < width; column++, out += 4) {
      const x0 = left + column * blockX;
      const x1 = Math.min(x0 + blockX, right);
      const count = (y1 - y0) * (x1 - x0);
      const share = Math.floor(2 ** 24 / count) / 2 ** 24; // Pillow's fixed-point division
      let red = count >> 1;
      let green = red;
      let blue = red;
      for (let y = y0; y < y1; y++) {
        const end = y * stride + 4 * x1;
        for (let at = y * stride + 4 * x0; at < end; at += 4) {
          red += source[at]!;
          green += source[at + 1]!;
          blue += source[at + 2]!;
        }
      }
      data[out] = red * share;
      data[out + 1] = green * share;
      data[out + 2] = blue * share;
    }
  }
  return { width, height, data };
}

/**
 * Resamples a rectangle to a size with a triangle filter as wide as an output pixel.
 *
 * As Pillow's `resize` with BILINEAR and a `reducing_gap` of 1: whole pixels are averaged first as
 * far as possible, then columns are filtered, then rows, each rounded to 8 bits.
 */
export function resize(
  image: RgbaImage,
  rectangle: { left: number; top: number; right: number; bottom: number },
  width: number,
  height: number,
): RgbaImage {
  const { left, top, right, bottom } = rectangle;
  const blockX = Math.max(1, Math.floor((right - left) / width));
  const blockY = Math.max(1, Math.floor((bottom - top) / height));
  const part = reduce(image, rectangle, blockX, blockY);
  const columns = filterTaps(part.width, (right - left) / blockX, width);
  const rows = filterTaps(part.height, (bottom - top) / blockY, height);
  const across = columns ? filterAlong(part, columns, width, part.height, true) : part;
  return rows ? filterAlong(across, rows, width, height, false) : across;
}

interface Tap {
  readonly start: number;
  readonly weights: Float64Array;
}

/** The weights of each output pixel along one axis; null where nothing is to be done. */
function filterTaps(count: number, length: number, size: number): Tap[] | null {
  if (count === size && length === count) return null;
  const scale = length / size;
  const support = Math.max(scale, 1);
  return Array.from({ length: size }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), count);
    const weights = Float64Array.from({ length: end - start }, (_, k) =>
      Math.max(1 - Math.abs((start + k - centre + 0.5) / support), 0),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    // In Pillow's fixed-point numbers, so that halves are rounded to the same side.
    return { start, weights: weights.map((weight) => Math.round((weight / sum) * 2 ** 22) / 2 ** 22) };
  });
}

function filterAlong(
  image: RgbaImage,
  taps: readonly Tap[],
  width: number,
  height: number,
  isHorizontal: boolean,
): RgbaImage {
  const data = new Uint8Array(4 * width * height);
  const step = isHorizontal ? 4 : 4 * image.width;
  for (let y = 0, out = 0; y < height; y++) {
    for (let x = 0; x < width; x++, out += 4) {
      const { start, weights } = taps[isHorizontal ? x : y]!;
      let at = isHorizontal ? 4 * (y * image.width + start) : 4 * (start * image.width + x);
      let [red, green, blue] = [0.5, 0.5, 0.5];
      for (let k = 0; k < weights.length; k++, at += step) {
        const weight = weights[k]!;
        red += weight * image.data[at]!;
        green += weight * image.data[at + 1]!;
        blue += weight * image.data[at + 2]!;
      }
      data[out] = red;
      data[out + 1] = green;
      data[out + 2] = blue;
    }
  }
  return { width, height, data };
}

/**
 * Resamples a homography of an image bilinearly to `size` x `size` RGB pixels; black outside.
 *
 * `h` maps crop pixels (x, y, 1) to homogeneous image pixels. As Pillow's PERSPECTIVE transform,
 * which cuts off fractions.
 */
export function resampleHomography(image: RgbaImage, h: ArrayLike<number>, size: number): Uint8Array {
  const crop = new Uint8Array(3 * size * size);
  for (let row = 0, out = 0; row < size; row++) {
    for (let column = 0; column < size; column++, out += 3) {
      const x = column + 0.5;
      const y = row + 0.5;
      const w = h[6]! * x + h[7]! * y + h[8]!;
      if (!(w > 0)) continue; // behind the camera
      sample(image, (h[0]! * x + h[1]! * y + h[2]!) / w, (h[3]! * x + h[4]! * y + h[5]!) / w, crop, out);
    }
  }
  return crop;
}

/** Writes the colour at a position of an image; leaves black outside. */
function sample(image: RgbaImage, u: number, v: number, crop: Uint8Array, out: number): void {
  const { width, height, data } = image;
  if (!(u >= 0 && u < width && v >= 0 && v < height)) return;
  const x = Math.floor(u - 0.5);
  const y = Math.floor(v - 0.5);
  const dx = u - 0.5 - x;
  const dy = v - 0.5 - y;
  const x0 = 4 * Math.max(x, 0);
  const x1 = 4 * Math.min(x + 1, width - 1);
  const above = 4 * width * Math.max(y, 0);
  const below = 4 * width * Math.min(y + 1, height - 1);
  for (let channel = 0; channel < 3; channel++) {
    const a = data[above + x0 + channel]!;
    const b = data[above + x1 + channel]!;
    const c = data[below + x0 + channel]!;
    const d = data[below + x1 + channel]!;
    const top = a + (b - a) * dx;
    crop[out + channel] = top + (c + (d - c) * dx - top) * dy;
  }
}

/** To the nearest whole number; halves to the even one, as Python's `round`. */
export function roundHalfEven(value: number): number {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
