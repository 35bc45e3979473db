/** The numbers of the faces, what the field of view does to them, and the speed. */

import { type Face, STAGES, type StageTimes } from "trg-headpose";

import { colourOf } from "./colours.ts";
import { element, make } from "./elements.ts";
import { numberOf } from "./overlay.ts";
import { type Shown } from "./session.ts";

/** A field of view that is wrong by this much, for comparison. */
const FOV_ERROR_DEG = 10;

/** Least time between two sentences for a screen reader. */
const ANNOUNCE_EVERY_MS = 5000;

/** Weight of the last frame in the mean times. */
const SPEED_WEIGHT = 0.1;

const SOURCES = {
  given: "given",
  exif: "from the photo's EXIF",
  fov: "set by you",
  assumed: "assumed: 60° diagonally",
} as const;

export class Panel {
  readonly #faces = element("faces", HTMLDivElement);
  readonly #nobody = element("nobody", HTMLParagraphElement);
  readonly #announcement = element("announcement", HTMLParagraphElement);
  readonly #fovValue = element("fov-value", HTMLSpanElement);
  readonly #fovNote = element("fov-note", HTMLParagraphElement);
  readonly #speed = element("speed", HTMLDListElement);
  #announcedMs = -Infinity;
  #times: Record<string, number> = {};
  #lastFrameMs: number | null = null;

  show({ faces, camera }: Shown): void {
    this.#nobody.hidden = faces.length > 0;
    this.#nobody.textContent = "No face is seen.";
    this.#faces.replaceChildren(...faces.map(tableOf));
    const fovDeg = camera.fovDeg();
    this.#fovValue.textContent = `${fovDeg.toFixed(0)}°, ${SOURCES[camera.source]}`;
    this.#fovNote.textContent = fovNote(faces, fovDeg);
  }

  /** Tells a screen reader, not too often. */
  announce(faces: readonly Face[], isStill: boolean): void {
    const now = performance.now();
    if (!isStill && now - this.#announcedMs < ANNOUNCE_EVERY_MS) return;
    this.#announcedMs = now;
    this.#announcement.textContent = sentenceOf(faces);
  }

  /** `isVideo`: whether the time since the last call is that between two frames. */
  showSpeed(times: StageTimes, isVideo: boolean): void {
    const now = performance.now();
    const measured: Record<string, number> = { ...times };
    if (isVideo && this.#lastFrameMs !== null) measured["frame"] = now - this.#lastFrameMs;
    this.#lastFrameMs = isVideo ? now : null;
    if (!isVideo) this.#times = {};
    for (const [name, ms] of Object.entries(measured)) {
      const mean = this.#times[name] ?? ms;
      this.#times[name] = mean + SPEED_WEIGHT * (ms - mean);
    }
    const frameMs = this.#times["frame"];
    const rows = STAGES.map((stage) => [stage, `${this.#times[stage]!.toFixed(1)} ms`] as const);
    const fps = frameMs === undefined ? [] : [["frames per second", (1000 / frameMs).toFixed(1)] as const];
    this.#speed.replaceChildren(
      ...[...rows, ...fps].flatMap(([name, value]) => [make("dt", name), make("dd", value)]),
    );
  }
}

function tableOf(face: Face, index: number): HTMLTableElement {
  const person = numberOf(face, index);
  const table = document.createElement("table");
  table.dataset["person"] = String(person);
  const caption = make("caption", `Person ${person + 1}`);
  caption.style.borderColor = colourOf(person);
  table.append(caption);
  for (const { name, label, value, unit, std } of numbersOf(face)) {
    const row = table.insertRow();
    row.append(make("th", label, { scope: "row" }));
    const digits = unit === "m" ? 3 : 1;
    row.append(make("td", `${value.toFixed(digits)} ${unit}`, { "data-name": name }));
    row.append(make("td", std === null ? "" : `± ${std.toFixed(digits)}`));
  }
  return table;
}

function numbersOf(face: Face) {
  const [yaw, pitch, roll] = face.eulerDeg;
  const [x, y, z] = face.translationM;
  const turn = face.rotationStdDeg;
  const shift = face.translationStdM;
  return [
    { name: "distance", label: "Distance", value: face.distanceM, unit: "m", std: shift?.[2] ?? null },
    { name: "yaw", label: "Yaw", value: yaw, unit: "°", std: turn?.[1] ?? null },
    { name: "pitch", label: "Pitch", value: pitch, unit: "°", std: turn?.[0] ?? null },
    { name: "roll", label: "Roll", value: roll, unit: "°", std: turn?.[2] ?? null },
    { name: "x", label: "Right", value: x, unit: "m", std: null },
    { name: "y", label: "Down", value: y, unit: "m", std: null },
    { name: "z", label: "Forward", value: z, unit: "m", std: null },
    { name: "eyes", label: "Between the pupils", value: 1000 * face.interpupillaryM, unit: "mm", std: null },
    { name: "confidence", label: "Confidence", value: 100 * face.confidence, unit: "%", std: null },
  ];
}

/** What another field of view would make of the nearest face's distance. */
function fovNote(faces: readonly Face[], fovDeg: number): string {
  if (faces.length === 0) return "";
  const nearestM = Math.min(...faces.map((face) => face.distanceM));
  const at = (otherDeg: number) => {
    const scale = tanOfHalf(fovDeg) / tanOfHalf(otherDeg);
    return `${(nearestM * scale).toFixed(2)} m at ${otherDeg.toFixed(0)}°`;
  };
  // Of a telephoto lens, ten degrees less would be none.
  const narrow = at(Math.max(fovDeg - FOV_ERROR_DEG, fovDeg / 2));
  const wide = at(Math.min(fovDeg + FOV_ERROR_DEG, (fovDeg + 180) / 2));
  return `The nearest head is ${nearestM.toFixed(2)} m away. It would be about ${narrow} and ${wide}.`;
}

function sentenceOf(faces: readonly Face[]): string {
  if (faces.length === 0) return "No face.";
  const each = faces.map((face, index) => {
    const yaw = Math.round(face.eulerDeg[0]);
    const turn = Math.abs(yaw) < 5 ? "facing the camera" : `turned by ${Math.abs(yaw)} degrees`;
    return `person ${numberOf(face, index) + 1}: ${face.distanceM.toFixed(2)} metres away, ${turn}`;
  });
  return `${faces.length === 1 ? "One face" : `${faces.length} faces`}; ${each.join("; ")}.`;
}

function tanOfHalf(degrees: number): number {
  return Math.tan((degrees * Math.PI) / 360);
}
