/** Rotations, cameras and virtual cameras agree with Python's. */

import { describe, expect, test } from "vitest";

import { Camera } from "../src/camera.ts";
import {
  eulerDegFromRotation,
  quaternionFromRotation,
  rotationBetween,
  rotationFromRotvec,
  rotvecFromRotation,
} from "../src/rotations.ts";
import { VirtualCamera } from "../src/virtualCamera.ts";
import { expectClose } from "./expectClose.ts";
import { vectors } from "./data.ts";

test("rotations convert as in Python", () => {
  for (const each of vectors.rotations) {
    expectClose(eulerDegFromRotation(each.rotation), each.euler_deg, 1e-9);
    expectClose(quaternionFromRotation(each.rotation), each.quaternion, 1e-12);
    expectClose(rotvecFromRotation(each.rotation), each.rotvec, 1e-12);
    expectClose(rotationFromRotvec(rotvecFromRotation(each.rotation)), each.rotation, 1e-12);
    expectClose(rotationBetween(each.source, each.target), each.between, 1e-12);
  }
});

describe("a camera", () => {
  test.each(vectors.cameras)("of $fov_deg degrees agrees with Python's", (each) => {
    const { width, height } = each.camera;
    const camera = Camera.fromFov(each.fov_deg, width, height);
    expectClose([camera.fx, camera.cx, camera.cy], [each.camera.fx, each.camera.cx, each.camera.cy], 1e-9);
    expectClose([camera.fovDeg("diagonal")], [each.diagonal_deg], 1e-9);
    expectClose([Camera.assumed(width, height).fx], [each.assumed.fx], 1e-9);
    expectClose([camera.resize(2 * width, 2 * height).fx], [each.twice.fx], 1e-9);
    expectClose(camera.project(...each.point), each.pixel, 1e-9);
  });

  test("refuses numbers that no camera has", () => {
    expect(() => Camera.fromFov(180, 640, 480)).toThrow("expected 0 < degrees < 180, got 180");
    expect(() => Camera.ofFocalLength(NaN, 640, 480, "given")).toThrow("expected finite numbers");
    expect(() => Camera.resolve(480, 640, Camera.assumed(640, 480))).toThrow("another aspect ratio");
  });

  test("of a 35 mm equivalent focal length has film's diagonal angle", () => {
    const camera = Camera.resolve(4000, 3000, { focal35Mm: 43.2666 });
    expectClose([camera.fovDeg("diagonal")], [53.13], 1e-3);
    expect(camera.source).toBe("exif");
  });
});

test("virtual cameras look where Python's do", () => {
  for (const each of vectors.cameras) {
    const ofBox = VirtualCamera.ofBox(new Camera(each.camera), each.box, 30)!;
    expectClose([...ofBox.viewDirection, ofBox.sideRays], each.of_box, 1e-9);
    expectClose(ofBox.camFromVirtual, each.of_box_cam_from_virtual, 1e-12);
    const around = VirtualCamera.ofLandmarks(Float64Array.from(each.landmarks), -20);
    expectClose([...around.viewDirection, around.sideRays], each.of_landmarks, 1e-9);
  }
});

test("a box outside the image shows no face", () => {
  const camera = Camera.assumed(640, 480);
  expect(VirtualCamera.ofBox(camera, [-50, 0, -10, 40])).toBeNull();
  expect(VirtualCamera.ofBox(camera, [10, 10, 12, 12])).toBeNull();
});
