import { z } from "zod";
import { BadConfig } from "../../components/errors";
import type { Slot } from "../core/model";
import type { Context, MetricSource, Subject } from "../core/ports";
import { resolveSecret, type SecretRef } from "../engine/secret";
import { completed, counters, wholeSeconds } from "../wire/counters";
import { SourceMalformed } from "../wire/exposition";
import { type Bounds, getJson, type Manner, webAddress } from "../wire/json";
import type { Span, Sum } from "../wire/periods";
import { apart, fill, known } from "../wire/placeholders";
import type { Kind } from "../wire/series";
import { SourceUnreachable } from "./scrape";

/**
 * What is asked, without `.as_count()` and `.rollup()`, which are put behind each. Placeholders are `{{service}}`,
 * `{{environment}}`, `{{target}}`, `{{name}}`, `{{slot}}` and `{{version}}`, one of the last two in each query.
 */
export interface DatadogQueries {
  /** A count: `sum:trace.http.request.hits{…}`. */
  requests: string;
  /** A count, of the same requests. */
  errors: string;
  /** A distribution in seconds with percentiles enabled, name and scope only: `trace.http.request{…}`. @default none */
  latency?: string | undefined;
}

/** Where to ask, what, and with which keys. */
export interface DatadogOptions extends Bounds {
  /** The site of your organisation: `datadoghq.eu`. @default "datadoghq.com" */
  site?: string | undefined;
  /** Where its API answers, for a proxy or a test. @default "https://api.<site>" */
  url?: string | undefined;
  apiKey: SecretRef;
  /** With the scope `timeseries_query`. */
  appKey: SecretRef;
  /** @default datadogQueries.trace("http.request") */
  queries?: DatadogQueries | undefined;
  /** Latency edges in seconds, ascending: one query each and slot. @default 5 ms to 10 s */
  edges?: readonly number[] | undefined;
  /** Seconds of one period. @default 30 */
  period?: number | undefined;
  /** Seconds after its end until a period is believed. @default 60 */
  lag?: number | undefined;
}

/** Ready-made queries. */
export const datadogQueries = {
  /** Trace metrics of APM, by the name of the service's entry span: `http.request`, `express.request`, `servlet.request` … */
  trace(span: string): DatadogQueries {
    const scope = "{env:{{environment}},service:{{service}},version:{{version}}}";
    return {
      requests: `sum:trace.${span}.hits${scope}`,
      errors: `sum:trace.${span}.errors${scope}`,
      latency: `trace.${span}${scope}`,
    };
  },
};

/** Edges where a service is likely to have its limit. */
const EDGES = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const SLOTS: readonly Slot[] = ["blue", "green"];

/** https://docs.datadoghq.com/api/latest/metrics/#query-timeseries-points */
const answer = z.object({
  status: z.string().optional(),
  error: z.string().optional(),
  series: z
    .array(
      z.object({
        query_index: z.number().int().optional(),
        interval: z.number().optional(),
        scope: z.string().optional(),
        pointlist: z.array(z.tuple([z.number(), z.number().nullable()])),
      }),
    )
    .optional(),
});
const refusal = z.object({ errors: z.array(z.string()) });
type Series = NonNullable<z.infer<typeof answer>["series"]>[number];

/** Asks Datadog for the sums of both slots, with all queries in one request. */
export function datadog(options: DatadogOptions): MetricSource {
  const base = webAddress(options.url ?? `https://api.${options.site ?? "datadoghq.com"}`, "datadog url");
  const where = `${base.origin}${base.pathname.replace(/\/$/, "")}/api/v1/query`;
  const wanted = options.queries ?? datadogQueries.trace("http.request");
  for (const part of ["requests", "errors", "latency"] as const) known(wanted[part] ?? "", `datadog ${part}`);
  const edges = options.edges ?? EDGES;
  if (edges.some((edge, i) => !(edge > (edges[i - 1] ?? 0) && Number.isFinite(edge))))
    throw BadConfig("datadog edges", "they must be seconds, in ascending order.");
  const length = wholeSeconds(options.period ?? 30, 1, "datadog period");
  const lag = wholeSeconds(options.lag ?? 60, 0, "datadog lag");
  const bad = (why: string) => SourceMalformed(where, why);

  async function sums(subject: Subject, span: Span, ctx: Context): Promise<Sum[]> {
    const asked = questions(wanted, edges, span.length / 1000, subject);
    if (asked.length === 0) return [];
    const text = asked.map(({ query }) => query).join(",");
    const found = await query(where, text, span, options, ctx.signal);
    const sums = found.flatMap((series) => counted(series, asked, span, bad));
    return completed(sums, edges);
  }

  const slots = (subject: Subject) => slotsOf(wanted, subject);
  const { ping, read, history, recent } = counters({ where, length, lag, slots, sums, bad });
  return {
    id: "datadog",
    ping,
    read,
    history,
    async value(text, subject, ctx) {
      known(text, "datadog query");
      const filled = fill(text, subject, subject.slot, tag);
      if (filled === undefined) return undefined;
      const span = recent(ctx.now());
      const found = await query(where, filled, span, options, ctx.signal);
      if (found.length > 1)
        throw BadConfig("datadog query", `it gives ${found.length} series, not one: ${text}`);
      return newest(found[0], span.to, bad);
    },
  };
}

