import type { Instant } from "../../automation/core/model";

export { chance } from "../../automation/analysis/chance";

/** Time that goes on only when everybody waits for it. */
export interface Timeline {
  now(): Instant;
  /** Does something so many milliseconds from now; the answer takes it back. */
  after(milliseconds: number, act: () => void): () => void;
  /** Lets time pass until the promise has settled. Throws where nothing is left that could settle it. */
  until<T>(promise: Promise<T>): Promise<T>;
  /** Lets so many milliseconds pass. */
  pass(milliseconds: number): Promise<void>;
}

/** Timers that may be fired before it is taken for an endless loop. */
const LIMIT = 200_000;

export function timeline(start: Instant): Timeline {
  let now = start;
  let count = 0;
  const timers: { at: Instant; order: number; act: () => void }[] = [];

  function after(milliseconds: number, act: () => void): () => void {
    const timer = { at: now + Math.max(0, milliseconds), order: count++, act };
    let at = timers.length;
    while (at > 0 && timers[at - 1]!.at <= timer.at) at--;
    // Latest first, so that the next one is at the end.
    timers.splice(at, 0, timer);
    return () => {
      const found = timers.indexOf(timer);
      if (found >= 0) timers.splice(found, 1);
    };
  }

  async function until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = () => {
      settled = true;
    };
    promise.then(mark, mark);
    for (let fired = 0; ; fired++) {
      // All that can happen without time passing happens first.
      await new Promise(setImmediate);
      if (settled) return promise;
      const next = timers.pop();
      if (!next) throw new Error("everybody waits, and nobody will ever wake them");
      if (fired > LIMIT) throw new Error("time passes and nothing comes to an end");
      now = next.at;
      next.act();
    }
  }

  return {
    now: () => now,
    after,
    until,
    pass: (milliseconds) => until(new Promise<void>((resolve) => void after(milliseconds, resolve))),
  };
}
