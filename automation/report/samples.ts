import { add } from "../analysis/counts";
import { quantile, total } from "../analysis/quantile";
import { type JournalEvent, stepOf } from "../core/events";
import type { Counts, Plan, StepId, TargetKey, Tick } from "../core/model";
import type { Report } from "./schema";

type Series = Report["samples"][number];
type Point = Series["points"][number];

/** Points of a target that are kept at most, more or less: a chart is some hundred pixels wide. */
const POINTS = 120;

/** The samples of each target over time; what lies close together is summed up. */
export function series(plan: Plan, events: readonly JournalEvent[]): Series[] {
  const seen = new Map<TargetKey, { step: StepId; tick: Tick }[]>();
  const weights = new Map<TargetKey, Series["weights"]>();
  for (const event of events) {
    if (event.type === "sample.taken") {
      const { step, tick } = event;
      push(seen, event.target, { step, tick });
    } else if (event.type === "step.finished" && event.outcome === "done") {
      const step = stepOf(plan, event.step);
      if (step.act === "shift") push(weights, step.target, { at: iso(event.at), percent: step.to });
    }
  }
  return plan.targets.flatMap(({ key }) => {
    const ticks = seen.get(key);
    if (!ticks) return [];
    return [{ target: key, weights: weights.get(key) ?? [], points: thin(ticks).map(point) }];
  });
}

function push<T>(into: Map<TargetKey, T[]>, key: TargetKey, value: T): void {
  const list = into.get(key);
  if (list) list.push(value);
  else into.set(key, [value]);
}

/** Sums neighbours up; never over the end of a step, for another weight is another thing. */
function thin(ticks: readonly { step: StepId; tick: Tick }[]): { step: StepId; tick: Tick }[] {
  const size = Math.ceil(ticks.length / POINTS);
  if (size <= 1) return [...ticks];
  const thinned: { step: StepId; tick: Tick; of: number }[] = [];
  for (const { step, tick } of ticks) {
    const last = thinned.at(-1);
    if (last && last.step === step && last.of < size) {
      last.tick = add(last.tick, tick);
      last.of++;
    } else thinned.push({ step, tick, of: 1 });
  }
  return thinned;
}

function point({ step, tick }: { step: StepId; tick: Tick }): Point {
  return {
    at: iso(tick.at),
    step,
    seconds: round(tick.seconds),
    canary: counts(tick.canary, tick.edges),
    ...(tick.baseline && { baseline: counts(tick.baseline, tick.edges) }),
  };
}

function counts({ requests, errors, buckets }: Counts, edges: readonly number[]): Point["canary"] {
  if (edges.length === 0 || total(buckets) === 0) return { requests, errors };
  const { seconds, beyond } = quantile(0.99, edges, buckets);
  return { requests, errors, p99: round(Math.max(0, seconds)), ...(beyond && { beyond: true as const }) };
}

function round(value: number): number {
  return Math.round(value * 1e6) / 1e6;
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
