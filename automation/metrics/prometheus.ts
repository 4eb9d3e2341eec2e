import { BadConfig } from "../../components/errors";
import { number, SourceMalformed } from "../analysis/exposition";
import { type Template, template } from "../analysis/promql";
import { type Kind, type Ledger, ledger, type Point } from "../analysis/series";
import type { Slot } from "../core/model";
import type { Context, MetricSource, Subject } from "../core/ports";
import { type Access, instantVector, type Series } from "../engine/vector";

/**
 * PromQL for counters that only grow, as instant vectors. Series are told apart by the labels `slot`, `job` and
 * `instance`, so select them plainly: what is summed or rated in the query can't be followed over a restart.
 * Inside quotes stand `{{service}}`, `{{environment}}`, `{{target}}`, `{{name}}` (the name the platform knows the
 * service by), `{{slot}}` and `{{version}}` (the slot's); with one of the last two, each slot is asked for by itself.
 */
export interface Queries {
  requests: string;
  errors: string;
  /** Buckets of a histogram in seconds, with the label `le`. @default none */
  latency?: string | undefined;
}

/** Where to ask, what, and with which credentials. */
export interface PrometheusOptions extends Access {
  /** Where Prometheus answers, with its path prefix if it has one: `https://prometheus.example.org`. */
  url: string;
  /** @default queries.sluice */
  queries?: Queries | undefined;
  /** Label that names the slot, `blue` or `green`. @default "slot" */
  slotLabel?: string | undefined;
}

/** Ready-made queries, by who names the metrics. */
export const queries = {
  /** The embedded platform's own. */
  sluice: {
    requests: 'sluice_requests_total{service="{{name}}"}',
    errors: 'sluice_requests_total{service="{{name}}",code=~"5.."}',
    latency: 'sluice_request_duration_seconds_bucket{service="{{name}}"}',
  },
  /** The names of most client libraries; service, environment and slot are labels of the scraped targets. */
  http: {
    requests: 'http_requests_total{service="{{service}}",environment="{{environment}}"}',
    errors: 'http_requests_total{service="{{service}}",environment="{{environment}}",code=~"5.."}',
    latency: 'http_request_duration_seconds_bucket{service="{{service}}",environment="{{environment}}"}',
  },
  /** OpenTelemetry's semantic conventions; service, environment and slot are labels of the scraped targets. */
  openTelemetry: {
    requests:
      'http_server_request_duration_seconds_count{service="{{service}}",environment="{{environment}}"}',
    errors:
      'http_server_request_duration_seconds_count{service="{{service}}",environment="{{environment}}",' +
      'http_response_status_code=~"5.."}',
    latency:
      'http_server_request_duration_seconds_bucket{service="{{service}}",environment="{{environment}}"}',
  },
} satisfies Record<string, Queries>;

const NAMES = ["service", "environment", "target", "name", "slot", "version"];
const SLOTS: readonly Slot[] = ["blue", "green"];
/** Label that tells the parts of one query apart. */
const PART = "sluice_part";

/** Asks a Prometheus, or what speaks its HTTP API, for the counters of both slots. */
export function prometheus(options: PrometheusOptions): MetricSource {
  const base = webAddress(options.url);
  const where = `${base.origin}${base.pathname}`;
  const wanted = options.queries ?? queries.sluice;
  const parts = (["requests", "errors", "latency"] as const).flatMap((part) => {
    const text = wanted[part];
    return text === undefined ? [] : [{ part, made: template(text, `prometheus ${part}`, NAMES) }];
  });
  const ask = (query: string, ctx: Context) => instantVector(base, where, query, options, ctx.signal);
  const ledgers = new Map<string, Ledger>();

  return {
    id: "prometheus",
    async ping(subject, ctx) {
      for (const { part, made } of parts) {
        const text = expressions(made, subject).map(([, query]) => query);
        const found = (await Promise.all(text.map((query) => ask(query, ctx)))).flat();
        for (const series of found) check(series, where);
        ctx.log(`${where}: ${found.length || "no"} series for ${part}: ${text.join("  ")}`);
      }
    },
    async read(subject, ctx) {
      // One query: what it answers was there at one moment, while of three the last may see a newer scrape.
      const query = parts.flatMap(({ part, made }) => combined(part, made, subject)).join("\nor\n");
      const found = await ask(query, ctx);
      const points: Point[] = [];
      let at = Number.NEGATIVE_INFINITY;
      for (const series of found) {
        const slot = slotOf(series.metric, options.slotLabel ?? "slot");
        if (!slot) continue;
        if (series.metric[PART] === "time") at = Math.max(at, Math.round(check(series, where) * 1000));
        else points.push(pointOf(series, slot, where));
      }
      if (!points.some(({ kind }) => kind === "requests")) return undefined;
      const key = JSON.stringify([subject.target, subject.service, subject.environment]);
      const account = ledgers.get(key) ?? ledger();
      ledgers.set(key, account);
      return { at, ...account.take(points, (why) => SourceMalformed(where, why)) };
    },
  };
}

