/** The focal length that a photo's EXIF tells, as a 35 mm equivalent. Mirrors `trg.io.exif`. */

import ExifReader from "exifreader";

/** From fisheyes to astronomy; values outside mean that the tag was not set. */
const PLAUSIBLE_FOCAL_35MM = [3, 5000] as const;

/** Rounded sizes stay within it; a crop changes the aspect ratio by more. */
const ASPECT_TOLERANCE = 0.01;

/** Millimetres, or null if EXIF tells none that holds for the picture. */
export async function focal35MmOf(file: Blob, width: number, height: number): Promise<number | null> {
  let exif: ExifReader.ExpandedTags["exif"];
  try {
    exif = ExifReader.load(await file.arrayBuffer(), { expanded: true }).exif;
  } catch {
    return null; // no metadata, or a format that has none
  }
  const number = (name: "FocalLengthIn35mmFilm" | "PixelXDimension" | "PixelYDimension") =>
    Number(exif?.[name]?.value ?? NaN);
  const focalMm = number("FocalLengthIn35mmFilm");
  if (!(focalMm >= PLAUSIBLE_FOCAL_35MM[0] && focalMm <= PLAUSIBLE_FOCAL_35MM[1])) return null;
  // Sorted, because some phones give the size as stored and some as displayed.
  const sides = [number("PixelXDimension"), number("PixelYDimension")];
  const stored = Math.min(...sides) / Math.max(...sides);
  const shown = Math.min(width, height) / Math.max(width, height);
  return Math.abs(stored - shown) > ASPECT_TOLERANCE ? null : focalMm;
}
