import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { analysis } from "../../automation/analysis/analysis";
import type { Plan } from "../../automation/core/model";
import { plan, release } from "../../automation/core/plan";
import type { Judge, Target } from "../../automation/core/ports";
import { canary } from "../../automation/core/strategies";
import { clock } from "../../automation/engine/clock";
import { drive } from "../../automation/engine/drive";
import { createJournal } from "../../automation/engine/journal";
import { newRunId } from "../../automation/engine/runs";
import { clientOf, localRouter } from "../../automation/targets/local";
import type { Handle } from "../../components/handle";
import { storeArtifact } from "../../components/local/artifact";
import { connect } from "../../components/local/client";
import { hashSettings, resolveSettings } from "../../components/settings";
import { median, type Row } from "./row";

/** The figures: trials, requests a second in all, milliseconds. */
const TRIALS = 20;
const RPS = 500;
const MEDIAN = 100;
const MAX = 500;

/** A service that says which slot it is and when it took the request up, on this machine's one clock. */
const SERVER = `
const slot = process.env.NAME;
require("node:http").createServer((q, s) => { s.setHeader("x-begun", Date.now()); s.end(slot); })
  .listen(process.env.PORT, "127.0.0.1");
`;

/**
 * From the verdict to the last request that begins on the bad slot: the real driver, journal, supervisor, proxy
 * and replicas under an open loop of 500 requests a second. Only Pulumi is left out: the lane down doesn't use it.
 */
export async function benchDivert(): Promise<Row[]> {
  const root = realpathSync(mkdtempSync(join(tmpdir(), "sluice-divert-")));
  const stage = await prepare(root);
  try {
    const delays: number[] = [];
    let failed = 0;
    for (let trial = 0; trial < TRIALS; trial++) {
      const load = openLoop(stage.port, RPS);
      await load.steady;
      const verdict = await rollOut(root, stage, trial);
      const seen = await load.stop();
      failed += seen.failed;
      const last = Math.max(...seen.begun.filter((b) => b.slot === "green").map((b) => b.at), verdict);
      delays.push(last - verdict);
    }
    const [mid, max] = [median(delays), Math.max(...delays)];
    return [
      {
        figure: `divert: verdict to the last request begun on the bad slot, ${RPS} rps, ${TRIALS} trials`,
        value: `median ${mid.toFixed(0)} ms, max ${max.toFixed(0)} ms`,
        target: `median <= ${MEDIAN} ms, max <= ${MAX} ms`,
        ok: mid <= MEDIAN && max <= MAX,
      },
      { figure: "divert: requests failed by the switch", value: `${failed}`, target: "0", ok: failed === 0 },
    ];
  } finally {
    await stage.close();
    rmSync(root, { recursive: true, force: true });
  }
}

interface Stage {
  handle: Handle;
  port: number;
  close(): Promise<void>;
}

async function prepare(root: string): Promise<Stage> {
  mkdirSync(join(root, "app"));
  writeFileSync(join(root, "app", "server.js"), SERVER);
  const { artifact } = await storeArtifact({ directory: "app" }, { root });
  const directory = join(root, "local");
  const client = await connect(directory, { root });
  const fill = (slot: "blue" | "green") => {
    const settings = resolveSettings({
      name: "web",
      source: { directory: "app" },
      start: ["node", "server.js"],
      variables: { NAME: slot },
    });
    return { artifact, settings, hash: hashSettings(settings), root };
  };
  for (const slot of ["blue", "green"] as const) {
    await client.fill("web.bench", slot, fill(slot));
    const ready = await client.ready("web.bench", slot, 30);
    if (!ready.ready) throw new Error(ready.reason);
  }
  const status = await client.route("web.bench", { split: { blue: 100, green: 0 }, live: "blue" });
  const slot = (name: "blue" | "green") => {
    const { artifact: a, settings, hash } = fill(name);
    return { pin: { artifact: a }, settings, hash };
  };
  return {
    port: status.port,
    handle: {
      version: 1,
      platform: "local",
      service: "web",
      live: "blue",
      slots: { blue: slot("blue"), green: slot("green") },
      split: { blue: 100, green: 0 },
      generation: 1,
      local: { directory, name: "web.bench", url: status.url },
    },
    close: async () => {
      const at = await clientOf({ local: { directory } } as Handle);
      at.close();
      await client.stop();
      client.close();
    },
  };
}

