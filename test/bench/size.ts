import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { analysis } from "../../automation/analysis/analysis";
import { errorRate } from "../../automation/analysis/errors";
import { latency } from "../../automation/analysis/latency";
import type { Clock } from "../../automation/core/clock";
import type { Counts } from "../../automation/core/model";
import { plan, release } from "../../automation/core/plan";
import type { Judge, MetricSource, Target } from "../../automation/core/ports";
import { canary } from "../../automation/core/strategies";
import { drive } from "../../automation/engine/drive";
import { createJournal } from "../../automation/engine/journal";
import type { Handle, Wanted } from "../../components/handle";
import { LATENCY_EDGES } from "../../components/local/metrics";
import type { Row } from "./row";

/** Seconds that a weight is judged: the figure. */
const BAKE = 900;
/** Bytes that its journal may have: the figure. */
const BYTES = 1_000_000;
/** Requests a second of the service: enough that every bucket of every record has a number in it. */
const RPS = 2000;

const JUDGES: Judge[] = [
  errorRate({ max: "1%" }),
  latency({ quantile: 0.5, ratio: 2 }),
  latency({ quantile: 0.9, ratio: 2 }),
  latency({ quantile: 0.95, ratio: 2 }),
  latency({ quantile: 0.99, ratio: 2 }),
  latency({ quantile: 0.999, ratio: 2 }),
] as Judge[];

/** The journal of an analysis that takes a quarter of an hour: the real driver and journal, but no waiting. */
export async function benchSize(): Promise<Row> {
  const root = await mkdtemp(join(tmpdir(), "sluice-bench-"));
  try {
    const directory = join(root, "prod", "20261124T055217-1a2b3c");
    await judged(directory);
    const lines = (await readFile(join(directory, "journal.jsonl"), "utf8")).split("\n");
    const last = lines.findIndex((line) => line.includes("step.finished") && line.includes("analyse"));
    const bytes = lines.slice(0, last + 1).reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0);
    const samples = lines.slice(0, last + 1).filter((line) => line.includes("sample.taken")).length;
    return {
      figure: `journal: ${BAKE / 60} min analysis by ${JUDGES.length} judges, ${samples} samples of ${LATENCY_EDGES.length + 1} buckets and 2 slots`,
      value: `${(bytes / 1e6).toFixed(3)} MB`,
      target: `<= ${BYTES / 1e6} MB`,
      ok: bytes <= BYTES && samples >= BAKE / 5 - 1,
    };
  } finally {
    await rm(root, { recursive: true });
  }
}

/** A clock on which nobody waits: once nothing else is to be done, it is the next sleeper's time. */
function hurried(): Clock & { run(until: Promise<unknown>): Promise<void> } {
  let now = 1_800_000_000_000;
  const sleepers = new Set<{ at: number; wake(): void }>();
  return {
    now: () => now,
    sleep: (milliseconds, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const sleeper = {
          at: now + milliseconds,
          wake() {
            signal?.removeEventListener("abort", sleeper.wake);
            sleepers.delete(sleeper);
            resolve();
          },
        };
        sleepers.add(sleeper);
        signal?.addEventListener("abort", sleeper.wake, { once: true });
      }),
    async run(until) {
      let over = false;
      const end = () => {
        over = true;
      };
      until.then(end, end);
      while (!over) {
        await turn();
        const next = [...sleepers].sort((a, b) => a.at - b.at)[0];
        if (!next) continue;
        now = Math.max(now, next.at);
        next.wake();
      }
    },
  };
}

