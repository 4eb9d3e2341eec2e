import type { Finding } from "../core/model";
import type { Judge } from "../core/ports";
import {
  about,
  begun,
  clock,
  gather,
  inside,
  type Look,
  limit,
  looks,
  many,
  measure,
  nameOf,
  type Open,
  said,
  shown,
} from "./scalar";
import { type Duration, type Share, seconds, within } from "./units";
import { time } from "./words";

/** What `threshold` and `metric` remember. */
export interface ThresholdState {
  /** Seconds since the last measurement. */
  elapsed: number;
  open: Open;
  /** Measurements that gave a number. */
  taken: number;
  failed: number;
  /** Measurements in a row that gave none. */
  errors: number;
  /** The last number. */
  last?: number | undefined;
  /** Whether that number was within the limits. */
  good: boolean;
}

export interface Timing {
  /** Between two measurements. @default "60s" */
  interval?: Duration | undefined;
  /** Measurements after which the judge is done. @default none: it measures as long as the rollout goes on */
  count?: number | undefined;
  /** Measurements over the limit that are put up with. @default 0 */
  failureLimit?: number | undefined;
  /** Measurements without data in a row that are put up with. @default 4 */
  consecutiveErrorLimit?: number | undefined;
}

export type ThresholdOptions = Timing &
  (
    | { of: "errors"; max: Share }
    | { of: "p99"; max: Duration }
    /** In the language of the source. */
    | { of: { query: string }; max: number }
  );

/**
 * The rule of Argo Rollouts, for those who want what they know: every `interval` one measurement, and more than
 * `failureLimit` of them over `max` fail the release.
 *
 * After `assessMetricStatus` and `runMeasurements` of argoproj/argo-rollouts, analysis/analysis.go: a measurement is
 * Successful, Failed or an Error; only the first two count; each of them ends a row of errors; failed > failureLimit is
 * looked at first, then consecutive errors > consecutiveErrorLimit (default 4), then whether `count` is reached, after
 * which nothing is measured any more. It goes on over the weights, as a background analysis does there.
 *
 * Three things differ. Argo measures at once and then every interval; this one first when an interval is over, for before
 * that there is nothing to measure (there: `initialDelay`). Too many errors end an analysis there and abort the rollout;
 * here they are the verdict `error`, which holds a release and never rolls it back, until there is data again. Without
 * `count` an analysis there runs until the rollout is over; here it passes while its last measurement gave a number and
 * not all of them failed.
 */
export function threshold(options: ThresholdOptions): Judge<ThresholdState> {
  const of = looks("threshold of", options.of, "errors", "p99");
  const max = limit("threshold max", of, options.max);
  return measuring({
    id: `threshold-${nameOf(of)}`,
    where: "threshold",
    of,
    min: undefined,
    max,
    timing: options,
    interval: "60s",
    failureLimit: 0,
    ends: true,
  });
}

/** What `measuring` needs to know. */
export interface Measuring {
  id: string;
  where: string;
  of: Look;
  min: number | undefined;
  max: number | undefined;
  timing: Timing;
  /** Default of `timing.interval`. */
  interval: Duration;
  /** Default of `timing.failureLimit`. */
  failureLimit: number;
  /** Whether it is done after `count` measurements, or only needs so many to pass and goes on. */
  ends: boolean;
}

/** A judge that takes a measurement every interval and counts those out of bounds. */
export function measuring(options: Measuring): Judge<ThresholdState> {
  const { id, where, of, min, max, timing, ends } = options;
  const interval = seconds(`${where} interval`, timing.interval ?? options.interval);
  const most = within(`${where} failureLimit`, timing.failureLimit ?? options.failureLimit, 0, 1e6, true);
  const errors = within(`${where} consecutiveErrorLimit`, timing.consecutiveErrorLimit ?? 4, 0, 1e6, true);
  const count = timing.count === undefined ? undefined : within(`${where} count`, timing.count, 1, 1e6, true);
  const rules: Rules = { id, of, min, max, interval, most, errors, count, ends };
  return {
    id,
    rule: `every ${time(interval)} one measurement of ${about(of)}: more than ${most} ${bounds(rules)} fail${
      count === undefined ? "" : `, ${count} are needed to pass`
    }`,
    ...(typeof of === "object" && { query: of.query }),
    start: () => ({ elapsed: 0, open: begun(), taken: 0, failed: 0, errors: 0, good: false }),
    update(state, tick) {
      if (ends && done(state, rules)) return state;
      const open = gather(state.open, tick, tick.canary, of);
      const { elapsed, due } = clock(state.elapsed, tick, interval);
      const next = { ...state, elapsed, open };
      return due ? taken(next, rules) : next;
    },
    finding: (state) => find(state, rules),
  };
}

interface Rules {
  id: string;
  of: Look;
  min: number | undefined;
  max: number | undefined;
  interval: number;
  most: number;
  errors: number;
  count: number | undefined;
  ends: boolean;
}

function done(state: ThresholdState, rules: Rules): boolean {
  return rules.count !== undefined && state.taken >= rules.count;
}

function taken(state: ThresholdState, { of, min, max }: Rules): ThresholdState {
  const measured = measure(state.open, of);
  const good = typeof measured === "object" ? inside(measured, min, max) : "unknown";
  if (typeof measured !== "object" || good === "unknown")
    return { ...state, open: begun(), errors: state.errors + 1 };
  return {
    elapsed: state.elapsed,
    open: begun(),
    taken: state.taken + 1,
    failed: state.failed + (good ? 0 : 1),
    errors: 0,
    last: measured.value,
    good,
  };
}

function find(state: ThresholdState, rules: Rules): Finding {
  const { of, most, count } = rules;
  const { taken, failed, errors, last } = state;
  const figures = {
    measurements: taken,
    failed,
    errors,
    ...(last !== undefined && { last }),
    ...(rules.min !== undefined && { min: rules.min }),
    ...(rules.max !== undefined && { max: rules.max }),
  };
  const say = (verdict: Finding["verdict"], reason: string): Finding => ({
    judge: rules.id,
    verdict,
    reason,
    figures,
  });
  const numbers =
    last === undefined
      ? "nothing has been measured yet"
      : `${said(of, last)}, ${limits(rules)}; ${failed} of ${many(taken, "measurement")} ${bounds(rules)}, ${most} allowed`;
  if (failed > most) return say("fail", numbers);
  if (rules.ends && done(state, rules)) return say("pass", numbers);
  if (state.open.broken) return say("error", `the counts it was given are no numbers; ${numbers}`);
  const gap = `${many(errors, "measurement")} in a row without data, ${rules.errors} allowed`;
  if (errors > rules.errors) return say("error", `${gap}; ${numbers}`);
  if (errors > 0) return say("running", `${gap}; ${numbers}`);
  if (taken < (count ?? 1))
    return say("running", `${numbers}; ${many(count ?? 1, "measurement")} needed to pass`);
  // A count that was reached passes whatever is put up with; without one there is no last word, and the last number counts.
  if (rules.ends ? failed < taken : state.good) return say("pass", numbers);
  return say("running", numbers);
}

function limits({ of, min, max }: Rules): string {
  if (min === undefined) return `limit ${shown(of, max ?? 0)}`;
  if (max === undefined) return `limit ${shown(of, min)} at least`;
  return `limits ${shown(of, min)} and ${shown(of, max)}`;
}

function bounds({ min, max }: Rules): string {
  if (min === undefined) return "over the limit";
  return max === undefined ? "under the limit" : "out of bounds";
}
