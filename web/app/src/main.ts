/** Connects the page's controls with the estimator. */

import mjsUrl from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { HeadPoseEstimator, MAX_INTERPUPILLARY_M, MIN_INTERPUPILLARY_M } from "trg-headpose";

import { element, make } from "./elements.ts";
import { LAYERS, type Layer, Overlay } from "./overlay.ts";
import { Panel } from "./panel.ts";
import { type Known, Session, type Shown } from "./session.ts";
import { Space, toGlb } from "./space.ts";
import "./style.css";

const view = element("view", HTMLCanvasElement);
const drop = element("drop", HTMLDivElement);
const status = element("status", HTMLParagraphElement);
const error = element("error", HTMLParagraphElement);
const webcam = element("webcam", HTMLButtonElement);
const open = element("open", HTMLButtonElement);
const file = element("file", HTMLInputElement);
const pause = element("pause", HTMLButtonElement);
const fov = element("fov", HTMLInputElement);
const fovReset = element("fov-reset", HTMLButtonElement);
const eyes = element("eyes", HTMLInputElement);
const layerBoxes = [...document.querySelectorAll<HTMLInputElement>("input[name=layer]")];
const snapshot = element("snapshot", HTMLButtonElement);
const jsonl = element("jsonl", HTMLButtonElement);
const csv = element("csv", HTMLButtonElement);
const glb = element("glb", HTMLButtonElement);

const context = view.getContext("2d")!;
const panel = new Panel();
const space = openSpace();

function openSpace(): Space | null {
  try {
    return new Space(element("space", HTMLCanvasElement));
  } catch {
    document.querySelector<HTMLElement>(".space")!.hidden = true; // no WebGL
    return null;
  }
}

function showError(message: string | null): void {
  error.textContent = message;
  error.hidden = message === null;
}

async function start(): Promise<void> {
  let estimator: HeadPoseEstimator;
  try {
    const runtime = { wasm: wasmUrl, mjs: mjsUrl };
    estimator = await HeadPoseEstimator.create({ models: "models/", runtime });
  } catch (reason) {
    status.textContent = "";
    showError(`The networks cannot be loaded: ${reason instanceof Error ? reason.message : reason}`);
    return;
  }
  const { detector, pose } = estimator.card;
  const credits = [detector, pose].flatMap(({ name, licence, attribution }) =>
    [`${name}: ${licence}`, ...attribution].map((text) => make("li", text)),
  );
  element("credits", HTMLUListElement).append(...credits);
  status.textContent = "Ready.";
  connect(estimator, new Overlay(estimator.topology));
}

function connect(estimator: HeadPoseEstimator, overlay: Overlay): void {
  let layers = new Set<Layer>(LAYERS);
  let fovDeg: number | null = null;

  const draw = ({ bitmap, faces }: Shown) => {
    if (view.width !== bitmap.width) view.width = bitmap.width;
    if (view.height !== bitmap.height) view.height = bitmap.height;
    overlay.draw(context, bitmap, faces, layers);
  };
  const session = new Session(estimator, element("video", HTMLVideoElement), {
    onShown(shown) {
      draw(shown);
      panel.show(shown);
      panel.announce(shown.faces, !session.isVideo);
      panel.showSpeed(shown.times, session.isVideo);
      space?.show(shown.faces, shown.camera);
      fov.valueAsNumber = shown.camera.fovDeg();
      fov.disabled = false;
      const count = shown.faces.length;
      view.setAttribute("aria-label", `${session.source}: ${count} ${count === 1 ? "face" : "faces"}`);
      element("hint", HTMLParagraphElement).hidden = true;
      for (const button of [snapshot, jsonl, csv]) button.disabled = false;
      glb.disabled = count === 0;
    },
    onChange() {
      webcam.textContent = session.isWebcam ? "Stop the webcam" : "Use the webcam";
      pause.disabled = !session.isVideo;
      pause.textContent = session.isPaused ? "Go on" : "Pause";
      pause.setAttribute("aria-pressed", String(session.isPaused));
      for (const button of [jsonl, csv]) button.disabled ||= session.records.isEmpty;
      status.textContent = session.source === null ? "Ready." : session.source;
    },
    onError: showError,
  });

  const known = (): Known => {
    const metres = eyes.valueAsNumber / 1000;
    const isKnown = metres >= MIN_INTERPUPILLARY_M && metres <= MAX_INTERPUPILLARY_M;
    return { fovDeg, interpupillaryM: isKnown ? metres : null };
  };
  const openFile = (chosen: File | undefined) => {
    showError(null);
    if (chosen) void session.openFile(chosen);
  };

  for (const control of [webcam, open]) control.disabled = false;
  webcam.addEventListener("click", () => {
    showError(null);
    if (session.isWebcam) session.close();
    else void session.openWebcam();
  });
  open.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    openFile(file.files?.[0]);
    file.value = ""; // the same file may be opened again
  });
  drop.addEventListener("dragover", (event) => event.preventDefault());
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    openFile(event.dataTransfer?.files[0]);
  });
  pause.addEventListener("click", () => session.togglePause());

  fov.addEventListener("input", () => {
    fovDeg = fov.valueAsNumber;
    fovReset.disabled = false;
    session.setKnown(known());
  });
  fovReset.addEventListener("click", () => {
    fovDeg = null;
    fovReset.disabled = true;
    session.setKnown(known());
  });
  eyes.addEventListener("input", () => session.setKnown(known()));
  for (const box of layerBoxes) {
    box.addEventListener("change", () => {
      layers = new Set(layerBoxes.filter(({ checked }) => checked).map(({ value }) => value as Layer));
      if (session.shown) draw(session.shown);
    });
  }

  const name = () => (session.source ?? "faces").replace(/\.[^.]*$/, "");
  snapshot.addEventListener("click", () => view.toBlob((blob) => blob && save(blob, `${name()}.png`)));
  jsonl.addEventListener("click", () => save(new Blob([session.records.jsonLines]), `${name()}.jsonl`));
  csv.addEventListener("click", () => save(new Blob([session.records.csv]), `${name()}.csv`));
  glb.addEventListener("click", async () => {
    if (session.shown) save(await toGlb(session.shown.faces), `${name()}.glb`);
  });
}

function save(content: Blob, name: string): void {
  const link = make("a", "", { download: name, href: URL.createObjectURL(content) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

void start();
