import type { Slot } from "../handle";
import type { Metrics } from "./metrics";
import { Stopping } from "./service";

/** Waits for the errors of a slot, each until it has an answer: no listener outlives who waits. */
export interface Watch {
  /**
   * Resolves once the slot has more errors than `after`, or fewer, since it counts from 0 again; at the latest after
   * so many seconds, or when the signal fires. Throws `supervisor-stopping`.
   */
  wait(service: string, slot: Slot, after: number, seconds: number, signal: AbortSignal): Promise<void>;
  /** Ends the waits for a service that is gone. */
  end(service: string): void;
  /** Ends all waits, of now and from now on: the next supervisor takes them. */
  close(): void;
  /** How many wait. */
  waiting(): number;
}

interface Wait {
  slot: Slot;
  look(): void;
  end(): void;
}

/** Makes the watch over what the metrics count. */
export function createWatch(metrics: Metrics): Watch {
  const waits = new Map<string, Set<Wait>>();
  let closed = false;
  metrics.onError((service, slot) => {
    for (const wait of waits.get(service) ?? []) if (wait.slot === slot) wait.look();
  });
  const end = (service: string): void => {
    for (const wait of waits.get(service) ?? []) wait.end();
  };

  return {
    async wait(service, slot, after, seconds, signal) {
      if (closed) throw Stopping(service);
      await new Promise<void>((resolve) => {
        const mine = waits.get(service) ?? new Set<Wait>();
        waits.set(service, mine);
        const wait: Wait = {
          slot,
          look() {
            // A slot that the metrics don't name has no counts that could have fallen.
            const errors = metrics.read(service, slot)?.errors ?? after;
            if (errors !== after || signal.aborted) wait.end();
          },
          end() {
            clearTimeout(timer);
            signal.removeEventListener("abort", wait.end);
            mine.delete(wait);
            if (mine.size === 0 && waits.get(service) === mine) waits.delete(service);
            resolve();
          },
        };
        const timer = setTimeout(wait.end, seconds * 1000);
        signal.addEventListener("abort", wait.end);
        mine.add(wait);
        wait.look();
      });
      if (closed) throw Stopping(service);
    },
    end,
    close() {
      closed = true;
      for (const service of [...waits.keys()]) end(service);
    },
    waiting: () => [...waits.values()].reduce((sum, { size }) => sum + size, 0),
  };
}
