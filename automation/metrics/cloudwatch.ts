import { BadConfig } from "../../components/errors";
import type { Slot } from "../core/model";
import type { Context, MetricSource, Subject } from "../core/ports";
import { type CloudWatchAccess, metricData } from "../wire/cloudwatch";
import { completed, counters, wholeSeconds } from "../wire/counters";
import { SourceMalformed } from "../wire/exposition";
import type { Span, Sum } from "../wire/periods";
import { apart, fill, known } from "../wire/placeholders";
import type { Kind } from "../wire/series";

/** One metric of CloudWatch. */
export interface CloudWatchMetric {
  namespace: string;
  name: string;
}

/** Which metrics count a slot's requests. */
export interface CloudWatchQueries {
  requests: CloudWatchMetric;
  /** Added up; more of them than requests count as all requests. */
  errors: readonly CloudWatchMetric[];
  /** A metric with one value per request. @default none */
  latency?: (CloudWatchMetric & { /** @default "s" */ unit?: "s" | "ms" | undefined }) | undefined;
  /**
   * The dimensions of a slot's metrics, all of them: CloudWatch knows no other way to name a metric. In a value stand
   * `{{service}}`, `{{environment}}`, `{{target}}`, `{{name}}`, `{{slot}}` and `{{version}}`. `undefined`: the slot has none.
   */
  dimensions(subject: Subject, slot: Slot): Readonly<Record<string, string>> | undefined;
}

/** What to ask CloudWatch for, and how. */
export interface CloudWatchOptions extends CloudWatchAccess {
  queries: CloudWatchQueries;
  /** Latency edges in seconds, ascending: one query each and slot. @default 10 ms to 10 s */
  edges?: readonly number[] | undefined;
  /** Seconds of one period: a multiple of 60, for what AWS counts by itself. @default 60 */
  period?: number | undefined;
  /** Seconds after its end until a period is believed. @default 60 */
  lag?: number | undefined;
}

/** The target group of each slot, as ARNs or as the parts of them that are dimensions. */
export interface AlbTargets {
  loadBalancer: string;
  targetGroups: Readonly<Record<Slot, string>>;
}

