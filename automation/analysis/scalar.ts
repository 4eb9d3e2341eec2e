import { BadConfig } from "../../components/errors";
import type { Counts, Tick } from "../core/model";
import { plus, sameEdges } from "./counts";
import { isSound } from "./gate";
import { quantile, total } from "./quantile";
import { seconds, share, within } from "./units";
import { figure, percent, time } from "./words";

// What the classic judges share: one number an interval, however the ticks are cut.

/** What a judge looks at once an interval: a share of the requests, their P99, or what a query of the source gave last. */
export type Look = "errors" | "success" | "p99" | { query: string };

/** What was gathered in an interval that is not over yet. Only what is looked at is kept. */
export interface Open {
  requests: number;
  errors: number;
  edges: number[];
  buckets: number[];
  /** The query's last value. */
  value?: number | undefined;
  /** Something was no count: the interval says nothing, whatever else it holds. */
  broken?: boolean | undefined;
}

/** One number of one interval; `none`: no data. */
export type Measured = { value: number; beyond: boolean } | "none" | "broken";

/** An interval that has just begun. */
export function begun(): Open {
  return { requests: 0, errors: 0, edges: [], buckets: [] };
}

/** Adds a tick's `counts` to an interval. A histogram with other edges can't be added: the later one stands. */
export function gather(open: Open, tick: Tick, counts: Counts | undefined, look: Look): Open {
  if (open.broken) return open;
  if (!sound(tick)) return { ...open, broken: true };
  if (typeof look === "object") {
    const value = tick.values?.[look.query];
    if (value === undefined) return open;
    // JSON knows no -0.
    return Number.isFinite(value) ? { ...open, value: value + 0 } : { ...open, broken: true };
  }
  if (!counts) return open;
  if (look !== "p99")
    return { ...open, requests: open.requests + counts.requests, errors: open.errors + counts.errors };
  // No edges: the tick says nothing about latency.
  if (tick.edges.length === 0) return open;
  const before = sameEdges(open.edges, tick.edges) ? open.buckets : counts.buckets.map(() => 0);
  return { ...open, edges: tick.edges, buckets: plus(before, counts.buckets) };
}

/** The number that an interval comes to. */
export function measure(open: Open, look: Look): Measured {
  if (open.broken) return "broken";
  if (typeof look === "object")
    return open.value === undefined ? "none" : { value: open.value, beyond: false };
  if (look === "p99") {
    if (total(open.buckets) === 0) return "none";
    const seen = quantile(0.99, open.edges, open.buckets);
    return { value: seen.seconds, beyond: seen.beyond };
  }
  if (open.requests === 0) return "none";
  const errors = open.errors / open.requests;
  return { value: look === "errors" ? errors : Math.max(0, 1 - errors), beyond: false };
}

/** Whether a number lies in its range; `unknown`: beyond the histogram's last edge, where the limit may lie too. */
export function inside(
  measured: { value: number; beyond: boolean },
  min: number | undefined,
  max: number | undefined,
): boolean | "unknown" {
  const { value, beyond } = measured;
  // The margin is for binary fractions: 1 - 0.01 is less than 0.99 by some bits.
  const slack = 1e-12 * Math.abs(value);
  if (beyond && max !== undefined && value < max) return "unknown";
  if (beyond) return max === undefined;
  return (min === undefined || value >= min - slack) && (max === undefined || value <= max + slack);
}

/**
 * Moves the clock of a judge on. The peers look at fixed times and never make up for a look they missed, so a tick
 * longer than the interval is one look.
 */
export function clock(elapsed: number, tick: Tick, interval: number): { elapsed: number; due: boolean } {
  if (!(tick.seconds > 0 && Number.isFinite(tick.seconds))) return { elapsed, due: false };
  const sum = elapsed + tick.seconds;
  // Ten times a tenth of a second is less than one.
  const looks = Math.floor((sum + 1e-6) / interval);
  return { elapsed: Math.max(0, sum - looks * interval), due: looks > 0 };
}

/** Reads a limit in the unit of what is looked at: share, duration or plain number. Throws `bad-config` naming `where`. */
export function limit(where: string, look: Look, value: unknown): number {
  if (typeof look === "object") return within(where, value, -Number.MAX_VALUE, Number.MAX_VALUE);
  return look === "p99" ? seconds(where, value) : share(where, value);
}

/** Reads what is looked at. Throws `bad-config` naming `where`. */
export function looks<L extends Look>(where: string, value: L, ...known: string[]): L {
  if (typeof value === "object" && value !== null) {
    if (typeof value.query === "string" && value.query.trim() !== "") return value;
  } else if (known.includes(value)) return value;
  throw BadConfig(
    where,
    `${JSON.stringify(value)} is nothing to look at; write ${known.map((name) => `"${name}"`).join(", ")} or { query: "…" }.`,
  );
}

/** How a judge is called that looks at this. */
export function nameOf(look: Look): string {
  return typeof look === "object" ? look.query : look;
}

/** A number in the unit of what is looked at. */
export function shown(look: Look, value: number): string {
  if (typeof look === "object") return String(Number(value.toPrecision(4)));
  return look === "p99" ? time(value) : percent(value);
}

/** What was measured, as the beginning of a sentence. */
export function said(look: Look, value: number): string {
  if (typeof look === "object") return `the query gave ${shown(look, value)}`;
  if (look === "p99") return `canary P99 ${shown(look, value)}`;
  return look === "errors"
    ? `canary ${shown(look, value)} of requests failed`
    : `canary ${shown(look, value)} of requests succeeded`;
}

/** What is looked at, as a part of a sentence. */
export function about(look: Look): string {
  if (typeof look === "object") return look.query;
  if (look === "p99") return "the canary's P99";
  return `the share of the canary's requests that ${look === "errors" ? "failed" : "succeeded"}`;
}

/** A count with its noun: "1 check", "5 checks". */
export function many(count: number, noun: string): string {
  return `${figure(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function sound({ seconds, canary, baseline }: Tick): boolean {
  return seconds >= 0 && Number.isFinite(seconds) && isSound(canary) && isSound(baseline);
}
