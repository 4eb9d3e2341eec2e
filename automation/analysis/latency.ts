import { BadConfig } from "../../components/errors";
import type { Judge } from "../core/ports";
import { interval } from "./bounds";
import { evidenceOf, type LatencyState, type Limits, MARGIN, slowness, start, update } from "./slow";
import { type Duration, seconds, within } from "./units";
import { figure, percent, time } from "./words";

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

export type { LatencyState } from "./slow";

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
      : `${share(slow.ratio)} ${time(slowness(ref, limits))} (${slowness(ref, limits) > limits.floor ? `${figure(MARGIN * ratio)} times the baseline's ${name}` : `the floor; the baseline's ${name}`}, ${time(ref)})`);
  return `${[fixed, against].filter(Boolean).join("; ")}, ${percent(1 - limits.q)} may`;
}
