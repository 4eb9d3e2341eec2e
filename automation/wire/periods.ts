import { sameEdges } from "../analysis/counts";
import type { Counts, Instant, Reading, Slot } from "../core/model";
import type { Kind } from "./series";

/** What was counted in one period, as a service that keeps sums per period tells it. */
export interface Sum {
  slot: Slot;
  /** Requests up to a latency edge in seconds are cumulative; the last edge is infinite, where latencies are counted at all. */
  kind: Kind;
  /** Where the period begins. */
  from: Instant;
  value: number;
}

/** Whole periods, all times in milliseconds since the epoch. */
export interface Span {
  from: Instant;
  to: Instant;
  /** Of one period. */
  length: number;
}

/** Makes counters that only grow of sums per period. */
export interface Tally {
  /** The periods to ask for; `undefined`: none has come to its end since. */
  due(now: Instant): Span | undefined;
  /** What the service said of a span that was due. `bad` makes an error of a reason. */
  take(span: Span, sums: readonly Sum[], slots: readonly Slot[], bad: (why: string) => Error): void;
  /** All that was counted since the tally began; `undefined`: nothing ever was, so that nobody knows. */
  reading(): Reading | undefined;
}

/** One period of one slot. */
interface Row {
  requests: number;
  errors: number;
  /** By edge, cumulative. */
  latencies: ReadonlyMap<number, number>;
}

/** A slot's periods, by when they end. */
type Rows = Map<Instant, Row>;

/** Periods before the first reading that tell whether anything is counted at all. */
const BACK = 5;
/** Periods that are asked for again each time: what came late adds to them. */
const AGAIN = 2;
/** Share of a sketch's total that two of its estimates may contradict each other by: those of CloudWatch and Datadog are near 1 %. */
const SLACK = 0.02;

/**
 * A tally of periods of `length` milliseconds, of which each is believed once it has been over for `lag`. It begins
 * at zero with its first reading; a slot that has no sum while the other has one had no requests, for what is zero
 * is not reported.
 */
export function tally(length: number, lag: number): Tally {
  let begin: Instant | undefined;
  let at = 0;
  let seen = false;
  let edges: number[] = [];
  const counted = new Map<Slot, Rows>();
  return {
    due(now) {
      const to = whole(now - lag, length);
      if (begin === undefined) return { from: to - BACK * length, to, length };
      if (to <= at) return undefined;
      return { from: Math.max(begin, at - AGAIN * length), to, length };
    },
    take(span, sums, slots, bad) {
      const found = table(span, sums, bad);
      edges = common(found, bad) ?? edges;
      begin ??= span.to;
      seen ||= found.size > 0;
      for (const slot of slots) if (!counted.has(slot)) counted.set(slot, new Map());
      for (const [slot, rows] of found) {
        const own = counted.get(slot) ?? new Map<Instant, Row>();
        counted.set(slot, own);
        for (const [end, row] of rows) if (end > begin) own.set(end, larger(own.get(end), row));
      }
      at = Math.max(at, span.to);
    },
    reading: () => (seen ? made(at, edges, counted) : undefined),
  };
}

/** The span of whole periods that lie in between and are over for `lag`; `undefined`: there is none. */
export function within(
  { from, to }: { from: Instant; to: Instant },
  now: Instant,
  length: number,
  lag: number,
): Span | undefined {
  const begin = whole(from + length - 1, length);
  const end = whole(Math.min(to, now - lag), length);
  return begin < end ? { from: begin, to: end, length } : undefined;
}

/** Readings at the end of each period of a span, from zero on; empty where nothing was counted. */
export function readings(span: Span, sums: readonly Sum[], bad: (why: string) => Error): Reading[] {
  const found = table(span, sums, bad);
  if (found.size === 0) return [];
  const edges = common(found, bad) ?? [];
  const ends = [...found.values()].flatMap((rows) => [...rows.keys()]);
  const result: Reading[] = [];
  // Before the first sum nothing was reported yet: that is not the same as no requests.
  for (let at = Math.min(...ends) - span.length; at <= span.to; at += span.length)
    result.push(made(at, edges, new Map([...found].map(([slot, rows]) => [slot, until(rows, at)]))));
  return result;
}

function until(rows: Rows, at: Instant): Rows {
  return new Map([...rows].filter(([end]) => end <= at));
}

export function whole(at: Instant, length: number): Instant {
  return Math.floor(at / length) * length;
}

