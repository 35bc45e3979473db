/** Constants have Python's values. */

import { expect, test } from "vitest";

import { vectors } from "./data.ts";

test.each(Object.entries(vectors.constants))("those of %s", async (name, expected) => {
  const module = (await import(`../src/${name}.ts`)) as Record<string, unknown>;
  const actual = Object.fromEntries(Object.keys(expected).map((key) => [key, module[key]]));
  expect(actual).toEqual(expected);
});
