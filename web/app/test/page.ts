/** The page under test, which may speak to its own origin only and must not log errors. */

import { readFileSync } from "node:fs";

import { type Page, expect, test as base } from "@playwright/test";

import { ORIGIN } from "../playwright.config.ts";

interface Visit {
  readonly page: Page;
  /** Requests to other origins and errors since the page was opened. */
  readonly problems: string[];
}

/** One page for all tests that succeed: its networks take long to load. */
export const test = base.extend<{ ready: Page }, { visit: Visit }>({
  visit: [
    async ({ browser }, use) => {
      const page = await (await browser.newContext()).newPage();
      const problems: string[] = [];
      page.on("request", (request) => {
        const url = request.url();
        if (!/^(blob|data):/.test(url) && !url.startsWith(ORIGIN)) problems.push(`request to ${url}`);
      });
      page.on("console", (message) => {
        if (message.type() === "error") problems.push(`console: ${message.text()}`);
      });
      page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
      await page.goto(ORIGIN);
      await expect(page.locator("#status")).toHaveText("Ready.");
      await use({ page, problems });
      await page.context().close();
    },
    { scope: "worker", timeout: 300_000 },
  ],
  ready: async ({ visit }, use) => {
    await use(visit.page);
    expect(visit.problems).toEqual([]);
  },
});

export { expect };

/** Chooses a file as a user does, and waits for its faces. */
export async function openFile(page: Page, path: string, faces: number): Promise<void> {
  await page.locator("#file").setInputFiles(path);
  await expect(page.locator("#view")).toHaveAttribute("aria-label", labelOf(path, faces));
  await expect(page.locator("table")).toHaveCount(faces);
}

function labelOf(path: string, faces: number): RegExp {
  return new RegExp(`${path.split("/").pop()}: ${faces} face`);
}

/** A number of a face's table. */
export async function numberIn(page: Page, person: number, name: string): Promise<number> {
  const cell = page.locator(`table[data-person="${person}"] td[data-name="${name}"]`);
  return parseFloat((await cell.textContent())!);
}

/** What a button downloads. */
export async function download(page: Page, button: string): Promise<{ name: string; content: Buffer }> {
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: button }).click(),
  ]);
  return { name: file.suggestedFilename(), content: readFileSync(await file.path()) };
}
