import type { Act, Has, Percent, PlanTarget, Strategy } from "./model";

/** Options of a canary. */
export interface CanaryOptions {
  /** Percent of traffic for the new slot, ascending; 100 is added where it is missing. @default [5, 10, 25, 50, 100] */
  weights?: readonly Percent[];
}

/** A growing part of the traffic, judged at every weight. */
export function canary(options: CanaryOptions = {}): Strategy {
  const asked = options.weights ?? [5, 10, 25, 50, 100];
  if (!asked.every((w, i) => Number.isInteger(w) && w > (asked[i - 1] ?? 0) && w <= 100))
    throw new RangeError(`canary weights must be whole numbers that grow up to 100, not ${asked.join(", ")}`);
  const weights = asked.at(-1) === 100 ? asked : [...asked, 100];
  return { name: "canary", steps: (target, has) => story(target, has, weights) };
}

/** All traffic at once, once the new slot has been looked at. */
export function blueGreen(): Strategy {
  return { name: "blue-green", steps: (target, has) => story(target, has, [100]) };
}

/**
 * The one story that all slot strategies tell: fill the idle slot, look at it, shift, judge, adopt, empty
 * the old one. A first release has nobody to share traffic with, so it goes to 100 % at once.
 */
function story(target: PlanTarget, has: Has, weights: readonly Percent[]): Act[] {
  const steps: Act[] = [
    ...has.gates.map((gate): Act => ({ act: "gate", gate })),
    ...has.tasks.map((task): Act => ({ act: "run", task })),
    { act: "deploy", pin: target.pin },
  ];
  if (has.checks) steps.push({ act: "verify", checks: has.checks, where: "idle" });
  for (const to of target.from ? weights : [100]) {
    steps.push({ act: "shift", to });
    if (has.analysis) steps.push({ act: "analyse", analysis: has.analysis });
  }
  steps.push({ act: "adopt" });
  if (has.checks) steps.push({ act: "verify", checks: has.checks, where: "live" });
  steps.push({ act: "settle" });
  return steps;
}
