/** The page in Chromium. */

import { readFileSync } from "node:fs";

import { AxeBuilder } from "@axe-core/playwright";

import { dataPath, readJson } from "../../packages/trg/test/data.ts";
import { download, expect, numberIn, openFile, test } from "./page.ts";

interface StoredPicture {
  readonly file: string;
  readonly camera: { readonly fx: number } | null;
  readonly faces: { readonly translation_m: number[]; readonly euler_deg: number[] }[];
  readonly record: { readonly faces: { readonly translation_m: number[] }[] };
}

const pictures = readJson<StoredPicture[]>("pictures.json");

/** Pictures whose camera the page has to assume, as Python did. */
const assumed = (count: number) =>
  pictures.find(({ camera, faces }) => camera === null && faces.length === count)!;

const ONE = assumed(1);
const TWO = assumed(2);
const pathOf = (picture: StoredPicture) => dataPath("pictures", picture.file);

/** FocalLengthIn35mmFilm, one 16-bit number, big-endian; the number follows. */
const FOCAL_35MM_TAG = Buffer.from([0xa4, 0x05, 0x00, 0x03, 0x00, 0x00, 0x00, 0x01]);

test("loads isolated, with threads", async ({ ready }) => {
  expect(await ready.evaluate(() => crossOriginIsolated)).toBe(true);
  await expect(ready.getByRole("button", { name: "Use the webcam" })).toBeEnabled();
});

test("shows the numbers of a picture, those of Python", async ({ ready }) => {
  await openFile(ready, pathOf(ONE), 1);
  const [face] = ONE.faces;
  expect(await numberIn(ready, 0, "yaw")).toBeCloseTo(face!.euler_deg[0]!, 0);
  expect(await numberIn(ready, 0, "distance")).toBeCloseTo(Math.hypot(...face!.translation_m), 2);
});

test("takes a dropped picture", async ({ ready }) => {
  const transfer = await ready.evaluateHandle((base64) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "face.png", { type: "image/png" }));
    return data;
  }, readFileSync(pathOf(ONE)).toString("base64"));
  await ready.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
  await expect(ready.locator("#view")).toHaveAttribute("aria-label", "face.png: 1 face");
});

test("shows two people", async ({ ready }) => {
  await openFile(ready, pathOf(TWO), 2);
  await expect(ready.locator("#announcement")).toContainText("2 faces");
});

test("a narrower field of view moves the head away", async ({ ready }) => {
  await openFile(ready, pathOf(ONE), 1);
  const before = await numberIn(ready, 0, "distance");
  const slider = ready.getByRole("slider", { name: "Horizontal field of view" });
  const degrees = Number(await slider.inputValue());
  await slider.fill(String(Math.round(degrees / 2)));
  await expect(ready.locator("#fov-value")).toContainText("set by you");
  await expect.poll(() => numberIn(ready, 0, "distance")).toBeGreaterThan(1.8 * before);
  await ready.getByRole("button", { name: "Forget the field of view" }).click();
  await expect.poll(() => numberIn(ready, 0, "distance")).toBeCloseTo(before, 2);
});

test("takes the focal length of a photo's EXIF", async ({ ready }) => {
  await openFile(ready, dataPath("photo.jpg"), 1);
  // 28 mm on film of 43.27 mm across are 518 px of a picture of 800 px across.
  await expect(ready.locator("#fov-value")).toHaveText("63°, from the photo's EXIF");
});

test("the distance at other fields of view holds for a telephoto lens", async ({ ready }) => {
  const photo = readFileSync(dataPath("photo.jpg"));
  const tag = photo.indexOf(FOCAL_35MM_TAG);
  expect(tag).toBeGreaterThan(0);
  photo.writeUInt16BE(400, tag + FOCAL_35MM_TAG.length);
  await ready.locator("#file").setInputFiles({ name: "far.jpg", mimeType: "image/jpeg", buffer: photo });
  await expect(ready.locator("#view")).toHaveAttribute("aria-label", "far.jpg: 1 face");
  await expect(ready.locator("#fov-note")).toHaveText(/about \d+\.\d\d m at 2° and \d+\.\d\d m at 15°/);
});

