import type { Counts, Past, Reading, StepId, Tick, VerdictKind } from "../core/model";
import type { Judge } from "../core/ports";
import { below, chance, places, poisson } from "./chance";
import { dossier } from "./evidence";
import { past } from "./past";
import { combine, type Terms, termsOf } from "./verdict";

/** Traffic as it could be, and how it is judged. */
export interface Scenario {
  /** Requests per second of both slots together. */
  rps: number;
  /** Percent for the canary, ascending. */
  weights: readonly number[];
  /** Shares of requests that fail. */
  baseline: number;
  canary: number;
  /** Seconds after which the canary is as bad as that; as good as the baseline before. @default 0 */
  onset?: number | undefined;
  /** Errors come in clumps, of this over-dispersion on average. @default 1, independently */
  phi?: number | undefined;
  /** A dependency of both fails: so many seconds, from then on, with this share of errors. @default never */
  burst?: { at: number; seconds: number; rate: number } | undefined;
  /** Latencies are log-normal: median in seconds, spread, and how many times slower the canary is. @default none is seen */
  latency?: { median: number; sigma: number; times: number; edges: readonly number[] } | undefined;
  /** Seconds between two readings. @default 5 */
  every?: number | undefined;
  /** Looked at on each error of the canary as well. @default false */
  pushed?: boolean | undefined;
  /** Seconds after which it is over. @default 900 */
  seconds?: number | undefined;
  /** Seconds of the baseline's past that are known. @default 900 */
  past?: number | undefined;
  /** It stays at the last weight and is only watched. @default false */
  watched?: boolean | undefined;
}

/** How sure it must be, and how long each weight is watched: the same as in an analysis. */
export interface Rules extends Pick<Terms, "minBake" | "risk" | "promoteRisk"> {
  judges: readonly Judge[];
  stepBake: number;
  probe: number;
}

/** How one rollout ended. */
export interface Told {
  verdict: Exclude<VerdictKind, "running" | "error">;
  /** Seconds since the canary got its first requests. */
  seconds: number;
  /** The canary's requests until then, and those that failed. */
  requests: number;
  failed: number;
}

/** Lets one rollout happen, by the very code that judges a real one. The same seed tells the same. */
export function simulate(scenario: Scenario, rules: Rules, seed: number): Told {
  const random = chance(seed);
  const { weights, every = 5, seconds = 900, watched = false } = scenario;
  const evidence = dossier(rules.judges, history(scenario, random));
  const sum = { requests: 0, failed: 0 };
  let at = 0;
  for (const [i, weight] of weights.entries()) {
    const step: StepId = String(weight);
    const proof = (weights[i + 1] ?? 100) > rules.probe;
    evidence.enter(step);
    for (;;) {
      if (at >= seconds) return { verdict: "inconclusive", seconds: at, ...sum };
      const drawn = draw(scenario, weight, at, every, random);
      for (const open of scenario.pushed ? looks(drawn, every) : []) {
        if (verdictOf(open.tick) !== "fail") continue;
        const { requests, errors } = open.tick.canary;
        return {
          verdict: "fail",
          seconds: at + open.tick.seconds,
          requests: sum.requests + requests,
          failed: sum.failed + errors,
        };
      }
      at += every;
      evidence.take(drawn.tick, step);
      sum.requests += drawn.tick.canary.requests;
      sum.failed += drawn.tick.canary.errors;
      const verdict = verdictOf();
      if (verdict === "fail") return { verdict, seconds: at, ...sum };
      if (verdict === "pass" && !watched) break;
    }
    function verdictOf(open?: Tick): VerdictKind {
      const terms = termsOf(evidence, step, open, rules, { bake: rules.stepBake, proof });
      return combine(evidence.findings(open), terms).verdict;
    }
  }
  return { verdict: "pass", seconds: at, ...sum };
}

/** A tick, and where in it the errors were. */
interface Drawn {
  tick: Tick;
  canary: readonly number[];
  baseline: readonly number[];
}

