import { z } from "zod";
import { BadConfig } from "../../components/errors";
import type { Slot } from "../core/model";
import type { Context, MetricSource, Subject } from "../core/ports";
import { resolveSecret, type SecretRef } from "../engine/secret";
import { counters, wholeSeconds } from "../wire/counters";
import { number, SourceMalformed } from "../wire/exposition";
import { type Bounds, getJson, webAddress } from "../wire/json";
import type { Span, Sum } from "../wire/periods";
import { apart, fill, known } from "../wire/placeholders";
import { template } from "../wire/promql";
import { latencySums, page, requestSums, type Series } from "../wire/timeseries";
import { SourceUnreachable } from "./scrape";

/** Which metrics count a slot's requests. */
export interface CloudMonitoringQueries {
  /** Type of a metric that counts requests. */
  requests: string;
  /** Its label with the status, or the class of it: what begins with 5 failed. */
  codeLabel: string;
  /** Type of a metric with the distribution of latencies. @default none */
  latency?: string | undefined;
  /**
   * Monitoring filter for one slot's series. Inside "quotes" stand `{{service}}`, `{{environment}}`, `{{target}}`,
   * `{{name}}`, `{{slot}}` and `{{version}}`, one of the last two at least.
   */
  filter: string;
}

/** Where to ask, what, and with which credentials. */
export interface CloudMonitoringOptions extends Bounds {
  /** Id or number of the project that holds the metrics. */
  project: string;
  /** An access token with the scope `monitoring.read`. @default { command: ["gcloud", "auth", "print-access-token"] } */
  token?: SecretRef | undefined;
  /** @default cloudMonitoringQueries.cloudRun */
  queries?: CloudMonitoringQueries | undefined;
  /** Seconds of one period, 60 at least. @default 60 */
  period?: number | undefined;
  /** Seconds after its end until a period is believed. @default 180 */
  lag?: number | undefined;
  /** Where its API answers, for a proxy or a test. @default "https://monitoring.googleapis.com" */
  url?: string | undefined;
}

/** Ready-made queries. */
export const cloudMonitoringQueries = {
  /** Cloud Run's own metrics, with revisions named `<name>-<slot>-…`. */
  cloudRun: {
    requests: "run.googleapis.com/request_count",
    codeLabel: "response_code_class",
    latency: "run.googleapis.com/request_latencies",
    filter:
      'resource.type = "cloud_run_revision" AND resource.labels.service_name = "{{name}}" AND ' +
      'resource.labels.revision_name = starts_with("{{name}}-{{slot}}-")',
  },
} satisfies Record<string, CloudMonitoringQueries>;

const SLOTS: readonly Slot[] = ["blue", "green"];
const NAMES = ["service", "environment", "target", "name", "slot", "version"];
/** More pages than any run of ours has: then the token goes in a circle. */
const PAGES = 100;

const refusal = z.object({ error: z.object({ message: z.string() }) });
const vector = z.object({
  status: z.literal("success"),
  data: z.discriminatedUnion("resultType", [
    z.object({
      resultType: z.literal("vector"),
      result: z.array(z.object({ value: z.tuple([z.number(), z.string()]) })),
    }),
    z.object({ resultType: z.literal("scalar"), result: z.tuple([z.number(), z.string()]) }),
  ]),
});
/** Asks Google Cloud Monitoring for the sums of both slots; Cloud Run fills it by itself. */
export function cloudMonitoring(options: CloudMonitoringOptions): MetricSource {
  const base = webAddress(options.url ?? "https://monitoring.googleapis.com", "cloudMonitoring url");
  const root = `${base.origin}${base.pathname.replace(/\/$/, "")}`;
  const project = encodeURIComponent(options.project);
  const where = `${root}/v3/projects/${project}/timeSeries`;
  const wanted = options.queries ?? cloudMonitoringQueries.cloudRun;
  known(wanted.filter, "cloudMonitoring filter");
  const length = wholeSeconds(options.period ?? 60, 60, "cloudMonitoring period");
  const lag = wholeSeconds(options.lag ?? 180, 0, "cloudMonitoring lag");
  const bad = (why: string) => SourceMalformed(where, why);

  async function sums(subject: Subject, span: Span, ctx: Context): Promise<Sum[]> {
    const slots = addressed(wanted.filter, subject);
    apart(slots, "cloudMonitoring filter");
    const list = (parameters: [string, string][]) => pages(where, parameters, options, ctx.signal);
    const found = slots.map(async ([slot, filter]) => {
      const requests = await list(parametersOf(wanted.requests, filter, span, wanted.codeLabel));
      const latencies = wanted.latency ? await list(parametersOf(wanted.latency, filter, span)) : [];
      return [
        ...requestSums(requests, slot, wanted.codeLabel, span, bad),
        ...latencies.flatMap((series) => latencySums(series, slot, span, bad)),
      ];
    });
    return (await Promise.all(found)).flat();
  }

  const slots = (subject: Subject) => addressed(wanted.filter, subject).map(([slot]) => slot);
  const { ping, read, history } = counters({ where, length, lag, slots, sums, bad });
  return {
    id: "cloud-monitoring",
    ping,
    read,
    history,
    value: (text, subject, ctx) => evaluate(root, project, text, subject, options, ctx),
  };
}

