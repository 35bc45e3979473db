import { defineConfig } from "@playwright/test";

import { dataPath } from "../packages/trg/test/data.ts";

const PORT = Number(process.env["TRG_WEB_PORT"] ?? 8766);

/** Where `trg web` serves the page. */
export const ORIGIN = `http://127.0.0.1:${PORT}/`;

/** The development server, which serves the package to the tests without a page. */
export const HARNESS_URL = `http://127.0.0.1:${PORT + 1}/test/harness.html`;

/** Chromium of the system, as packages of browsers are fetched from elsewhere. */
const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

const ARGUMENTS = [
  "--no-sandbox", // as root, in a container
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--use-fake-device-for-media-stream",
  `--use-file-for-fake-video-capture=${dataPath("clip.y4m")}`,
];

export default defineConfig({
  testDir: "test",
  outputDir: "test-results",
  workers: 1,
  timeout: 180_000,
  expect: { timeout: 60_000 },
  reporter: "list",
  use: {
    launchOptions: { executablePath, args: ARGUMENTS },
  },
  webServer: [
    {
      command: `${process.env["PYTHON"] ?? "python3"} -m trg web --port ${PORT}`,
      url: ORIGIN,
      timeout: 120_000,
    },
    {
      command: `npx vite --host 127.0.0.1 --port ${PORT + 1} --strictPort`,
      url: HARNESS_URL,
      timeout: 120_000,
    },
  ],
});
