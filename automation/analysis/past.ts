import type { Counts, Past, Reading, Slot, Tick } from "../core/model";
import { add, tick } from "./counts";
import { quantile, total } from "./quantile";
import { likelyAbove } from "./tail";

/** Below this, errors are taken to be independent: chance alone makes some. */
const CLUMPED = 1.25;
/** Fewer seconds, or fewer readings, say nothing of clumps: 15 minutes less what a reading's time may be off. */
const LEAST_SECONDS = 600;
const LEAST_TICKS = 30;

/** What readings of the time before a canary say of the slot that was live. `undefined`: nothing. Throws `bad-reading`. */
export function past(readings: readonly Reading[], slot: Slot): Past | undefined {
  const ticks: Tick[] = [];
  let before: Reading | undefined;
  for (const reading of readings) {
    const made = tick(before, reading, slot, undefined);
    if (made) ticks.push(made);
    // One that is out of order tells of a time that was counted already.
    if (!before || reading.at > before.at) before = reading;
  }
  const [first, ...rest] = ticks;
  if (!first) return undefined;
  const all = rest.reduce(add, first);
  if (all.canary.requests === 0) return undefined;
  const slow = (t: Tick) => (all.edges.length > 0 ? tailOf(t, all) : 0);
  return {
    at: all.at,
    seconds: all.seconds,
    edges: all.edges,
    baseline: all.canary,
    phi: dispersion(ticks, all.seconds, (t) => t.canary.errors, requests),
    slow: dispersion(ticks, all.seconds, slow, latencies),
  };
}

const requests = ({ canary }: Tick) => canary.requests;
const latencies = ({ canary }: Tick) => total(canary.buckets);

/** Requests above the quantile of the whole time. */
function tailOf(t: Tick, { edges, canary }: { edges: readonly number[]; canary: Counts }): number {
  const { seconds, beyond } = quantile(0.99, edges, canary.buckets);
  return beyond ? 0 : likelyAbove(seconds, t.edges, t.canary.buckets);
}

/**
 * Over-dispersion: Pearson's chi-squared of the counts against one rate, over T - 1. Retries come in storms, and what
 * comes in storms is less evidence than its number says. McCullagh & Nelder, "Generalized Linear Models", section 4.5.
 */
function dispersion(
  ticks: readonly Tick[],
  seconds: number,
  bad: (t: Tick) => number,
  of: (t: Tick) => number,
): number {
  const seen = ticks.filter((t) => of(t) > 0);
  const sum = seen.reduce((s, t) => s + of(t), 0);
  const rate = seen.reduce((s, t) => s + bad(t), 0) / sum;
  if (seconds < LEAST_SECONDS || seen.length < LEAST_TICKS || !(rate > 0 && rate < 1)) return 1;
  const chi = seen.reduce((s, t) => s + (bad(t) - rate * of(t)) ** 2 / (of(t) * rate * (1 - rate)), 0);
  const phi = chi / (seen.length - 1);
  return phi < CLUMPED ? 1 : phi;
}
