/** The heads before the camera, seen from outside; and the same heads as a GLB file. */

import {
  BufferAttribute,
  BufferGeometry,
  Color,
  DirectionalLight,
  DoubleSide,
  Group,
  HemisphereLight,
  LineBasicMaterial,
  LineSegments,
  Mesh,
  MeshStandardMaterial,
  PerspectiveCamera,
  Scene,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { GLTFExporter } from "three/addons/exporters/GLTFExporter.js";
import { type Camera, type Face } from "trg-headpose";

import { colourOf } from "./colours.ts";
import { numberOf } from "./overlay.ts";

/** Where the viewer is, in depths of the frustum from its middle; farther where the view is narrow. */
const EYE = [0.8, 0.45, 0.75] as const;
const NARROW_ASPECT = 1.6;

/** Depth of the frustum where there is no face. */
const EMPTY_DEPTH_M = 0.6;

export class Space {
  readonly #renderer: WebGLRenderer;
  readonly #scene = new Scene();
  readonly #eye = new PerspectiveCamera(45, 1, 0.01, 100);
  readonly #controls: OrbitControls;
  #content = new Group();
  #isPlaced = false;

  /** @throws Error if the browser has no WebGL. */
  constructor(private readonly canvas: HTMLCanvasElement) {
    this.#renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    const sun = new DirectionalLight("white", 2);
    sun.position.set(1, 2, 1);
    this.#scene.add(new HemisphereLight("white", "#667", 2), sun, this.#content);
    this.#controls = new OrbitControls(this.#eye, canvas);
    this.#controls.listenToKeyEvents(canvas);
    this.#controls.enableZoom = false; // the wheel scrolls the page
    this.#controls.addEventListener("change", () => this.#render());
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  show(faces: readonly Face[], camera: Camera): void {
    for (const child of this.#content.children) (child as Mesh).geometry.dispose();
    this.#content.clear();
    const depthM = Math.max(...faces.map((face) => face.translationM[2]), EMPTY_DEPTH_M);
    this.#content.add(frustum(camera, depthM), ...faces.map(headOf));
    if (!this.#isPlaced) {
      this.#isPlaced = faces.length > 0;
      const far = depthM * Math.max(1, NARROW_ASPECT / this.#eye.aspect);
      this.#controls.target.set(0, 0, -0.6 * depthM);
      this.#eye.position.set(EYE[0] * far, EYE[1] * far, EYE[2] * far - 0.6 * depthM);
      this.#controls.update();
    }
    this.#render();
  }

  #resize(): void {
    const { clientWidth, clientHeight } = this.canvas;
    if (clientWidth === 0 || clientHeight === 0) return;
    this.#renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.#renderer.setSize(clientWidth, clientHeight, false);
    this.#eye.aspect = clientWidth / clientHeight;
    this.#eye.updateProjectionMatrix();
    this.#render();
  }

  #render(): void {
    this.#renderer.render(this.#scene, this.#eye);
  }
}

/** The heads in camera space with glTF's axes: x right, y up, z backward. */
export async function toGlb(faces: readonly Face[]): Promise<Blob> {
  const scene = new Scene();
  scene.add(...faces.map(headOf));
  const content = await new GLTFExporter().parseAsync(scene, { binary: true });
  return new Blob([content as ArrayBuffer], { type: "model/gltf-binary" });
}

function headOf(face: Face, index: number): Mesh {
  const points = Float32Array.from(face.landmarksCamM(), (value, i) => (i % 3 === 0 ? value : -value));
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(points, 3));
  geometry.setIndex(new BufferAttribute(face.topology.triangles, 1));
  geometry.computeVertexNormals();
  const person = numberOf(face, index);
  const color = new Color(colourOf(person));
  const mesh = new Mesh(geometry, new MeshStandardMaterial({ color, roughness: 0.6, side: DoubleSide }));
  mesh.name = `person ${person + 1}`;
  return mesh;
}

/** The lines from the camera's centre to the corners of its image at a depth. */
function frustum(camera: Camera, depthM: number): LineSegments {
  const corners = [[0, 0], [camera.width, 0], [camera.width, camera.height], [0, camera.height]].map(
    ([u, v]) => {
      const [x, y] = camera.direction(u!, v!);
      return [x * depthM, -y * depthM, -depthM];
    },
  );
  const lines = corners.flatMap((corner, i) => [
    ...[0, 0, 0], ...corner,
    ...corner, ...corners[(i + 1) % 4]!,
  ]);
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(Float32Array.from(lines), 3));
  return new LineSegments(geometry, new LineBasicMaterial({ color: "#7a8699" }));
}