test("a known distance between the pupils sets the size", async ({ ready }) => {
  await openFile(ready, pathOf(ONE), 1);
  await ready.getByLabel("Distance between the pupils").fill("58");
  await expect.poll(() => numberIn(ready, 0, "eyes")).toBe(58);
  await ready.getByLabel("Distance between the pupils").fill("");
});

test("what is no picture gets a clear message, and the page goes on", async ({ ready }) => {
  await ready.locator("#file").setInputFiles(dataPath("pictures.json"));
  await expect(ready.getByRole("alert")).toHaveText(/pictures.json: expected a picture or clip/);
  await openFile(ready, pathOf(ONE), 1);
  await expect(ready.getByRole("alert")).toBeHidden();
});

test("downloads the records of the picture, those of Python", async ({ ready }) => {
  await openFile(ready, pathOf(ONE), 1);
  const json = await download(ready, "JSON Lines");
  expect(json.name).toBe(ONE.file.replace(".png", ".jsonl"));
  const record = JSON.parse(json.content.toString());
  expect(record.source).toBe(ONE.file);
  ONE.record.faces.forEach((face, i) => {
    face.translation_m.forEach((value, axis) => {
      expect(record.faces[i].translation_m[axis]).toBeCloseTo(value, 2);
    });
  });
  const csv = (await download(ready, "CSV")).content.toString().trimEnd().split("\n");
  expect(csv).toHaveLength(2);
  expect(csv[0]).toMatch(/^source,frame,time_s,.*,error$/);
  const glb = (await download(ready, "GLB mesh")).content;
  expect(glb.subarray(0, 4).toString()).toBe("glTF");
  expect(glb.readUInt32LE(8)).toBe(glb.length);
  const png = (await download(ready, "Snapshot")).content;
  expect(png.subarray(1, 4).toString()).toBe("PNG");
});

test("a denied webcam gets a clear message", async ({ ready }) => {
  await ready.getByRole("button", { name: "Use the webcam" }).click();
  await expect(ready.getByRole("alert")).toContainText("The webcam was not allowed");
});

test("follows the truth in a webcam's picture, pauses and stops", async ({ ready }) => {
  await ready.context().grantPermissions(["camera"]);
  await ready.getByRole("button", { name: "Use the webcam" }).click();
  await expect(ready.locator("#view")).toHaveAttribute("aria-label", "webcam: 1 face");
  // The clip turns from -30 to 30 degrees and begins again at its end.
  const [least, most] = await ready.evaluate(async () => {
    let [low, high] = [0, 0];
    const end = performance.now() + 90_000;
    while (performance.now() < end && !(low < -20 && high > 20)) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      const yaw = parseFloat(document.querySelector("td[data-name=yaw]")?.textContent ?? "0");
      [low, high] = [Math.min(low, yaw), Math.max(high, yaw)];
    }
    return [low, high] as const;
  });
  expect(most).toBeGreaterThan(20);
  expect(most).toBeLessThan(40);
  expect(least).toBeLessThan(-20);
  expect(least).toBeGreaterThan(-40);
  await ready.getByRole("button", { name: "Pause" }).click();
  await expect(ready.getByRole("button", { name: "Go on" })).toBeVisible();
  const records = (await download(ready, "JSON Lines")).content.toString().trimEnd().split("\n");
  expect(records.length).toBeGreaterThan(2);
  await ready.getByRole("button", { name: "Stop the webcam" }).click();
  await expect(ready.getByRole("button", { name: "Use the webcam" })).toBeVisible();
});

