/** The package in Chromium gives Python's poses. */

import { readFileSync } from "node:fs";

import { type Page, expect, test } from "@playwright/test";
import { type CameraNumbers, type HeadPoseEstimator } from "trg-headpose";

import { type StoredFace, dataPath, readJson } from "../../packages/trg/test/data.ts";
import { differenceOf } from "../../packages/trg/test/difference.ts";
import { HARNESS_URL } from "../playwright.config.ts";

declare const estimator: HeadPoseEstimator;

const MOST_DEG = 0.1;
const MOST_RELATIVE = 0.002;

interface Found {
  readonly id: number | null;
  readonly rotation: number[];
  readonly translationM: [number, number, number];
}

async function openHarness(page: Page): Promise<void> {
  for (const folder of ["models", "pictures", "clip"]) {
    await page.route(`**/${folder}/*`, (route) => {
      const name = new URL(route.request().url()).pathname.split("/").pop()!;
      return route.fulfill({ body: readFileSync(dataPath(folder, name)) });
    });
  }
  await page.goto(HARNESS_URL);
  await expect(page).toHaveTitle("ready");
}

function expectSame(found: readonly Found[], expected: readonly StoredFace[], name: string): void {
  expect(found.map(({ id }) => id), name).toEqual(expected.map(({ id }) => id));
  found.forEach((face, i) => {
    const { angleDeg, relative } = differenceOf(face, expected[i]!);
    expect(angleDeg, name).toBeLessThan(MOST_DEG);
    expect(relative, name).toBeLessThan(MOST_RELATIVE);
  });
}

test("pictures show the same faces, within 0.1 degrees and 0.2 %", async ({ page }) => {
  await openHarness(page);
  const pictures = readJson<{ file: string; camera: CameraNumbers | null; faces: StoredFace[] }[]>(
    "pictures.json",
  );
  for (const { file, camera, faces } of pictures) {
    const found = await page.evaluate(
      async ([name, given]) => {
        const picture = await (await fetch(`/pictures/${name}`)).blob();
        const estimate = await estimator.estimate(picture, given ?? undefined);
        return estimate.faces.map(({ id, rotation, translationM }) => ({
          id, rotation: [...rotation], translationM: [...translationM],
        })) as Found[];
      },
      [file, camera] as const,
    );
    expectSame(found, faces, file);
  }
});

test("a tracked clip shows the same person, within 0.1 degrees and 0.2 %", async ({ page }) => {
  await openHarness(page);
  const { camera, frames } = readJson<{
    camera: CameraNumbers;
    frames: { time_s: number; faces: StoredFace[] }[];
  }>("clip.json");
  const found = await page.evaluate(
    async ([given, times]) => {
      const tracker = estimator.tracker();
      const all: Found[][] = [];
      for (const [index, timeS] of times.entries()) {
        const frame = await (await fetch(`/clip/${String(index).padStart(3, "0")}.png`)).blob();
        const { faces } = await tracker.track(frame, timeS, given);
        all.push(
          faces.map(({ id, rotation, translationM }) => ({
            id, rotation: [...rotation], translationM: [...translationM],
          })) as Found[],
        );
      }
      tracker.close();
      return all;
    },
    [camera, frames.map(({ time_s }) => time_s)] as const,
  );
  frames.forEach(({ faces }, index) => expectSame(found[index]!, faces, `frame ${index}`));
});
