import { BadConfig } from "../../components/errors";
import type { Evidence, Past, Tick } from "../core/model";
import type { Judge } from "../core/ports";
import { interval, roughlyLower } from "./bounds";
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
import { type Duration, seconds, within } from "./units";
import { figure, percent, time } from "./words";

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

export interface LatencyOptions {
  /** @default 0.99 */
  quantile?: number | undefined;
  /** The canary's quantile must not be this many times the baseline's. @default 2, or none where `max` is given alone */
  ratio?: number | undefined;
  /** Absolute limit of the quantile, with or without a baseline: `"500ms"`. @default none */
  max?: Duration | undefined;
  /** `ratio` never fails a quantile below this: some milliseconds more are noise of the machine. @default "25ms" */
  floor?: Duration | undefined;
  /** The canary's first requests are left out for that long: caches are cold. @default "30s" */
  warmUp?: Duration | undefined;
  /** Requests of the baseline in a tick that it takes to compare with it. @default 20 */
  minBaseline?: number | undefined;
  /** Slow requests that it takes to fail. @default 3 */
  minSlow?: number | undefined;
}

/**
 * What of `ratio` is tested: a test whose null is exactly twice can't find exactly twice. So a release that is twice
 * as slow is found, and one 1.3 times as slow is not rolled back.
 */
const MARGIN = 0.75;

interface Limits {
  q: number;
  ratio: number | undefined;
  max: number | undefined;
  floor: number;
  warmUp: number;
  minBaseline: number;
  minSlow: number;
  name: string;
}

/**
 * Judges a quantile of the latency: "P99 is at most M" is "at most 1 % of requests take longer than M", which the engine
 * of the error rate can judge. See automation/analysis/README.md.
 */
export function latency(options: LatencyOptions = {}): Judge<LatencyState> {
  const limits = limitsOf(options);
  const id = `latency-${limits.name.toLowerCase()}`;
  return {
    id,
    rule: ruleOf(limits),
    allows: 1 - limits.q,
    start: (past) => start(limits, past),
    update: (state, tick) => update(state, tick, limits),
    turn: ({ last: _, ...state }) => state,
    intervals: ({ fixed, ref, slow, requests }) => ({
      ...(fixed && { slow: interval(Math.min(slow.fixed, requests), requests) }),
      ...(ref !== undefined && { slowerThanRatio: interval(Math.min(slow.ratio, requests), requests) }),
    }),
    finding(state) {
      if (state.broken)
        return { judge: id, verdict: "error", reason: "the counts it was given are no numbers", figures: {} };
      const { requests, slow, ref } = state;
      if (state.alone && limits.max === undefined)
        return {
          judge: id,
          verdict: "pass",
          reason: "there is no latency of a baseline to compare with",
          figures: {},
        };
      const figures = {
        requests,
        ...(limits.max !== undefined && { limit: limits.max, slow: slow.fixed }),
        ...(ref !== undefined && { baselineSeconds: ref, slowerThanRatio: slow.ratio }),
      };
      return {
        judge: id,
        verdict: "running",
        reason: said(state, limits),
        figures,
        evidence: evidenceOf(state, limits),
      };
    },
  };
}

function limitsOf(options: LatencyOptions): Limits {
  const q = within("latency quantile", options.quantile ?? 0.99, 0, 1);
  if (q === 0 || q === 1) throw BadConfig("latency quantile", "it must lie between 0 and 1, as 0.99 does.");
  const max = options.max === undefined ? undefined : seconds("latency max", options.max);
  const ratio = options.ratio ?? (max === undefined ? 2 : undefined);
  return {
    q,
    // Tested is a part of it: less than 1.4 would fail a release that is no slower.
    ratio: ratio === undefined ? undefined : within("latency ratio", ratio, 1.4, 1000),
    max,
    floor: seconds("latency floor", options.floor ?? "25ms"),
    warmUp:
      options.warmUp === undefined
        ? 30
        : Number.parseFloat(options.warmUp) === 0
          ? 0
          : seconds("latency warmUp", options.warmUp),
    minBaseline: within("latency minBaseline", options.minBaseline ?? 20, 1, 1e9, true),
    minSlow: within("latency minSlow", options.minSlow ?? 3, 1, 1e6, true),
    name: `P${figure(q * 100)}`,
  };
}

function ruleOf({ name, ratio, max, floor }: Limits): string {
  const parts = [
    max !== undefined && `${name} is above ${time(max)}`,
    ratio !== undefined && `${name} is ${figure(ratio)} times the baseline's (never below ${time(floor)})`,
  ];
  return `rolls back on evidence that ${parts.filter(Boolean).join(" or ")}`;
}

function start({ max, ratio, q }: Limits, past: Past | undefined): LatencyState {
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

function update(state: LatencyState, tick: Tick, limits: Limits): LatencyState {
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
function slowness(ref: number, { ratio, floor }: Limits): number {
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
  next.abs = fed(next.abs!, { x, better, n, up, down: allowed }, next.phi);
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

function evidenceOf(state: LatencyState, limits: Limits): Evidence {
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

function said(state: LatencyState, limits: Limits): string {
  const { requests, slow, ref } = state;
  const { max, ratio, name } = limits;
  if (requests === 0 && ref === undefined && max === undefined)
    return "the baseline's latency is not known yet";
  if (requests === 0)
    return `no latency of the canary was seen yet, beside ${figure(limits.warmUp)} s to warm up`;
  const share = (count: number) =>
    `${percent(count / requests)} of ${figure(requests)} canary requests took longer than`;
  const fixed = max !== undefined && `${share(slow.fixed)} ${time(max)}`;
  const against =
    ratio !== undefined &&
    !state.alone &&
    (ref === undefined
      ? "the baseline's latency is not known yet"
      : `${share(slow.ratio)} ${time(slowness(ref, limits))}, where the baseline's ${name} is ${time(ref)}`);
  return `${[fixed, against].filter(Boolean).join("; ")}; ${percent(1 - limits.q)} may`;
}
