/** Milliseconds per stage of an estimate. */

export const STAGES = ["pixels", "detector", "crop", "network", "total"] as const;
export type Stage = (typeof STAGES)[number];
export type StageTimes = Readonly<Record<Stage, number>>;

export class Stopwatch {
  #ms = this.#zero();

  time<T>(stage: Stage, work: () => T): T {
    const start = performance.now();
    const result = work();
    this.#ms[stage] += performance.now() - start;
    return result;
  }

  async timeAsync<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await work();
    this.#ms[stage] += performance.now() - start;
    return result;
  }

  /** The times since the last call. */
  lap(): StageTimes {
    const times = this.#ms;
    this.#ms = this.#zero();
    return times;
  }

  #zero(): Record<Stage, number> {
    return { pixels: 0, detector: 0, crop: 0, network: 0, total: 0 };
  }
}
