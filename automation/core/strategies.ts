import type { Act, Has, Percent, PlanTarget, Strategy } from "./model";

/** Options of a canary. */
export interface CanaryOptions {
  /** Percent of traffic for the new slot, ascending; 100 is added where it is missing. @default [5, 10, 25, 50, 100] */
  weights?: readonly Percent[];
  /** Seconds that each weight below 100 is stayed at once it has passed; what is seen meanwhile is judged on. @default 0 */
  soak?: number;
  /** Weights that are left only when somebody says so: `approve`. @default none */
  hold?: readonly Percent[];
  /** Seconds that the release is watched on once it is live, while the former one can still be had back at once. @default 0 */
  guard?: number;
}

/** A growing part of the traffic, judged at every weight. */
export function canary(options: CanaryOptions = {}): Strategy {
  const asked = options.weights ?? [5, 10, 25, 50, 100];
  if (!asked.every((w, i) => Number.isInteger(w) && w > (asked[i - 1] ?? 0) && w <= 100))
    throw new RangeError(`canary weights must be whole numbers that grow up to 100, not ${asked.join(", ")}`);
  const weights = asked.at(-1) === 100 ? asked : [...asked, 100];
  const { soak = 0, hold = [], guard = 0 } = options;
  for (const [name, value] of Object.entries({ soak, guard }))
    if (!(value >= 0 && Number.isFinite(value)))
      throw new RangeError(`${name} must be seconds, not ${value}`);
  const stray = hold.find((weight) => !weights.includes(weight));
  if (stray !== undefined)
    throw new RangeError(`hold names ${stray}, which is none of the weights ${weights.join(", ")}`);
  const stay = (to: Percent): Act[] => [
    ...(soak > 0 && to < 100 ? [{ act: "hold" as const, seconds: soak }] : []),
    ...(hold.includes(to) ? [{ act: "hold" as const }] : []),
  ];
  return { name: "canary", steps: (target, has) => story(target, has, weights, guard, stay) };
}

/**
 * Replica by replica in the slot that is live: needs no room for two, and has no way to take traffic back but
 * to roll the former release out again.
 */
export function rolling(): Strategy {
  return { name: "rolling", mode: "in-place", steps: inPlace };
}

function inPlace(target: PlanTarget, has: Has): Act[] {
  const steps: Act[] = [...before(has), { act: "replace", pin: target.pin }, { act: "await" }];
  if (has.checks) steps.push({ act: "verify", checks: has.checks, where: "live" });
  if (has.analysis) steps.push({ act: "analyse", analysis: has.analysis });
  return [...steps, { act: "settle" }];
}

/** All traffic at once, once the new slot has been looked at. `guard`: as in a canary. */
export function blueGreen(options: Pick<CanaryOptions, "guard"> = {}): Strategy {
  const { guard = 0 } = options;
  if (!(guard >= 0 && Number.isFinite(guard))) throw new RangeError(`guard must be seconds, not ${guard}`);
  return { name: "blue-green", steps: (target, has) => story(target, has, [100], guard) };
}

/**
 * The one story that all slot strategies tell: fill the idle slot, look at it, shift, judge, adopt, empty
 * the old one. A first release has nobody to share traffic with, so it goes to 100 % at once.
 */
function story(
  target: PlanTarget,
  has: Has,
  weights: readonly Percent[],
  guard: number,
  stay: (to: Percent) => Act[] = () => [],
): Act[] {
  const steps: Act[] = [...before(has), { act: "deploy", pin: target.pin }];
  if (has.checks) steps.push({ act: "verify", checks: has.checks, where: "idle" });
  for (const to of target.from ? weights : [100]) {
    steps.push({ act: "shift", to });
    if (has.analysis) steps.push({ act: "analyse", analysis: has.analysis });
    // A first release has nobody to stay with.
    if (target.from) steps.push(...stay(to));
  }
  steps.push({ act: "adopt" });
  if (has.checks) steps.push({ act: "verify", checks: has.checks, where: "live" });
  if (guard > 0) steps.push({ act: "hold", seconds: guard });
  steps.push({ act: "settle" });
  return steps;
}

function before(has: Has): Act[] {
  return [
    ...has.gates.map((gate): Act => ({ act: "gate", gate })),
    ...has.tasks.map((task): Act => ({ act: "run", task })),
  ];
}