/** Sorts sums by slot and period. Those outside the span are another answer's: nobody asked for them. */
function table(span: Span, sums: readonly Sum[], bad: (why: string) => Error): Map<Slot, Rows> {
  const cells = new Map<Slot, Map<Instant, Map<Kind, number>>>();
  for (const { slot, kind, from, value } of sums) {
    if (!Number.isFinite(from) || from % span.length !== 0)
      throw bad(`a period of ${span.length / 1000} s begins at ${time(from)}`);
    if (!Number.isFinite(value) || value < 0) throw bad(`slot ${slot} has a sum of ${value}`);
    if (from < span.from || from >= span.to) continue;
    const periods = cells.get(slot) ?? new Map<Instant, Map<Kind, number>>();
    cells.set(slot, periods);
    const cell = periods.get(from) ?? new Map<Kind, number>();
    periods.set(from, cell);
    if (cell.has(kind)) throw bad(`slot ${slot} has two sums of one kind for ${time(from)}`);
    cell.set(kind, value);
  }
  const rows = (periods: ReadonlyMap<Instant, Map<Kind, number>>): Rows =>
    new Map([...periods].map(([from, cell]) => [from + span.length, row(cell, bad)]));
  return new Map([...cells].map(([slot, periods]) => [slot, rows(periods)]));
}

function time(at: number): string {
  return Math.abs(at) < 8.64e15 ? new Date(at).toISOString() : String(at);
}

function row(cell: ReadonlyMap<Kind, number>, bad: (why: string) => Error): Row {
  const [requests, errors] = [cell.get("requests") ?? 0, cell.get("errors") ?? 0];
  if (errors > requests) throw bad(`it counts ${errors} errors in ${requests} requests`);
  const edges = [...cell.keys()].filter((kind) => typeof kind === "number").sort((a, b) => a - b);
  if (edges.length === 0) return { requests, errors, latencies: new Map() };
  if (edges.at(-1) !== Number.POSITIVE_INFINITY) throw bad("it counts latencies, but not all of them");
  const all = cell.get(Number.POSITIVE_INFINITY)!;
  const latencies = new Map<number, number>();
  let below = 0;
  for (const edge of edges) {
    const value = cell.get(edge)!;
    const slack = Math.max(1, all * SLACK);
    if (value < below - slack || value > all + slack)
      throw bad("the requests up to an edge don't grow with it");
    // Estimates of a sketch: they may contradict each other a little, buckets may not be negative.
    below = Math.min(all, Math.max(below, value));
    latencies.set(edge, below);
  }
  return { requests, errors, latencies };
}

/** A period that is read again can only have more in it. */
function larger(before: Row | undefined, after: Row): Row {
  if (!before) return after;
  const edges = after.latencies.size > 0 ? after.latencies : before.latencies;
  return {
    requests: Math.max(before.requests, after.requests),
    errors: Math.max(before.errors, after.errors),
    latencies: new Map(
      [...edges.keys()].map((edge) => [
        edge,
        Math.max(before.latencies.get(edge) ?? 0, after.latencies.get(edge) ?? 0),
      ]),
    ),
  };
}

/** The latency edges that all rows share; `undefined` where none has any. */
function common(found: ReadonlyMap<Slot, Rows>, bad: (why: string) => Error): number[] | undefined {
  let edges: number[] | undefined;
  for (const { latencies } of [...found.values()].flatMap((rows) => [...rows.values()])) {
    if (latencies.size === 0) continue;
    const own = [...latencies.keys()];
    if (edges && !sameEdges(edges, own)) throw bad("its latency buckets have different edges");
    edges = own;
  }
  return edges;
}

function made(at: Instant, edges: readonly number[], counted: ReadonlyMap<Slot, Rows>): Reading {
  const buckets = edges.length > 0 ? edges : [Number.POSITIVE_INFINITY];
  const slots: Reading["slots"] = {};
  for (const [slot, rows] of counted) slots[slot] = total([...rows.values()], buckets);
  return { at, edges: buckets.slice(0, -1), slots };
}

/** Sums are estimates here and there; what was counted is whole. */
function total(rows: readonly Row[], edges: readonly number[]): Counts {
  const sum = (of: (row: Row) => number) => Math.round(rows.reduce((all, row) => all + of(row), 0));
  const cumulative = edges.map((edge) => sum(({ latencies }) => latencies.get(edge) ?? 0));
  return {
    requests: sum(({ requests }) => requests),
    errors: sum(({ errors }) => errors),
    buckets: cumulative.map((value, i) => value - (cumulative[i - 1] ?? 0)),
  };
}
