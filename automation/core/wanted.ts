import {
  type Filled,
  type Handle,
  isResolved,
  other,
  type Split,
  type Unresolved,
  type Wanted,
} from "../../components/handle";
import type { By, Instant, PlanTarget, ReleaseId, Step } from "./model";

/** On whose behalf and when: all of it is in the journal, so a retry wants the same. */
export interface Wish {
  by: By;
  /** When the step was first started: what `proved.at` says. */
  at: Instant;
  release: ReleaseId;
}

/** What Pulumi shall declare once the act is done, or undefined where the act declares nothing. Pure. */
export function wanted(
  handle: Handle | undefined,
  target: PlanTarget,
  step: Step,
  wish: Wish,
): Wanted | undefined {
  const next = {
    ...start(handle, target),
    generation: (handle?.generation ?? 0) + 1,
    by: wish.by,
    run: wish.by.run,
  };
  switch (step.act) {
    case "deploy":
      return { ...next, slots: { ...next.slots, [target.to]: filling(step) } };
    case "replace":
      return {
        ...next,
        slots: { ...next.slots, [target.to]: filling(step) },
        live: target.to,
        split: splitOf({ to: target.to }, 100),
        previous: handle?.slots[target.to] ?? handle?.previous,
      };
    case "shift":
      return { ...next, split: splitOf(target, step.to) };
    case "adopt":
      return {
        ...next,
        live: target.to,
        previous: target.from ? handle?.slots[target.from] : handle?.previous,
      };
    case "settle":
      return settled(next, target, wish);
    case "gate":
    case "run":
    case "verify":
    case "analyse":
    case "await":
    case "hold":
    case "join":
      return undefined;
    default:
      throw step satisfies never;
  }
}

function filling(step: Step & { act: "deploy" | "replace" }): Filled | Unresolved {
  return step.settings ? { pin: step.pin, ...step.settings } : { pin: step.pin };
}

/** What a restore declares: everything as it was, but for generation, `by` and the open run. */
export function restored(current: Handle | undefined, target: PlanTarget, by: By): Wanted {
  return {
    ...start(target.base, target),
    generation: (current?.generation ?? target.base?.generation ?? 0) + 1,
    by,
    run: undefined,
  };
}

/** Percent for the new slot, the rest for the one that was live. */
export function splitOf(target: Pick<PlanTarget, "to" | "from">, to: number): Split {
  const rest = target.from ? 100 - to : 0;
  return target.to === "blue" ? { blue: to, green: rest } : { blue: rest, green: to };
}

function start(handle: Handle | undefined, target: PlanTarget): Wanted {
  if (!handle)
    return {
      version: 1,
      platform: target.platform,
      service: target.service,
      slots: {},
      split: { blue: 0, green: 0 },
      generation: 0,
    };
  const { local: _platformsOwn, ...rest } = handle;
  return rest;
}

function settled(next: Wanted, target: PlanTarget, wish: Wish): Wanted {
  const now = next.slots[target.to];
  if (!now || !isResolved(now)) throw new Error(`nothing is deployed in ${target.to} of ${target.key}`);
  const { [other(target.to)]: _emptied, ...slots } = next.slots;
  return {
    ...next,
    slots,
    run: undefined,
    proved: {
      release: wish.release,
      artifact: now.pin.artifact,
      settings: now.hash,
      run: wish.by.run,
      at: new Date(wish.at).toISOString(),
    },
  };
}
