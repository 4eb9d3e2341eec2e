import { total } from "./quantile";

/** Requests that surely took longer than `limit` seconds: those above the smallest edge that is not below it. */
export function surelyAbove(limit: number, edges: readonly number[], buckets: readonly number[]): number {
  const first = edges.findIndex((edge) => edge >= limit);
  return first < 0 ? 0 : total(buckets.slice(first + 1));
}

/** Requests that may have taken longer than `limit` seconds: those above the largest edge that is not above it. */
export function maybeAbove(limit: number, edges: readonly number[], buckets: readonly number[]): number {
  return total(buckets.slice(edges.filter((edge) => edge <= limit).length));
}

/**
 * Requests that took longer than `limit` seconds, evenly spread in logarithms within a bucket, as Prometheus has it
 * for native histograms: what lies in the tail gets rarer as it gets slower, so an even spread would count too many.
 */
export function likelyAbove(limit: number, edges: readonly number[], buckets: readonly number[]): number {
  const at = edges.findIndex((edge) => edge >= limit);
  if (at < 0) return 0;
  const high = edges[at]!;
  const low = edges[at - 1] ?? 0;
  const part = low > 0 ? Math.log(high / limit) / Math.log(high / low) : (high - limit) / high;
  return total(buckets.slice(at + 1)) + (buckets[at] ?? 0) * part;
}

/** The same, seen strictly: how long what lies beyond the last edge took nobody knows, so it counts against any limit. */
export function strictlyAbove(limit: number, edges: readonly number[], buckets: readonly number[]): number {
  if (edges.some((edge) => edge >= limit)) return likelyAbove(limit, edges, buckets);
  return buckets[edges.length] ?? 0;
}

/** One-sided 95 % quantile of the normal distribution. */
const Z = 1.645;

/**
 * Upper 95 % bound of a quantile in seconds: the order statistic of rank ceil(n (q + z sqrt(q (1 - q) / n))), spread within
 * its bucket as above. `undefined` where there are too few to say, or it lies beyond the last edge.
 */
export function quantileBound(
  q: number,
  edges: readonly number[],
  buckets: readonly number[],
): number | undefined {
  const n = total(buckets);
  const rank = Math.ceil(n * (q + Z * Math.sqrt((q * (1 - q)) / n)));
  if (!(rank <= n)) return undefined;
  let below = 0;
  for (const [i, edge] of edges.entries()) {
    const inside = buckets[i] ?? 0;
    if (inside > 0 && below + inside >= rank) {
      const low = edges[i - 1] ?? 0;
      const part = (rank - below) / inside;
      return low > 0 ? low * (edge / low) ** part : edge * part;
    }
    below += inside;
  }
  return undefined;
}
