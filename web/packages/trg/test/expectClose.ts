import { expect } from "vitest";

/** Fails unless all numbers agree to an absolute tolerance, or a relative one above 1. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!) / Math.max(1, Math.abs(expected[i]!));
    expect(difference, `number ${i}: ${actual[i]}, expected ${expected[i]}`).toBeLessThanOrEqual(tolerance);
  }
}
