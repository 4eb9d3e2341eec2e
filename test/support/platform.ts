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
  const { wrongs } = options;

  function count(to: Instant): void {
    for (const slot of SLOTS) {
      const requests = (((to - at) / 1000) * USERS * split[slot]) / 100;
      counters[slot].requests += requests;
      const filled = slots[slot]?.filled;
      counters[slot].errors += requests * (filled ? options.errors(filled.pin.artifact) : 1);
    }
    at = to;
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

  function change(next: Split): void {
    for (const slot of SLOTS) {
      if (next[slot] === 0) continue;
      if (!slots[slot]) wrongs.push(`${options.key}: ${next[slot]} % to ${slot}, which is empty`);
      else if (next[slot] > split[slot] && !slots[slot]?.ready)
        wrongs.push(`${options.key}: ${next[slot]} % to ${slot}, which is not ready`);
    }
    const sum = next.blue + next.green;
    if (sum !== 100 && !(sum === 0 && live === undefined))
      throw new SluiceError("split-malformed", `${next.blue}/${next.green} with ${live} live`, "");
    split = next;
    result.heard?.(next);
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