async function judged(directory: string): Promise<void> {
  const clock = hurried();
  const run = "20261124T055217-1a2b3c";
  const base = declared();
  const pin = { artifact: `dir:stacks/sample@sha256:${"b".repeat(64)}`, version: "bbbbbbbbbbbb" };
  const made = plan({
    request: "promote -- staging prod",
    environment: "prod",
    source: "staging",
    release: release({ web: pin }),
    strategy: canary({ weights: [50, 100] }),
    has: { gates: [], tasks: [], analysis: "default" },
    aims: [{ key: "prod", service: "web", platform: "local", declared: base, pin }],
  });
  const journal = await createJournal(directory, { lag: 0 });
  await journal.append({ type: "run.planned", run, plan: made, actor: "bench" }, clock.now());
  const driven = drive({
    plan: made,
    environment: {
      name: "prod",
      strategy: canary(),
      analysis: analysis({
        source: source(clock),
        judges: JUDGES,
        every: 1,
        stepBake: BAKE,
        maxDuration: 3 * BAKE,
      }),
    },
    targets: new Map([["prod", target(base)]]),
    journal,
    clock,
    fence: { run, token: 1 },
    log: () => {},
    heard: () => {},
    progress: () => {},
    inbox: { read: async () => [], drop: async () => {} },
    ledger: { has: async () => false, add: async () => {} },
    keep: async () => {},
    leave: new AbortController().signal,
    now: new AbortController().signal,
    previewed: new Set(),
  });
  await clock.run(driven);
  const ending = await driven;
  await journal.close();
  if (ending.left !== "finished" || ending.outcome !== "promoted") throw new Error(JSON.stringify(ending));
}

function declared(): Handle {
  const settings = {
    variables: { LOG_LEVEL: "info" },
    secrets: {},
    arguments: ["node", "server.js"],
    files: {},
    resources: { replicas: 3 },
    probes: { health: "/healthz", startSeconds: 30 },
  };
  const artifact = `dir:stacks/sample@sha256:${"a".repeat(64)}`;
  return {
    version: 1,
    platform: "local",
    service: "web",
    live: "blue",
    slots: { blue: { pin: { artifact }, settings, hash: "c".repeat(64) } },
    split: { blue: 100, green: 0 },
    generation: 5,
    local: { directory: "/srv/shop/.sluice/local", name: "web.prod", url: "http://127.0.0.1:4300" },
  };
}

/** A target whose acts cost nothing: what they write down is what counts here. */
function target(base: Handle): Target {
  let handle = base;
  const filled = base.slots.blue!;
  const declare = (want: Wanted): Handle => {
    const slots = Object.entries(want.slots).map(([name, slot]) => [name, { ...filled, ...slot }]);
    return { ...want, slots: Object.fromEntries(slots), local: base.local };
  };
  return {
    key: "prod",
    service: "web",
    observe: async () => ({ declared: handle, drift: [] }),
    preview: async ({ want }) => ({ handle: declare(want), changes: {} }),
    apply: async ({ want }) => {
      handle = { ...declare(want), generation: handle.generation + 1 };
      return handle;
    },
    recover: async () => {},
    router: {
      read: async () => handle.split,
      write: async () => {},
      ready: async () => ({ ready: true }),
      reach: async () => "http://127.0.0.1:4300",
      beat: async () => {},
      logs: async () => [],
    },
  };
}

/** Counters of both slots, as the embedded platform's would grow: latencies spread over all buckets. */
function source(clock: Clock): MetricSource {
  const began = clock.now();
  // Most answers are in the middle of the range, and a few at its ends: a bell over the buckets.
  const middle = LATENCY_EDGES.length / 3;
  const weights = Array.from(
    { length: LATENCY_EDGES.length + 1 },
    (_, i) => 0.002 + Math.exp(-((i - middle) ** 2) / 18),
  );
  const whole = weights.reduce((sum, w) => sum + w, 0);
  const counts = (seconds: number): Counts => {
    const buckets = weights.map((w) => Math.floor(((RPS / 2) * seconds * w) / whole));
    const requests = buckets.reduce((sum, n) => sum + n, 0);
    return { requests, errors: Math.floor(requests / 1000), buckets };
  };
  return {
    id: "grown",
    ping: async () => {},
    read: async () => {
      const seen = counts((clock.now() - began) / 1000);
      return { at: clock.now(), edges: [...LATENCY_EDGES], slots: { blue: seen, green: seen } };
    },
  };
}