/** One of the queries that a request is made of. */
interface Question {
  slot: Slot;
  kind: Kind;
  query: string;
}

function slotsOf(wanted: DatadogQueries, subject: Subject): Slot[] {
  return SLOTS.filter((slot) => fill(wanted.requests, subject, slot, tag) !== undefined);
}

function questions(
  wanted: DatadogQueries,
  edges: readonly number[],
  period: number,
  subject: Subject,
): Question[] {
  // Sums of counts, not their rates: https://docs.datadoghq.com/metrics/custom_metrics/type_modifiers/
  const end = `.as_count().rollup(sum, ${period})`;
  const of = (slot: Slot, kind: Kind, before: string, text: string): Question[] => {
    const filled = fill(text, subject, slot, tag);
    return filled === undefined ? [] : [{ slot, kind, query: `${before}${filled}${end}` }];
  };
  const parts = (slot: Slot): Question[] => [
    ...of(slot, "requests", "", wanted.requests),
    ...of(slot, "errors", "", wanted.errors),
    ...(wanted.latency === undefined
      ? []
      : [
          ...of(slot, Number.POSITIVE_INFINITY, "count:", wanted.latency),
          // Threshold queries: https://docs.datadoghq.com/metrics/distributions/#threshold-queries
          ...edges.flatMap((edge) => of(slot, edge, `count(v: v<=${edge}):`, wanted.latency!)),
        ]),
  ];
  const asked = SLOTS.map((slot) => parts(slot));
  apart(
    asked.flatMap(([first]) => (first ? [[first.slot, first.query] as const] : [])),
    "datadog queries",
  );
  return asked.flat();
}

/** A value as Datadog stores it in a tag: https://docs.datadoghq.com/getting_started/tagging/#define-tags */
function tag(value: string): string {
  return value.toLowerCase().replace(/[^\p{L}\p{N}_\-:./]/gu, "_");
}

async function query(
  where: string,
  text: string,
  span: Span,
  options: DatadogOptions,
  signal: AbortSignal,
): Promise<Series[]> {
  signal.throwIfAborted();
  const [apiKey, appKey] = [await resolveSecret(options.apiKey), await resolveSecret(options.appKey)];
  const address = new URL(where);
  // The last second is that before the period which has not come to its end.
  const [from, to] = [span.from / 1000, span.to / 1000 - 1];
  address.search = new URLSearchParams({ from: `${from}`, to: `${to}`, query: text }).toString();
  const manner: Manner = {
    timeout: options.timeout,
    maxBytes: options.maxBytes,
    name: "datadog",
    headers: { "dd-api-key": apiKey, "dd-application-key": appKey },
    credentials: "`apiKey`, `appKey` and `site`",
    said: (body) => refusal.safeParse(body).data?.errors.join("; "),
    // https://docs.datadoghq.com/api/latest/rate-limits/: seconds until the next reset.
    pause: (headers) => {
      const reset = String(headers["x-ratelimit-reset"] ?? "");
      return /^\d+$/.test(reset) ? Number(reset) * 1000 : undefined;
    },
  };
  const found = answer.safeParse(await getJson(address, manner, signal));
  if (!found.success) throw SourceMalformed(where, "it is no answer of Datadog's query API");
  const { status, error, series } = found.data;
  if (error && /pars|syntax|invalid|unknown|unsupported/i.test(error))
    throw BadConfig(`datadog at ${where}`, `it refuses the query ${text.slice(0, 300)}: ${error}`);
  if (error) throw SourceUnreachable(where, `it says ${error.slice(0, 300)}`);
  if (status !== "ok" || !series)
    throw SourceUnreachable(where, `its answer is not whole: ${status ?? "no status"}`);
  return series;
}

/** The sums of one series; a period without a point, or with null, had none. */
function counted(series: Series, asked: readonly Question[], span: Span, bad: (why: string) => Error): Sum[] {
  const question = asked[series.query_index ?? (asked.length === 1 ? 0 : -1)];
  if (!question) throw bad("a series does not say which query it answers");
  // Its reference says milliseconds, its answers have seconds.
  const { interval } = series;
  if (interval !== undefined && interval !== span.length && interval * 1000 !== span.length)
    throw bad(`it counts in periods of ${interval}, not of ${span.length / 1000} s`);
  return series.pointlist.flatMap(([from, value]) =>
    value === null ? [] : [{ slot: question.slot, kind: question.kind, from, value }],
  );
}

function newest(series: Series | undefined, end: number, bad: (why: string) => Error): number | undefined {
  let last: [number, number] | undefined;
  for (const [at, value] of series?.pointlist ?? []) {
    if (value === null || at >= end) continue;
    if (!Number.isFinite(value)) throw bad(`the query gives ${value}`);
    if (!last || at > last[0]) last = [at, value];
  }
  return last?.[1];
}
