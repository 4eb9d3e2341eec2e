import { SLOTS } from "../handle";
import { LATENCY_EDGES, type Metrics } from "./metrics";
import type { PastReading, SlotCounts } from "./protocol";

/** What was counted in the last minutes, reading by reading: it says what is normal for a service. In memory alone. */
export interface History {
  /** Keeps what these services have counted so far, and forgets every other one. `at`: milliseconds since the epoch. */
  record(services: readonly string[], at: number): void;
  /** Readings that are not before `from`, oldest first. */
  since(service: string, from: number): PastReading[];
  forget(service: string): void;
}

/** Readings of each service: 16 minutes at one in 5 s, so that 15 whole ones are there. */
const KEPT = 192;
/** Numbers of one slot: requests, errors, and requests per bucket. */
const WIDTH = 2 + LATENCY_EDGES.length + 1;
/** Numbers of one reading: its time and both slots; 59 of 8 bytes each, so that a service takes 90,624 bytes. */
const ROW = 1 + SLOTS.length * WIDTH;

/** Rows one behind the other; the oldest is overwritten. */
interface Ring {
  rows: Float64Array;
  /** Readings written since it began. */
  written: number;
  /** Time of the newest. */
  at: number;
}

/** Makes an empty history: a supervisor that was started again knows nothing of what was before it. */
export function createHistory(metrics: Metrics): History {
  const rings = new Map<string, Ring>();
  return {
    record(services, at) {
      const known = new Set(services);
      for (const service of rings.keys()) if (!known.has(service)) rings.delete(service);
      for (const service of services) {
        const counts = SLOTS.map((slot) => metrics.read(service, slot));
        if (counts.every((each) => each === undefined)) continue;
        const former = rings.get(service);
        // Times only grow: where the clock was set back, what was before is worth nothing.
        const ring =
          former && former.at < at ? former : { rows: new Float64Array(KEPT * ROW), written: 0, at };
        rings.set(service, ring);
        write(ring, at, counts);
      }
    },
    since(service, from) {
      const ring = rings.get(service);
      if (!ring) return [];
      const all: PastReading[] = [];
      for (let i = Math.max(0, ring.written - KEPT); i < ring.written; i++) {
        const row = ring.rows.subarray((i % KEPT) * ROW, ((i % KEPT) + 1) * ROW);
        if ((row[0] ?? 0) >= from) all.push(reading(row));
      }
      return all;
    },
    forget: (service) => void rings.delete(service),
  };
}

function write(ring: Ring, at: number, counts: (Readonly<SlotCounts> | undefined)[]): void {
  const start = (ring.written % KEPT) * ROW;
  ring.rows[start] = at;
  counts.forEach((slot, i) => {
    const begin = start + 1 + i * WIDTH;
    // A slot that was not there: no count is NaN.
    if (!slot) ring.rows.fill(Number.NaN, begin, begin + WIDTH);
    else ring.rows.set([slot.requests, slot.errors, ...slot.buckets], begin);
  });
  ring.written++;
  ring.at = at;
}

function reading(row: Float64Array): PastReading {
  const [at = 0] = row;
  const slots: PastReading["slots"] = {};
  SLOTS.forEach((slot, i) => {
    const [requests = 0, errors = 0, ...buckets] = row.subarray(1 + i * WIDTH, 1 + (i + 1) * WIDTH);
    if (!Number.isNaN(requests)) slots[slot] = { requests, errors, buckets };
  });
  return { at, edges: [...LATENCY_EDGES], slots };
}
