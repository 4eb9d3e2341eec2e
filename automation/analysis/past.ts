import type { Counts, Past, Reading, Slot, Tick } from "../core/model";
import { add, tick } from "./counts";
import { quantile, total } from "./quantile";
import { likelyAbove } from "./tail";

/** Below this, errors are taken to be independent: chance alone makes some. */
const CLUMPED = 1.25;
/** Fewer seconds, or fewer readings, say nothing of clumps: 15 minutes less what a reading's time may be off. */
const LEAST_SECONDS = 840;
const LEAST_TICKS = 30;
/** Readings of two minutes: what lasts longer is no clump. */
const PART = 24;
/**
 * How much more than usual an incident may make of it. Errors that come in clumps all the time have at most 1.6 times
 * the dispersion that two minutes of them show; an outage of a minute would have hundreds.
 */
const INCIDENT = 2;

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
  if (seconds < LEAST_SECONDS || seen.length < LEAST_TICKS) return 1;
  const counts = seen.map((t) => ({ x: bad(t), n: of(t) }));
  const parts = Array.from({ length: Math.floor(counts.length / PART) }, (_, i) =>
    pearson(counts.slice(i * PART, (i + 1) * PART)),
  );
  const known = parts.filter((phi) => phi !== undefined).sort((a, b) => a - b);
  const usual = known[Math.floor(known.length / 2)] ?? 1;
  const phi = Math.min(pearson(counts) ?? 1, INCIDENT * Math.max(1, usual));
  return phi < CLUMPED ? 1 : phi;
}

/** Pearson's chi-squared over T - 1 of counts against their one rate; `undefined` where nothing, or all, was bad. */
function pearson(counts: readonly { x: number; n: number }[]): number | undefined {
  const n = counts.reduce((s, c) => s + c.n, 0);
  const rate = counts.reduce((s, c) => s + c.x, 0) / n;
  if (!(rate > 0 && rate < 1)) return undefined;
  const chi = counts.reduce((s, c) => s + (c.x - rate * c.n) ** 2 / (c.n * rate * (1 - rate)), 0);
  return chi / (counts.length - 1);
}
