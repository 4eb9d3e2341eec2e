import { sameEdges } from "../analysis/counts";
import type { Counts, Slot } from "../core/model";

/** What a series counts: requests, errors, or requests up to a latency edge in seconds. */
export type Kind = "requests" | "errors" | number;

/** One series as it was read. */
export interface Point {
  slot: Slot;
  /** The process that counts: its counters are reset together. */
  instance: string;
  /** Tells the series of an instance apart. */
  key: string;
  kind: Kind;
  value: number;
  /** When its process was scraped. What is older than what was read before is not taken. @default unknown */
  at?: number | undefined;
  /** The native histogram that a latency belongs to, whose edges come in ascending order. @default a classic bucket */
  native?: string | undefined;
}

/** Adds the series of many processes up, over the end and the new beginning of each. */
export interface Ledger {
  /** The sums after this reading; a slot of which no series was read is left out. `bad` makes an error of a reason. */
  take(points: readonly Point[], bad: (why: string) => Error): Sums;
}

/** What was counted, latencies not cumulative. */
export interface Sums {
  edges: number[];
  slots: Partial<Record<Slot, Counts>>;
}

/** A slot: what was counted so far, and by process the last value of each series and its time. */
interface Account {
  sums: Map<Kind, number>;
  instances: Map<string, Map<string, number>>;
  times: Map<string, number>;
}

/**
 * Makes a ledger. A sum over processes falls when one of them begins anew, and nobody can tell from it what was
 * counted since; so each process is followed by itself. What a process had counted when it was seen first is
 * evidence only where that is the first reading of all: then it is in every reading, and in no difference.
 */
export function ledger(): Ledger {
  const accounts = new Map<Slot, Account>();
  return {
    take(points, bad) {
      const groups = new Map<string, Point[]>();
      for (const point of points) {
        const id = `${point.slot} ${point.instance}`;
        const group = groups.get(id);
        if (group) group.push(point);
        else groups.set(id, [point]);
      }
      const first = accounts.size === 0;
      for (const group of groups.values()) follow(accounts, group, first);
      return read(accounts, new Set(points.map((point) => point.slot)), bad);
    },
  };
}

function follow(accounts: Map<Slot, Account>, points: readonly Point[], first: boolean): void {
  const { slot, instance } = points[0]!;
  const account = accounts.get(slot) ?? { sums: new Map(), instances: new Map(), times: new Map() };
  accounts.set(slot, account);
  const { at } = points[0]!;
  if (at !== undefined) {
    // Of two servers that scrape the same, the one that lags says less: that is no new beginning.
    if (at < (account.times.get(instance) ?? at)) return;
    account.times.set(instance, at);
  }
  const known = account.instances.get(instance);
  const last = known ?? new Map<string, number>();
  account.instances.set(instance, last);
  // One that fell tells that all begin anew: another may have passed its old value already.
  if (points.some((point) => begun(point) && point.value < (last.get(point.key) ?? 0))) last.clear();
  const merged = mergedSince(points, last);
  for (const { key, kind, value, native } of points) {
    // A series that comes up later in a process counts from 0, such as that of its first error.
    const before = last.get(key) ?? (known || first ? 0 : value);
    last.set(key, value);
    if (native === undefined || !merged.has(native))
      account.sums.set(kind, (account.sums.get(kind) ?? 0) + value - before);
  }
}

/** Whether a fall of it tells of a new beginning: an edge of a native histogram also falls where buckets are merged. */
function begun({ native, kind }: Point): boolean {
  return native === undefined || kind === Number.POSITIVE_INFINITY;
}

/**
 * The native histograms whose buckets were merged since: a process does so to save memory. Nobody knows where in the
 * wider bucket its observations are, so what came in this interval is left out of the latencies.
 */
function mergedSince(points: readonly Point[], last: ReadonlyMap<string, number>): Set<string> {
  const merged = new Set<string>();
  const grown = new Map<string, number>();
  for (const { native, key, value } of points) {
    const before = last.get(key);
    if (native === undefined || before === undefined) continue;
    if (value - before < (grown.get(native) ?? 0)) merged.add(native);
    grown.set(native, value - before);
  }
  return merged;
}

function read(
  accounts: ReadonlyMap<Slot, Account>,
  seen: ReadonlySet<Slot>,
  bad: (why: string) => Error,
): Sums {
  const rows = [...seen].map((slot) => [slot, row(accounts.get(slot)!.sums)] as const);
  const edges = rows.find(([, own]) => own.edges.length > 0)?.[1].edges ?? [Number.POSITIVE_INFINITY];
  if (edges.at(-1) !== Number.POSITIVE_INFINITY) throw bad('the latency buckets lack the one of le="+Inf"');
  const slots: Sums["slots"] = {};
  // A release may measure with other buckets than the one before it: nothing to compare, and the counts stand.
  if (rows.some(([, own]) => own.edges.length > 0 && !sameEdges(own.edges, edges))) {
    for (const [slot, { requests, errors }] of rows) slots[slot] = { requests, errors, buckets: [0] };
    return { edges: [], slots };
  }
  for (const [slot, { requests, errors, edges: own, buckets }] of rows) {
    if (buckets.some((value) => value < 0)) throw bad("the latency buckets don't grow with their edge");
    slots[slot] = { requests, errors, buckets: own.length > 0 ? buckets : edges.map(() => 0) };
  }
  return { edges: edges.slice(0, -1), slots };
}

function row(sums: ReadonlyMap<Kind, number>) {
  const cumulative = [...sums]
    .flatMap(([kind, value]) => (typeof kind === "number" ? [[kind, value] as const] : []))
    .sort(([a], [b]) => a - b);
  return {
    requests: sums.get("requests") ?? 0,
    errors: sums.get("errors") ?? 0,
    edges: cumulative.map(([edge]) => edge),
    buckets: cumulative.map(([, value], i) => value - (cumulative[i - 1]?.[1] ?? 0)),
  };
}
