import fc from "fast-check";
import type { Counts, Reading, Slot, Tick } from "../../automation/core/model";

export const EDGES = [0.01, 0.05, 0.1, 0.5, 1];

/** Counts with latencies given as how many requests fall into each bucket. */
export function counts(requests: number, errors = 0, buckets?: number[]): Counts {
  return { requests, errors, buckets: buckets ?? [requests, 0, 0, 0, 0, 0] };
}

export function reading(at: number, slots: Partial<Record<Slot, Counts>>, edges = EDGES): Reading {
  return { at, edges, slots };
}

export function tickOf(canary: Counts, baseline?: Counts, edges = EDGES): Tick {
  return { at: 5000, seconds: 5, edges, canary, ...(baseline && { baseline }) };
}

/** Counts whose errors are at most its requests, and whose buckets sum to them. */
export const anyCounts: fc.Arbitrary<Counts> = fc
  .array(fc.nat({ max: 60 }), { minLength: EDGES.length + 1, maxLength: EDGES.length + 1 })
  .chain((buckets) => {
    const requests = buckets.reduce((a, b) => a + b, 0);
    return fc.nat({ max: requests }).map((errors) => ({ requests, errors, buckets }));
  });

export const anyTick: fc.Arbitrary<Tick> = fc
  .record({ canary: anyCounts, baseline: anyCounts })
  .map(({ canary, baseline }) => tickOf(canary, baseline));
