import { PolicyViolation, StackLocked, UpFailed } from "../../automation/core/errors";
import type { Reading, TargetKey } from "../../automation/core/model";
import type { Change, Context, MetricSource, Subject, Target } from "../../automation/core/ports";
import { RunElsewhere, SluiceError, WorldMoved } from "../../components/errors";
import { type Filled, type Handle, isResolved, parseHandle, SLOTS, type Slot } from "../../components/handle";
import { type Platform, platform, type Resources } from "./platform";
import { chance, type Timeline, timeline } from "./timeline";

/** How an apply goes wrong: before anything, with the slots written, once all of it is stored, or for ever. */
export type How = "before" | "between" | "after" | "hang";

/** What goes wrong. Counts say how often. */
export interface Faults {
  /** By step: `<target>/<act>` or `restore:<target>`. */
  applies: Record<string, { how: How; times: number }>;
  /** Steps that a policy refuses. */
  policy: string[];
  /** By target: diverting writes that fail. */
  diverts: Record<TargetKey, number>;
  /** By target: diverting writes that are never answered. */
  swallowed: Record<TargetKey, number>;
  /** By target: readings that fail. */
  down: Record<TargetKey, number>;
  /** By target: readings that no counter can give. */
  nonsense: Record<TargetKey, number>;
  /** Targets whose platform never answers a heartbeat, nor tells log lines. */
  mute: TargetKey[];
  /** Artifacts that never get ready. */
  lame: string[];
  /** Artifacts that answer a fifth of the requests with 5xx. */
  bad: string[];
  /** Requests and errors come by chance: how many a second, and which share fails, by artifact. @default evenly */
  traffic?: { rps: number; rates: Record<string, number> };
}

export const NONE: Faults = {
  applies: {},
  policy: [],
  diverts: {},
  down: {},
  nonsense: {},
  swallowed: {},
  mute: [],
  lame: [],
  bad: [],
};

/** A process of a run: what it began may go on without it. */
export interface Life {
  alive: boolean;
  token: number;
}

interface Child {
  life: Life;
  dead: boolean;
  /** Milliseconds added to what is still to come. */
  late: number;
}

interface Stack {
  key: TargetKey;
  handle?: Handle | undefined;
  /** What the engine believes, resource by resource: kept even where the handle is not. */
  resources: Resources;
  platform: Platform;
  child?: Child | undefined;
  locked: boolean;
}

export interface World {
  time: Timeline;
  faults: Faults;
  stacks: Map<TargetKey, Stack>;
  /** Every apply that was begun. */
  applied: Change[];
  /** Laws broken, a sentence each. */
  wrongs: string[];
  random(): number;
  /** The targets as that process sees them. */
  targets(life: Life): Map<TargetKey, Target>;
  source(life: Life): MetricSource;
  /** The process is gone; its CLIs are not. */
  kill(life: Life): void;
  endOrphans(): void;
  /** Does it after so many milliseconds; never answers a process that is gone. */
  later<T>(life: Life, milliseconds: number, act: () => T): Promise<T>;
}

/** Where a test begins: what is declared of a service. */
export interface Start {
  key: TargetKey;
  handle?: Handle | undefined;
  /** The platform can change a slot that has traffic, replica by replica. @default false */
  inPlace?: boolean | undefined;
}

export const SETTINGS = {
  variables: {},
  secrets: {},
  arguments: [],
  files: {},
  resources: { replicas: 1 },
  probes: { health: "/", startSeconds: 30 },
};

/** An artifact by a letter or two. */
export function artifact(name: string): string {
  return `image/${name}@sha256:${Buffer.from(name).toString("hex").padEnd(64, "0").slice(0, 64)}`;
}

export function filled(name: string): Filled {
  return { pin: { artifact: artifact(name) }, settings: SETTINGS, hash: "a".repeat(64) };
}

/** A world in memory: stacks, platforms, users and clock, in which chance comes from a seed. */
export function world(starts: readonly Start[], seed: number, faults: Faults = NONE): World {
  const time = timeline(1_800_000_000_000);
  const random = chance(seed);
  const stacks = new Map<TargetKey, Stack>();
  const wrongs: string[] = [];
  const applied: Change[] = [];
  for (const { key, handle, inPlace } of starts) {
    const made = platform({
      key,
      inPlace: inPlace ?? false,
      now: time.now,
      errors: (name) => faults.traffic?.rates[name] ?? (faults.bad.includes(name) ? 0.2 : 0),
      ...(faults.traffic && { rps: faults.traffic.rps, random }),
      starts: (name) => !faults.lame.includes(name),
      wrongs,
    });
    const { slots, split, live } = handle ?? { slots: {}, split: { blue: 0, green: 0 } };
    for (const slot of SLOTS) if (slots[slot]) made.fill(slot, slots[slot], 0);
    made.route({ split, live }, 0);
    stacks.set(key, { key, handle, resources: { slots, split, live }, platform: made, locked: false });
  }

  function later<T>(life: Life, milliseconds: number, act: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      time.after(milliseconds, () => {
        try {
          const made = act();
          if (life.alive) resolve(made);
        } catch (e) {
          if (life.alive) reject(e);
        }
      });
    });
  }

  const parts: Parts = { time, random, faults, wrongs, applied, later };
  return {
    time,
    faults,
    stacks,
    applied,
    wrongs,
    random,
    later,
    targets: (life) => new Map([...stacks].map(([key, stack]) => [key, target(stack, life, parts)])),
    source: (life) => source(stacks, life, parts),
    kill(life) {
      life.alive = false;
      for (const { child } of stacks.values()) if (child?.life === life) child.late += random() * 5000;
    },
    endOrphans() {
      for (const stack of stacks.values()) {
        if (!stack.child) continue;
        stack.child.dead = true;
        stack.child = undefined;
        stack.locked = true;
      }
    },
  };
}

