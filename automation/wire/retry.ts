import type { Clock } from "../core/clock";
import { clock as machine } from "../engine/clock";

/** How often, how long, and for what something is tried again. */
export interface Retry {
  /** The caller's: once it fires nothing is tried any more, and its reason is thrown. */
  signal: AbortSignal;
  /** Milliseconds for everything: all tries and the pauses between them. */
  deadlineMs: number;
  /** Tries in all, the first one counted. @default 3 */
  tries?: number | undefined;
  /** Whether the same may succeed a moment later. A number is the milliseconds that the other side asked to wait. */
  transient(thrown: unknown): boolean | number;
  /** What is thrown where the deadline came before any try had ended. @default a TimeoutError */
  late?: ((milliseconds: number) => Error) | undefined;
  /** @default the machine's own time */
  clock?: Clock | undefined;
  /** From 0 to 1. @default Math.random */
  random?: (() => number) | undefined;
}

/** Milliseconds before the second try at most; each later pause may be twice as long. */
const FIRST_PAUSE = 250;

/**
 * Tries until it succeeds, fails for good, or its time is over; then throws what the last try threw. Half of each
 * pause is fixed and half by chance, so that many who failed together don't come back together:
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("equal jitter"). A try that would
 * begin after the deadline is not waited for, and one that ignores its signal is left behind.
 */
export async function retry<T>(attempt: (signal: AbortSignal) => Promise<T>, options: Retry): Promise<T> {
  const { signal, deadlineMs, tries = 3, clock = machine, random = Math.random } = options;
  signal.throwIfAborted();
  const over = new AbortController();
  const done = new AbortController();
  const both = AbortSignal.any([signal, over.signal]);
  const end = clock.now() + deadlineMs;
  const late = options.late?.(deadlineMs) ?? timeout(deadlineMs);
  void clock.sleep(deadlineMs, done.signal).then(() => over.abort(late));
  let failed: { thrown: unknown } | undefined;
  try {
    for (let turn = 1; ; turn++) {
      try {
        return await unless(both, attempt(both));
      } catch (thrown) {
        signal.throwIfAborted();
        // The deadline says nothing new where a try before it said what is wrong.
        if (over.signal.aborted) throw failed ? failed.thrown : late;
        const again = turn < tries && options.transient(thrown);
        if (again === false) throw thrown;
        const pause = FIRST_PAUSE * 2 ** (turn - 1) * (0.5 + random() / 2);
        const wait = again === true ? pause : again + pause / 2;
        if (clock.now() + wait >= end) throw thrown;
        failed = { thrown };
        await clock.sleep(wait, both);
        signal.throwIfAborted();
      }
    }
  } finally {
    done.abort();
  }
}

/** Settles with the promise, or as soon as the signal fires. */
function unless<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

function timeout(milliseconds: number): Error {
  return new DOMException(`no answer within ${milliseconds} ms`, "TimeoutError");
}

/** Milliseconds that a `Retry-After` asks for: seconds or a date (RFC 9110, 10.2.3). `undefined`: it asks for none. */
export function retryAfter(header: string | null | undefined, now: number): number | undefined {
  const text = header?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const at = text === "" ? Number.NaN : Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
