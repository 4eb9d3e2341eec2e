import { BadConfig } from "../../components/errors";
import type { Instant, Slot } from "../core/model";
import type { Context, MetricSource, Subject } from "../core/ports";
import { readings, type Span, type Sum, type Tally, tally, whole, within } from "./periods";

/** Periods of the past that are asked for at least: clumps of errors don't show in fewer than 30. */
const PAST = 40;

/** A service that keeps sums per period. */
export interface Service {
  /** Who it is, in messages. */
  where: string;
  /** Milliseconds of one period. */
  length: number;
  /** Milliseconds after its end until a period is believed. */
  lag: number;
  /** Slots that can be asked for. Throws `bad-config`. */
  slots(subject: Subject): Slot[];
  sums(subject: Subject, span: Span, ctx: Context): Promise<Sum[]>;
  /** Makes an error of a reason. */
  bad(why: string): Error;
}

/** What a source does whose service keeps sums per period; `recent` is the last ten that are believed. */
export function counters(service: Service): Required<Pick<MetricSource, "ping" | "read" | "history">> & {
  recent(now: Instant): Span;
} {
  const { length, lag, bad } = service;
  const tallies = new Map<string, Tally>();
  const recent = (now: Instant): Span => {
    const to = whole(now - lag, length);
    return { from: to - 10 * length, to, length };
  };
  return {
    async ping(subject, ctx) {
      const found = await service.sums(subject, recent(ctx.now()), ctx);
      ctx.log(`${service.where}: ${found.length || "no"} sums in the last ten periods`);
    },
    async read(subject, ctx) {
      const key = JSON.stringify([subject.target, subject.service, subject.environment]);
      const own = tallies.get(key) ?? tally(length, lag);
      tallies.set(key, own);
      const span = own.due(ctx.now());
      if (span) own.take(span, await service.sums(subject, span, ctx), service.slots(subject), bad);
      return own.reading();
    },
    async history(subject, past, ctx) {
      const from = Math.min(past.from, past.to - PAST * length);
      const span = within({ from, to: past.to }, ctx.now(), length, lag);
      return span ? readings(span, await service.sums(subject, span, ctx), bad) : [];
    },
    recent,
  };
}

/** With a zero for each edge that no request of a period came up to: a count of nothing may be left out. */
export function completed(sums: readonly Sum[], edges: readonly number[]): Sum[] {
  const there = new Set(sums.map(({ slot, kind, from }) => `${slot} ${kind} ${from}`));
  const missing = sums
    .filter(({ kind }) => kind === Number.POSITIVE_INFINITY)
    .flatMap(({ slot, from }) => edges.map((kind): Sum => ({ slot, kind, from, value: 0 })))
    .filter(({ slot, kind, from }) => !there.has(`${slot} ${kind} ${from}`));
  return [...sums, ...missing];
}

/** Milliseconds of an option in whole seconds. Throws `bad-config` naming `where`. */
export function wholeSeconds(value: number, least: number, where: string): number {
  if (!Number.isInteger(value) || value < least)
    throw BadConfig(where, `it must be whole seconds, ${least} at least.`);
  return value * 1000;
}
