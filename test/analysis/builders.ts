import assert from "node:assert/strict";
import fc from "fast-check";
import { type Dossier, dossier } from "../../automation/analysis/evidence";
import { combine, type Terms } from "../../automation/analysis/verdict";
import type { Counts, Past, Reading, Slot, Tick, VerdictKind } from "../../automation/core/model";
import type { Judge } from "../../automation/core/ports";

export const EDGES = [0.01, 0.05, 0.1, 0.5, 1];

/** Counts with latencies given as how many requests fall into each bucket. */
export function counts(requests: number, errors = 0, buckets?: number[]): Counts {
  return { requests, errors, buckets: buckets ?? [requests, 0, 0, 0, 0, 0] };
}

export function reading(at: number, slots: Partial<Record<Slot, Counts>>, edges = EDGES): Reading {
  return { at, edges, slots };
}

export function tickOf(canary: Counts, baseline?: Counts, edges = EDGES): Tick {
  return { at: 5000, seconds: 5, edges, canary, ...(baseline && { baseline }) };
}

/** Counts whose errors are at most its requests, and whose buckets sum to them. */
export const anyCounts: fc.Arbitrary<Counts> = fc
  .array(fc.nat({ max: 60 }), { minLength: EDGES.length + 1, maxLength: EDGES.length + 1 })
  .chain((buckets) => {
    const requests = buckets.reduce((a, b) => a + b, 0);
    return fc.nat({ max: requests }).map((errors) => ({ requests, errors, buckets }));
  });

export const anyTick: fc.Arbitrary<Tick> = fc
  .record({ canary: anyCounts, baseline: anyCounts })
  .map(({ canary, baseline }) => tickOf(canary, baseline));

/** Equal but for so much. */
export function close(actual: number, expected: number, within: number): void {
  assert.ok(Math.abs(actual - expected) <= within, `${actual} is not ${expected} to ${within}`);
}

/** Chance of `x` of `n`, each with `p`. */
export function binomial(n: number, x: number, p: number): number {
  let ways = 1;
  for (let i = 1; i <= x; i++) ways *= (n - x + i) / i;
  return ways * p ** x * (1 - p) ** (n - x);
}

/** How far an analysis is when everything but evidence is there. */
export const BAKED: Terms = {
  elapsed: 60,
  bake: 60,
  total: 60,
  minBake: 60,
  requests: 100,
  proof: true,
  risk: 0.05,
  promoteRisk: 0.05,
};

/** What the judges think of ticks of one step, one record each. */
export function judgedBy(judges: readonly Judge[], ticks: readonly Tick[], past?: Past): Dossier {
  const evidence = dossier(judges, past);
  for (const t of ticks) evidence.take(t, "s");
  return evidence;
}

/** What is decided on them, as the engine does it. */
export function verdictBy(
  judges: readonly Judge[],
  ticks: readonly Tick[],
  { past, ...terms }: Partial<Terms> & { past?: Past } = {},
): VerdictKind {
  return combine(judgedBy(judges, ticks, past).findings(), { ...BAKED, ...terms }).verdict;
}

/** Requests and errors of the canary, and of the baseline where there is one. */
export function seen(n: number, x: number, nb?: number, xb = 0): Tick {
  return tickOf(counts(n, x), nb === undefined ? undefined : counts(nb, xb));
}

export function many(count: number, tick: Tick): Tick[] {
  return new Array<Tick>(count).fill(tick);
}

/** The time before, of which errors alone are told. */
export function pastOf(requests: number, errors: number): Past {
  return { at: 0, seconds: 900, edges: EDGES, baseline: counts(requests, errors), phi: 1, slow: 1 };
}
