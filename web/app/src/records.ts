/** The records of a source as text, ready to be downloaded. */

import { CSV_HEADER, type FrameFaces, toCsvRows, toJsonLines } from "trg-headpose";

/** Ten minutes of a webcam; older frames are dropped. */
export const MOST_FRAMES = 18_000;

export class Records {
  #json: string[] = [];
  #rows: string[] = [];

  get isEmpty(): boolean {
    return this.#json.length === 0;
  }

  get jsonLines(): string {
    return this.#json.join("");
  }

  get csv(): string {
    return CSV_HEADER + this.#rows.join("");
  }

  add(found: FrameFaces): void {
    this.#json.push(toJsonLines([found]));
    this.#rows.push(toCsvRows([found]));
    if (this.#json.length > MOST_FRAMES) {
      this.#json.shift();
      this.#rows.shift();
    }
  }

  /** Replaces the records of a picture that was estimated again. */
  replace(found: FrameFaces): void {
    [this.#json, this.#rows] = [[], []];
    this.add(found);
  }
}
