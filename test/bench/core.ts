import { performance } from "node:perf_hooks";
import { decide } from "../../automation/core/decide";
import { evolve, type Fact, type JournalEvent, type RunState } from "../../automation/core/events";
import type { Plan } from "../../automation/core/model";
import { plan, release } from "../../automation/core/plan";
import { canary } from "../../automation/core/strategies";
import type { Handle } from "../../components/handle";
import type { Row } from "./row";

const TARGETS = 1000;
/** Milliseconds a turn may take: the figure. */
const TURN = 10;
/** Bytes the plan may take: the figure. */
const BYTES = 3_000_000;

const artifact = (name: string) =>
  `shop/${name}@sha256:${Buffer.from(name).toString("hex").padEnd(64, "0").slice(0, 64)}`;

/** A service that has been released once: what `base` of a target holds, the larger part of it. */
function declared(service: string): Handle {
  const settings = {
    variables: { LOG_LEVEL: "info" },
    secrets: { DATABASE_URL: "env:DATABASE_URL@3" },
    arguments: ["node", "server.js"],
    files: {},
    resources: { replicas: 3 },
    probes: { health: "/healthz", startSeconds: 30 },
  };
  const filled = { pin: { artifact: artifact(`${service}-old`) }, settings, hash: "a".repeat(64) };
  return {
    version: 1,
    platform: "kubernetes",
    service,
    live: "blue",
    slots: { blue: filled },
    split: { blue: 100, green: 0 },
    generation: 5,
    by: { run: "20261124T055217-1a2b3c", step: `${service}.prod/12-settle` },
    proved: {
      release: "b".repeat(64),
      artifact: filled.pin.artifact,
      settings: filled.hash,
      run: "20261124T055217-1a2b3c",
      at: "2026-11-24T05:52:17.000Z",
    },
  };
}

/** A plan of 1,000 targets, 12 steps each. */
export function largePlan(): Plan {
  const services = Array.from({ length: TARGETS }, (_, i) => `app-${i}`);
  const pins = Object.fromEntries(services.map((s) => [s, { artifact: artifact(`${s}-new`) }]));
  return plan({
    request: "promote staging prod",
    environment: "prod",
    source: "staging",
    release: release(pins),
    strategy: canary({ weights: [10, 50, 100] }),
    has: { gates: ["window"], tasks: [], analysis: "analysis", checks: "checks" },
    maxParallel: 50,
    aims: services.map((service) => ({
      key: `${service}.prod`,
      service,
      platform: "kubernetes",
      declared: declared(service),
      pin: pins[service]!,
    })),
  });
}

/** Goes through a whole run of the plan, event by event, and measures each turn of the loop: milliseconds. */
function turns(p: Plan): number[] {
  const measured: number[] = [];
  const flights = new Set<string>();
  let seq = 0;
  let state: RunState | undefined;
  const turn = (fact: Fact): ReturnType<typeof decide> => {
    const event = { v: 1, seq: seq++, at: 1_800_000_000_000 + seq, prev: "", ...fact } as JournalEvent;
    // A turn takes no more than either says: the wall's clock counts the neighbours, the processor's the collector.
    const began = process.cpuUsage();
    const wall = performance.now();
    state = evolve(state, event);
    const next = decide(p, state, event.at, flights);
    const { user, system } = process.cpuUsage(began);
    measured.push(Math.min(performance.now() - wall, (user + system) / 1000));
    return next;
  };
  let next = turn({ type: "run.planned", run: "r1", plan: p, actor: "bench" });
  // Opening the run makes the plan's index, once a process: no turn of the loop.
  measured.length = 0;
  while (next.kind === "perform" || flights.size > 0) {
    if (next.kind === "perform")
      for (const step of next.steps) {
        flights.add(step.id);
        next = turn({ type: "step.started", step: step.id, attempt: 1 });
      }
    const [first] = flights;
    if (first === undefined) continue;
    flights.delete(first);
    next = turn({ type: "step.finished", step: first, outcome: "done" });
  }
  if (next.kind !== "finish") throw new Error(`the run did not end: ${JSON.stringify(next)}`);
  return measured.sort((a, b) => a - b);
}

/** How the pure core bears a thousand targets. */
export async function benchCore(): Promise<Row[]> {
  const p = largePlan();
  const bytes = JSON.stringify(p).length;
  const measured = turns(p);
  const median = measured[measured.length >> 1] ?? Number.NaN;
  const max = measured.at(-1) ?? Number.NaN;
  const what = `${TARGETS.toLocaleString("en-US")} targets, ${p.steps.length.toLocaleString("en-US")} steps`;
  return [
    {
      figure: `decide + evolve a turn, ${what}: median`,
      value: `${median.toFixed(2)} ms`,
      target: `<= ${TURN} ms`,
      ok: median <= TURN,
    },
    {
      figure: `the same: max of ${measured.length.toLocaleString("en-US")} turns`,
      value: `${max.toFixed(2)} ms`,
      target: `<= ${TURN} ms`,
      ok: max <= TURN,
    },
    {
      figure: `that plan as JSON`,
      value: `${(bytes / 1e6).toFixed(2)} MB`,
      target: `<= ${BYTES / 1e6} MB`,
      ok: bytes <= BYTES,
    },
  ];
}
