import { BadConfig } from "../../components/errors";
import type { Finding, Tick, VerdictKind } from "../core/model";
import type { Judge } from "../core/ports";
import { plus, sameEdges } from "./counts";
import { above, quantile, type Seen, total } from "./quantile";
import { type Duration, type Share, seconds, share, within } from "./units";

interface Tally {
  requests: number;
  errors: number;
}

/** What `errorRate` remembers: counts since the rollout began. */
export interface ErrorRateState {
  canary: Tally;
  baseline?: Tally | undefined;
}

export interface ErrorRateOptions {
  /** Share of requests that may fail: `"1%"` or `0.01`. */
  max: Share;
  /** Requests of the canary that it takes to pass. @default 100 */
  minRequests?: number | undefined;
  /** Errors that it takes to fail, so that one unlucky request is no verdict. @default 3 */
  minErrors?: number | undefined;
}

/** Fails a release of whose requests more than `max` end with 5xx or not at all. A plain threshold over counters. */
export function errorRate(options: ErrorRateOptions): Judge<ErrorRateState> {
  const max = share("errorRate max", options.max);
  const minRequests = within("errorRate minRequests", options.minRequests ?? 100, 1, 1e9, true);
  const minErrors = within("errorRate minErrors", options.minErrors ?? 3, 1, 1e6, true);
  const id = "error-rate";
  return {
    id,
    rule: `at most ${percent(max)} of requests may fail, judged on at least ${figure(minRequests)}`,
    start: () => ({ canary: { requests: 0, errors: 0 } }),
    update: (state, tick) => ({
      canary: tally(state.canary, tick.canary),
      ...(tick.baseline
        ? { baseline: tally(state.baseline ?? { requests: 0, errors: 0 }, tick.baseline) }
        : state.baseline && { baseline: state.baseline }),
    }),
    // Another weight is another question: what a good hour at 10 % says must not hide a bad minute at 100 %.
    turn: () => ({ canary: { requests: 0, errors: 0 } }),
    finding(state) {
      const { requests, errors } = state.canary;
      const figures = {
        requests,
        errors,
        limit: max,
        ...(state.baseline && {
          baselineRequests: state.baseline.requests,
          baselineErrors: state.baseline.errors,
        }),
      };
      if (!sound(figures)) return broken(id);
      const said = `canary ${rate(state.canary)}, limit ${percent(max)}${
        state.baseline ? `, baseline ${rate(state.baseline)}` : ""
      }`;
      const say = finder(id, figures);
      // Even if all the rest of the smallest sample were good, the limit would be exceeded: no need to wait.
      const sample = Math.max(requests, minRequests);
      // The margin is for binary fractions: 0.29 * 100 is less than 29.
      const over = errors - max * sample > 1e-9 * sample;
      if (over && errors >= minErrors) return say("fail", said);
      if (requests < minRequests)
        return say("running", `${said}; ${figure(minRequests)} requests are needed`);
      if (over) return say("running", `${said}; fewer than ${minErrors} errors are no verdict yet`);
      return say("pass", said);
    },
  };
}

/** What `latency` remembers: histograms since the rollout began, or since their edges changed. */
export interface LatencyState {
  edges: number[];
  canary: number[];
  baseline: number[];
  /** The baseline of the last sufficient traffic under other edges. */
  remembered?: { value: Seen; requests: number } | undefined;
  /** Whether the last tick had a baseline that may still gather traffic. */
  awaited: boolean;
}

export interface LatencyOptions {
  /** @default 0.99 */
  quantile?: number | undefined;
  /** The canary's quantile may be this many times the baseline's. @default 2 */
  ratio?: number | undefined;
  /** Absolute limit, with or without a baseline: `"500ms"`. @default none */
  max?: Duration | undefined;
  /** `ratio` never fails a quantile below this: some milliseconds more are noise of the machine. @default "25ms" */
  floor?: Duration | undefined;
  /** Requests per side that it takes to compare. @default 200 */
  minRequests?: number | undefined;
}

/** Fails a release whose quantile of latency is too far above the baseline's, or above `max`. */
export function latency(options: LatencyOptions = {}): Judge<LatencyState> {
  const q = within("latency quantile", options.quantile ?? 0.99, 0, 1);
  const ratio = within("latency ratio", options.ratio ?? 2, 1, 1000);
  const max = options.max === undefined ? undefined : seconds("latency max", options.max);
  const floor = seconds("latency floor", options.floor ?? "25ms");
  const minRequests = within("latency minRequests", options.minRequests ?? 200, 1, 1e9, true);
  if (q === 0 || q === 1) throw BadConfig("latency quantile", "it must lie between 0 and 1, as 0.99 does.");
  const name = `P${figure(q * 100)}`;
  const id = `latency-${name.toLowerCase()}`;
  const limits: Limits = { q, ratio, max, floor, minRequests, name };
  return {
    id,
    rule: `${name} may be at most ${figure(ratio)} times the baseline's (below ${time(floor)} it never fails)${
      max === undefined ? "" : ` and at most ${time(max)}`
    }, judged on at least ${figure(minRequests)} requests a side`,
    start: () => ({ edges: [], canary: [], baseline: [], awaited: false }),
    update: (state, tick) => gather(state, tick, limits),
    turn: (state) => turn(state, limits),
    finding: (state) => compare(id, state, limits),
  };
}

