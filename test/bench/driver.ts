import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import type { JournalEvent } from "../../automation/core/events";
import { edit, journalOf, quicken } from "../support/driver";
import { freePorts, type Project, project } from "../support/project";
import { median, type Row } from "./row";

const PROMOTIONS = 3;
const HELPS = 15;

/** What the driver costs beside Pulumi: time, operations, memory; and `--help`. */
export async function benchDriver(): Promise<Row[]> {
  const p = await project();
  try {
    quicken(p);
    await p.sluice(["promote", "staging", "prod"]);
    const runs: Measured[] = [];
    for (let i = 0; i < PROMOTIONS; i++) {
      edit(p, `bench-${i}`);
      await p.sluice(["promote", "dev", "staging", "--build"]);
      runs.push(await measure(p, ["promote", "staging", "prod", "--json"]));
    }
    const overhead = median(runs.map((r) => r.overhead));
    const memory = Math.max(...runs.map((r) => r.megabytes));
    const perAct = Math.max(...runs.map((r) => r.operationsPerAct));
    return [
      {
        figure: "driver: wall time beside its up and preview processes and the waits asked for",
        value: `${(overhead * 100).toFixed(1)} % (${runs.map((r) => `${r.beside.toFixed(1)} of ${r.wall.toFixed(1)} s`).join(", ")})`,
        target: "<= 3 %",
        ok: overhead <= 0.03,
      },
      { figure: "driver: up and preview per act, each", value: `${perAct}`, target: "<= 1", ok: perAct <= 1 },
      {
        figure: "driver: peak resident memory",
        value: `${memory.toFixed(0)} MB`,
        target: "<= 250 MB",
        ok: memory <= 250,
      },
      await sameChange(p),
      help(),
    ];
  } finally {
    await p.dispose();
  }
}

/** The last line of `--json`. */
interface Result {
  operations: Record<string, { count: number; milliseconds: number }>;
}

interface Measured {
  wall: number;
  beside: number;
  overhead: number;
  operationsPerAct: number;
  megabytes: number;
}

async function measure(p: Project, args: string[]): Promise<Measured> {
  const began = performance.now();
  const child = spawn(process.execPath, [join(p.root, "bin", "sluice.js"), ...args], {
    cwd: p.root,
    env: p.env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let megabytes = 0;
  // The kernel's own high-water mark, read while the process lives.
  const watch = setInterval(() => {
    megabytes = Math.max(megabytes, peak(child.pid ?? 0));
  }, 100);
  let out = "";
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearInterval(watch);
  const wall = (performance.now() - began) / 1000;
  if (code !== 0) throw new Error(`promote ended with ${code}: ${out}`);
  const result = JSON.parse(out.trim().split("\n").at(-1) ?? "") as Result;
  const { up, preview } = result.operations;
  const pulumi = ((up?.milliseconds ?? 0) + (preview?.milliseconds ?? 0)) / 1000;
  const journal = journalOf(p, "prod");
  const beside = wall - pulumi - watched(journal);
  const acts = journal.filter((e) => e.type === "step.finished" && e.handle).length;
  return {
    wall,
    beside,
    overhead: beside / wall,
    operationsPerAct: Math.max(up?.count ?? 0, preview?.count ?? 0) / acts,
    megabytes,
  };
}

/** Seconds in analyses: waits that were asked for. */
function watched(journal: readonly JournalEvent[]): number {
  const began = new Map<string, number>();
  let sum = 0;
  for (const e of journal) {
    if (e.type === "step.started" && e.step.endsWith("analyse")) began.set(e.step, e.at);
    if (e.type === "step.finished" && began.has(e.step)) sum += e.at - (began.get(e.step) ?? e.at);
  }
  return sum / 1000;
}

function peak(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/** One changed route, by hand and by the driver, in turns: the driver's `up` must not be the slower one. */
async function sameChange(p: Project): Promise<Row> {
  const times = { hand: [] as number[], driver: [] as number[] };
  const { spare } = await freePorts(["spare"]);
  for (let i = 0; i < PROMOTIONS; i++) {
    edit(p, `same-${i}`);
    const staged = await p.sluice(["promote", "dev", "staging", "--build", "--json"]);
    const { up } = (JSON.parse(staged.stdout.trim().split("\n").at(-1) ?? "{}") as Result).operations;
    times.driver.push((up?.milliseconds ?? 0) / (up?.count ?? 1));
    // By hand the public port is what may change: one update of the route, as in a shift.
    const port = i % 2 === 0 ? spare : p.ports.prod;
    await p.pulumi(["config", "set", "sluice:port", String(port), "-s", "prod"]);
    const began = performance.now();
    const hand = await p.pulumi(["up", "--yes", "--skip-preview", "--policy-pack", "policies", "-s", "prod"]);
    if (hand.code !== 0) throw new Error(hand.stdout + hand.stderr);
    times.hand.push(performance.now() - began);
  }
  const [driver, hand] = [median(times.driver), median(times.hand)];
  return {
    figure: "driver: its up (mean of a run's acts) against a by-hand up that updates the route",
    value: `${driver.toFixed(0)} ms against ${hand.toFixed(0)} ms, ratio ${(driver / hand).toFixed(2)}`,
    target: "no slower",
    ok: driver <= hand,
  };
}

function help(): Row {
  const root = join(__dirname, "..", "..");
  const time = (args: string[]) => {
    const began = performance.now();
    spawnSync(process.execPath, args, { cwd: root });
    return performance.now() - began;
  };
  const pairs = Array.from({ length: HELPS }, () => ({
    help: time([join(root, "bin", "sluice.js"), "--help"]),
    node: time(["-e", "0"]),
  }));
  const [h, n] = [median(pairs.map((x) => x.help)), median(pairs.map((x) => x.node))];
  return {
    figure: "sluice --help against node -e 0",
    value: `${h.toFixed(0)} ms against ${n.toFixed(0)} ms`,
    target: `<= 1.5 x + 250 ms = ${(1.5 * n + 250).toFixed(0)} ms`,
    ok: h <= 1.5 * n + 250,
  };
}
