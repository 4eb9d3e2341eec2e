import { Counter, Gauge, Registry } from "prom-client";
import type { Slot } from "../handle";
import { createHistogram } from "./histogram";
import type { SlotCounts } from "./protocol";

/**
 * Upper edges of the latency buckets in seconds: E6 series from 1 ms to 10 s, each at most 1.5 times the one
 * before, so that a P99 read from them is off by less than half, and "twice the baseline" can be seen.
 */
export const LATENCY_EDGES: readonly number[] = [
  0.0005, 0.001, 0.0015, 0.0022, 0.0033, 0.0047, 0.0068, 0.01, 0.015, 0.022, 0.033, 0.047, 0.068, 0.1, 0.15,
  0.22, 0.33, 0.47, 0.68, 1, 1.5, 2.2, 3.3, 4.7, 6.8, 10,
];

/** Ends one request; called once, with the status code the client was given. */
export type End = (code: number) => void;

/** Tells of a request that ended with 5xx. */
export type ErrorListener = (service: string, slot: Slot, code: number) => void;

/** Requests of one slot as they happen: what the proxy calls for each request. */
export interface Meter {
  /** Counts a request as in flight. */
  open(): void;
  /** Counts it as done. `code` is what the client got: 499 where it left first. */
  done(code: number, seconds: number): void;
  /** Counts it by its answer, although it is in flight still: a WebSocket, until it is `closed`. */
  answered(code: number, seconds: number): void;
  closed(): void;
  inFlight(): number;
}

/** What users met, per service and slot, as Prometheus reads it. */
export interface Metrics {
  readonly registry: Registry;
  /** Begins a request; call what it returns with the status code once it has ended. */
  begin(service: string, slot: Slot): End;
  /** The bound counters of one slot: no label is looked up per request. */
  meter(service: string, slot: Slot): Meter;
  /** Counts requests that are no user's: in a family of its own, which no analysis reads. */
  matched(service: string, slot: Slot): Meter;
  /** Counts a request that was answered by the proxy alone and met no slot. */
  refused(service: string, code: number): void;
  /** The text that Prometheus scrapes. */
  text(): Promise<string>;
  /** Requests ended so far, and those of them that ended with 5xx. */
  counts(service: string, slot: Slot): { requests: number; errors: number };
  /** All that the text says of a slot, as it stands: it goes on counting. Undefined where the text does not name it. */
  read(service: string, slot: Slot): Readonly<SlotCounts> | undefined;
  /** Calls back for each 5xx; returns what ends that. */
  onError(listener: ErrorListener): () => void;
  /** Drops every series of a service that is gone. */
  forget(service: string): void;
}

interface Tally extends SlotCounts {
  service: string;
  slot: Slot;
  codes: Map<number, number>;
  /** Seconds of all requests together. */
  sum: number;
  inFlight: number;
  meter: Meter;
}

/** Makes the metrics of one supervisor, in a registry of their own. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const tallies = new Map<string, Tally>();
  const listeners = new Set<ErrorListener>();
  const labelNames = ["service", "slot"];
  // All are filled when they are read: their own `inc` and `observe` cost more than the rest of a request's count.
  new Counter({
    name: "sluice_requests_total",
    help: "Requests that ended, by the status code the client got; 499 where the client left first.",
    labelNames: [...labelNames, "code"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { service, slot, codes } of tallies.values()) {
        for (const [code, count] of codes) this.inc({ service, slot, code: String(code) }, count);
      }
    },
  });
  new Gauge({
    name: "sluice_in_flight",
    help: "Requests that are being answered.",
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      for (const { service, slot, inFlight } of tallies.values()) this.set({ service, slot }, inFlight);
    },
  });
  const matched = createCount(registry, {
    name: "sluice_matched_requests_total",
    help: "Requests that a header sent to the slot that is not live; no user's, so in no other series.",
    labelNames: [...labelNames, "code"],
  });
  const refused = createCount(registry, {
    name: "sluice_refused_requests_total",
    help: "Requests that the proxy answered itself, before a slot was chosen.",
    labelNames: ["service", "code"],
  });
  createHistogram(
    registry,
    {
      name: "sluice_request_duration_seconds",
      help: "Seconds from a request's head to the end of its answer, those that the client left included.",
      edges: LATENCY_EDGES,
    },
    () => tallies.values(),
  );

  const tally = (service: string, slot: Slot): Tally => {
    const key = `${service}/${slot}`;
    const known = tallies.get(key);
    if (known) return known;
    // 200 is there from the start, so that the first request shows as an increase.
    const made: Tally = {
      service,
      slot,
      codes: new Map([[200, 0]]),
      requests: 0,
      errors: 0,
      buckets: new Array<number>(LATENCY_EDGES.length + 1).fill(0),
      sum: 0,
      inFlight: 0,
      meter: {
        open: () => {
          made.inFlight++;
        },
        done: (code, seconds) => {
          made.inFlight--;
          made.meter.answered(code, seconds);
        },
        closed: () => {
          made.inFlight--;
        },
        answered: (code, seconds) => {
          made.requests++;
          made.codes.set(code, (made.codes.get(code) ?? 0) + 1);
          const at = bucketOf(seconds);
          made.buckets[at] = (made.buckets[at] ?? 0) + 1;
          made.sum += seconds;
          if (code < 500) return;
          made.errors++;
          for (const listener of listeners) listener(service, slot, code);
        },
        inFlight: () => made.inFlight,
      },
    };
    tallies.set(key, made);
    return made;
  };

  return {
    registry,
    begin: (service, slot) => {
      const { meter } = tally(service, slot);
      const start = performance.now();
      meter.open();
      return (code) => meter.done(code, (performance.now() - start) / 1000);
    },
    meter: (service, slot) => tally(service, slot).meter,
    matched: (service, slot) => {
      const count = (code: number): void => matched.add(service, slot, code);
      const nothing = (): void => undefined;
      return { open: nothing, done: count, answered: count, closed: nothing, inFlight: () => 0 };
    },
    refused: (service, code) => refused.add(service, code),
    text: () => registry.metrics(),
    counts: (service, slot) => {
      const { requests = 0, errors = 0 } = tallies.get(`${service}/${slot}`) ?? {};
      return { requests, errors };
    },
    read: (service, slot) => tallies.get(`${service}/${slot}`),
    onError: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    forget: (service) => {
      for (const [key, known] of tallies) if (known.service === service) tallies.delete(key);
      for (const count of [matched, refused]) count.forget(service);
    },
  };
}

/** The bucket of a latency: the first whose edge is not below it, or the one above all. */
function bucketOf(seconds: number): number {
  let low = 0;
  let high = LATENCY_EDGES.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((LATENCY_EDGES[middle] ?? 0) < seconds) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A counter whose first label is the service. The library's own forgets a series only if it is told all its labels. */
function createCount(registry: Registry, { name, help, labelNames }: Named) {
  const services = new Map<string, Map<string, { labels: Record<string, string>; count: number }>>();
  new Counter({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      for (const series of services.values())
        for (const { labels, count } of series.values()) this.inc(labels, count);
    },
  });
  return {
    add(service: string, ...values: (string | number)[]): void {
      const series = services.get(service) ?? new Map();
      services.set(service, series);
      const key = values.join();
      const labels = Object.fromEntries(
        labelNames.map((label, i) => [label, String([service, ...values][i])]),
      );
      const known = series.get(key) ?? { labels, count: 0 };
      known.count++;
      series.set(key, known);
    },
    forget: (service: string): void => void services.delete(service),
  };
}

interface Named {
  name: string;
  help: string;
  labelNames: string[];
}