interface Limits {
  q: number;
  ratio: number;
  max: number | undefined;
  floor: number;
  minRequests: number;
  name: string;
}

function gather(state: LatencyState, tick: Tick, limits: Limits): LatencyState {
  const awaited = tick.baseline !== undefined;
  // No edges: the tick says nothing about latency.
  if (tick.edges.length === 0) return { ...state, awaited };
  const none = new Array<number>(tick.edges.length + 1).fill(0);
  const same = sameEdges(state.edges, tick.edges);
  const remembered = same ? state.remembered : (freeze(state, limits) ?? state.remembered);
  return {
    edges: tick.edges,
    canary: plus(same ? state.canary : none, tick.canary.buckets),
    baseline: plus(same ? state.baseline : none, tick.baseline?.buckets ?? none),
    awaited,
    ...(remembered && { remembered }),
  };
}

/** Another weight: the canary begins anew, and the baseline is remembered, for at 100 % there is none any more. */
function turn(state: LatencyState, limits: Limits): LatencyState {
  const none = new Array<number>(state.edges.length + 1).fill(0);
  const remembered = freeze(state, limits) ?? state.remembered;
  return {
    edges: state.edges,
    canary: none,
    baseline: none,
    awaited: false,
    ...(remembered && { remembered }),
  };
}

/** The baseline so far, if its traffic was enough to know its quantile. */
function freeze(state: LatencyState, limits: Limits): LatencyState["remembered"] {
  const requests = total(state.baseline);
  if (requests < limits.minRequests) return undefined;
  return { value: quantile(limits.q, state.edges, state.baseline), requests };
}

function compare(id: string, state: LatencyState, limits: Limits): Finding {
  const { max, ratio, floor, minRequests, name } = limits;
  const requests = total(state.canary);
  const base = freeze(state, limits) ?? state.remembered;
  const baselineRequests = total(state.baseline);
  if (!sound({ requests, baselineRequests, known: base?.value.seconds ?? 0 })) return broken(id);
  if (requests < minRequests)
    return finder(id, { requests, baselineRequests })(
      "running",
      `latency of ${figure(requests)} canary requests; ${figure(minRequests)} are needed`,
    );
  const mine = quantile(limits.q, state.edges, state.canary);
  const figures = {
    requests,
    seconds: mine.seconds,
    baselineRequests: base?.requests ?? baselineRequests,
    ...(base && { baselineSeconds: base.value.seconds }),
    ...(max !== undefined && { limit: max }),
  };
  const say = finder(id, figures);
  const said = `canary ${name} ${shown(mine)} of ${figure(requests)} requests`;
  if (max !== undefined && above(mine, max)) return say("fail", `${said}, limit ${time(max)}`);
  if (max !== undefined && mine.beyond)
    return say("running", `${said}, too far up to be compared with the limit ${time(max)}`);
  if (!base) {
    if (state.awaited || baselineRequests > 0)
      return say(
        "running",
        `${said}; the baseline has ${figure(baselineRequests)} requests, ${figure(minRequests)} are needed`,
      );
    return say(
      "pass",
      max === undefined ? `${said}; there was no baseline to compare with` : `${said}, limit ${time(max)}`,
    );
  }
  const against = `${said}, baseline ${shown(base.value)} of ${figure(base.requests)}`;
  const allowed = Math.max(ratio * base.value.seconds, floor);
  if (base.value.beyond)
    return mine.beyond
      ? say("running", `${against}: both too far up to be compared`)
      : say("pass", `${against}, limit ${figure(ratio)} times that`);
  if (above(mine, allowed)) return say("fail", `${against}, limit ${figure(ratio)} times that`);
  if (mine.beyond) return say("running", `${against}: too far up to be compared`);
  return say("pass", `${against}, limit ${figure(ratio)} times that`);
}

function tally(a: Tally, b: Tally): Tally {
  return { requests: a.requests + b.requests, errors: a.errors + b.errors };
}

function sound(figures: Record<string, number | undefined>): boolean {
  return Object.values(figures).every((value) => Number.isFinite(value) && (value ?? -1) >= 0);
}

function broken(judge: string): Finding {
  return { judge, verdict: "error", reason: "the counts it was given are no numbers", figures: {} };
}

function finder(judge: string, figures: Record<string, number>) {
  return (verdict: VerdictKind, reason: string): Finding => ({ judge, verdict, reason, figures });
}

function rate({ requests, errors }: Tally): string {
  if (requests === 0) return "had no requests";
  return `${percent(errors / requests)} of ${figure(requests)} requests failed`;
}

function shown(value: Seen): string {
  return value.beyond ? `above ${time(value.seconds)}` : time(value.seconds);
}

function figure(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 2 });
}

function percent(value: number): string {
  return `${figure(value * 100)} %`;
}

function time(value: number): string {
  return value < 1 ? `${figure(value * 1000)} ms` : `${figure(value)} s`;
}
