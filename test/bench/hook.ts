import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Ended, Project } from "../support/project";

/** What children/hook.cjs does in a driver. */
export interface Hook {
  /** Kills the driver with SIGKILL so many milliseconds after its so-manieth append is on disk; samples don't count. */
  kill?: { append: number; delay: number };
  /** Milliseconds that every sync to disk takes longer. @default 0 */
  syncDelay?: number;
  /** File that takes what was seen. @default nothing is kept */
  log?: string;
}

/** What it saw; milliseconds since the epoch. */
export type Sight =
  | {
      saw: "append";
      at: number;
      type: string;
      step?: string | undefined;
      /** Milliseconds of processor time so far: the driver's, and that of the CLIs that have ended. */
      cpu: { own: number; children: number };
    }
  /** A sync that was delayed. */
  | { saw: "sync" }
  /** A run of the Pulumi CLI. */
  | { saw: "operation"; args: string[]; from: number; to: number }
  /** The wait for what a killed driver left behind. */
  | { saw: "orphans"; from: number; to: number; ended: number };

/** How a driver with a hook in it ended, and what the hook saw. */
export interface Watched extends Ended {
  pid: number;
  /** Whether it was killed. */
  killed: boolean;
  began: number;
  ended: number;
  sights: Sight[];
}

/** Runs `sluice` in the project with a hook in it, and in nothing that it starts. */
export async function watched(
  of: Project,
  args: string[],
  hook: Omit<Hook, "log"> = {},
  started: (pid: number) => void = () => {},
): Promise<Watched> {
  const log = join(of.root, `.sluice-bench-${process.hrtime.bigint()}`);
  const began = Date.now();
  const child = spawn(
    process.execPath,
    ["--require", join(__dirname, "children", "hook.cjs"), join(of.root, "bin", "sluice.js"), ...args],
    {
      cwd: of.root,
      env: { ...of.env, SLUICE_BENCH_HOOK: JSON.stringify({ ...hook, log }) },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  started(child.pid ?? 0);
  const out = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => {
    out.stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    out.stderr += chunk;
  });
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    // Not `close`: what a killed driver leaves behind may hold its output open.
    child.once("exit", (...how) => resolve(how)),
  );
  const sights = existsSync(log) ? readFileSync(log, "utf8").split("\n").filter(Boolean) : [];
  rmSync(log, { force: true });
  return {
    ...out,
    pid: child.pid ?? 0,
    code: code ?? -1,
    killed: signal === "SIGKILL",
    began,
    ended: Date.now(),
    sights: sights.map((line) => JSON.parse(line) as Sight),
  };
}
