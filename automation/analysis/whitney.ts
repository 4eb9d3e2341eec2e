import type { Finding, Tick } from "../core/model";
import type { Judge } from "../core/ports";
import { begun, clock, gather, looks, many, measure, type Open, shown } from "./scalar";
import { type Duration, seconds, within } from "./units";
import { figure, percent, time } from "./words";

/** What `mannWhitney` remembers: a point an interval and side, at most `points` of them. */
export interface WhitneyState {
  /** Seconds since the last point. */
  elapsed: number;
  canary: Side;
  baseline: Side;
  /** Whether a baseline was live in the interval that is open. */
  live: boolean;
}

interface Side {
  open: Open;
  /** Newest last; `null`: no data in that interval. */
  points: (number | null)[];
}

export interface WhitneyOptions {
  of: "errors" | "p99";
  /** Seconds that a point stands for. @default "60s" */
  interval?: Duration | undefined;
  /** Points that it takes to judge. @default 15 */
  points?: number | undefined;
  /** Of the interval around the shift between canary and baseline. @default 0.98 */
  confidence?: number | undefined;
  /** Part of the estimated shift that the interval must stay clear of. @default 0.25 */
  tolerance?: number | undefined;
  /** The canary's mean may be this many times the baseline's, whatever the test says: Kayenta's effect size. @default 1 */
  allowedIncrease?: number | undefined;
}

/**
 * The rule of Kayenta (Spinnaker), for those who want what they know: one point an interval and side, and after `points`
 * of them a Mann-Whitney test whether the canary's are higher.
 *
 * After spinnaker/kayenta, NetflixACAJudge.scala (confidence 0.98, tolerance 0.25) and MannWhitneyClassifier.scala: no data
 * on a side is Nodata; the same values on both sides pass; High where the interval's lower end is above
 * tolerance x |estimated shift| and, unless the baseline's mean is 0, the ratio of the means is at least `allowedIncrease`
 * (docs/canary-config.md: `effectSize`, 1 by default). Its `direction` is `increase` and its `nanStrategy` `remove`, for
 * both things that can be looked at are bad when they grow. Outliers stay.
 *
 * Kayenta judges once. A rollout goes on, so this one judges the last `points` again whenever there is a new one, as
 * Spinnaker's canary stage does with a sliding lookback. Where no baseline slot is live any more (at 100 %), the last
 * points of the baseline stand for it. No data is the verdict `error`, never a pass and never a rollback.
 */
