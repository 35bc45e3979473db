/** Draws faces over a picture: mesh, axes, box and distance. */

import { type Face, type FaceTopology, type Vector3 } from "trg-headpose";

import { colourOf } from "./colours.ts";

export const LAYERS = ["mesh", "axes", "box", "distance"] as const;
export type Layer = (typeof LAYERS)[number];

const AXIS_LENGTH_M = 0.1;

/** Red x to the right of the image, green y down, blue out of the face. */
const AXES: readonly { direction: Vector3; colour: string }[] = [
  { direction: [1, 0, 0], colour: "#ec4040" },
  { direction: [0, 1, 0], colour: "#48cd54" },
  { direction: [0, 0, -1], colour: "#4678ff" },
];

/** The mesh's lines fade where it would cover the face. */
const MESH_OPACITY = 0.45;

/** Number that a face is called by and coloured: its person's, else its place in the list. */
export function numberOf(face: Face, index: number): number {
  return face.id ?? index;
}

export class Overlay {
  readonly #edges: Uint16Array;

  constructor(topology: FaceTopology) {
    this.#edges = edgesOf(topology.triangles);
  }

  draw(
    context: CanvasRenderingContext2D,
    picture: CanvasImageSource,
    faces: readonly Face[],
    layers: ReadonlySet<Layer>,
  ): void {
    const { width, height } = context.canvas;
    context.drawImage(picture, 0, 0, width, height);
    const unit = Math.max(width, height) / 640; // lines grow with the picture
    faces.forEach((face, index) => {
      const colour = colourOf(numberOf(face, index));
      if (layers.has("mesh")) this.#drawMesh(context, face, colour, unit);
      if (layers.has("box")) drawBox(context, face, colour, unit);
      if (layers.has("axes")) drawAxes(context, face, unit);
      if (layers.has("distance")) drawDistance(context, face, numberOf(face, index), colour, unit);
    });
  }

  #drawMesh(context: CanvasRenderingContext2D, face: Face, colour: string, unit: number): void {
    const points = face.landmarksPx;
    context.beginPath();
    for (let i = 0; i < this.#edges.length; i += 2) {
      const [a, b] = [2 * this.#edges[i]!, 2 * this.#edges[i + 1]!];
      context.moveTo(points[a]!, points[a + 1]!);
      context.lineTo(points[b]!, points[b + 1]!);
    }
    context.globalAlpha = MESH_OPACITY;
    context.strokeStyle = colour;
    context.lineWidth = 0.6 * unit;
    context.stroke();
    context.globalAlpha = 1;
  }
}

function drawBox(context: CanvasRenderingContext2D, face: Face, colour: string, unit: number): void {
  const [x0, y0, x1, y1] = face.boxPx;
  context.strokeStyle = colour;
  context.lineWidth = 1.5 * unit;
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
}

function drawAxes(context: CanvasRenderingContext2D, face: Face, unit: number): void {
  const { rotation: R, translationM: T, camera } = face;
  const start = camera.project(...T);
  context.lineWidth = 3 * unit;
  context.lineCap = "round";
  for (const { direction, colour } of AXES) {
    const [x, y, z] = [0, 1, 2].map(
      (row) =>
        T[row]! + AXIS_LENGTH_M * direction.reduce((sum, d, i) => sum + R[3 * row + i]! * d, 0),
    ) as [number, number, number];
    context.beginPath();
    context.moveTo(...start);
    context.lineTo(...camera.project(x, y, z));
    context.strokeStyle = colour;
    context.stroke();
  }
}

function drawDistance(
  context: CanvasRenderingContext2D,
  face: Face,
  person: number,
  colour: string,
  unit: number,
): void {
  const [x0, y0] = face.boxPx;
  context.font = `600 ${14 * unit}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  context.lineWidth = 3 * unit;
  context.strokeStyle = "#10141c";
  context.fillStyle = colour;
  const text = `${person + 1}: ${face.distanceM.toFixed(2)} m`;
  const y = Math.max(y0 - 3 * unit, 18 * unit);
  context.strokeText(text, Math.max(x0, 4 * unit), y);
  context.fillText(text, Math.max(x0, 4 * unit), y);
}

/** Each edge of the triangles once, two vertices each. */
function edgesOf(triangles: Uint16Array): Uint16Array {
  const edges = new Set<number>();
  for (let i = 0; i < triangles.length; i += 3) {
    for (let corner = 0; corner < 3; corner++) {
      const [a, b] = [triangles[i + corner]!, triangles[i + ((corner + 1) % 3)]!];
      edges.add(Math.min(a, b) * 65536 + Math.max(a, b));
    }
  }
  return Uint16Array.from([...edges].flatMap((edge) => [Math.floor(edge / 65536), edge % 65536]));
}
