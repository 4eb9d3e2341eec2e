import type { Told } from "../../automation/analysis/simulate";
import { inClumps, MEDIANS, slower, tenth } from "./risks";
import type { Batch, JudgeName } from "./rollouts";
import { brief, delays, ended, type Figure, percent, rank, runs } from "./shares";

/** ln(1/alpha). */
const CERTAINTY = Math.log(20);
/** Seconds in which everything is found: ten hours. */
const FOR_EVER = 36_000;
/** Seconds that latencies of the canary are left out at its beginning. */
const WARM_UP = 30;

/** Kullback and Leibler's divergence of two coins: what one request tells, on average. */
function divergence(p: number, from: number): number {
  return p * Math.log(p / from) + (1 - p) * Math.log((1 - p) / (1 - from));
}

/** The fewest canary requests that any test of that risk needs on average: the limit alone. */
function oneArm(p: number): number {
  return CERTAINTY / divergence(p, 0.01);
}

/** The same against a baseline with nine times the traffic, where `rho` times its rate are allowed. */
function twoArms(p: number, base: number, rho = 1): number {
  const rest = base * 9;
  const [seen, allowed] = [p / (p + rest), rho / (rho + 9)];
  return CERTAINTY / ((p + rest) * divergence(seen, allowed));
}

/** How soon what is bad is found. */
export function finds(): Figure[] {
  return [...costs(), ...failures(), ...delayed(), ...slow()];
}

/** Canary requests until the rollback, against what they must be at least: looked at on each error. */
function costs(): Figure[] {
  const rates = [0.015, 0.02, 0.03, 0.05, 0.1, 0.5];
  const figure = (what: string, judge: JudgeName, most: number, p: number, base: number, least: number) => ({
    figure: `mean requests over the bound (${brief(least)}) at 10 and 100 canary rps: ${what}, canary ${percent(p)} %`,
    target: `<= ${most.toFixed(1)} x${judge !== "bare" && 3 / p > most * least ? `; 3 errors alone take ${(3 / p / least).toFixed(1)}` : ""}`,
    of: [100, 1000].map((rps): Batch => {
      const scenario = tenth({ rps, baseline: base, canary: p, seconds: FOR_EVER });
      return { judge, runs: runs(1000), scenario };
    }),
    read(told: readonly Told[][]) {
      const ratios = told.map((batch) => mean(batch, least));
      const lost = told.flat().length - ended(told.flat(), "fail");
      return {
        value: `${ratios.map(({ text }) => text).join(", ")} x${lost > 0 ? `; ${lost} not found` : ""}`,
        ok: lost === 0 && ratios.every(({ ratio }) => ratio <= most),
      };
    },
  });
  return [
    ...rates.map((p) => figure("absolute gate", "absolute", 2, p, 0.005, oneArm(p))),
    figure("absolute gate, no floor of 3 errors", "bare", 2, 0.5, 0.005, oneArm(0.5)),
    ...rates.map((p) => figure("relative gate, base 0.5 %", "relative", 1.8, p, 0.005, twoArms(p, 0.005))),
    ...rates.map((p) => {
      const least = Math.max(oneArm(p), twoArms(p, 0.005, 1.5));
      return figure("default gate, base 0.5 %", "default", 2, p, 0.005, least);
    }),
  ];
}

/** Mean of the requests over the bound, and how sure that is. */
function mean(told: readonly Told[], least: number): { ratio: number; text: string } {
  const values = told.map(({ requests }) => requests / least);
  const ratio = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - ratio) ** 2, 0);
  const half = 1.96 * Math.sqrt(squares / (values.length - 1) / values.length);
  return { ratio, text: `${ratio.toFixed(2)} ± ${half.toFixed(2)}` };
}

/** Failed requests until the rollback, on the default gate, looked at on each error. */
function failures(): Figure[] {
  const rows: [string, number, number, number][] = [
    ["5 % errors", 0.05, 7, 12],
    ["a 50 % outage", 0.5, 4, Number.POSITIVE_INFINITY],
  ];
  return rows.flatMap(([what, canary, most, nine]) =>
    [10, 100, 1000].map((rps): Figure => {
      const scenario = tenth({ rps, baseline: 0.005, canary });
      return {
        figure: `failed requests until ${what} on a 0.5 % base is taken back, ${rps / 10} canary rps`,
        target: `median <= ${most}${nine < 1e9 ? `, p90 <= ${nine}` : ""}`,
        of: [{ judge: "default", runs: runs(1000), scenario }],
        read([told = []]) {
          const failed = told.map((t) => t.failed);
          const [median, p90] = [rank(failed, 0.5), rank(failed, 0.9)];
          return {
            value: `${median}, p90 ${p90}; after ${brief(rank(delays(told), 0.5))} s${lost(told)}`,
            ok: median <= most && p90 <= nine,
          };
        },
      };
    }),
  );
}

function lost(told: readonly Told[]): string {
  const count = told.length - ended(told, "fail");
  return count > 0 ? `; ${percent(count / told.length)} % not found` : "";
}

/** 5 % errors: in clumps, and that begin late. */
function delayed(): Figure[] {
  const rows: [string, Parameters<typeof tenth>[0], number, number][] = [
    [
      "5 % errors in clumps (phi 7)",
      { rps: 100, baseline: inClumps(0.005, 450), canary: inClumps(0.05, 50), phi: 7 },
      0,
      100,
    ],
    [
      "5 % errors after 5 min, looked at on each error",
      { rps: 100, baseline: 0.005, canary: 0.05, onset: 300 },
      300,
      30,
    ],
    [
      "5 % errors after 5 min, looked at every 5 s",
      { rps: 100, baseline: 0.005, canary: 0.05, onset: 300, pushed: false },
      300,
      30,
    ],
  ];
  return rows.map(([what, scenario, from, most]) => ({
    figure: `taken back at 10 canary rps: ${what}`,
    target: `median <= ${most} s`,
    of: [{ judge: "default", runs: runs(1000), scenario: tenth(scenario) }],
    read([told = []]) {
      const early = told.filter((t) => t.verdict === "fail" && t.seconds < from).length;
      const times = delays(told).map((time) => time - from);
      const median = rank(times, 0.5);
      return {
        value: `${brief(median)} s, p90 ${brief(rank(times, 0.9))} s${lost(told)}${early > 0 ? `; ${early} before` : ""}`,
        ok: median <= most,
      };
    },
  }));
}

/** A P99 that is twice the baseline's. */
function slow(): Figure[] {
  const aims = [
    { rps: 100, most: 120 },
    { rps: 1000, most: 15 },
  ];
  return [0.5, 1].flatMap((sigma) =>
    aims.map(({ rps, most }): Figure => {
      return {
        figure: `taken back at ${rps / 10} canary rps, after the warm-up: P99 twice the baseline's, sigma ${sigma}`,
        target: `median <= ${most} s`,
        of: MEDIANS.map((median): Batch => {
          const scenario = tenth({ rps, baseline: 0.001, canary: 0.001, latency: slower(median, sigma, 2) });
          return { judge: "latency", runs: runs(150), scenario: { ...scenario, pushed: false } };
        }),
        read(batches) {
          const told = batches.flat();
          const [median, p90] = [rank(delays(told), 0.5), rank(delays(told), 0.9)];
          const from = (time: number) => brief(time - WARM_UP);
          return {
            value: `${from(median)} s, p90 ${from(p90)} s; from the first request ${brief(median)} and ${brief(p90)} s${lost(told)}`,
            ok: median - WARM_UP <= most,
          };
        },
      };
    }),
  );
}