interface Parts extends Pick<World, "time" | "random" | "faults" | "wrongs" | "applied" | "later"> {}

function target(stack: Stack, life: Life, parts: Parts): Target {
  const { faults, later } = parts;
  const { platform: there, key } = stack;
  const write = (split: Handle["split"], live: Slot | undefined, ctx: Context) => {
    const from = stack.handle?.split;
    const less = from && SLOTS.some((slot) => split[slot] === 0 && from[slot] > 0);
    if (less && (faults.swallowed[key] ?? 0) > 0) {
      faults.swallowed[key] = (faults.swallowed[key] ?? 0) - 1;
      return new Promise<void>(() => {});
    }
    return later(life, 5, () => {
      if (less && (faults.diverts[key] ?? 0) > 0) {
        faults.diverts[key] = (faults.diverts[key] ?? 0) - 1;
        throw new Error("the platform does not answer");
      }
      there.route({ split, live, run: there.now().run }, ctx.fence.token);
    });
  };
  return {
    key,
    service: key,
    observe: () =>
      later(life, 50, () => {
        const { split, slots, run } = there.now();
        const actual = Object.entries(slots).map(([slot, f]) => [
          slot,
          { artifact: f.pin.artifact, hash: f.hash, ready: there.ready(slot as Slot) },
        ]);
        return {
          declared: stack.handle,
          actual: { split, run, slots: Object.fromEntries(actual) },
          drift: [],
        };
      }),
    preview: (change) =>
      later(life, 300, () => {
        if (faults.policy.includes(stepName(change.by.step))) throw PolicyViolation(key, ["not today"]);
        return { handle: resolve(stack, change), changes: {} };
      }),
    apply: (change, ctx) => up(stack, change, ctx, life, parts),
    recover: () =>
      later(life, 500, () => {
        stack.locked = false;
        stack.resources = there.now();
      }),
    router: {
      read: () => later(life, 5, () => there.now().split),
      write: (handle, split, ctx) => write(split, handle.live, ctx),
      ready: (_handle, slot) =>
        later(life, 5, () =>
          there.ready(slot)
            ? { ready: true }
            : { ready: false, lost: true, code: "slot-lost", reason: "it crashes" },
        ),
      reach: async (_handle, slot) => `http://${slot}.${key}`,
      beat: (_handle, ctx) =>
        faults.mute.includes(key)
          ? new Promise(() => {})
          : later(life, 5, () => there.beat(ctx.fence.run, ctx.fence.token)),
      logs: () => (faults.mute.includes(key) ? new Promise(() => {}) : later(life, 5, () => ["one line"])),
    },
  };
}

/** What the program declares. Idea 2 of the design, in the words of the real one. */
function resolve(stack: Stack, { want, expect, by }: Change): Handle {
  const last = stack.handle;
  if (last?.run && last.run !== by.run) throw RunElsewhere(stack.key, last.run, by.run);
  const generation = last?.generation ?? 0;
  const retried = generation === expect + 1 && last?.by?.run === by.run && last.by.step === by.step;
  if (generation !== expect && !retried)
    throw WorldMoved(stack.key, `it is at generation ${generation}, not ${expect}`);
  const slots: Handle["slots"] = {};
  for (const slot of SLOTS) {
    const wanted = want.slots[slot];
    if (!wanted) continue;
    const before = retried ? last?.slots[slot] : undefined;
    if (before?.pin.artifact === wanted.pin.artifact && !isResolved(wanted)) slots[slot] = before;
    else slots[slot] = isResolved(wanted) ? wanted : { ...wanted, settings: SETTINGS, hash: "a".repeat(64) };
  }
  return parseHandle(JSON.parse(JSON.stringify({ ...want, slots, generation: expect + 1, by })), stack.key);
}

