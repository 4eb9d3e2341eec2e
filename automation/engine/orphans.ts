import { execFile } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { error } from "../../components/errors";
import type { RunId } from "../core/model";

/** The variable by which a run knows its processes. */
export const RUN_VARIABLE = "SLUICE_RUN";

/** Milliseconds within which killed processes have to be gone: one that hangs in the kernel may never be. */
const DEADLINE = 10_000;
/** Looks in a row that find nobody: one look can miss a process that forks ahead of it. */
const QUIET = 3;
/** Milliseconds between looks. */
const PAUSE = 5;
/** Milliseconds each look goes on watching for newborn processes. */
const HUNT = 15;

export const OrphansAlive = error("orphans-alive", {
  message: (run: RunId, pids: readonly number[]) =>
    `Processes of run ${run} live on and may still change the world: ${pids.join(", ") || "their pids keep changing"}.`,
  hint: (_run: RunId, pids: readonly number[]) =>
    `Look at them with \`ps -o pid,stat,etime,args -p ${pids.join(",") || "…"}\`, end them, then give the same command again.`,
});

export const ProcessesUnseen = error("processes-unseen", {
  message: (platform: string, cause: Error) =>
    `The processes an earlier try of this run left behind can't be looked for on ${platform}: ${cause.message}`,
  hint: () => "Neither /proc nor `ps` is usable here: go on where one of them is (Linux, macOS).",
});

export interface OrphanOptions {
  /** Milliseconds. @default 10000 */
  deadline?: number;
  /** Where processes are looked for. @default "proc" where there is /proc, else "ps" */
  table?: "proc" | "ps";
}

interface Look {
  /** Processes of the run, without this one and those it descends from. */
  pids: number[];
  /** Whether one could not be judged, for it is just becoming another program. */
  unsure: boolean;
}

/**
 * Ends every process of this user whose environment names the run, and returns when there is none any more:
 * what a killed driver leaves behind changes the world seconds later. Throws `orphans-alive`.
 */
export async function endOrphans(run: RunId, options: OrphanOptions = {}): Promise<{ ended: number[] }> {
  const { deadline = DEADLINE, table = hasProc() ? "proc" : "ps" } = options;
  const look = table === "proc" ? lookInProc : lookWithPs;
  const until = performance.now() + deadline;
  const ended = new Set<number>();
  // Never SIGTERM: a provider that tidies up changes the world.
  const end = (pid: number) => {
    if (kill(pid)) ended.add(pid);
  };
  for (let quiet = 0; ; ) {
    const { pids, unsure } = await look(`${RUN_VARIABLE}=${run}`, end);
    quiet = pids.length > 0 || unsure ? 0 : quiet + 1;
    if (quiet === QUIET) return { ended: [...ended].sort((a, b) => a - b) };
    if (performance.now() > until) throw OrphansAlive(run, pids);
    await delay(PAUSE);
  }
}

function kill(pid: number): boolean {
  try {
    return process.kill(pid, "SIGKILL");
  } catch {
    return false; // gone already, or not ours to end: the next look tells
  }
}

function hasProc(): boolean {
  try {
    return readFileSync("/proc/self/environ").length >= 0;
  } catch {
    return false;
  }
}

async function lookInProc(mark: string, end: (pid: number) => void): Promise<Look> {
  const spared = new Set<number>();
  for (let pid = process.pid; pid > 0 && !spared.has(pid); pid = stat(pid)?.parent ?? 0) spared.add(pid);
  const found: Look = { pids: [], unsure: false };
  const examine = (pid: number) => {
    if (spared.has(pid)) return;
    const judged = judge(pid, mark);
    if (judged === "unsure") found.unsure = true;
    if (judged !== "ours") return;
    found.pids.push(pid);
    end(pid);
  };
  let newest = lastPid();
  for (const name of readdirSync("/proc")) {
    if (/^\d+$/.test(name)) examine(Number(name));
  }
  // One that forks and ends at once is gone by the time its name is looked at: its successors are hunted
  // by number, as they are born. Where the numbers wrap, the next look starts afresh.
  for (const until = performance.now() + HUNT; performance.now() < until; ) {
    const last = lastPid();
    for (let pid = newest + 1; pid <= last; pid++) examine(pid);
    newest = last;
  }
  return found;
}

/** The number given last to a process or thread; NaN where the system doesn't tell. */
function lastPid(): number {
  try {
    return Number(readFileSync("/proc/loadavg", "latin1").trim().split(" ")[4]);
  } catch {
    return Number.NaN;
  }
}

function judge(pid: number, mark: string): "ours" | "other" | "unsure" {
  try {
    if (statSync(`/proc/${pid}`).uid !== process.getuid?.()) return "other";
    const environment = readFileSync(`/proc/${pid}/environ`);
    if (environment.length > 0) {
      const ours = names(environment.toString("latin1"), mark) && isLeader(pid);
      return ours ? "ours" : "other";
    }
    // In the middle of exec there is memory already, but no environment yet. Zombies and kernel threads have none.
    const about = stat(pid);
    return about && about.memory > 0 && about.environmentEnd === 0 ? "unsure" : "other";
  } catch {
    return "other"; // gone, or of a user whose processes are not shown
  }
}

function names(environment: string, mark: string): boolean {
  return `\0${environment}\0`.includes(`\0${mark}\0`);
}

/** A thread has a number too, and to kill it kills its process, which may be one to spare. */
function isLeader(pid: number): boolean {
  return readFileSync(`/proc/${pid}/status`, "latin1").includes(`\nTgid:\t${pid}\n`);
}

/** Fields of /proc/<pid>/stat by their numbers in proc(5): 4 ppid, 23 vsize, 51 env_end. */
function stat(pid: number): { parent: number; memory: number; environmentEnd: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name before the last bracket may hold anything; field 3 follows it.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const field = (number: number) => Number(fields[number - 3]);
    return { parent: field(4), memory: field(23), environmentEnd: field(51) };
  } catch {
    return undefined;
  }
}

/** Where there is no /proc: `ps` shows the environment after the command line. */
async function lookWithPs(mark: string, end: (pid: number) => void): Promise<Look> {
  const all = process.platform === "darwin" ? "-axEww" : "axeww";
  const { stdout } = await promisify(execFile)("ps", [all, "-o", "pid=,ppid=,uid=,command="], {
    env: { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C" },
    maxBuffer: 256 * 1024 * 1024,
  }).catch((e: Error) => {
    throw ProcessesUnseen(process.platform, e);
  });
  const rows = stdout.split("\n").flatMap((line) => {
    const [, pid, parent, uid, command] = /^\s*(\d+)\s+(\d+)\s+(\d+)\s(.*)$/.exec(line) ?? [];
    return command === undefined
      ? []
      : [{ pid: Number(pid), parent: Number(parent), uid: Number(uid), command }];
  });
  const parents = new Map(rows.map((row) => [row.pid, row.parent]));
  const spared = new Set<number>();
  for (let pid = process.pid; pid > 0 && !spared.has(pid); pid = parents.get(pid) ?? 0) spared.add(pid);
  const pids = rows
    .filter((row) => row.uid === process.getuid?.() && !spared.has(row.pid))
    .filter((row) => ` ${row.command} `.includes(` ${mark} `))
    .map((row) => row.pid);
  for (const pid of pids) end(pid);
  return { pids, unsure: false };
}
