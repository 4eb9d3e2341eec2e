import { BadConfig } from "../../components/errors";
import type { Evidence, Past, Tick } from "../core/model";
import type { Judge } from "../core/ports";
import { interval, lower, roughlyLower, upper } from "./bounds";
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
import { type Share, share, within } from "./units";
import { figure, percent } from "./words";

interface Tally {
  requests: number;
  errors: number;
}

/** What `errorRate` remembers: the evidence, and the counts it tells of. */
export interface ErrorRateState {
  /** Against the limit. */
  abs?: Stream;
  /** Against the baseline. */
  rel?: Stream;
  /** Seconds seen, and starts of the mixture that were made. */
  seconds: number;
  starts: number;
  canary: Tally;
  /** The baseline of all ticks with enough of it, that of the time before included. */
  baseline: Tally;
  /** Requests of the last tick of this weight: the split, where a tick is too short to show it. */
  last?: [canary: number, baseline: number];
  /** Bounds of the baseline's rate since there is too little of it to compare with. */
  frozen?: [low: number, high: number];
  /** Highest ln E against the release so far. */
  best: number;
  phi: number;
  /** Nobody was ever there to compare with, neither before nor now. */
  alone: boolean;
  /** Something was no count. */
  broken?: true;
}

export interface ErrorRateOptions {
  /** Share of requests that may fail: `"1%"` or `0.01`. @default no limit of its own */
  max?: Share | undefined;
  /** The rate may be this many times the baseline's. @default it is not compared */
  worseThan?: number | undefined;
  /**
   * With both: whether a release must break both of them to fail, which keeps a baseline that is bad itself from
   * failing it, or either. @default "both"
   */
  when?: "both" | "either" | undefined;
  /** Requests of the baseline in a tick that it takes to compare with it. @default 20 */
  minBaseline?: number | undefined;
  /** Errors that it takes to fail, so that one unlucky request is no verdict. @default 3 */
  minErrors?: number | undefined;
}

interface Limits {
  max: number | undefined;
  rho: number | undefined;
  when: "both" | "either";
  minBaseline: number;
}

/**
 * Judges the share of requests that end with 5xx, or not at all, as surely as the evidence allows and no surer: an
 * e-process per question, carried over the weights. See automation/analysis/README.md.
 */
export function errorRate(options: ErrorRateOptions): Judge<ErrorRateState> {
  const limits = limitsOf(options);
  const minErrors = within("errorRate minErrors", options.minErrors ?? 3, 1, 1e6, true);
  const id = "error-rate";
  return {
    id,
    rule: ruleOf(limits),
    allows: limits.max,
    start: (past) => start(limits, past),
    update: (state, tick) => update(state, tick, limits),
    // Another weight: the split is another one. The evidence is carried over.
    turn: ({ last: _, ...state }) => state,
    intervals: ({ canary, baseline }) => ({
      canary: interval(canary.errors, canary.requests),
      ...(baseline.requests > 0 && { baseline: interval(baseline.errors, baseline.requests) }),
    }),
    finding(state) {
      const { canary, baseline } = state;
      const figures = {
        requests: canary.requests,
        errors: canary.errors,
        ...(limits.max !== undefined && { limit: limits.max }),
        ...(baseline.requests > 0 && {
          baselineRequests: baseline.requests,
          baselineErrors: baseline.errors,
        }),
      };
      if (state.broken)
        return { judge: id, verdict: "error", reason: "the counts it was given are no numbers", figures: {} };
      if (state.alone && limits.max === undefined)
        return { judge: id, verdict: "pass", reason: "there is no baseline to compare with", figures };
      const evidence = evidenceOf(state, limits, minErrors);
      return { judge: id, verdict: "running", reason: said(state, limits), figures, evidence };
    },
  };
}

function limitsOf(options: ErrorRateOptions): Limits {
  const { max, worseThan, when = "both" } = options;
  if (max === undefined && worseThan === undefined)
    throw BadConfig("errorRate", 'give `max: "1%"`, `worseThan: 1.5`, or both.');
  if (when !== "both" && when !== "either")
    throw BadConfig("errorRate when", `${JSON.stringify(when)} is neither "both" nor "either".`);
  const limit = max === undefined ? undefined : share("errorRate max", max);
  if (limit === 0 || limit === 1)
    throw BadConfig(
      "errorRate max",
      `${JSON.stringify(max)} must lie between 0 % and 100 %: nobody can be that sure.`,
    );
  return {
    max: limit,
    rho: worseThan === undefined ? undefined : within("errorRate worseThan", worseThan, 1, 1000),
    when,
    minBaseline: within("errorRate minBaseline", options.minBaseline ?? 20, 1, 1e9, true),
  };
}

function ruleOf({ max, rho, when }: Limits): string {
  const limit = max !== undefined && `more than ${percent(max)} of requests fail`;
  const ratio = rho !== undefined && `more than ${figure(rho)} times the baseline's share fail`;
  const both = when === "both" ? " and " : " or ";
  return `rolls back on evidence that ${[limit, ratio].filter(Boolean).join(both)}`;
}