test("clicks before the webcam answers leave no webcam on", async ({ ready }) => {
  await ready.context().grantPermissions(["camera"]);
  await ready.evaluate(() => {
    const streams: MediaStream[] = ((window as never as { streams: MediaStream[] }).streams = []);
    const { mediaDevices } = navigator;
    const open = mediaDevices.getUserMedia.bind(mediaDevices);
    mediaDevices.getUserMedia = async (wanted) => {
      const stream = await open(wanted);
      streams.push(stream);
      return stream;
    };
    const button = document.querySelector<HTMLButtonElement>("#webcam")!;
    button.click();
    button.click();
  });
  await expect(ready.locator("#view")).toHaveAttribute("aria-label", /^webcam: /);
  await ready.getByRole("button", { name: "Stop the webcam" }).click();
  const states = await ready.evaluate(() =>
    (window as never as { streams: MediaStream[] }).streams
      .flatMap((stream) => stream.getTracks())
      .map(({ readyState }) => readyState),
  );
  expect(states).toEqual(["ended", "ended"]);
});

test("of two pictures that are opened at once the last is shown", async ({ ready }) => {
  await ready.evaluate(async () => {
    const canvas = new OffscreenCanvas(4000, 3000);
    canvas.getContext("2d")!.fillRect(0, 0, 4000, 3000);
    const blob = await canvas.convertToBlob();
    const drop = (content: BlobPart[], name: string) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(content, name, { type: "image/png" }));
      document.querySelector("#drop")!.dispatchEvent(new DragEvent("drop", { dataTransfer }));
    };
    const small = new OffscreenCanvas(32, 32);
    small.getContext("2d")!.fillRect(0, 0, 32, 32);
    const last = await small.convertToBlob();
    drop([blob], "large.png");
    drop(["no picture"], "bad.png");
    drop([last], "last.png");
  });
  await expect(ready.locator("#view")).toHaveAttribute("aria-label", "last.png: 0 faces");
  await ready.waitForTimeout(2000); // the large one would come now
  await expect(ready.locator("#view")).toHaveAttribute("aria-label", "last.png: 0 faces");
  await expect(ready.locator("#view")).toHaveAttribute("width", "32");
  await expect(ready.locator("#error")).toBeHidden();
});

test("tracks a clip to its end", async ({ ready }) => {
  await openFile(ready, dataPath("clip.webm"), 1);
  await expect(ready.getByRole("button", { name: "Pause" })).toBeDisabled({ timeout: 90_000 });
  const lines = (await download(ready, "JSON Lines")).content.toString().trimEnd().split("\n");
  const records = lines.map((line) => JSON.parse(line));
  expect(records.length).toBeGreaterThan(1);
  for (const { faces } of records) expect(faces.length).toBeLessThanOrEqual(1);
});

for (const [name, viewport] of [
  ["desktop", { width: 1280, height: 900 }],
  ["phone", { width: 390, height: 844 }],
] as const) {
  test(`is accessible and fits a ${name}`, async ({ ready }) => {
    await ready.setViewportSize(viewport);
    await openFile(ready, pathOf(TWO), 2);
    const { violations } = await new AxeBuilder({ page: ready }).analyze();
    const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    expect(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
    const width = await ready.evaluate(() => document.documentElement.scrollWidth);
    expect(width).toBeLessThanOrEqual(viewport.width);
    await ready.screenshot({ path: test.info().outputPath(`${name}.png`), fullPage: true });
  });
}

test("works by the keyboard alone", async ({ ready }) => {
  const chooser = ready.waitForEvent("filechooser"); // early: Chromium intercepts the dialog some time later
  await ready.locator("h1").click(); // the focus begins at the top
  await ready.keyboard.press("Tab");
  await expect(ready.getByRole("button", { name: "Use the webcam" })).toBeFocused();
  await ready.keyboard.press("Tab");
  await expect(ready.getByRole("button", { name: "Open a picture or clip" })).toBeFocused();
  await ready.keyboard.press("Enter");
  await (await chooser).setFiles(pathOf(ONE));
  await expect(ready.locator("table")).toHaveCount(1);
  await expect(ready.locator("#status")).toHaveText(ONE.file);
});
