import { setTimeout as wait } from "node:timers/promises";
import type { Clock } from "../core/clock";

/** The machine's own time. */
export const clock: Clock = {
  now: Date.now,
  async sleep(milliseconds, signal) {
    // An abort ends the sleep; it is not an error of the sleeper.
    await wait(milliseconds, undefined, signal ? { signal } : {}).catch(() => {});
  },
};
