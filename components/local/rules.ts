import { error, RunOpen } from "../errors";
import { canonical, SLOTS, type Slot, type Split } from "../handle";
import type { Fill, RouteWrite, SlotWrite, WriteFence } from "./protocol";
import { contentOf, type Desired, type WantedSlot } from "./state";

export const Fenced = error("fenced", {
  message: (name: string, run: string, token: number, seen: number) =>
    `${name} refuses run ${run} with token ${token}: it has heard from a newer one with token ${seen}.`,
  hint: () =>
    "Another process took this run over, or a newer run began. See `npm run status`; this one must end.",
});

export const SlotNotReady = error("slot-not-ready", {
  message: (name: string, slot: string, state: string) =>
    `Slot ${slot} of ${name} is ${state}, so no traffic may go to it.`,
  hint: (name: string, slot: string) => `Look at it with \`npm run local -- logs ${name} ${slot}\`.`,
});

export const SlotHasTraffic = error("slot-has-traffic", {
  message: (name: string, slot: string, weight: number) =>
    `Slot ${slot} of ${name} takes ${weight} % of the traffic, so it may not be emptied.`,
  hint: () => "Move its traffic to the other slot first.",
});

export const SlotIsLive = error("slot-is-live", {
  message: (name: string, slot: string) => `Slot ${slot} of ${name} is live, so it may not be emptied.`,
  hint: (name: string) =>
    `\`npm run local -- status\` shows which slot ${name} has free. If the program declares the wrong one, run ` +
    "`npm run pulumi -- refresh` on its stack.",
});

export const SplitMalformed = error("split-malformed", {
  message: (name: string, split: Split, live: string) =>
    `The split blue ${split.blue}, green ${split.green} of ${name} with ${live} live neither sums to 100 nor is 0/0 with nothing live.`,
  hint: () => "Give whole percentages that sum to 100.",
});

/** A service that nothing was written to yet. */
export function fresh(name: string): Desired {
  return { version: 1, name, port: 0, split: { blue: 0, green: 0 }, fence: 0, givenBack: false, slots: {} };
}

/** Whether the two would be kept as the same text. */
export function same(a: Desired, b: Desired): boolean {
  return canonical(a) === canonical(b);
}

/** Throws `fenced` where a newer token was seen, or the same one from another run. */
export function admit(desired: Desired, fence: WriteFence): void {
  const { name, fence: seen, fenceRun } = desired;
  if (fence.token < seen || (fence.token === seen && fenceRun !== undefined && fenceRun !== fence.run))
    throw Fenced(name, fence.run, fence.token, seen);
}

/** Takes the write's fence: a new token opens its run; one that was seen never opens a run that was closed. */
function fenced(desired: Desired, fence: WriteFence): Desired {
  admit(desired, fence);
  if (fence.token === desired.fence) return desired;
  return { ...desired, fence: fence.token, fenceRun: fence.run, run: fence.run };
}

/** Throws `run-open` where somebody without a fence would change what an open run works on. */
function guard(
  before: Desired,
  after: Desired,
  write: { fence?: WriteFence | undefined; force?: boolean | undefined },
): Desired {
  if (!write.fence && !write.force && before.run !== undefined && !same(before, after))
    throw RunOpen(before.name, before.run);
  return after;
}

/** What is wanted after a write of a slot. Throws `fenced`, `run-open`, `slot-is-live`, `slot-has-traffic`. */
export function withSlot(desired: Desired, slot: Slot, write: SlotWrite): Desired {
  const begun = write.fence ? fenced(desired, write.fence) : desired;
  const now = desired.slots[slot];
  const kept = now && write.fill && contentOf(now.fill) === contentOf(write.fill);
  const next: Desired = {
    ...begun,
    port: write.port || begun.port,
    slots: {
      ...begun.slots,
      [slot]: kept ? now : write.fill ? filled(desired, slot, write.fill) : undefined,
    },
  };
  guard(desired, next, write);
  const weight = desired.split[slot];
  if (write.fill || !now || weight === 0) return next;
  throw desired.live === slot ? SlotIsLive(desired.name, slot) : SlotHasTraffic(desired.name, slot, weight);
}