/** What a template asks for this subject: once, or once per slot. */
function expressions(made: Template, subject: Subject): [Slot | undefined, string][] {
  const { environment, target, service, handle } = subject;
  const name = handle?.local?.name ?? target;
  const values = { environment, target, service, name };
  if (!made.uses.has("slot") && !made.uses.has("version")) return [[undefined, made.fill(values)]];
  return SLOTS.flatMap((slot) => {
    const version = handle?.slots[slot]?.pin.version;
    // A slot that is empty has no version, and an empty one would match series without the label.
    if (made.uses.has("version") && !version) return [];
    return [[slot, made.fill({ ...values, slot, version: version ?? "" })]];
  });
}

/** Each part gets a label that names it; of the requests, the time of each sample comes along. */
function combined(part: string, made: Template, subject: Subject): string[] {
  return expressions(made, subject).flatMap(([slot, query]) => {
    // A line break before what follows: the query may end in a comment.
    const named = (value: string, expression: string) => {
      const labelled = `label_replace(${expression}\n, "${PART}", "${value}", "", "")`;
      return slot ? `label_replace(${labelled}, "${PART}_slot", "${slot}", "", "")` : labelled;
    };
    const own = named(part, query);
    return part === "requests" ? [own, named("time", `timestamp(${query}\n)`)] : [own];
  });
}

function slotOf(labels: Readonly<Record<string, string>>, label: string): Slot | undefined {
  const text = labels[`${PART}_slot`] ?? labels[label];
  return SLOTS.find((slot) => slot === text);
}

function pointOf(series: Series, slot: Slot, where: string): Point {
  const { job = "", instance = "", ...labels } = series.metric;
  const value = check(series, where);
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    slot,
    instance: JSON.stringify([job, instance]),
    key: JSON.stringify(sorted),
    kind: kindOf(labels, where),
    value,
  };
}

function kindOf(labels: Readonly<Record<string, string>>, where: string): Kind {
  const part = labels[PART];
  if (part === "requests" || part === "errors") return part;
  const edge = number(labels.le ?? "");
  if (edge === undefined || Number.isNaN(edge))
    throw SourceMalformed(where, "a series for latency has no number as its label le");
  return edge;
}

/** The value of a series. */
function check({ metric, value, histogram }: Series, where: string): number {
  const name = metric.__name__ ?? metric[PART] ?? "a series";
  if (histogram !== undefined)
    throw SourceMalformed(where, `${name} is a native histogram; classic buckets (_bucket, le) are needed`);
  const count = number(value?.[1] ?? "");
  if (count === undefined || !Number.isFinite(count) || count < 0)
    throw SourceMalformed(where, `${name} has the value ${value?.[1] ?? "none"}`);
  return count;
}

function webAddress(text: string): URL {
  const address = URL.canParse(text) ? new URL(text) : undefined;
  if (address?.protocol !== "http:" && address?.protocol !== "https:")
    throw BadConfig("prometheus url", "it is no http or https address.");
  if (address.username || address.password || address.search || address.hash)
    throw BadConfig(
      "prometheus url",
      "it has a user, a password or a query; give secrets by `bearer` or `basic`.",
    );
  return address;
}
