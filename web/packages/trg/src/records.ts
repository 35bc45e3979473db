/**
 * Records of pictures and frames: JSON Lines and CSV, with the names and digits of `trg predict`.
 *
 * Mirrors `trg.io.records`.
 */

import { type Camera } from "./camera.ts";
import { LANDMARK_GROUPS } from "./errorBars.ts";
import { type Face } from "./face.ts";

/** The faces of one picture or video frame. */
export interface FrameFaces {
  /** Name of the picture or video. */
  readonly source: string;
  readonly camera: Camera;
  readonly faces: readonly Face[];
  /** Number of the frame, from 0; null for a picture. */
  readonly frame: number | null;
  /** From the start of the video; null for a picture. */
  readonly timeS: number | null;
}

const ANGLE_DECIMALS = 4;
const CONFIDENCE_DECIMALS = 4;
const INTRINSIC_DECIMALS = 4;
const RATIO_DECIMALS = 4;
const LENGTH_DECIMALS = 6;
const TIME_DECIMALS = 6;
const ROTATION_DECIMALS = 7;
const PIXEL_DECIMALS = 2;

const INTRINSIC_NAMES = ["fx", "fy", "cx", "cy"] as const;
const DISTORTION_NAMES = [
  "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4",
] as const;

type Row = Record<string, string | number | null>;

/** One object per picture or frame, each on a line. */
export function toJsonLines(found: readonly FrameFaces[]): string {
  return found.map((each) => `${JSON.stringify(frameRecord(each))}\n`).join("");
}

export function frameRecord({ source, camera, faces, frame, timeS }: FrameFaces): object {
  const intrinsics = INTRINSIC_NAMES.map((name) => [name, rounded(camera[name], INTRINSIC_DECIMALS)]);
  return {
    source,
    frame,
    time_s: timeS === null ? null : rounded(timeS, TIME_DECIMALS),
    size: [camera.width, camera.height],
    camera: { ...Object.fromEntries(intrinsics), source: camera.source },
    axes: "opencv",
    faces: faces.map(faceRecord),
  };
}

function faceRecord(face: Face): object {
  const R = Array.from(face.rotation, (value) => rounded(value, ROTATION_DECIMALS));
  const landmarks68 = Array.from(face.landmarks68Px, (value) => rounded(value, PIXEL_DECIMALS));
  return {
    id: face.id,
    confidence: rounded(face.confidence, CONFIDENCE_DECIMALS),
    box_xyxy: roundedAll(face.boxPx, PIXEL_DECIMALS),
    rotation: [R.slice(0, 3), R.slice(3, 6), R.slice(6)],
    translation_m: roundedAll(face.translationM, LENGTH_DECIMALS),
    euler_deg: named(["yaw", "pitch", "roll"], face.eulerDeg, ANGLE_DECIMALS),
    euler_sight_deg: named(["yaw", "pitch", "roll"], face.eulerSightDeg, ANGLE_DECIMALS),
    distance_m: rounded(face.distanceM, LENGTH_DECIMALS),
    ...sizeValues(face),
    landmarks68_px: Array.from({ length: 68 }, (_, i) => landmarks68.slice(2 * i, 2 * i + 2)),
    rotation_std_deg: face.rotationStdDeg && roundedAll(face.rotationStdDeg, ANGLE_DECIMALS),
    translation_std_m: face.translationStdM && roundedAll(face.translationStdM, LENGTH_DECIMALS),
    landmarks_std_m:
      face.errorBars && named(LANDMARK_GROUPS, face.errorBars.of("shape"), LENGTH_DECIMALS),
    landmarks_std_px: landmarksStdPx(face),
  };
}

/** A row per face, or one for a picture or frame without; `CSV_HEADER` goes before the first. */
export function toCsvRows(found: readonly FrameFaces[]): string {
  return found.flatMap(csvRows).map((row) => csvLine(CSV_COLUMNS.map((name) => row[name] ?? ""))).join("");
}

const ANGLES = ["yaw_deg", "pitch_deg", "roll_deg"];
const SIGHT_ANGLES = ["yaw_sight_deg", "pitch_sight_deg", "roll_sight_deg"];
const TRANSLATION = ["tx_m", "ty_m", "tz_m"];
const BOX = ["box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px"];
const ROTATION = [0, 1, 2].flatMap((row) => [0, 1, 2].map((column) => `r${row}${column}`));
const ROTATION_STD = ["rx_std_deg", "ry_std_deg", "rz_std_deg"];
const TRANSLATION_STD = ["tx_sight_std_m", "ty_sight_std_m", "tz_sight_std_m"];
const LANDMARKS_STD = LANDMARK_GROUPS.map((group) => `${group}_std_m`);
const POINTS = Array.from({ length: 68 }, (_, i) => i);
const POINTS_PX = POINTS.flatMap((point) => [`x${point}_px`, `y${point}_px`]);
const POINTS_STD = POINTS.map((point) => `p${point}_std_px`);

