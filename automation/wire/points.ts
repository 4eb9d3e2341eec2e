import type { Instant, Reading, Slot } from "../core/model";
import { number, SourceMalformed } from "./exposition";
import { atEdges, type Native } from "./native";
import type { Kind, Ledger, Point } from "./series";

/** One series at one time, as Prometheus's HTTP API gives it. */
export interface Series {
  metric: Record<string, string>;
  value?: readonly [number, string] | undefined;
  histogram?: readonly [number, Native] | undefined;
}

/** Label that tells the parts of one query apart, latencies may lack it; with `_slot`, the slot that a query was asked for. */
export const PART = "sluice_part";

/** Milliseconds that a sample may be ahead of this machine: two clocks never quite agree. */
export const AHEAD = 60_000;
const SLOTS: readonly Slot[] = ["blue", "green"];

/** How the answer is to be read. */
export interface Reader {
  where: string;
  slotLabel: string;
  /** What a latency is divided by to be seconds. */
  scale: number;
  now: Instant;
}

/**
 * Makes a reading of what one query gave for one moment; `undefined` where it gave no requests of any slot.
 * Throws `source-malformed`.
 */
export function readingOf(found: readonly Series[], account: Ledger, reader: Reader): Reading | undefined {
  const bad = (why: string) => SourceMalformed(reader.where, why);
  const times = new Map<string, number>();
  const points: Point[] = [];
  const seen = new Set<string>();
  for (const series of found) {
    const labels = JSON.stringify(Object.entries(series.metric).sort(([a], [b]) => (a < b ? -1 : 1)));
    if (seen.has(labels)) throw bad(`it has the series ${labels.slice(0, 300)} twice`);
    seen.add(labels);
    const slot = slotOf(series.metric, reader.slotLabel);
    if (!slot) continue;
    if (series.metric[PART] !== "time") points.push(...pointsOf(series, slot, reader, bad));
    else times.set(processOf(slot, series.metric), timeOf(series, reader, bad));
  }
  if (!points.some(({ kind }) => kind === "requests")) return undefined;
  if (times.size === 0) throw bad("it does not say when its samples were taken");
  const latencies = points.filter(({ kind }) => typeof kind === "number");
  if (latencies.some(({ native }) => native) && !latencies.every(({ native }) => native))
    throw bad("latency comes as classic buckets and as native histograms; select one of them");
  for (const point of points) point.at = times.get(`${point.slot} ${point.instance}`);
  return { at: Math.max(...times.values()), ...account.take(points, bad) };
}

/** Looks whether a series has a form that can be counted. Throws `source-malformed`. */
export function checkSeries(series: Series, where: string): void {
  const bad = (why: string) => SourceMalformed(where, why);
  if (series.histogram === undefined) count(series, bad);
  else atEdges(series.histogram[1], 1, bad);
}

function timeOf(series: Series, { now }: Reader, bad: (why: string) => Error): number {
  const at = Math.round(count(series, bad) * 1000);
  if (at > now + AHEAD)
    throw bad(`a sample is ${Math.round((at - now) / 1000)} s ahead of this machine's clock`);
  return at;
}

function slotOf(labels: Readonly<Record<string, string>>, label: string): Slot | undefined {
  const text = labels[`${PART}_slot`] ?? labels[label];
  return SLOTS.find((slot) => slot === text);
}

function processOf(slot: Slot, { job = "", instance = "" }: Readonly<Record<string, string>>): string {
  return `${slot} ${JSON.stringify([job, instance])}`;
}

function pointsOf(series: Series, slot: Slot, reader: Reader, bad: (why: string) => Error): Point[] {
  const { job = "", instance = "", ...labels } = series.metric;
  const key = JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
  const common = { slot, instance: JSON.stringify([job, instance]) };
  if (series.histogram !== undefined && (labels[PART] ?? "latency") === "latency")
    return atEdges(series.histogram[1], reader.scale, bad).map(([kind, value]) => ({
      ...common,
      key: `${key} ${kind}`,
      kind,
      value,
      native: key,
    }));
  return [{ ...common, key, kind: kindOf(labels, reader.scale, bad), value: count(series, bad) }];
}

function kindOf(labels: Readonly<Record<string, string>>, scale: number, bad: (why: string) => Error): Kind {
  const part = labels[PART];
  if (part === "requests" || part === "errors") return part;
  const edge = number(labels.le ?? "");
  if (edge === undefined || Number.isNaN(edge))
    throw bad("a series for latency has no number as its label le");
  return edge / scale;
}

/** The value of a series that counts. */
function count({ metric, value, histogram }: Series, bad: (why: string) => Error): number {
  const name = metric.__name__ ?? metric[PART] ?? "a series";
  if (histogram !== undefined) throw bad(`${name} is a native histogram, which only latencies can be`);
  const counted = number(value?.[1] ?? "");
  if (counted === undefined || !Number.isFinite(counted) || counted < 0)
    throw bad(`${name} has the value ${value?.[1] ?? "none"}`);
  return counted;
}
