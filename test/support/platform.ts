import { poisson } from "../../automation/analysis/chance";
import type { Counts, Instant, RunId } from "../../automation/core/model";
import { SluiceError } from "../../components/errors";
import { type Filled, SLOTS, type Slot, type Split } from "../../components/handle";

/** Requests per second that users make. */
const USERS = 1000;
/** Milliseconds of silence after which traffic is given back. */
export const SILENCE = 30_000;

/** What a stack declares of the platform: what Pulumi compares with. */
export interface Resources {
  slots: Partial<Record<Slot, Filled>>;
  split: Split;
  live?: Slot | undefined;
  run?: RunId | undefined;
}

/** A service on a platform in memory: two slots, one route, counters, a fence and give-back. */
export interface Platform {
  /** What is there now. */
  now(): Resources;
  /** A crash of the slot, or its recovery. */
  health(slot: Slot, ready: boolean): void;
  ready(slot: Slot): boolean;
  fill(slot: Slot, filled: Filled | undefined, token: number): void;
  route(route: Omit<Resources, "slots">, token: number): void;
  beat(run: RunId, token: number): void;
  counts(slot: Slot): Counts;
  /** Requests of a slot that ever failed, whatever became of the slot. */
  failed(slot: Slot): number;
  /** When the slot's next error comes, where errors come by chance. */
  next(slot: Slot): Instant;
  /** How often traffic was given back for silence. */
  given(): number;
  /** Hears every change of the split. */
  heard?: (split: Split) => void;
}

export interface PlatformOptions {
  key: string;
  /** Old replicas of a slot serve until new ones are ready. */
  inPlace: boolean;
  now(): Instant;
  /** Share of requests that an artifact answers with 5xx. */
  errors(artifact: string): number;
  /** Whether an artifact comes up. */
  starts(artifact: string): boolean;
  /** Requests per second that users make. @default 1000 */
  rps?: number | undefined;
  /** Requests and errors come by chance, independently. @default as evenly as they can */
  random?: (() => number) | undefined;
  /** Gets where traffic went that it should not have gone to, a sentence each. */
  wrongs: string[];
}

export function platform(options: PlatformOptions): Platform {
  const slots: Partial<Record<Slot, { filled: Filled; ready: boolean }>> = {};
  const counters: Record<Slot, { requests: number; errors: number }> = {
    blue: { requests: 0, errors: 0 },
    green: { requests: 0, errors: 0 },
  };
  let split: Split = { blue: 0, green: 0 };
  let live: Slot | undefined;
  let run: RunId | undefined;
  let fence = 0;
  let given = 0;
  let heardAt = options.now();
  let at = options.now();
  const { wrongs, random, rps = USERS } = options;
  const failed: Record<Slot, number> = { blue: 0, green: 0 };
  const next: Record<Slot, Instant> = { blue: Number.POSITIVE_INFINITY, green: Number.POSITIVE_INFINITY };

  function rateOf(slot: Slot): number {
    const filled = slots[slot]?.filled;
    return filled ? options.errors(filled.pin.artifact) : 1;
  }

  function count(to: Instant): void {
    for (const slot of SLOTS) {
      const requests = (((to - at) / 1000) * rps * split[slot]) / 100;
      const errors = random ? arrive(slot, to) : requests * rateOf(slot);
      counters[slot].requests += random ? errors + poisson(requests * (1 - rateOf(slot)), random) : requests;
      counters[slot].errors += errors;
      failed[slot] += errors;
    }
    at = to;
  }

  /** The errors until then: each one's time is drawn when the one before has come. */
  function arrive(slot: Slot, to: Instant): number {
    let errors = 0;
    for (; next[slot] <= to; errors++) draw(slot, next[slot]);
    return errors;
  }

  function draw(slot: Slot, from: Instant): void {
    const perMs = (rps * split[slot] * rateOf(slot)) / 100_000;
    next[slot] = perMs > 0 ? from - Math.log(1 - random!()) / perMs : Number.POSITIVE_INFINITY;
  }

  /** Lets what happened since it was last looked at have happened. */
  function catchUp(): void {
    const now = options.now();
    if (now <= at) return;
    const due = heardAt + SILENCE;
    if (run !== undefined && now > due) {
      if (due > at) count(due);
      const all: Split = { blue: live === "blue" ? 100 : 0, green: live === "green" ? 100 : 0 };
      if (!live || slots[live]?.ready) {
        if (all.blue !== split.blue || all.green !== split.green) given++;
        change(all);
      }
    }
    count(now);
  }

  function change(to: Split): void {
    for (const slot of SLOTS) {
      if (to[slot] === 0) continue;
      if (!slots[slot]) wrongs.push(`${options.key}: ${to[slot]} % to ${slot}, which is empty`);
      else if (to[slot] > split[slot] && !slots[slot]?.ready)
        wrongs.push(`${options.key}: ${to[slot]} % to ${slot}, which is not ready`);
    }
    const sum = to.blue + to.green;
    if (sum !== 100 && !(sum === 0 && live === undefined))
      throw new SluiceError("split-malformed", `${to.blue}/${to.green} with ${live} live`, "");
    split = to;
    // Chance has no memory, so what was to come may be drawn anew.
    if (random) for (const slot of SLOTS) draw(slot, at);
    result.heard?.(to);
  }

  function admit(token: number): void {
    if (token < fence) throw new SluiceError("fenced", `${token} is older than ${fence}`, "");
    fence = token;
    heardAt = options.now();
  }

  const result: Platform = {
    now() {
      catchUp();
      const filled = Object.fromEntries(
        SLOTS.flatMap((slot) => (slots[slot] ? [[slot, slots[slot].filled]] : [])),
      );
      return { slots: filled, split, live, run };
    },
    health(slot, ready) {
      catchUp();
      const found = slots[slot];
      if (found) found.ready = ready;
    },
    ready(slot) {
      catchUp();
      return slots[slot]?.ready ?? false;
    },
    fill(slot, filled, token) {
      catchUp();
      admit(token);
      const before = slots[slot]?.filled;
      if (before?.pin.artifact === filled?.pin.artifact && before?.hash === filled?.hash) return;
      if (split[slot] > 0 && !(options.inPlace && filled))
        wrongs.push(`${options.key}: ${slot} is ${filled ? "filled anew" : "emptied"} with ${split[slot]} %`);
      if (filled) slots[slot] = { filled, ready: options.starts(filled.pin.artifact) };
      else delete slots[slot];
      counters[slot] = { requests: 0, errors: 0 };
    },
    route(route, token) {
      catchUp();
      admit(token);
      live = route.live;
      run = route.run;
      change(route.split);
    },
    beat(by, token) {
      catchUp();
      if (run === by) admit(token);
    },
    failed(slot) {
      catchUp();
      return failed[slot];
    },
    next: (slot) => next[slot],
    given() {
      catchUp();
      return given;
    },
    counts(slot) {
      catchUp();
      const requests = Math.floor(counters[slot].requests);
      return { requests, errors: Math.floor(counters[slot].errors), buckets: [requests, 0] };
    },
  };
  return result;
}