/** Each slot's filter; a slot that it can't name is left out. */
function addressed(filter: string, subject: Subject): [Slot, string][] {
  return SLOTS.flatMap((slot) => {
    const filled = fill(filter, subject, slot, (value) => value.replace(/[\\"]/g, "\\$&"));
    return filled === undefined ? [] : [[slot, filled]];
  });
}

/** Sums per period of all series of a slot, or one per value of a label. */
function parametersOf(metric: string, filter: string, span: Span, label?: string): [string, string][] {
  return [
    ["filter", `metric.type = "${metric}" AND (${filter})`],
    // The start is not part of it, the end is.
    ["interval.startTime", new Date(span.from).toISOString()],
    ["interval.endTime", new Date(span.to).toISOString()],
    ["aggregation.alignmentPeriod", `${span.length / 1000}s`],
    ["aggregation.perSeriesAligner", "ALIGN_DELTA"],
    ["aggregation.crossSeriesReducer", "REDUCE_SUM"],
    ...(label ? [["aggregation.groupByFields", `metric.labels.${label}`] as [string, string]] : []),
    ["view", "FULL"],
  ];
}

async function ask(
  address: URL,
  options: CloudMonitoringOptions,
  signal: AbortSignal,
  form?: URLSearchParams,
): Promise<unknown> {
  signal.throwIfAborted();
  const token = await resolveSecret(options.token ?? { command: ["gcloud", "auth", "print-access-token"] });
  return getJson(
    address,
    {
      timeout: options.timeout,
      maxBytes: options.maxBytes,
      name: "cloudMonitoring",
      headers: { authorization: `Bearer ${token}` },
      credentials: "`token` and the role roles/monitoring.viewer",
      said: (body) => refusal.safeParse(body).data?.error.message,
      form,
    },
    signal,
  );
}

async function pages(
  where: string,
  parameters: [string, string][],
  options: CloudMonitoringOptions,
  signal: AbortSignal,
): Promise<Series[]> {
  const all: Series[] = [];
  let token: string | undefined;
  for (let turn = 0; turn < PAGES; turn++) {
    const address = new URL(where);
    const paged: [string, string][] = token ? [["pageToken", token]] : [];
    address.search = new URLSearchParams([...parameters, ...paged]).toString();
    const found = page.safeParse(await ask(address, options, signal));
    if (!found.success) throw SourceMalformed(where, "it is no answer of the Monitoring API");
    const { timeSeries = [], nextPageToken, executionErrors, unreachable } = found.data;
    // Part of the data is missing, and nobody knows which: a sum of it is no count.
    if (executionErrors?.length || unreachable?.length) {
      const why = executionErrors?.[0]?.message ?? `${unreachable?.join(", ") || "a part"} can't be reached`;
      throw SourceUnreachable(where, `its answer is not whole: ${why.slice(0, 200)}`);
    }
    all.push(...timeSeries);
    if (!nextPageToken) return all;
    token = nextPageToken;
  }
  throw SourceMalformed(where, `it has more than ${PAGES} pages`);
}

/** PromQL, evaluated now: https://cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.location.prometheus.api.v1/query */
async function evaluate(
  root: string,
  project: string,
  text: string,
  subject: Subject,
  options: CloudMonitoringOptions,
  ctx: Context,
): Promise<number | undefined> {
  const made = template(text, "cloudMonitoring query", NAMES);
  const { environment, target, service, handle, slot } = subject;
  const version = slot && handle?.slots[slot]?.pin.version;
  if ((made.uses.has("slot") && !slot) || (made.uses.has("version") && !version)) return undefined;
  const name = handle?.local?.name ?? target;
  const query = made.fill({
    environment,
    target,
    service,
    name,
    ...(slot && { slot }),
    ...(version && { version }),
  });
  const where = `${root}/v1/projects/${project}/location/global/prometheus/api/v1/query`;
  const time = String(ctx.now() / 1000);
  const found = vector.safeParse(
    await ask(new URL(where), options, ctx.signal, new URLSearchParams({ query, time })),
  );
  if (!found.success) throw SourceMalformed(where, "it is no instant vector and no scalar");
  const { data } = found.data;
  if (data.resultType === "vector" && data.result.length > 1)
    throw BadConfig("cloudMonitoring query", `it gives ${data.result.length} series, not one: ${text}`);
  const [, said] = data.resultType === "scalar" ? data.result : (data.result[0]?.value ?? [0, "NaN"]);
  const result = number(said);
  if (result === undefined || Math.abs(result) === Number.POSITIVE_INFINITY)
    throw SourceMalformed(where, `the query gives ${said}`);
  // Such as a share of no requests.
  return Number.isNaN(result) ? undefined : result;
}
