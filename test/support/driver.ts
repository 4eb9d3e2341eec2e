import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { JournalEvent } from "../../automation/core/events";
import type { Handle } from "../../components/handle";
import type { Ended, Project } from "./project";

/** A driver that is at work. */
export interface Started {
  pid: number;
  kill(signal: NodeJS.Signals): void;
  ended: Promise<Ended>;
}

/** Starts `sluice` in the project's root, as a CI job would: no terminal. */
export function start(of: Project, args: string[], env: Record<string, string> = {}): Started {
  const child = spawn(process.execPath, [join(of.root, "bin", "sluice.js"), ...args], {
    cwd: of.root,
    env: { ...of.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const ended = new Promise<Ended>((resolve) =>
    child.once("close", (code) => resolve({ code: code ?? -1, stdout, stderr })),
  );
  return { pid: child.pid ?? 0, kill: (signal) => child.kill(signal), ended };
}

/** A pipeline that judges quickly: what `automation/pipeline.ts` of the project is for this test. */
export function quicken(
  of: Project,
  options: { bake?: number; rps?: number; weights?: number[]; strategy?: string; extra?: string } = {},
): void {
  const { bake = 2, rps = 100, weights = [20, 100], extra = "" } = options;
  const { strategy = `canary({ weights: ${JSON.stringify(weights)} })` } = options;
  writeFileSync(
    join(of.root, "automation", "pipeline.ts"),
    `import { services } from "../stacks/services";
import { analysis, approval, blueGreen, canary, errorRate, health, latency, load, pipeline, rolling, scrape, smoke, command, commandGate, task } from "./index";
void [approval, canary, rolling, command, commandGate, task, smoke];
export default pipeline({
  services,
  environments: [
    { name: "dev", strategy: blueGreen(), checks: [health({ path: "/healthz" })] },
    { name: "staging", strategy: blueGreen(), checks: [health({ path: "/healthz" })] },
    {
      name: "prod",
      strategy: ${strategy},
      checks: [health({ path: "/healthz" })],
      traffic: load({ rps: ${rps} }),
      analysis: analysis({
        source: scrape(),
        judges: [errorRate({ max: "1%" }), latency({ ratio: 20, warmUp: "0s" })],
        // Up to the probe a weight passes when it does not fail, and here all is probe: seconds are enough.
        every: 0.5, stepBake: ${bake}, minBake: 0, probe: 100, maxDuration: ${Math.max(900, 10 * bake)},
      }),
      ${extra}
    },
  ],
});
`,
  );
}

/** Changes the sample: its version, and how it fails. */
export function edit(of: { root: string }, version: string, failRate = 0): void {
  const file = join(of.root, "stacks", "sample", "server.js");
  const text = readFileSync(file, "utf8");
  writeFileSync(
    file,
    text
      .replace(/VERSION = ".*?"/, `VERSION = "${version}"`)
      .replace(/FAIL_RATE = [\d.]+/, `FAIL_RATE = ${failRate}`),
  );
}

/** The handle that a stack declares. */
export async function handleOf(of: Project, stack: string): Promise<Handle | undefined> {
  const { code, stdout, stderr } = await of.pulumi(["stack", "output", "--json", "-s", stack]);
  if (code !== 0) {
    if (/no stack named/.test(stderr)) return undefined;
    throw new Error(stderr);
  }
  return (JSON.parse(stdout) as { handle?: Handle }).handle;
}

/** A handle without what every run may change. */
export function essence(handle: Handle | undefined): unknown {
  if (!handle) return undefined;
  const { generation: _g, by: _b, run: _r, ...rest } = handle;
  return rest;
}

/** What the service answers, status included. */
export function get(
  port: number,
  path = "/",
): Promise<{ status: number; text: string; slot?: string | undefined }> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, path, agent: false, timeout: 5000 }, (response) => {
      let text = "";
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          text,
          slot: response.headers["x-sluice-slot"] as string | undefined,
        }),
      );
    });
    sent.once("error", reject);
    sent.once("timeout", () => sent.destroy(new Error("no answer within 5 s")));
    sent.end();
  });
}

/** The newest journal of an environment, as far as it is written. */
export function journalOf(of: Project, environment: string): JournalEvent[] {
  const folder = join(of.root, ".sluice", "runs", environment);
  if (!existsSync(folder)) return [];
  const runs = readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, "journal.jsonl")))
    .sort();
  const newest = runs.at(-1);
  if (!newest) return [];
  return readFileSync(join(folder, newest, "journal.jsonl"), "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as JournalEvent];
      } catch {
        // The line that is being written just now.
        return [];
      }
    });
}

/** Waits until something holds; looks every 20 ms. Throws with what was awaited. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  seconds = 90,
): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await wait(20);
  }
}

/** Starts a driver, and resolves once it judges samples of its own run on prod. */
export async function judging(of: Project, args: string[]): Promise<Started> {
  const before = journalOf(of, "prod")[0]?.at;
  const driver = start(of, args);
  await until("a sample", () => {
    const journal = journalOf(of, "prod");
    return journal[0]?.at !== before && journal.some((e) => e.type === "sample.taken");
  });
  return driver;
}

/** Requests at a steady pace until stopped; counts the answers. */
export function users(port: number, rps: number) {
  const seen = { sent: 0, failed: [] as string[], bySlot: {} as Record<string, number> };
  const pending = new Set<Promise<void>>();
  const timer = setInterval(() => {
    seen.sent++;
    const one = get(port).then(
      ({ status, slot }) => {
        if (status >= 500) seen.failed.push(`${status} of ${slot}`);
        seen.bySlot[slot ?? "none"] = (seen.bySlot[slot ?? "none"] ?? 0) + 1;
      },
      (e) => {
        seen.failed.push(String(e));
      },
    );
    pending.add(one);
    one.finally(() => pending.delete(one));
  }, 1000 / rps);
  return {
    seen,
    async stop() {
      clearInterval(timer);
      await Promise.all(pending);
      return seen;
    },
  };
}