export function mannWhitney(options: WhitneyOptions): Judge<WhitneyState> {
  const of = looks("mannWhitney of", options.of, "errors", "p99");
  const interval = seconds("mannWhitney interval", options.interval ?? "60s");
  // More points than 200 a side would make the state larger than a journal should carry.
  const points = within("mannWhitney points", options.points ?? 15, 1, 200, true);
  const confidence = within("mannWhitney confidence", options.confidence ?? 0.98, 0.5, 0.9999);
  const tolerance = within("mannWhitney tolerance", options.tolerance ?? 0.25, 0, 100);
  const allowed = within("mannWhitney allowedIncrease", options.allowedIncrease ?? 1, 0, 1e6);
  const rules: Rules = { id: `mann-whitney-${of}`, of, points, z: normal(confidence), tolerance, allowed };
  const name = of === "p99" ? "P99" : "error rate";
  return {
    id: rules.id,
    rule: `${points} points of ${time(interval)} a side: the canary's ${name} must not be higher by a Mann-Whitney test with ${percent(confidence)} confidence${
      allowed === 1 ? "" : ` and a mean ${figure(allowed)} times the baseline's`
    }`,
    start: () => ({ elapsed: 0, canary: none(), baseline: none(), live: false }),
    update: (state, tick) => collect(state, tick, rules, interval),
    finding: (state) => find(state, rules),
  };
}

interface Rules {
  id: string;
  of: "errors" | "p99";
  points: number;
  z: number;
  tolerance: number;
  allowed: number;
}

function none(): Side {
  return { open: begun(), points: [] };
}

function collect(state: WhitneyState, tick: Tick, rules: Rules, interval: number): WhitneyState {
  const canary = { ...state.canary, open: gather(state.canary.open, tick, tick.canary, rules.of) };
  const baseline = { ...state.baseline, open: gather(state.baseline.open, tick, tick.baseline, rules.of) };
  const { elapsed, due } = clock(state.elapsed, tick, interval);
  const live = state.live || tick.baseline !== undefined;
  if (!due) return { elapsed, canary, baseline, live };
  return {
    elapsed,
    canary: point(canary, rules),
    // A baseline that is live and has no traffic is one without data; one that is not live any more is as it was.
    baseline: live ? point(baseline, rules) : { ...baseline, open: begun() },
    live: false,
  };
}

function point({ open, points }: Side, rules: Rules): Side {
  const measured = measure(open, rules.of);
  // Six digits: the state is written to the journal, and no error rate is known better.
  const value = typeof measured === "object" ? Number(measured.value.toPrecision(6)) : null;
  return { open: begun(), points: [...points, value].slice(-rules.points) };
}

function find(state: WhitneyState, rules: Rules): Finding {
  const { of, points, tolerance, allowed } = rules;
  const [canary, baseline] = [state.canary.points, state.baseline.points];
  const [x, y] = [known(canary), known(baseline)];
  let figures: Record<string, number> = { canaryPoints: x.length, baselinePoints: y.length, points };
  const say = (verdict: Finding["verdict"], reason: string): Finding => ({
    judge: rules.id,
    verdict,
    reason,
    figures,
  });
  if (state.canary.open.broken || state.baseline.open.broken)
    return say("error", "the counts it was given are no numbers");
  if (canary.length < points) return say("running", `${canary.length} of ${many(points, "point")} so far`);
  if (x.length === 0) return say("error", `no data of the canary in ${many(points, "point")}`);
  if (y.length === 0) return say("error", `no data of the baseline in ${many(points, "point")}`);
  const [mine, base] = [mean(x), mean(y)];
  figures = { ...figures, canaryMean: mine, baselineMean: base };
  const name = of === "p99" ? "P99" : "error rate";
  const means = `canary ${name} ${shown(of, mine)} in the mean of ${many(x.length, "point")}, baseline ${shown(of, base)} of ${y.length}`;
  if (same(x, y)) return say("pass", `${means}: the same values on both sides`);
  const { low, high, estimate } = shift(x, y, rules.z);
  figures = { ...figures, low, high, estimate };
  const said = `${means}; shifted by ${shown(of, estimate)} (${shown(of, low)} to ${shown(of, high)})`;
  if (low <= tolerance * Math.abs(estimate)) return say("pass", said);
  // Where the baseline's mean is 0 nothing is less than that many times it, and the test alone decides.
  if (mine / base < allowed) return say("pass", `${said}, less than ${figure(allowed)} times`);
  return say("fail", said);
}

function known(points: readonly (number | null)[]): number[] {
  return points.filter((value) => value !== null);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function same(x: readonly number[], y: readonly number[]): boolean {
  const [a, b] = [x, y].map((side) => side.toSorted((p, q) => p - q));
  return x.length === y.length && !!a && !!b && a.every((value, i) => value === b[i]);
}

/** How far `x` lies above `y`. */
export interface Shift {
  low: number;
  high: number;
  /** Hodges and Lehmann: the median of all differences. */
  estimate: number;
}

/**
 * The confidence interval of the location shift between two samples, by the Mann-Whitney test: the shifts that it would
 * not reject. Normal approximation with continuity correction, ties within a sample accounted for: what R's wilcox.test
 * (stats/R/wilcox.test.R, "asymptotic confidence interval", two-sided) and Kayenta's MannWhitney.scala look for; Kayenta
 * never uses the exact one. They find the root of a step function to 1e-4; here its steps are counted: between two
 * neighbouring differences the statistic is constant, so the interval ends at differences. `z`: see `normal`.
 */
export function shift(x: readonly number[], y: readonly number[], z: number): Shift {
  const differences = x.flatMap((a) => y.map((b) => a - b)).sort((p, q) => p - q);
  const [n, m, all] = [x.length, y.length, x.length + y.length];
  const tied = (ties(x) + ties(y)) / Math.max(1, all * (all - 1));
  const sigma = Math.sqrt(Math.max(0, ((n * m) / 12) * (all + 1 - tied)));
  const half = (n * m) / 2;
  // (half - k - 1/2) / sigma <= z: so many of the differences lie at or below the lower end.
  const k = Math.ceil(half - 0.5 - z * sigma);
  const at = (rank: number) => differences[Math.min(n * m, Math.max(1, rank)) - 1] ?? 0;
  const middle = [Math.floor((n * m + 1) / 2), Math.ceil((n * m + 1) / 2)] as const;
  return { low: at(k), high: at(n * m + 1 - k), estimate: (at(middle[0]) + at(middle[1])) / 2 };
}

/** The sum of t^3 - t over groups of t equal values. */
function ties(values: readonly number[]): number {
  const groups = new Map<number, number>();
  for (const value of values) groups.set(value, (groups.get(value) ?? 0) + 1);
  return [...groups.values()].reduce((sum, t) => sum + t ** 3 - t, 0);
}

/**
 * How many standard deviations around the mean hold that share of a normal distribution: 1.96 for 0.95. By halving, on
 * the series of Marsaglia, "Evaluating the normal distribution" (2004).
 */
export function normal(confidence: number): number {
  const within = (z: number) => {
    let [term, sum] = [z, z];
    for (let i = 3; term > 1e-17 * sum; i += 2) {
      term *= (z * z) / i;
      sum += term;
    }
    return (2 * sum * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
  };
  let [low, high] = [0, 8];
  for (let i = 0; i < 60; i += 1) {
    const middle = (low + high) / 2;
    if (within(middle) < confidence) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