export const CSV_COLUMNS: readonly string[] = [
  "source", "frame", "time_s", "width_px", "height_px",
  ...INTRINSIC_NAMES.map((name) => `${name}_px`),
  ...DISTORTION_NAMES, "lens_model", "camera_source", "axes",
  "face_id", "confidence", ...BOX, ...ANGLES, ...SIGHT_ANGLES, ...TRANSLATION, ...ROTATION,
  "distance_m", "interpupillary_m", "frame_interpupillary_m", "size_std", ...POINTS_PX,
  ...ROTATION_STD, ...TRANSLATION_STD, ...LANDMARKS_STD, ...POINTS_STD,
  "error",
];

export const CSV_HEADER = csvLine(CSV_COLUMNS);

function csvRows({ source, camera, faces, frame, timeS }: FrameFaces): Row[] {
  const shared: Row = {
    source,
    frame,
    time_s: timeS === null ? null : rounded(timeS, TIME_DECIMALS),
    width_px: camera.width,
    height_px: camera.height,
    lens_model: "brown_conrady",
    camera_source: camera.source,
    axes: "opencv",
  };
  for (const name of INTRINSIC_NAMES) shared[`${name}_px`] = rounded(camera[name], INTRINSIC_DECIMALS);
  for (const name of DISTORTION_NAMES) shared[name] = 0;
  if (faces.length === 0) return [shared];
  return faces.map((face) => ({
    ...shared,
    face_id: face.id,
    confidence: rounded(face.confidence, CONFIDENCE_DECIMALS),
    distance_m: rounded(face.distanceM, LENGTH_DECIMALS),
    ...sizeValues(face),
    ...named(ANGLES, face.eulerDeg, ANGLE_DECIMALS),
    ...named(SIGHT_ANGLES, face.eulerSightDeg, ANGLE_DECIMALS),
    ...named(TRANSLATION, face.translationM, LENGTH_DECIMALS),
    ...named(BOX, face.boxPx, PIXEL_DECIMALS),
    ...named(ROTATION, face.rotation, ROTATION_DECIMALS),
    ...named(POINTS_PX, face.landmarks68Px, PIXEL_DECIMALS),
    ...named(ROTATION_STD, face.rotationStdDeg ?? [], ANGLE_DECIMALS),
    ...named(TRANSLATION_STD, face.translationStdM ?? [], LENGTH_DECIMALS),
    ...named(LANDMARKS_STD, face.errorBars?.of("shape") ?? [], LENGTH_DECIMALS),
    ...named(POINTS_STD, landmarksStdPx(face) ?? [], PIXEL_DECIMALS),
  }));
}

function sizeValues(face: Face): Record<string, number | null> {
  const { interpupillaryM, personSize } = face;
  return {
    interpupillary_m: rounded(interpupillaryM, LENGTH_DECIMALS),
    frame_interpupillary_m:
      personSize && rounded(interpupillaryM / personSize.scale, LENGTH_DECIMALS),
    size_std: personSize && rounded(personSize.std, RATIO_DECIMALS),
  };
}

function landmarksStdPx(face: Face): number[] | null {
  const [x0, , x1] = face.boxPx;
  const shares = face.errorBars?.of("landmarks");
  return shares ? Array.from(shares, (share) => rounded(share * (x1 - x0), PIXEL_DECIMALS)) : null;
}

function named(
  names: readonly string[],
  values: ArrayLike<number>,
  decimals: number,
): Record<string, number> {
  return Object.fromEntries(Array.from(values, (value, i) => [names[i]!, rounded(value, decimals)]));
}

function roundedAll(values: Iterable<number>, decimals: number): number[] {
  return Array.from(values, (value) => rounded(value, decimals));
}

function rounded(value: number, decimals: number): number {
  return Number(value.toFixed(decimals)) + 0; // the sum turns -0 into 0
}

function csvLine(fields: readonly (string | number)[]): string {
  return `${fields.map(csvField).join(",")}\n`;
}

function csvField(value: string | number): string {
  const text = String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
