import type { Instant } from "./model";

/** Time, so that a test can own it. */
export interface Clock {
  now(): Instant;
  /** Resolves after so many milliseconds, or at once when the signal fires. Never rejects. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}
