import { BadConfig } from "../../components/errors";
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

/** What `thresholdRange` remembers. */
export interface RangeState {
  /** Seconds since the last look. */
  elapsed: number;
  open: Open;
  checks: number;
  /** Over the whole rollout: a good check takes none back. */
  failed: number;
  /** How the last check at this weight went. @default there was none */
  last?: "good" | "bad" | undefined;
  /** What the last check saw. @default nothing */
  value?: number | undefined;
  /** A look found the threshold reached. */
  over: boolean;
}

interface Checks {
  /** Between two checks. @default "60s" */
  interval?: Duration | undefined;
  /** Failed checks, over the whole rollout, that take the release back. @default 5 */
  threshold?: number | undefined;
}

export type ThresholdRangeOptions = Checks &
  (
    | { of: "success" | "errors"; min?: Share | undefined; max?: Share | undefined }
    | { of: "p99"; min?: Duration | undefined; max?: Duration | undefined }
    /** In the language of the source. */
    | { of: { query: string }; min?: number | undefined; max?: number | undefined }
  );

/**
 * The rule of Flagger, for those who want what they know: every `interval` one check, which fails out of [min, max] or
 * without data; failed checks add up over the whole rollout, and `threshold` of them take the release back.
 *
 * After fluxcd/flagger, pkg/controller/scheduler_metrics.go (`runBuiltinMetricChecks`, `runMetricChecks`: below min,
 * above max, no values found and a failed query are one and the same) and scheduler.go (`advanceCanary`: `FailedChecks`
 * is compared with the threshold before the next check is made, so a release goes back one interval after the check that
 * was one too many; a failed check halts the weight where it is, a good one raises it). Its usual success rate of 99 is
 * `{ of: "success", min: "99%" }` here.
 *
 * So a metrics server that is down rolls a healthy release back: that is the rule. The judges of this project don't.
 */
export function thresholdRange(options: ThresholdRangeOptions): Judge<RangeState> {
  const of = looks("thresholdRange of", options.of, "success", "errors", "p99");
  const read = (where: "min" | "max") =>
    options[where] === undefined ? undefined : limit(`thresholdRange ${where}`, of, options[where]);
  const [min, max] = [read("min"), read("max")];
  if (min === undefined && max === undefined)
    throw BadConfig("thresholdRange min", "without `min` or `max` there is nothing to judge by.");
  if (min !== undefined && max !== undefined && min > max)
    throw BadConfig("thresholdRange max", "it is less than `min`.");
  const interval = seconds("thresholdRange interval", options.interval ?? "60s");
  const threshold = within("thresholdRange threshold", options.threshold ?? 5, 1, 1e6, true);
  const rules: Rules = { id: `threshold-range-${nameOf(of)}`, of, min, max, threshold };
  return {
    id: rules.id,
    rule: `every ${time(interval)} one check whether ${about(of)} is ${range(rules)}: ${threshold} failed checks in all fail`,
    ...(typeof of === "object" && { query: of.query }),
    start: () => ({ elapsed: 0, open: begun(), checks: 0, failed: 0, over: false }),
    update(state, tick) {
      const open = gather(state.open, tick, tick.canary, of);
      const { elapsed, due } = clock(state.elapsed, tick, interval);
      const next = { ...state, elapsed, open };
      return due ? look(next, rules) : next;
    },
    // Failed checks stay; but a weight is only left after a good check of its own.
    turn: ({ last, ...state }) => state,
    finding: (state) => find(state, rules),
  };
}

interface Rules {
  id: string;
  of: Look;
  min: number | undefined;
  max: number | undefined;
  threshold: number;
}

function look(state: RangeState, { of, min, max, threshold }: Rules): RangeState {
  if (state.failed >= threshold) return { ...state, open: begun(), over: true };
  const measured = measure(state.open, of);
  const value = typeof measured === "object" ? measured.value : undefined;
  const good = typeof measured === "object" && inside(measured, min, max) === true;
  return {
    elapsed: state.elapsed,
    open: begun(),
    checks: state.checks + 1,
    failed: state.failed + (good ? 0 : 1),
    last: good ? "good" : "bad",
    ...(value !== undefined && { value }),
    over: false,
  };
}

function find(state: RangeState, rules: Rules): Finding {
  const { of, min, max, threshold } = rules;
  const { checks, failed, last, value } = state;
  const say = (verdict: Finding["verdict"], reason: string): Finding => ({
    judge: rules.id,
    verdict,
    reason,
    figures: {
      checks,
      failed,
      threshold,
      ...(value !== undefined && { last: value }),
      ...(min !== undefined && { min }),
      ...(max !== undefined && { max }),
    },
  });
  const seen = value === undefined ? "no values found" : `${said(of, value)}, to be ${range(rules)}`;
  const numbers = `${seen}; ${many(failed, "check")} of ${checks} failed, ${threshold} are too many`;
  if (state.over) return say("fail", numbers);
  if (state.open.broken) return say("error", `the counts it was given are no numbers; ${numbers}`);
  if (failed >= threshold) return say("running", `${numbers}: the next look takes the release back`);
  if (checks === 0) return say("running", "no check has been made yet");
  if (last === undefined) return say("running", `${numbers}; no check at this weight yet`);
  return say(last === "good" ? "pass" : "running", numbers);
}

function range({ of, min, max }: Rules): string {
  if (min === undefined) return `at most ${shown(of, max ?? 0)}`;
  if (max === undefined) return `at least ${shown(of, min)}`;
  return `from ${shown(of, min)} to ${shown(of, max)}`;
}
