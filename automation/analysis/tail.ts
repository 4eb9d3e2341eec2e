import { Z } from "./bounds";
import { total } from "./quantile";

/** The first edge that is not below the limit; -1: none. */
function place(limit: number, edges: readonly number[]): number {
  for (let i = 0; i < edges.length; i++) if (edges[i]! >= limit) return i;
  return -1;
}

/** Requests that surely took longer than `limit` seconds: those above the smallest edge that is not below it. */
export function surelyAbove(limit: number, edges: readonly number[], buckets: readonly number[]): number {
  const first = place(limit, edges);
  return first < 0 ? 0 : total(buckets, first + 1);
}

/** Requests that may have taken longer than `limit` seconds: those above the largest edge that is not above it. */
export function maybeAbove(limit: number, edges: readonly number[], buckets: readonly number[]): number {
  let below = 0;
  while (below < edges.length && edges[below]! <= limit) below++;
  return total(buckets, below);
}

/**
 * Requests that took longer than `limit` seconds, evenly spread in logarithms within a bucket, as Prometheus has it
 * for native histograms: what lies in the tail gets rarer as it gets slower, so an even spread would count too many.
 */
export function likelyAbove(limit: number, edges: readonly number[], buckets: readonly number[]): number {
  const at = place(limit, edges);
  if (at < 0) return 0;
  const high = edges[at]!;
  const low = edges[at - 1] ?? 0;
  const part = low > 0 ? Math.log(high / limit) / Math.log(high / low) : (high - limit) / high;
  return total(buckets, at + 1) + (buckets[at] ?? 0) * part;
}

/** The same, seen strictly: how long what lies beyond the last edge took nobody knows, so it counts against any limit. */
export function strictlyAbove(limit: number, edges: readonly number[], buckets: readonly number[]): number {
  if (place(limit, edges) >= 0) return likelyAbove(limit, edges, buckets);
  return buckets[edges.length] ?? 0;
}

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
