import { number } from "./exposition";

/** A native histogram as Prometheus's HTTP API gives it: numbers as text, only the buckets that are not empty. */
export interface Native {
  count: string;
  /** Which bounds are inside, lower bound, upper bound, observations. */
  buckets?: readonly (readonly [number, string, string, string])[] | undefined;
}

/**
 * Seconds: 8 to a doubling from 3.9 ms to 16 s, as in the standard schema 3 (a factor of 2^(1/8) = 1.09, what
 * client libraries take for "at most 1.1"), and the powers of two a little beyond. Those that are no power of two
 * are rounded up to 4 digits, so that a bucket of the schema still ends at or below its edge.
 * https://prometheus.io/docs/specs/native_histograms/#standard-schemas
 */
export const NATIVE_EDGES: readonly number[] = [-10, -9, ...eighths(-8, 4), 5, 6].map((exponent) => {
  const edge = 2 ** exponent;
  return Number.isInteger(exponent) ? edge : ceil(edge);
});

/**
 * Takes a native histogram to fixed edges: cumulative counts at each of `NATIVE_EDGES`, and above all of them.
 * Native buckets come and go and have another schema in each process, fixed ones can be added and compared. One that
 * straddles an edge counts as if all of it were at its upper bound: a quantile is never told better than it is, and
 * worse by less than 9 % for the edges and its own bucket's width. In seconds and schema 3, 2, 1 … every bound is an edge.
 * `scale` makes seconds of it. Throws what `bad` makes.
 */
export function atEdges(histogram: Native, scale: number, bad: (why: string) => Error): [number, number][] {
  const whole = count(histogram.count, bad);
  const filled = (histogram.buckets ?? []).map(([, , upper, observations]) => {
    const bound = number(upper);
    if (bound === undefined || Number.isNaN(bound)) throw bad(`a native bucket that ends at ${upper}`);
    return [bound / scale, count(observations, bad)] as const;
  });
  filled.sort(([a], [b]) => a - b);
  let next = 0;
  let sum = 0;
  const cumulative = NATIVE_EDGES.map((edge): [number, number] => {
    for (; next < filled.length && filled[next]![0] <= edge; next++) sum += filled[next]![1];
    return [edge, sum];
  });
  for (; next < filled.length; next++) sum += filled[next]![1];
  // Observations that are NaN are counted and in no bucket.
  if (sum > whole)
    throw bad(`a native histogram with ${sum} observations in its buckets and ${whole} in all`);
  return [...cumulative, [Number.POSITIVE_INFINITY, whole]];
}

function count(text: string, bad: (why: string) => Error): number {
  const value = number(text);
  if (value === undefined || !Number.isFinite(value) || value < 0)
    throw bad(`a native histogram with the count ${text}`);
  return value;
}

function eighths(from: number, to: number): number[] {
  return Array.from({ length: (to - from) * 8 + 1 }, (_, i) => from + i / 8);
}

/** Up to 4 significant digits. */
function ceil(value: number): number {
  const unit = 10 ** (3 - Math.floor(Math.log10(value)));
  return Math.ceil(value * unit) / unit;
}