/** New content of a slot: what has traffic, or would get it, is replaced in place, so what it was is kept with it. */
function filled(desired: Desired, slot: Slot, fill: Fill): WantedSlot {
  const now = desired.slots[slot];
  if (!now || (desired.split[slot] === 0 && desired.live !== slot)) return { fill, settled: false };
  const was = [{ fill: now.fill, replicas: now.fill.settings.resources.replicas }, ...(now.former ?? [])];
  return { fill, settled: false, former: was.filter((one) => contentOf(one.fill) !== contentOf(fill)) };
}

/**
 * What is wanted after a write of the route. `stateOf` says what a slot is now. Throws `fenced`, `run-open`,
 * `split-malformed`, `slot-not-ready`.
 */
export function withRoute(desired: Desired, write: RouteWrite, stateOf: (slot: Slot) => string): Desired {
  const begun = write.fence ? fenced(desired, write.fence) : desired;
  const live = write.live === undefined ? begun.live : (write.live ?? undefined);
  const { blue, green } = write.split;
  const next: Desired = {
    ...begun,
    port: write.port || begun.port,
    split: { blue, green },
    live,
    run: write.run === undefined ? begun.run : (write.run ?? undefined),
    options: write.options === undefined ? begun.options : (write.options ?? undefined),
    givenBack: write.fence || write.force ? false : begun.givenBack,
  };
  guard(desired, next, write);
  if (blue + green !== 100 && !(blue === 0 && green === 0 && live === undefined))
    throw SplitMalformed(desired.name, write.split, live ?? "nothing");
  for (const slot of SLOTS) {
    // A weight that does not rise is no new traffic: a repeated write must not fail for a slot that is down.
    const rises = next.split[slot] > desired.split[slot];
    if (rises && stateOf(slot) !== "ready") throw SlotNotReady(desired.name, slot, stateOf(slot));
    const flips = next.live === slot && desired.live !== slot;
    if (flips && !desired.slots[slot]) throw SlotNotReady(desired.name, slot, "empty");
  }
  return next;
}

/** The route after the run fell silent: all to `live`, nothing where nothing is live; undefined while it can't be. */
export function givenBack(desired: Desired, stateOf: (slot: Slot) => string): Desired | undefined {
  const { live } = desired;
  if (live && stateOf(live) !== "ready") return undefined;
  const split: Split = { blue: live === "blue" ? 100 : 0, green: live === "green" ? 100 : 0 };
  if (split.blue === desired.split.blue && split.green === desired.split.green) return desired;
  return { ...desired, split, givenBack: true };
}

/**
 * Whether nobody but the live slot gets more traffic by the change, and no slot other content: what may be done
 * before it is written down, for a supervisor that comes back without it only has to do it again.
 */
export function homewards(before: Desired, after: Desired): boolean {
  if (before.live !== after.live || before.port !== after.port) return false;
  return SLOTS.every((slot) => {
    const [was, is] = [before.slots[slot]?.fill, after.slots[slot]?.fill];
    return !contentChanged(was, is) && (slot === after.live || after.split[slot] <= before.split[slot]);
  });
}

/** Throws where the service may not be removed: `fenced`, `run-open`. */
export function mayRemove(
  desired: Desired,
  write: { fence?: WriteFence | undefined; force?: boolean | undefined },
): void {
  if (write.fence) admit(desired, write.fence);
  else if (desired.run !== undefined && !write.force) throw RunOpen(desired.name, desired.run);
}

/** Whether the slot holds other content than before. */
export function contentChanged(before: Fill | undefined, after: Fill | undefined): boolean {
  return (before && contentOf(before)) !== (after && contentOf(after));
}
