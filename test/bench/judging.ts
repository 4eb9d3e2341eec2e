import { chance, places, poisson } from "../../automation/analysis/chance";
import { errorRate } from "../../automation/analysis/errors";
import { dossier } from "../../automation/analysis/evidence";
import { latency } from "../../automation/analysis/latency";
import type { Counts, Past, Tick } from "../../automation/core/model";
import type { Judge } from "../../automation/core/ports";
import { LATENCY_EDGES } from "../../components/local/metrics";
import { median, type Row } from "./row";

/** Ticks of 5 s in 15 minutes. */
const TICKS = 180;
const ROUNDS = 15;
const METRICS = 10_000;

const METERED: [string, () => Judge][] = [
  ["errorRate, limit", () => errorRate({ max: "1%" }) as Judge],
  ["errorRate, limit and baseline", () => errorRate({ max: "1%", worseThan: 1.5 }) as Judge],
  ["latency, baseline", () => latency() as Judge],
  ["latency, limit and baseline", () => latency({ max: "500ms", ratio: 2 }) as Judge],
];

/** What judging costs: nothing else is under way meanwhile. */
export function judging(): Row[] {
  const random = chance(1);
  const edges = [...LATENCY_EDGES];
  const ticks = Array.from({ length: TICKS }, (_, i): Tick => {
    const [canary, baseline] = [side(500, random), side(4500, random)];
    return { at: i * 5000, seconds: 5, edges, canary, baseline, weight: 10 };
  });
  const past: Past = {
    at: 0,
    seconds: 900,
    edges,
    baseline: side(900_000, random),
    phi: 1,
    slow: 1,
  };
  return [
    ...METERED.map(([name, make]) => updates(name, make(), ticks, past)),
    ...METERED.map(([name, make]) => crowd(name, make(), ticks, past)),
    ...METERED.map(([name, make]) => kept(name, make(), ticks, past)),
  ];
}

/** A side of a tick: 0.5 % errors, latencies of a log-normal kind. */
function side(mean: number, random: () => number): Counts {
  const requests = poisson(mean, random);
  const buckets = new Array<number>(LATENCY_EDGES.length + 1).fill(0);
  let left = requests;
  for (const [i, part] of [0.05, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8].entries()) {
    const taken = Math.round(left * part);
    buckets[10 + i] = taken;
    left -= taken;
  }
  buckets[17] = left;
  return { requests, errors: places(requests, 0.005, random).length, buckets };
}

/** Microseconds of the processor that `work` takes. */
function processor(work: () => void): number {
  const began = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(began);
  return user + system;
}

function updates(name: string, judge: Judge, ticks: readonly Tick[], past: Past): Row {
  const times = 50;
  const round = () => {
    for (let i = 0; i < times; i++) {
      let state = judge.start(past);
      for (const tick of ticks) state = judge.update(state, tick);
    }
  };
  round();
  const each = Array.from({ length: ROUNDS }, () => processor(round) / (times * ticks.length));
  const [middle, best] = [median(each), Math.min(...each)];
  return {
    figure: `one update: ${name}`,
    value: `${middle.toFixed(2)} µs, best round ${best.toFixed(2)}`,
    target: "<= 2 µs",
    ok: middle <= 2,
  };
}

/** All metrics get a tick, and say what they say. */
function crowd(name: string, judge: Judge, ticks: readonly Tick[], past: Past): Row {
  let states: unknown[] = Array.from({ length: METRICS }, () => judge.start(past));
  let at = 0;
  const round = () => {
    const tick = ticks[at++ % ticks.length]!;
    states = states.map((state) => judge.update(state, tick));
    for (const state of states) judge.finding(state);
  };
  for (let i = 0; i < 10; i++) round();
  const each = Array.from({ length: ROUNDS }, () => METRICS / (processor(round) / 1e6));
  const rate = Math.round(median(each));
  return {
    figure: `metrics judged a second on one core, update and finding: ${name}`,
    value: rate.toLocaleString("en-US"),
    target: ">= 10,000",
    ok: rate >= 10_000,
  };
}

/** Bytes of the state as a journal keeps it. */
function kept(name: string, judge: Judge, ticks: readonly Tick[], past: Past): Row {
  const evidence = dossier([judge], past);
  for (const tick of ticks) evidence.take(tick, "10");
  const bytes = Buffer.byteLength(JSON.stringify(evidence.told().states[judge.id]));
  return {
    figure: `the state after 15 min: ${name}`,
    value: `${bytes.toLocaleString("en-US")} bytes`,
    target: "<= 1,000 bytes",
    ok: bytes <= 1000,
  };
}
