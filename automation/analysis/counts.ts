import { error } from "../../components/errors";
import type { Counts, Reading, Slot, Tick } from "../core/model";

export const BadReading = error("bad-reading", {
  message: (what: string) => `A metrics source gave something that can't be counted: ${what}.`,
  hint: () => "No verdict was made of it. Look at what the source serves, then run the same command again.",
});

/**
 * What happened between two readings, seen from the release; `undefined` is no evidence.
 * `baseline` is the other slot as long as traffic goes to it; leave it out at 100 % and in a first release. `weight`:
 * percent that the canary was to get.
 * Throws `bad-reading`.
 */
export function tick(
  before: Reading | undefined,
  after: Reading,
  canary: Slot,
  baseline: Slot | undefined,
  weight?: number,
): Tick | undefined {
  check(after);
  if (!before) return undefined;
  check(before);
  // Out of order or read twice: the difference would be evidence that never was.
  if (after.at <= before.at) return undefined;
  const same = sameEdges(before.edges, after.edges);
  const edges = same ? after.edges : [];
  const made = difference(before.slots[canary], after.slots[canary], same);
  if (!made) return undefined;
  const seconds = (after.at - before.at) / 1000;
  const result: Tick = {
    at: after.at,
    seconds,
    edges,
    canary: made,
    ...(weight !== undefined && { weight }),
  };
  // A baseline that is live but was not seen is one without requests, so that a judge waits for it.
  if (baseline)
    result.baseline =
      difference(before.slots[baseline], after.slots[baseline], same) ?? nothing(edges.length + 1);
  return result;
}

/** Two ticks as one. Where the edges differ, only the latencies of the later one stand. */
export function add(a: Tick, b: Tick): Tick {
  const [first, last] = a.at <= b.at ? [a, b] : [b, a];
  const edges = last.edges.length === 0 ? first.edges : last.edges;
  // A row under other edges can't be added: it counts as no latency evidence.
  const under = (tick: Tick, counts: Counts | undefined): Counts => {
    const none = nothing(edges.length + 1);
    return {
      ...none,
      ...counts,
      buckets: counts && sameEdges(tick.edges, edges) ? counts.buckets : none.buckets,
    };
  };
  const result: Tick = {
    at: last.at,
    seconds: first.seconds + last.seconds,
    edges,
    canary: sum(under(first, first.canary), under(last, last.canary)),
  };
  const weight = last.weight ?? first.weight;
  if (weight !== undefined) result.weight = weight;
  if (first.values || last.values) result.values = { ...first.values, ...last.values };
  if (first.baseline || last.baseline)
    result.baseline = sum(under(first, first.baseline), under(last, last.baseline));
  return result;
}

function sum(a: Counts, b: Counts): Counts {
  return {
    requests: a.requests + b.requests,
    errors: a.errors + b.errors,
    buckets: plus(a.buckets, b.buckets),
  };
}

/** Adds two rows of buckets, position by position. */
export function plus(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, i) => value + (b[i] ?? 0));
}

/** Whether two histograms can be compared bucket by bucket. */
export function sameEdges(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((edge, i) => edge === b[i]);
}

function nothing(buckets: number): Counts {
  return { requests: 0, errors: 0, buckets: new Array<number>(buckets).fill(0) };
}

function difference(
  before: Counts | undefined,
  after: Counts | undefined,
  same: boolean,
): Counts | undefined {
  // A slot that was not there before brings its whole past along, which is no evidence on this release.
  if (!before || !after) return undefined;
  // Buckets may be estimates, and one of those that falls is no process that began anew.
  const fell = after.requests < before.requests || after.errors < before.errors;
  // Counters of one process are reset together: taking one new and another as a difference would mix them.
  const from = fell ? nothing(after.buckets.length) : before;
  const requests = after.requests - from.requests;
  return {
    requests,
    // An error that is told later than its request was counted is no more than all of those that are told now.
    errors: Math.min(requests, after.errors - from.errors),
    buckets: same ? after.buckets.map((value, i) => Math.max(0, value - (from.buckets[i] ?? 0))) : [0],
  };
}

function check(reading: Reading): void {
  if (!Number.isFinite(reading.at)) throw BadReading(`its time is ${reading.at}`);
  reading.edges.forEach((edge, i) => {
    if (!Number.isFinite(edge) || edge <= (reading.edges[i - 1] ?? Number.NEGATIVE_INFINITY))
      throw BadReading("its latency buckets are not in ascending order");
  });
  for (const [slot, counts] of Object.entries(reading.slots)) {
    if (!counts) continue;
    if (counts.buckets.length !== reading.edges.length + 1)
      throw BadReading(
        `slot ${slot} has ${counts.buckets.length} latency buckets for ${reading.edges.length} edges`,
      );
    for (const value of [counts.requests, counts.errors, ...counts.buckets])
      if (!Number.isFinite(value) || value < 0) throw BadReading(`slot ${slot} has a count of ${value}`);
    if (counts.errors > counts.requests)
      throw BadReading(`slot ${slot} has ${counts.errors} errors in ${counts.requests} requests`);
  }
}
