import { defineConfig } from "vite";

/** What lets a page share memory between the threads of the networks; `trg web` sends the same. */
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default defineConfig(({ command }) => ({
  base: "./", // any folder of any server
  publicDir: command === "serve" ? "public" : false, // models for `npx vite`; `trg web` adds its own
  build: {
    outDir: "../../src/trg/web_page",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000, // three.js
    license: { fileName: "licences.md" },
  },
  worker: { format: "es" },
  // onnxruntime-web's files are assets of the page, not parts of its code.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser"] },
  optimizeDeps: { exclude: ["onnxruntime-web", "trg-headpose"] },
  server: { headers },
  preview: { headers },
}));