/** `pulumi up`: slots first, then the route, the handle last of all; what was begun goes on without its process. */
function up(stack: Stack, change: Change, ctx: Context, life: Life, parts: Parts): Promise<Handle> {
  const { time, random, faults, wrongs } = parts;
  const { key, platform: there } = stack;
  const { token } = ctx.fence;
  parts.applied.push(change);
  return new Promise((settle, fail) => {
    if (stack.child) wrongs.push(`${key}: ${change.by.step} while another operation is under way`);
    if (stack.child || stack.locked) return fail(StackLocked(key, "another update is in progress"));
    if (ctx.signal.aborted)
      wrongs.push(`${key}: ${change.by.step} was begun although it had been called off`);
    if (ctx.signal.aborted) return fail(new Error("aborted before it began"));
    const child: Child = { life, dead: false, late: 0 };
    stack.child = child;
    const end = (tell: () => void) => {
      if (stack.child === child) stack.child = undefined;
      child.dead = true;
      if (life.alive) tell();
    };
    let handle: Handle;
    const fault = faults.applies[stepName(change.by.step)];
    const trouble = (how: How) => {
      if (fault?.how !== how || fault.times <= 0) return;
      fault.times--;
      throw UpFailed(key, `injected ${how}`);
    };
    const put = (whether: (slot: Slot) => boolean) => {
      for (const slot of SLOTS.filter(whether)) {
        if (same(stack.resources.slots[slot], handle.slots[slot])) continue;
        there.fill(slot, handle.slots[slot], token);
        const slots = { ...stack.resources.slots, [slot]: handle.slots[slot] };
        stack.resources = { ...stack.resources, slots };
      }
    };
    const stages = [
      () => {
        handle = resolve(stack, change);
        trouble("before");
      },
      () => {
        put((slot) => handle.slots[slot] !== undefined);
        // As the real one waits for: nobody else could serve what goes to an empty place.
        const rising = SLOTS.find((slot) => handle.split[slot] > stack.resources.split[slot]);
        if (rising && !there.ready(rising)) throw UpFailed(key, `${rising} does not get ready`);
        trouble("between");
      },
      () => {
        const { split, live, run } = handle;
        const before = stack.resources;
        if (same([before.split, before.live, before.run], [split, live, run])) return;
        there.route({ split, live, run }, token);
        stack.resources = { ...stack.resources, split, live, run };
      },
      // As in the program: the route depends on the filled slots, and the empty ones on the route.
      () => put((slot) => handle.slots[slot] === undefined),
      () => {
        stack.handle = handle;
        trouble("after");
      },
      () => end(() => settle(handle)),
    ];
    const go = (at: number): void => {
      const late = child.late;
      child.late = 0;
      time.after(100 + random() * 400 + late, () => {
        if (child.dead) return;
        if (child.late > 0) return go(at);
        if (fault?.how === "hang" && fault.times > 0) return;
        try {
          stages[at]!();
        } catch (e) {
          return end(() => fail(e));
        }
        if (at + 1 < stages.length) go(at + 1);
      });
    };
    go(0);
    ctx.signal.addEventListener("abort", () => {
      if (child.dead) return;
      // A cancelled engine stops between two resources, or finishes what it is at, sooner or later.
      const hangs = fault?.how === "hang" && fault.times-- > 0;
      if (hangs || random() < 0.4) time.after(200, () => end(() => fail(new Error("aborted"))));
      else child.late += random() * 4000;
    });
  });
}

/** `<target>/03-shift-50` → `<target>/shift`. */
function stepName(step: string): string {
  return step.replace(/\/\d+-([a-z]+).*$/, "/$1");
}

function source(stacks: Map<TargetKey, Stack>, life: Life, { faults, later, time }: Parts): MetricSource {
  return {
    id: "memory",
    ping: async () => undefined,
    ...(faults.traffic && {
      stir: (subject, last, ctx) => stirred(stacks, life, subject, last, ctx, { later, time }),
    }),
    read: (subject) =>
      later(life, 5, () => {
        const left = faults.down[subject.target] ?? 0;
        faults.down[subject.target] = left - 1;
        if (left > 0) throw new SluiceError("source-unreachable", "nobody answers", "");
        const odd = faults.nonsense[subject.target] ?? 0;
        faults.nonsense[subject.target] = odd - 1;
        const there = stacks.get(subject.target)!.platform;
        const full = SLOTS.filter((slot) => there.now().slots[slot]);
        return {
          at: time.now(),
          edges: odd > 0 ? [1, 1] : [1],
          slots: Object.fromEntries(full.map((slot) => [slot, there.counts(slot)])),
        };
      }),
  };
}

/** Pushes as the local platform does: as soon as the slot has an error more than was read. */
async function stirred(
  stacks: Map<TargetKey, Stack>,
  life: Life,
  { target: key, slot = "green" }: Subject,
  last: Reading,
  ctx: Context,
  { later, time }: Pick<Parts, "later" | "time">,
): Promise<void> {
  const there = stacks.get(key)!.platform;
  const end = time.now() + 25_000;
  while (!ctx.signal.aborted && time.now() < end) {
    if (there.counts(slot).errors > (last.slots[slot]?.errors ?? 0)) return;
    const due = Math.min(there.next(slot), end);
    await later(life, Math.max(1, Math.ceil(due - time.now())), () => undefined);
  }
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
