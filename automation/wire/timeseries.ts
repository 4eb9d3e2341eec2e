import { z } from "zod";
import type { Slot } from "../core/model";
import type { Span, Sum } from "./periods";
import type { Kind } from "./series";

// https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list; 64-bit integers are strings.
const count = z.union([z.string().regex(/^-?\d+$/), z.number()]).transform(Number);
const distribution = z.object({
  count: count.optional(),
  bucketCounts: z.array(count).optional(),
  bucketOptions: z
    .object({
      exponentialBuckets: z
        .object({ numFiniteBuckets: z.number(), growthFactor: z.number(), scale: z.number() })
        .optional(),
      explicitBuckets: z.object({ bounds: z.array(z.number()) }).optional(),
      linearBuckets: z
        .object({ numFiniteBuckets: z.number(), width: z.number(), offset: z.number().default(0) })
        .optional(),
    })
    .optional(),
});
/** One page of time series. */
export const page = z.object({
  timeSeries: z
    .array(
      z.object({
        metric: z.object({ labels: z.record(z.string(), z.string()).optional() }).optional(),
        unit: z.string().optional(),
        points: z.array(
          z.object({
            interval: z.object({ endTime: z.string() }),
            value: z.object({
              int64Value: count.optional(),
              doubleValue: z.union([z.number(), z.string()]).optional(),
              distributionValue: distribution.optional(),
            }),
          }),
        ),
      }),
    )
    .optional(),
  nextPageToken: z.string().optional(),
  executionErrors: z.array(z.object({ message: z.string().optional() })).optional(),
  unreachable: z.array(z.string()).optional(),
});
/** One time series of Google Cloud Monitoring. */
export type Series = NonNullable<z.infer<typeof page>["timeSeries"]>[number];
type Point = Series["points"][number];

function begin({ interval }: Point, span: Span): number {
  return Date.parse(interval.endTime) - span.length;
}

/** Requests and errors by period, out of one series per status. */
export function requestSums(
  found: readonly Series[],
  slot: Slot,
  label: string,
  span: Span,
  bad: (why: string) => Error,
): Sum[] {
  const sums = new Map<number, { requests: number; errors: number }>();
  const seen = new Set<string>();
  for (const { metric, points } of found) {
    const code = metric?.labels?.[label];
    if (!code) throw bad(`a series has no label ${label}, so errors can't be told`);
    for (const point of points) {
      const from = begin(point, span);
      const value = point.value.int64Value ?? Number(point.value.doubleValue ?? Number.NaN);
      if (!Number.isFinite(value) || value < 0) throw bad(`slot ${slot} has a sum of ${value}`);
      if (seen.has(`${code} ${from}`)) throw bad(`slot ${slot} has two series of ${code}`);
      seen.add(`${code} ${from}`);
      const sum = sums.get(from) ?? { requests: 0, errors: 0 };
      sums.set(from, sum);
      sum.requests += value;
      if (code.startsWith("5")) sum.errors += value;
    }
  }
  return [...sums].flatMap(([from, sum]) =>
    (["requests", "errors"] as const).map((kind) => ({ slot, kind, from, value: sum[kind] })),
  );
}

/** By UCUM code. @see https://unitsofmeasure.org/ucum.html */
const UNITS: Readonly<Record<string, number>> = { us: 1e-6, ms: 1e-3, s: 1 };

/** Requests up to each bound of a distribution. */
export function latencySums(series: Series, slot: Slot, span: Span, bad: (why: string) => Error): Sum[] {
  const unit = UNITS[series.unit ?? "ms"];
  if (unit === undefined) throw bad(`the latencies are in ${series.unit}`);
  return series.points.flatMap((point) => {
    const { distributionValue: found } = point.value;
    if (!found) throw bad("the latencies are no distribution");
    const { count: all = 0, bucketCounts = [] } = found;
    if (all === 0) return [];
    const bounds = boundsOf(found.bucketOptions, bad);
    const sum = bucketCounts.reduce((total, value) => total + value, 0);
    if (bucketCounts.length > bounds.length + 1 || bucketCounts.some((value) => !(value >= 0)) || sum !== all)
      throw bad(`the buckets of a distribution don't add up to its count of ${all}`);
    let below = 0;
    // Buckets that are left out at the end are empty.
    return [...bounds, Number.POSITIVE_INFINITY].map((bound, i) => {
      below += bucketCounts[i] ?? 0;
      // Rounded, for the same bound must be the same number in every answer.
      const kind: Kind = Number.isFinite(bound) ? Number((bound * unit).toPrecision(12)) : bound;
      return { slot, kind, from: begin(point, span), value: below };
    });
  });
}

type Buckets = z.infer<typeof distribution>["bucketOptions"];

/** Upper bounds of all buckets but the last, as the Distribution type of the API defines them. */
function boundsOf(buckets: Buckets, bad: (why: string) => Error): number[] {
  const { exponentialBuckets: exponential, linearBuckets: linear, explicitBuckets } = buckets ?? {};
  const finite = exponential?.numFiniteBuckets ?? linear?.numFiniteBuckets ?? 0;
  if (!Number.isInteger(finite) || finite < 0 || finite > 1000) throw bad(`it has ${finite} latency buckets`);
  const indices = Array.from({ length: finite + 1 }, (_, i) => i);
  const bounds = exponential
    ? indices.map((i) => exponential.scale * exponential.growthFactor ** i)
    : linear
      ? indices.map((i) => linear.offset + linear.width * i)
      : (explicitBuckets?.bounds ?? []);
  if (
    bounds.length === 0 ||
    bounds.some((bound, i) => !(bound > (bounds[i - 1] ?? Number.NEGATIVE_INFINITY)))
  )
    throw bad("its latency buckets are not in ascending order");
  return bounds;
}
