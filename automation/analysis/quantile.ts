/** A quantile as a histogram shows it; `beyond`: above its last edge, nobody knows how far. */
export interface Seen {
  seconds: number;
  beyond: boolean;
}

/**
 * The quantile of a histogram, linear within its bucket, as `histogram_quantile` of Prometheus has it
 * (https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile).
 */
export function quantile(q: number, edges: readonly number[], buckets: readonly number[]): Seen {
  const rank = q * total(buckets);
  let below = 0;
  for (const [i, edge] of edges.entries()) {
    const inside = buckets[i] ?? 0;
    if (inside > 0 && below + inside >= rank) {
      const lower = i === 0 ? Math.min(0, edge) : (edges[i - 1] ?? 0);
      return { seconds: lower + (edge - lower) * ((rank - below) / inside), beyond: false };
    }
    below += inside;
  }
  return { seconds: edges.at(-1) ?? 0, beyond: true };
}

/** How many values a histogram holds. */
export function total(buckets: readonly number[], from = 0): number {
  let sum = 0;
  for (let i = from; i < buckets.length; i++) sum += buckets[i]!;
  return sum;
}