/** Rolls out at 50 % and answers when the judge said no, in milliseconds since the epoch. */
async function rollOut(root: string, stage: Stage, trial: number): Promise<number> {
  let verdict = 0;
  let handle = stage.handle;
  const router = localRouter();
  const target: Target = {
    key: "bench",
    service: "web",
    observe: async () => ({ declared: handle, drift: [] }),
    preview: async () => ({ handle, changes: {} }),
    // What a Pulumi program's route resource does, without the engine around it.
    apply: async ({ want }, ctx) => {
      handle = { ...stage.handle, ...want, slots: stage.handle.slots } as Handle;
      const client = await clientOf(handle);
      await client.route("web.bench", {
        split: want.split,
        live: "blue",
        run: want.run ?? null,
        fence: ctx.fence,
      });
      return handle;
    },
    recover: async () => {},
    router,
  };
  const judge: Judge<number> = {
    id: "no",
    rule: "says no to the first tick",
    start: () => 0,
    update: (n) => n + 1,
    finding: (n) => {
      if (n > 0) verdict ||= Date.now();
      return { judge: "no", verdict: n > 0 ? "fail" : "running", reason: "no", figures: {} };
    },
  };
  const run = newRunId(clock.now());
  const made: Plan = plan({
    request: "bench",
    environment: "bench",
    release: release({ web: { artifact: stage.handle.slots.green?.pin.artifact ?? "" } }),
    strategy: canary({ weights: [50, 100] }),
    has: { gates: [], tasks: [], analysis: "default" },
    aims: [
      {
        key: "bench",
        service: "web",
        platform: "local",
        declared: stage.handle,
        pin: stage.handle.slots.green!.pin,
      },
    ],
  });
  const journal = await createJournal(join(root, "runs", run));
  await journal.append({ type: "run.planned", run, plan: made, actor: "bench" }, clock.now());
  const counts = (n: number) => ({ requests: n, errors: 0, buckets: [n] });
  let readings = 0;
  const ending = await drive({
    plan: made,
    environment: {
      name: "bench",
      strategy: canary(),
      analysis: analysis({
        source: {
          id: "two readings",
          ping: async () => {},
          read: async () => ({
            at: clock.now(),
            edges: [],
            slots: { blue: counts(++readings), green: counts(readings) },
          }),
        },
        judges: [judge],
        every: 0.5,
        stepBake: 60,
      }),
    },
    targets: new Map([["bench", target]]),
    journal,
    clock,
    fence: { run, token: Date.now() + trial },
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
  await journal.close();
  if (ending.left !== "finished" || ending.outcome !== "rolled-back") throw new Error(JSON.stringify(ending));
  return verdict;
}

/** Users in a process of their own: so many requests a second, come what may. */
function openLoop(port: number, rps: number) {
  const child = spawn(process.execPath, ["-e", LOOP, String(port), String(rps)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  let resolve: () => void;
  const steady = new Promise<void>((done) => {
    resolve = done;
  });
  const result = new Promise<{ begun: { slot: string; at: number }[]; failed: number }>((done) => {
    lines.on("line", (text) => (text === "steady" ? resolve() : done(JSON.parse(text))));
  });
  return {
    steady,
    stop: () => {
      child.stdin.end();
      return result;
    },
  };
}

const LOOP = `
const http = require("node:http");
const [port, rps] = process.argv.slice(1).map(Number);
const agent = new http.Agent({ keepAlive: true, maxSockets: 200 });
const begun = []; let failed = 0, open = 0, done = false;
const send = () => {
  open++;
  const q = http.get({ port, host: "127.0.0.1", agent, timeout: 5000 }, (r) => {
    if (r.statusCode !== 200) failed++;
    let text = ""; r.on("data", (c) => text += c);
    r.on("end", () => { begun.push({ slot: text, at: Number(r.headers["x-begun"]) }); ended(); });
  });
  q.on("error", () => { failed++; ended(); });
};
const ended = () => { open--; if (done && open === 0) { console.log(JSON.stringify({ begun, failed })); process.exit(); } };
const start = performance.now(); let sent = 0;
const timer = setInterval(() => { const due = (performance.now() - start) / 1000 * rps; while (sent < due) { sent++; send(); } }, 2);
setTimeout(() => console.log("steady"), 500);
process.stdin.resume(); process.stdin.on("end", () => { done = true; clearInterval(timer); setTimeout(() => open === 0 && ended(open++), 200); });
`;