function start({ max, rho }: Limits, past: Past | undefined): ErrorRateState {
  const { requests, errors } = past?.baseline ?? { requests: 0, errors: 0 };
  return {
    ...(max !== undefined && { abs: opened() }),
    ...(rho !== undefined && { rel: opened() }),
    seconds: 0,
    starts: 0,
    canary: { requests: 0, errors: 0 },
    baseline: { requests, errors },
    best: 0,
    phi: past?.phi ?? 1,
    alone: requests === 0,
  };
}

function update(state: ErrorRateState, tick: Tick, limits: Limits): ErrorRateState {
  const { canary, baseline = { requests: 0, errors: 0 } } = tick;
  if (!isSoundTick(tick)) return { ...state, broken: true };
  const due = startsAfter(state.seconds);
  const alone = state.alone && !tick.baseline;
  const next: ErrorRateState = { ...state, seconds: state.seconds + tick.seconds, starts: due, alone };
  // A tick is compared with the baseline of its own time: what harms both harms neither.
  const split = shown(canary.requests, baseline.requests, state.last, limits.minBaseline);
  if (baseline.requests > 0) next.baseline = sum(state.baseline, baseline);
  if (split) {
    if (!tick.moving) next.last = [canary.requests, baseline.requests];
    if (next.frozen) delete next.frozen;
  } else if (next.baseline.requests >= limits.minBaseline && (!next.frozen || baseline.requests > 0))
    next.frozen = bounds(next.baseline);
  next.canary = sum(state.canary, canary);
  const { phi } = state;
  const { x, n } = { x: canary.errors, n: canary.requests };
  if (state.abs) {
    const up = split ? meanwhile(baseline, limits) : limits.max!;
    next.abs = fed(restarted(state.abs, state.starts, due), { x, n, up, down: limits.max }, phi);
  }
  if (state.rel) {
    const rel = restarted(state.rel, state.starts, due);
    next.rel = split
      ? fed(rel, { x, n: x + baseline.errors, up: odds(...split, limits.rho!) }, phi)
      : fed(rel, { x, n, ...lonely(next.frozen, limits) }, phi);
  }
  // Most of the time nothing is new, and that is cheap to see.
  const quiet = limits.when === "both" ? some(next, state.best) : false;
  if (!quiet) next.best = Math.max(state.best, ofBoth(next, limits));
  return next;
}

function some({ abs, rel }: ErrorRateState, best: number): boolean {
  return (abs !== undefined && isBelow(abs, best)) || (rel !== undefined && isBelow(rel, best));
}

/**
 * The limit while something harms both: evidence against the limit from then must not meet evidence against the ratio
 * from another time, when the limit was kept. As valid, for nothing below the limit is ever asked for.
 */
function meanwhile({ requests, errors }: Tally, { max, rho, when }: Limits): number {
  if (rho === undefined || when !== "both") return max!;
  return Math.max(max!, rho * roughlyLower(errors, requests));
}

/** Share of all errors that the canary may have, where its rate may be `rho` times the baseline's. */
function odds(canary: number, baseline: number, rho: number): number {
  return (canary * rho) / (canary * rho + baseline);
}

/**
 * With no baseline beside it the canary is held against what the baseline was, seen generously when it is about to
 * fail and strictly when it is about to pass; against the limit alone where there never was one.
 */
function lonely(frozen: ErrorRateState["frozen"], { max, rho, when }: Limits): { up: number; down: number } {
  const [low, high] = frozen ?? [0, 0];
  // A theta0 of 0 says nothing.
  if (max === undefined || when === "either") return { up: rho! * high, down: rho! * low };
  return { up: Math.max(max, rho! * high), down: Math.max(max, rho! * low) };
}

function bounds({ requests, errors }: Tally): [number, number] {
  return [lower(errors, requests), upper(errors, requests)];
}

/** ln E against the release. A release that must break both is as bad as the weaker proof says. */
function ofBoth({ abs, rel, starts, alone }: ErrorRateState, { when }: Limits): number {
  if (!abs || !rel || alone) return against((abs ?? rel)!, starts);
  const [a, r] = [against(abs, starts), against(rel, starts)];
  return when === "both" ? Math.min(a, r) : meanOf(a, r);
}

function evidenceOf(state: ErrorRateState, limits: Limits, minErrors: number): Evidence {
  const { abs, rel, canary, alone } = state;
  // Without a baseline ever there is the limit alone.
  const good = [abs, alone && abs ? undefined : rel].flatMap((s) => (s ? [inFavour(s)] : []));
  return {
    against: ofBoth(state, limits),
    for: limits.when === "both" ? meanOf(...good) : Math.min(...good),
    p: Math.exp(-Math.max(0, state.best)),
    bad: canary.errors,
    needed: minErrors,
    sample: canary.requests,
  };
}

function said({ canary, baseline, frozen }: ErrorRateState, { max, rho }: Limits): string {
  const limit = max === undefined ? "" : `, limit ${percent(max)}`;
  const times = rho === undefined ? "" : `, ${figure(rho)} times that allowed`;
  const of = baseline.requests > 0 ? `, baseline ${frozen ? "was " : ""}${rate(baseline)}${times}` : "";
  return `canary ${rate(canary)}${limit}${of}`;
}

function sum(a: Tally, b: Tally): Tally {
  return { requests: a.requests + b.requests, errors: a.errors + b.errors };
}

function rate({ requests, errors }: Tally): string {
  if (requests === 0) return "had no requests";
  return `${percent(errors / requests)} of ${figure(requests)} requests failed`;
}
