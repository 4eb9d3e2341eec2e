import type { Scenario } from "../../automation/analysis/simulate";
import { LATENCY_EDGES } from "../../components/local/metrics";
import type { Batch, JudgeName } from "./rollouts";
import { atMost, ended, type Figure, rank, runs, sure } from "./shares";

/** The limit of all judges. */
export const LIMIT = 0.01;
/** Requests per second of both slots; the canary gets a tenth. */
export const TRAFFIC = [10, 100, 1000] as const;
/** Medians in seconds that begin at different places between two edges: P99 is read from buckets. */
export const MEDIANS = [0.05, 0.055, 0.0605, 0.0665] as const;
/** Seconds of a rollout, and of one that is held for an hour more. */
const LONG = 4500;
const TEXT = "at 10/100/1000 rps";

/** A tenth for the canary, watched to the end. */
export function tenth(scenario: Omit<Scenario, "weights">): Scenario {
  return { weights: [10], watched: true, pushed: true, ...scenario };
}

/** Log-normal latencies, the canary's so many times slower. */
export function slower(median: number, sigma: number, times: number): Scenario["latency"] {
  return { median, sigma, times, edges: LATENCY_EDGES };
}

function each(judge: JudgeName, count: number, scenario: Omit<Scenario, "weights" | "rps">): Batch[] {
  // Seventy-five minutes of 1,000 requests a second take a fifth of a second to judge.
  const part = (rps: number) => (rps > 100 && (scenario.seconds ?? 0) > 900 ? 0.5 : 1);
  return TRAFFIC.map((rps) => ({
    judge,
    runs: runs(count * part(rps)),
    scenario: tenth({ rps, ...scenario }),
  }));
}

/** How often a release goes back that should not, or goes on that should not. */
export function risks(): Figure[] {
  return [...rolledBack(), ...promoted(), ...clumped(), ...slow()];
}

/** At the worst points of the null: looked at on each error, over 15 minutes and over 75. */
function rolledBack(): Figure[] {
  const nulls: [string, JudgeName, number, number][] = [
    ["absolute gate, canary 1 %", "absolute", 0.01, LIMIT],
    ["default gate, canary 1 %, base 0.1 %", "default", 0.001, LIMIT],
    ["default gate, canary 3 %, base 2 %", "default", 0.02, 0.03],
    ["relative gate, both 1 %", "relative", 0.01, 0.01],
  ];
  const healthy: [string, JudgeName, number, number][] = [
    ["default gate, both 0.5 %", "default", 0.005, 0.005],
    ["absolute gate, both 0.5 %", "absolute", 0.005, 0.005],
  ];
  const row =
    (most: number) =>
    ([what, judge, baseline, canary]: [string, JudgeName, number, number]): Figure[] =>
      [900, LONG].map((seconds) => ({
        figure: `rolled back wrongly in ${seconds / 60} min ${TEXT}: ${what}`,
        target: `<= ${100 * most} %`,
        of: each(judge, seconds > 900 ? 400 : 1000, { baseline, canary, seconds }),
        read: atMost(most, "fail"),
      }));
  return [...nulls.flatMap(row(0.05)), ...healthy.flatMap(row(0.01))];
}

function promoted(): Figure[] {
  const points: [string, JudgeName, number][] = [
    ["absolute gate", "absolute", 0.01],
    ["default gate, base 0.67 %", "default", LIMIT / 1.5],
  ];
  const wrongly = points.map(([what, judge, baseline]): Figure => {
    return {
      figure: `promoted wrongly in 15 min ${TEXT}: canary 1 %, ${what}`,
      target: "<= 5 %",
      of: each(judge, 1000, { baseline, canary: LIMIT, watched: false, pushed: false }),
      read: atMost(0.05, "pass"),
    };
  });
  const early = [100, 1000].map((rps): Figure => {
    const scenario = tenth({ rps, baseline: 0.001, canary: 0.001, watched: false });
    return {
      figure: `healthy 0.1 % canary at ${rps / 10} canary rps: promoted after, median`,
      target: "60 s",
      of: [{ judge: "default", runs: runs(1000), scenario }],
      read([told = []]) {
        const times = told.map((t) => (t.verdict === "pass" ? t.seconds : Number.POSITIVE_INFINITY));
        const at = times.filter((time) => time <= 60).length;
        const median = rank(times, 0.5);
        return {
          value: `${median} s, p90 ${rank(times, 0.9)} s; at 60 s exactly ${sure(at, told.length)}; rolled back ${ended(told, "fail")}`,
          ok: median <= 60,
        };
      },
    };
  });
  return [...wrongly, ...early];
}

/** Errors of which so many come in clumps of 4 on average: what `phi: 7` makes of a rate, with so many requests a tick. */
export function inClumps(rate: number, requests: number): number {
  // Those that fall on each other are one, and those that begin near the end of a tick are cut off: 3 of n are lost.
  return -Math.log1p(-rate) / (1 - 3 / requests);
}

/** Errors in clumps, and a dependency that fails both for a minute. */
function clumped(): Figure[] {
  const clumps = (judge: JudgeName, baseline: number, canary: number): Batch[] =>
    [100, 1000].map((rps) => {
      const rates = { baseline: inClumps(baseline, rps * 4.5), canary: inClumps(canary, rps * 0.5) };
      return { judge, runs: runs(1000), scenario: tenth({ rps, ...rates, phi: 7 }) };
    });
  const burst = { at: 300, seconds: 60, rate: 0.2 };
  const rows: [string, Batch[]][] = [
    ["clumps (phi 7) at 100/1000 rps, default gate, both 0.5 %", clumps("default", 0.005, 0.005)],
    ["clumps (phi 7) at 100/1000 rps, default gate, canary 1 %", clumps("default", 0.005, LIMIT)],
    ["clumps (phi 7) at 100/1000 rps, absolute gate, canary 1 %", clumps("absolute", 0.005, LIMIT)],
    ["clumps (phi 7) at 100/1000 rps, relative gate, both 0.5 %", clumps("relative", 0.005, 0.005)],
    [
      `20 % errors of both for a minute ${TEXT}, both 0.5 %`,
      each("default", 500, { baseline: 0.005, canary: 0.005, burst }),
    ],
    [
      `20 % errors of both for a minute ${TEXT}, canary 1 %`,
      each("default", 500, { baseline: LIMIT / 1.5, canary: LIMIT, burst }),
    ],
  ];
  return rows.map(([what, of]) => ({
    figure: `rolled back wrongly in 15 min: ${what}`,
    target: "<= 5 %",
    of,
    read: atMost(0.05, "fail"),
  }));
}

/** A P99 that is 1.3 times the baseline's never fails. */
function slow(): Figure[] {
  return [0.5, 1].map((sigma) => ({
    figure: `rolled back wrongly in 15 min ${TEXT}: P99 1.3 times the baseline's, sigma ${sigma}`,
    target: "<= 1 %",
    of: TRAFFIC.flatMap((rps) =>
      MEDIANS.map((median): Batch => {
        const scenario = tenth({ rps, baseline: 0.001, canary: 0.001, latency: slower(median, sigma, 1.3) });
        return { judge: "latency", runs: runs(100), scenario: { ...scenario, pushed: false } };
      }),
    ),
    read(told) {
      const by = TRAFFIC.map((_, i) => told.slice(i * MEDIANS.length, (i + 1) * MEDIANS.length).flat());
      return atMost(0.01, "fail")(by);
    },
  }));
}
