import type { Evidence, Past, Tick } from "../core/model";
import { roughlyLower } from "./bounds";
import { plus, sameEdges } from "./counts";
import {
  against,
  fed,
  inFavour,
  isBelow,
  isSoundTick,
  meanOf,
  opened,
  restarted,
  type Stream,
  shown,
  startsAfter,
} from "./gate";
import { total } from "./quantile";
import { likelyAbove, maybeAbove, quantileBound, strictlyAbove, surelyAbove } from "./tail";

/** What `latency` remembers. */
export interface LatencyState {
  /** Against the limit. */
  fixed?: Stream;
  /** Against the baseline's quantile of before, and against the baseline of the same time. */
  abs?: Stream;
  rel?: Stream;
  seconds: number;
  starts: number;
  /** Seconds in which the canary had requests: the first ones are its warm-up. */
  warm: number;
  /** The baseline's latencies, until its quantile is known for sure. */
  gathered?: { edges: number[]; buckets: number[] };
  /** Upper bound of the baseline's quantile, seconds: frozen. */
  ref?: number;
  requests: number;
  /** Of those, slower than the limit, and than what the ratio allows. */
  slow: { fixed: number; ratio: number };
  last?: [canary: number, baseline: number];
  /** Nobody was ever there to compare with, neither before nor now. */
  alone: boolean;
  best: number;
  phi: number;
  broken?: true;
}

/**
 * What of `ratio` is tested: a test whose null is exactly twice can't find exactly twice. So a release that is twice
 * as slow is found, and one 1.3 times as slow is not rolled back.
 */
export const MARGIN = 0.75;
/**
 * What counts as no slower while the baseline itself is slower than it was: twice as slow would be far more of the
 * requests than that, and a day that makes both slower is no reason to stay.
 */
const ROOM = 1.5;

/** What a quantile is held to. */
export interface Limits {
  q: number;
  ratio: number | undefined;
  max: number | undefined;
  floor: number;
  warmUp: number;
  minBaseline: number;
  minSlow: number;
  name: string;
}

/** Nothing was seen yet. */
export function start({ max, ratio, q }: Limits, past: Past | undefined): LatencyState {
  const { edges = [], baseline } = past ?? {};
  const ref = baseline && quantileBound(q, edges, baseline.buckets);
  return {
    ...(max !== undefined && { fixed: opened() }),
    ...(ratio !== undefined && { abs: opened(), rel: opened(), ...(ref !== undefined && { ref }) }),
    seconds: 0,
    starts: 0,
    warm: 0,
    requests: 0,
    slow: { fixed: 0, ratio: 0 },
    alone: ref === undefined,
    best: 0,
    phi: past?.slow ?? 1,
  };
}

/** One tick more. */
export function update(state: LatencyState, tick: Tick, limits: Limits): LatencyState {
  const { canary, baseline, edges } = tick;
  if (!isSoundTick(tick)) return { ...state, broken: true };
  const due = startsAfter(state.seconds);
  const alone = state.alone && !baseline;
  const next: LatencyState = { ...state, seconds: state.seconds + tick.seconds, starts: due, alone };
  for (const name of ["fixed", "abs", "rel"] as const)
    if (state[name]) next[name] = restarted(state[name], state.starts, due);
  // No edges: the tick says nothing about latency.
  if (edges.length === 0) return next;
  if (state.abs && state.ref === undefined) learn(next, tick, limits);
  const n = total(canary.buckets);
  if (n > 0) next.warm = state.warm + tick.seconds;
  // What was seen before the quantile was known has been missed: it is a moment only.
  if (state.warm < limits.warmUp || n === 0) return next;
  if (!next.fixed && state.ref === undefined) return next;
  next.requests = state.requests + n;
  if (next.fixed) {
    const x = surelyAbove(limits.max!, edges, canary.buckets);
    const better = maybeAbove(limits.max!, edges, canary.buckets);
    next.fixed = fed(next.fixed, { x, better, n, up: 1 - limits.q }, state.phi);
    next.slow = { ...next.slow, fixed: next.slow.fixed + x };
  }
  if (next.abs && next.rel && state.ref !== undefined) compare(next, state.ref, tick, limits);
  // Most of the time nothing is new, and that is cheap to see.
  if (!isQuiet(next, state.best)) next.best = Math.max(state.best, ofAny(next));
  return next;
}

