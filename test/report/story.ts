import type { Fact, JournalEvent } from "../../automation/core/events";
import type { Act, Plan, Tick } from "../../automation/core/model";
import { plan, release } from "../../automation/core/plan";
import type { Handle } from "../../components/handle";
import { artifact, filled } from "../support/world";

/** When every journal here begins: 2026-11-24T06:00:00Z. */
export const BEGAN = Date.UTC(2026, 10, 24, 6);

/** A handle with something live in blue. */
export function standing(service: string): Handle {
  return {
    version: 1,
    platform: "local",
    service,
    live: "blue",
    slots: { blue: filled("old") },
    split: { blue: 100, green: 0 },
    generation: 1,
  };
}

/** A plan for services, by these acts. */
export function planFor(
  services: readonly string[],
  acts: readonly Act[],
  pin: Partial<Plan["pins"][string]> = {},
): Plan {
  const pins = Object.fromEntries(services.map((s) => [s, { artifact: artifact("new"), ...pin }]));
  return plan({
    request: "promote -- staging prod",
    environment: "prod",
    source: "staging",
    release: release(pins),
    strategy: { name: "told", steps: () => [...acts] },
    has: { gates: [], tasks: [] },
    aims: services.map((s) => ({
      key: services.length === 1 ? "prod" : `${s}.prod`,
      service: s,
      platform: "local",
      declared: standing(s),
      pin: pins[s]!,
    })),
  });
}

/** A journal in memory: facts with the seconds since the event before. */
export function journal(made: Plan, facts: readonly (Fact & { after?: number })[]): JournalEvent[] {
  const planned: Fact = { type: "run.planned", run: "20261124T060000-1a2b3c", plan: made, actor: "ann@box" };
  let at = BEGAN;
  return [planned, ...facts].map((fact, seq) => {
    const { after = 1, ...rest } = fact as Fact & { after?: number };
    if (seq > 0) at += after * 1000;
    return { v: 1 as const, seq, at, prev: "", ...rest };
  });
}

/** A sample: requests and errors of both slots in 5 s, with latencies at 10 ms. */
export function tick(at: number, errors = 0): Tick {
  const counts = (failed: number) => ({ requests: 100, errors: failed, buckets: [90, 10, 0] });
  return { at, seconds: 5, edges: [0.01, 0.1], canary: counts(errors), baseline: counts(0) };
}
