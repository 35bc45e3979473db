// Send photos to `trg serve` and print the angles of each head: node client.mjs a.jpg b.jpg
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

const URL = "http://127.0.0.1:8000/v1/predict?fov=60";

async function predict(form) {
  for (;;) {
    const answer = await fetch(URL, { method: "POST", body: form }).catch((error) => {
      throw new Error(`${URL} does not answer (${error.cause?.code}); is \`trg serve\` running?`);
    });
    if (answer.status === 429) {
      const seconds = Number(answer.headers.get("retry-after"));
      await new Promise((done) => setTimeout(done, 1000 * seconds));
      continue;
    }
    const { records, error } = await answer.json();
    if (!records) throw new Error(error);
    return records;
  }
}

const form = new FormData();
for (const path of process.argv.slice(2)) {
  form.append("image", new Blob([await readFile(path)]), basename(path));
}
for (const { source, error, faces } of await predict(form)) {
  for (const face of faces ?? []) console.log(source, face.euler_deg, face.distance_m);
  if (error) console.error(source, error);
}
