/** Resampling agrees with Pillow's. */

import { describe, expect, test } from "vitest";

import { Camera } from "../src/camera.ts";
import { resize, roundHalfEven } from "../src/image.ts";
import { VirtualCamera, cropFromVirtualCamera } from "../src/virtualCamera.ts";
import { expectClose } from "./expectClose.ts";
import { imageOf, rgbOf, vectors } from "./data.ts";

test.each(vectors.resized)("an image of $image.width px becomes $target px wide", (each) => {
  const image = imageOf(each.image);
  const whole = { left: 0, top: 0, right: image.width, bottom: image.height };
  const resized = resize(image, whole, ...each.target);
  expect(rgbOf(resized)).toEqual(rgbOf(imageOf(each.resized)));
});

describe("a crop", () => {
  test.each(vectors.crops)("of the box $box, rolled by $roll_deg, is Python's", (each) => {
    const camera = new Camera(each.camera);
    const virtual = VirtualCamera.ofBox(camera, each.box, each.roll_deg)!;
    const crop = cropFromVirtualCamera(imageOf(each.image), camera, virtual, each.crop.width)!;
    expectClose(crop.bboxInfo, each.bbox_info, 1e-9);
    const expected = rgbOf(imageOf(each.crop));
    const differences = expected.map((value, i) => Math.abs(value - crop.pixels[i]!));
    // Rounding to 8 bits may rarely fall to the other side.
    expect(Math.max(...differences)).toBeLessThanOrEqual(1);
    expect(differences.filter((each) => each > 0).length).toBeLessThan(0.01 * differences.length);
  });
});

test("halves are rounded to even numbers", () => {
  expect([0.5, 1.5, 2.5, 2.4, 2.6, -0.5].map(roundHalfEven)).toEqual([0, 2, 2, 2, 3, -0]);
});