/** Ready-made queries. */
export const cloudwatchQueries = {
  /**
   * An Application Load Balancer with one target group per slot; it is what counts requests of ECS services too.
   * https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
   * What the balancer answers by itself (504 after a time-out …) it does not count by target group.
   */
  alb({ loadBalancer, targetGroups }: AlbTargets): CloudWatchQueries {
    const namespace = "AWS/ApplicationELB";
    return {
      requests: { namespace, name: "RequestCount" },
      errors: [
        { namespace, name: "HTTPCode_Target_5XX_Count" },
        { namespace, name: "TargetConnectionErrorCount" },
      ],
      latency: { namespace, name: "TargetResponseTime" },
      dimensions: (_, slot) => ({
        LoadBalancer: loadBalancer.replace(/^arn:.*:loadbalancer\//, ""),
        TargetGroup: targetGroups[slot].replace(/^arn:.*:/, ""),
      }),
    };
  },
};

/** Edges where a service is likely to have its limit; each costs one metric a period and slot. */
const EDGES = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const SLOTS: readonly Slot[] = ["blue", "green"];
/** GetMetricData takes 500 queries at a time. */
const MOST_EDGES = 100;

/** One of the queries that a request is made of. */
interface Question {
  slot: Slot;
  kind: Kind;
  metric: CloudWatchMetric;
  stat: string;
}

/** Asks CloudWatch for the sums of both slots. Needs `@aws-sdk/client-cloudwatch`, and credentials where AWS looks for them. */
export function cloudwatch(options: CloudWatchOptions): MetricSource {
  const { queries, edges = EDGES } = options;
  if (
    edges.some((edge, i) => !(edge > (edges[i - 1] ?? 0) && Number.isFinite(edge))) ||
    edges.length > MOST_EDGES
  )
    throw BadConfig("cloudwatch edges", `they must be seconds, in ascending order, ${MOST_EDGES} at most.`);
  const length = wholeSeconds(options.period ?? 60, 1, "cloudwatch period");
  const lag = wholeSeconds(options.lag ?? 60, 0, "cloudwatch lag");
  const asked = questions(queries, edges);
  const { where, ask } = metricData(options);
  const bad = (why: string) => SourceMalformed(where, why);

  async function sums(subject: Subject, span: Span, ctx: Context): Promise<Sum[]> {
    const slots = addressed(queries, subject);
    apart(
      slots.map(([slot, dimensions]) => [slot, JSON.stringify(dimensions)] as const),
      "cloudwatch dimensions",
    );
    const mine = asked.flatMap((question) => {
      const dimensions = slots.find(([slot]) => slot === question.slot)?.[1];
      return dimensions ? [{ ...question, dimensions }] : [];
    });
    if (mine.length === 0) return [];
    const found = await ask(
      mine.map(({ metric, stat, dimensions }, i) => ({
        Id: `q${i}`,
        MetricStat: {
          Metric: {
            Namespace: metric.namespace,
            MetricName: metric.name,
            Dimensions: dimensions.map(([Name, Value]) => ({ Name, Value })),
          },
          Period: span.length / 1000,
          Stat: stat,
        },
      })),
      span,
      ctx.signal,
    );
    const answers = mine.map((question, i) => ({ ...question, points: found.get(`q${i}`) ?? [] }));
    return completed(added(answers, bad), edges);
  }

  const slots = (subject: Subject) => addressed(queries, subject).map(([slot]) => slot);
  const { ping, read, history, recent } = counters({ where, length, lag, slots, sums, bad });
  return {
    id: "cloudwatch",
    ping,
    read,
    history,
    async value(text, subject, ctx) {
      known(text, "cloudwatch query");
      const Expression = fill(text, subject, subject.slot, word);
      if (Expression === undefined) return undefined;
      const span = recent(ctx.now());
      const found = await ask([{ Id: "q0", Expression, Period: length / 1000 }], span, ctx.signal);
      const points = (found.get("q0") ?? []).sort(([a], [b]) => b - a);
      const [at, last] = points[0] ?? [];
      if (at !== undefined && at === points[1]?.[0])
        throw BadConfig("cloudwatch query", `it gives several series, not one: ${text}`);
      if (last !== undefined && !Number.isFinite(last)) throw bad(`the query gives ${last}`);
      return last;
    },
  };
}

/** In an expression: there is no way to write a quote inside quotes. */
function word(value: string): string {
  if (/["'\\{}]/.test(value)) throw BadConfig("cloudwatch query", `${value} can't be part of it.`);
  return value;
}

function questions({ requests, errors, latency }: CloudWatchQueries, edges: readonly number[]): Question[] {
  const scale = latency?.unit === "ms" ? 1000 : 1;
  return SLOTS.flatMap((slot): Question[] => [
    { slot, kind: "requests", metric: requests, stat: "Sum" },
    ...errors.map((metric): Question => ({ slot, kind: "errors", metric, stat: "Sum" })),
    ...(latency
      ? [
          { slot, kind: Number.POSITIVE_INFINITY, metric: latency, stat: "SampleCount" },
          // Trimmed count, the upper bound included:
          // https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
          ...edges.map((edge) => ({ slot, kind: edge, metric: latency, stat: `TC(:${edge * scale})` })),
        ]
      : []),
  ]);
}

/** Each slot's dimensions; a slot that they can't name is left out. */
function addressed(queries: CloudWatchQueries, subject: Subject): [Slot, [string, string][]][] {
  return SLOTS.flatMap((slot) => {
    const filled: [string, string][] = [];
    const dimensions = queries.dimensions(subject, slot);
    if (!dimensions) return [];
    for (const [name, text] of Object.entries(dimensions)) {
      known(text, `cloudwatch dimension ${name}`);
      const value = fill(text, subject, slot, (plain) => plain);
      if (value === undefined) return [];
      filled.push([name, value]);
    }
    return [[slot, filled]];
  });
}

/** Sums by slot, kind and period: several metrics of errors become one. */
function added(
  answers: readonly (Question & { points: readonly (readonly [number, number])[] })[],
  bad: (why: string) => Error,
): Sum[] {
  const sums = new Map<string, Sum>();
  const key = (slot: Slot, kind: Kind, from: number) => `${slot} ${kind} ${from}`;
  for (const { slot, kind, metric, points } of answers) {
    const seen = new Set<number>();
    for (const [from, value] of points) {
      if (seen.has(from))
        throw bad(`${metric.name} of slot ${slot} has two values for ${new Date(from).toISOString()}`);
      seen.add(from);
      if (!Number.isFinite(value) || value < 0)
        throw bad(`${metric.name} of slot ${slot} has a sum of ${value}`);
      const before = sums.get(key(slot, kind, from))?.value ?? 0;
      sums.set(key(slot, kind, from), { slot, kind, from, value: before + value });
    }
  }
  for (const sum of sums.values()) {
    const requests = sums.get(key(sum.slot, "requests", sum.from))?.value;
    // Connections are counted by attempt: a request that failed twice failed once.
    if (sum.kind === "errors" && requests) sum.value = Math.min(sum.value, requests);
  }
  return [...sums.values()];
}