function draw(of: Scenario, weight: number, at: number, every: number, random: () => number): Drawn {
  const burst = of.burst && at >= of.burst.at && at < of.burst.at + of.burst.seconds ? of.burst.rate : 0;
  const mean = (of.rps * every * weight) / 100;
  const rest = of.rps * every - mean;
  const rate = Math.max(at >= (of.onset ?? 0) ? of.canary : of.baseline, burst);
  const canary = side(of, mean, rate, of.latency?.times ?? 1, random);
  const baseline = side(of, rest, Math.max(of.baseline, burst), 1, random);
  const tick: Tick = {
    at: (at + every) * 1000,
    seconds: every,
    edges: [...(of.latency?.edges ?? [])],
    canary: canary.counts,
    weight,
    ...(rest > 0 && { baseline: baseline.counts }),
  };
  return { tick, canary: canary.bad, baseline: baseline.bad };
}

function side(of: Scenario, mean: number, rate: number, times: number, random: () => number) {
  const requests = poisson(mean, random);
  const bad = clumps(requests, rate, of.phi ?? 1, random);
  const counts: Counts = { requests, errors: bad.length, buckets: spread(of, requests, times, random) };
  return { counts, bad };
}

/** Clumps of geometric size m: E[s^2]/E[s] = 2m - 1 is the over-dispersion. */
function clumps(n: number, rate: number, phi: number, random: () => number): number[] {
  if (phi <= 1) return places(n, rate, random);
  const size = (phi + 1) / 2;
  const found = new Set<number>();
  for (const place of places(n, rate / size, random)) {
    let more = place;
    do found.add(more++);
    while (more < n && random() < 1 - 1 / size);
  }
  return [...found].sort((a, b) => a - b);
}

/** Latencies by bucket: each bucket takes its share of what is left. */
function spread(of: Scenario, requests: number, times: number, random: () => number): number[] {
  if (!of.latency) return [requests];
  const { median, sigma, edges } = of.latency;
  let left = requests;
  let above = 1;
  const buckets = edges.map((edge) => {
    const rest = 1 - below(Math.log(edge / (median * times)) / sigma);
    const part = above > 0 ? places(left, Math.max(0, 1 - rest / above), random).length : 0;
    above = rest;
    left -= part;
    return part;
  });
  return [...buckets, left];
}

/** The tick as it is at each error of the canary. */
function* looks({ tick, canary, baseline }: Drawn, every: number): Generator<{ tick: Tick }> {
  const n = tick.canary.requests;
  const nb = tick.baseline?.requests ?? 0;
  for (const [i, place] of canary.entries()) {
    const part = (place + 1) / n;
    const seen = Math.floor(part * nb);
    const errors = baseline.filter((p) => p < seen).length;
    yield {
      tick: {
        ...tick,
        seconds: every * part,
        // Latencies are left to the whole tick.
        edges: [],
        canary: { requests: place + 1, errors: i + 1, buckets: [place + 1] },
        ...(tick.baseline && { baseline: { requests: seen, errors, buckets: [seen] } }),
      },
    };
  }
}

/** What was read of the baseline before. */
function history(of: Scenario, random: () => number): Past | undefined {
  const { every = 5, past: seconds = 900 } = of;
  const edges = [...(of.latency?.edges ?? [])];
  const sum: Counts = { requests: 0, errors: 0, buckets: new Array<number>(edges.length + 1).fill(0) };
  const readings: Reading[] = [];
  for (let at = -seconds; at <= 0; at += every) {
    readings.push({ at: at * 1000, edges, slots: { blue: structuredClone(sum) } });
    const { counts } = side(of, of.rps * every, of.baseline, 1, random);
    sum.requests += counts.requests;
    sum.errors += counts.errors;
    sum.buckets = sum.buckets.map((value, i) => value + counts.buckets[i]!);
  }
  return past(readings, "blue");
}
