/**
 * Error bars: standard deviations of a face's errors, as the network estimates them.
 *
 * 86 numbers per face; mirrors `trg.error_bars` and `trg.inference.error_bar_calibration`.
 */

/** Parts of the face with a standard deviation of their 3D landmarks each. */
export const LANDMARK_GROUPS = ["jaw", "brows", "nose", "eyes", "mouth", "rest"] as const;

const SIZES = {
  /** Rotation about the head's x, y and z axis, degrees. */
  rotation: 3,
  /** Position in each direction across the line of sight, over the distance. */
  across: 1,
  /** The logarithm of the distance. */
  along: 1,
  /** The same, if the true size of the head were known. */
  along_sized: 1,
  /** Coordinates of 3D landmarks in the head frame, metres, by group. */
  shape: LANDMARK_GROUPS.length,
  /** The same, if the true size of the head were known. */
  shape_sized: LANDMARK_GROUPS.length,
  /** Coordinates of the projected landmarks, over the side of the face box. */
  landmarks: 68,
};

export type Quantity = keyof typeof SIZES;

/** The part of the array that each quantity takes: its start and end. */
export const QUANTITIES = partsOf(SIZES);

export const STD_COUNT = QUANTITIES.landmarks[1];

/** Relative standard deviation of a head's size from its interpupillary distance. */
export const INTERPUPILLARY_STD = 0.023;

/** Root mean square coordinate of a face's landmarks, by which an error of size moves them. */
export const MEAN_RADIUS_M = 0.07;

export class ErrorBars {
  constructor(readonly std: Float64Array) {}

  /** The network's numbers, corrected by the factors on the card of its weights. */
  static calibrated(std: ArrayLike<number>, factors: Readonly<Record<Quantity, number>>): ErrorBars {
    const calibrated = Float64Array.from(std);
    for (const quantity of Object.keys(SIZES) as Quantity[]) {
      const [start, end] = QUANTITIES[quantity];
      for (let i = start; i < end; i++) calibrated[i]! *= factors[quantity];
    }
    return new ErrorBars(calibrated);
  }

  of(quantity: Quantity): Float64Array {
    return this.std.subarray(...QUANTITIES[quantity]);
  }

  /** Relative error of a size from a measured interpupillary distance. */
  sizeStd(interpupillaryM: number): number {
    return Math.hypot(INTERPUPILLARY_STD, this.eyesStd(interpupillaryM));
  }

  /** Relative error of the estimated distance between the eyes, at true size. */
  eyesStd(interpupillaryM: number): number {
    return this.of("shape_sized")[LANDMARK_GROUPS.indexOf("eyes")]! / interpupillaryM;
  }

  /** Those of a face that is scaled to a size whose relative standard deviation is `sizeStd`. */
  withKnownSize(scale: number, sizeStd: number): ErrorBars {
    const bars = new ErrorBars(this.std.slice());
    bars.of("along")[0] = Math.hypot(this.of("along_sized")[0]!, sizeStd);
    const sized = bars.of("shape_sized");
    const shape = bars.of("shape");
    for (let i = 0; i < sized.length; i++) {
      sized[i]! *= scale;
      shape[i] = Math.hypot(sized[i]!, sizeStd * MEAN_RADIUS_M);
    }
    return bars;
  }
}

function partsOf<Name extends string>(
  sizes: Readonly<Record<Name, number>>,
): Readonly<Record<Name, readonly [start: number, end: number]>> {
  const parts = {} as Record<Name, readonly [number, number]>;
  let start = 0;
  for (const name of Object.keys(sizes) as Name[]) {
    parts[name] = [start, start + sizes[name]];
    start += sizes[name];
  }
  return parts;
}
