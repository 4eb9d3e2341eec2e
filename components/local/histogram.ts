import type { Histogram, Registry } from "prom-client";
import type { Slot } from "../handle";

/** A slot's latencies as they were counted. */
interface Counted {
  service: string;
  slot: Slot;
  requests: number;
  /** Seconds of all requests together. */
  sum: number;
  /** Requests per bucket, not cumulative; one more than there are edges. */
  buckets: readonly number[];
}

/**
 * A histogram that is filled when it is read. The library's own takes observations one by one only, each at ten times
 * the cost of counting it; so the registry is given what it asks a metric for, its `get`, and prints that.
 */
export function createHistogram(
  registry: Registry,
  { name, help, edges }: { name: string; help: string; edges: readonly number[] },
  counted: () => Iterable<Counted>,
): void {
  const rows = ({ service, slot, requests, sum, buckets }: Counted) => {
    const labels = { service, slot };
    let below = 0;
    const cumulative = edges.map((le, i) => {
      below += buckets[i] ?? 0;
      return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: below };
    });
    return [
      ...cumulative,
      { metricName: `${name}_bucket`, labels: { le: "+Inf", ...labels }, value: requests },
      { metricName: `${name}_sum`, labels, value: sum },
      { metricName: `${name}_count`, labels, value: requests },
    ];
  };
  const get = async () => ({
    name,
    help,
    type: "histogram",
    aggregator: "sum",
    values: [...counted()].flatMap(rows),
  });
  registry.registerMetric({ name, help, get } as unknown as Histogram<"service" | "slot">);
}