/** Gathers the baseline's latencies until the bound of its quantile is known. */
function learn(next: LatencyState, { edges, baseline }: Tick, { q }: Limits): void {
  if (!baseline) return;
  const { gathered } = next;
  const buckets =
    gathered && sameEdges(gathered.edges, edges)
      ? plus(gathered.buckets, baseline.buckets)
      : baseline.buckets;
  const ref = quantileBound(q, edges, buckets);
  if (ref === undefined) next.gathered = { edges, buckets };
  else {
    next.ref = ref;
    delete next.gathered;
  }
}

/** How slow a request must be to count against the ratio, seconds. */
export function slowness(ref: number, { ratio, floor }: Limits): number {
  return Math.max(MARGIN * ratio! * ref, floor);
}

function compare(
  next: LatencyState,
  ref: number,
  { canary, baseline, edges, moving }: Tick,
  limits: Limits,
): void {
  const allowed = 1 - limits.q;
  const n = total(canary.buckets);
  const nb = baseline ? total(baseline.buckets) : 0;
  const x = likelyAbove(slowness(ref, limits), edges, canary.buckets);
  const better = strictlyAbove(Math.max(limits.ratio! * ref, limits.floor), edges, canary.buckets);
  next.slow = { ...next.slow, ratio: next.slow.ratio + x };
  const split = shown(n, nb, next.last, limits.minBaseline);
  // While both are slow: see `errorRate`.
  const both = baseline && split ? likelyAbove(slowness(ref, limits), edges, baseline.buckets) : 0;
  const up = Math.max(allowed, roughlyLower(both, nb));
  const twice = baseline && split ? likelyAbove(limits.ratio! * ref, edges, baseline.buckets) : 0;
  const down = Math.max(allowed, ROOM * roughlyLower(twice, nb));
  next.abs = fed(next.abs!, { x, better, n, up, down }, next.phi);
  if (baseline && split) {
    const mine = likelyAbove(ref, edges, canary.buckets);
    const all = mine + likelyAbove(ref, edges, baseline.buckets);
    // Of all that are slower than the baseline was, the canary may have its share.
    next.rel = fed(next.rel!, { x: mine, n: all, up: split[0] / (split[0] + split[1]) }, next.phi);
    if (!moving) next.last = [n, nb];
  } else next.rel = fed(next.rel!, { x, better, n, up: allowed }, next.phi);
}

/** ln E against the release: for each question, and of several the mean, for any of them rolls back. */
function each({ fixed, abs, rel, starts }: LatencyState): number[] {
  return [
    ...(fixed ? [against(fixed, starts)] : []),
    ...(abs && rel ? [Math.min(against(abs, starts), against(rel, starts))] : []),
  ];
}

/** Whether ln E is surely not above `best`: the mean of what is below it is below it. */
function isQuiet({ fixed, abs, rel }: LatencyState, best: number): boolean {
  if (fixed && !isBelow(fixed, best)) return false;
  return !abs || !rel || isBelow(abs, best) || isBelow(rel, best);
}

function ofAny(state: LatencyState): number {
  return meanOf(...each(state));
}

/** How sure that makes. */
export function evidenceOf(state: LatencyState, limits: Limits): Evidence {
  const { fixed, abs, rel, ref, slow, requests } = state;
  const good = [
    ...(fixed ? [inFavour(fixed)] : []),
    ...(abs && rel && !state.alone ? [ref === undefined ? 0 : meanOf(inFavour(abs), inFavour(rel))] : []),
  ];
  const bad = Math.floor(Math.max(slow.fixed, slow.ratio) + 1e-9);
  return {
    against: ofAny(state),
    for: Math.min(...good),
    p: Math.exp(-Math.max(0, state.best)),
    bad,
    needed: limits.minSlow,
    sample: requests,
  };
}
