import type { Tick } from "../core/model";
import type { Judge } from "../core/ports";
import { lnBeta } from "./bounds";
import { isSoundTick } from "./gate";
import { figure, percent } from "./words";

/** Chance of a false alarm over the whole time a weight is watched. */
const RISK = 0.001;
/** Weight of what is declared against what is seen: requests. */
const CONCENTRATION = 100;
/** What a router may be off by, of the smaller share: rounding, connections that are kept, requests that take long. */
const TOLERANCE = 0.2;

/** Requests since this weight began, the first tick left out: what was under way then was sent by the former split. */
export interface SplitState {
  ticks: number;
  canary: number;
  baseline: number;
  weight?: number;
  broken?: true;
}

/**
 * Whether traffic follows the declared split: Dirichlet-multinomial test with a = 100 rho. A router that is broken is an
 * error: it says nothing of the release, and evidence from traffic that goes elsewhere is none.
 * Lindon & Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022).
 */
export function followsSplit(): Judge<SplitState> {
  const id = "split";
  return {
    id,
    rule: `traffic follows the declared split, give or take ${percent(TOLERANCE)} of the smaller share`,
    start: () => ({ ticks: 0, canary: 0, baseline: 0 }),
    turn: () => ({ ticks: 0, canary: 0, baseline: 0 }),
    update,
    finding(state) {
      const { canary, baseline, weight } = state;
      if (state.broken)
        return { judge: id, verdict: "error", reason: "the counts it was given are no numbers", figures: {} };
      const n = canary + baseline;
      const figures = { canary, baseline, ...(weight !== undefined && { weight }) };
      const off = weight !== undefined && n > 0 && isOff(canary, baseline, weight / 100);
      const said = `the canary got ${percent(n > 0 ? canary / n : 0)} of ${figure(n)} requests, declared are ${figure(weight ?? 0)} %`;
      return off
        ? { judge: id, verdict: "error", reason: `split-mismatch: ${said}`, figures }
        : // Nobody needs to be told that a router routes.
          { judge: id, verdict: "pass", reason: "", figures };
    },
  };
}

function update(state: SplitState, tick: Tick): SplitState {
  const { canary, baseline, weight } = tick;
  if (!isSoundTick(tick)) return { ...state, broken: true };
  // With all traffic on one side there is nothing to split.
  if (!baseline || tick.moving || weight === undefined || weight <= 0 || weight >= 100) return state;
  // Counted as it is peeked at: a record that is still open is the first one as long as it is the first.
  if (state.ticks === 0) return { ...state, ticks: 1, weight };
  return {
    ...state,
    ticks: state.ticks + 1,
    canary: state.canary + canary.requests,
    baseline: state.baseline + baseline.requests,
    weight,
  };
}

function isOff(canary: number, baseline: number, rho: number): boolean {
  const share = canary / (canary + baseline);
  if (Math.abs(share - rho) <= TOLERANCE * Math.min(rho, 1 - rho)) return false;
  const [a, b] = [CONCENTRATION * rho, CONCENTRATION * (1 - rho)];
  const e =
    lnBeta(a + canary, b + baseline) - lnBeta(a, b) - canary * Math.log(rho) - baseline * Math.log(1 - rho);
  return e >= -Math.log(RISK);
}
