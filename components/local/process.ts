import * as fs from "node:fs";
import { createServer } from "node:net";

/** Names the replica that a process belongs to; a child inherits it, so that none is ever lost. */
export const REPLICA_VARIABLE = "SLUICE_REPLICA";

/** Start of a process in clock ticks since boot; undefined where it is gone or only waits to be reaped. */
export function startOf(pid: number): string | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the command in parentheses and may hold anything, a parenthesis too.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state] = fields;
    return state === "Z" || state === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Tells this boot from the one before, for process ids and clock ticks begin again with each. */
export function bootId(): string {
  try {
    return fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}

/** A process that carries a replica's mark. */
export interface Marked {
  pid: number;
  /** Its process group. */
  group: number;
  /** `<mark of the directory>/<service>/<slot>/<number>`. */
  id: string;
}

/** Processes of this user whose replica id begins with the prefix. */
export function markedProcesses(prefix: string): Marked[] {
  const found: Marked[] = [];
  for (const name of fs.readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      const environ = fs.readFileSync(`/proc/${name}/environ`, "latin1");
      const entry = environ.split("\0").find((text) => text.startsWith(`${REPLICA_VARIABLE}=${prefix}`));
      if (!entry || startOf(pid) === undefined) continue;
      const stat = fs.readFileSync(`/proc/${name}/stat`, "utf8");
      const group = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[2]);
      found.push({ pid, group, id: entry.slice(REPLICA_VARIABLE.length + 1) });
    } catch {
      // Another user's, or it ended while we looked.
    }
  }
  return found;
}

/** Sends a signal; false where there is nobody to take it. A negative id means a process group. */
export function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** Milliseconds in which the kernel is trusted to carry out a SIGKILL; a zombie that init leaves is not waited for. */
const KILL_MS = 1000;

/**
 * Ends what one replica started, its process group and whatever left that group: politely first where there is a
 * grace, in milliseconds. Returns once nothing of it is left, and says whether that took a SIGKILL in spite of a grace.
 */
export async function endReplica(replica: { pid: number; id: string }, graceMs: number): Promise<boolean> {
  const { pid, id } = replica;
  const strays = (): number[] =>
    markedProcesses(id).flatMap((other) => (other.group === pid ? [] : [other.pid]));
  if (graceMs > 0) {
    for (const target of [-pid, ...strays()]) signalProcess(target, "SIGTERM");
    const deadline = performance.now() + graceMs;
    while (performance.now() < deadline && signalProcess(-pid, 0)) await pause(10);
  }
  const forced = graceMs > 0 && signalProcess(-pid, 0);
  await killAll(() => [...(signalProcess(-pid, 0) ? [-pid] : []), ...strays()]);
  return forced;
}

/** Ends every process of the mark but those of the replicas named: what a killed supervisor left and nobody wants. */
export async function endStrays(mark: string, graceMs: number, wanted: ReadonlySet<string>): Promise<number> {
  const strays = (): number[] =>
    markedProcesses(`${mark}/`).flatMap((p) => (wanted.has(p.id) ? [] : [p.pid]));
  const first = strays();
  for (const pid of first) signalProcess(pid, "SIGTERM");
  const deadline = performance.now() + graceMs;
  while (performance.now() < deadline && first.some((pid) => startOf(pid) !== undefined)) await pause(20);
  await killAll(() => first.filter((pid) => startOf(pid) !== undefined));
  return first.length;
}

async function killAll(targets: () => number[]): Promise<void> {
  const deadline = performance.now() + KILL_MS;
  for (let left = targets(); left.length > 0 && performance.now() < deadline; left = targets()) {
    for (const target of left) signalProcess(target, "SIGKILL");
    await pause(10);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/**
 * Whether the listener on a loopback port belongs to the replica; undefined where the kernel does not tell.
 * Another process may have taken the port between our look and the replica's start.
 */
export function ownsPort(id: string, port: number): boolean | undefined {
  const inodes = listeners(port);
  if (inodes.size === 0) return undefined;
  for (const { pid } of markedProcesses(id)) {
    try {
      for (const fd of fs.readdirSync(`/proc/${pid}/fd`)) {
        if (inodes.has(linkOf(`/proc/${pid}/fd/${fd}`))) return true;
      }
    } catch {
      // It ended while we looked.
    }
  }
  return false;
}

function linkOf(file: string): string {
  try {
    return fs.readlinkSync(file);
  } catch {
    return "";
  }
}

/** Sockets that listen on a port, as `/proc/<pid>/fd` names them. */
function listeners(port: number): Set<string> {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const found = new Set<string>();
  for (const file of ["/proc/self/net/tcp", "/proc/self/net/tcp6"]) {
    let table: string;
    try {
      table = fs.readFileSync(file, "latin1");
    } catch {
      continue;
    }
    for (const line of table.split("\n")) {
      const fields = line.trim().split(/\s+/);
      // Local address, then state; 0A is TCP_LISTEN.
      if (fields[3] === "0A" && fields[1]?.endsWith(`:${hex}`)) found.add(`socket:[${fields[9]}]`);
    }
  }
  return found;
}

/**
 * Ports that replicas get: below Linux's range for outgoing connections (32768 to 60999, ip(7)), so that no
 * connection takes one between our look and the replica's start.
 */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_767;
const taken = new Set<number>();

/** Finds a free loopback port and keeps it from being given twice; call `release` once its replica is gone. */
export async function reservePort(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT + 1));
    if (taken.has(port)) continue;
    taken.add(port);
    if (await isFree(port)) return port;
    taken.delete(port);
  }
  throw new Error(`no free port between ${FIRST_PORT} and ${LAST_PORT} on 127.0.0.1`);
}

/** Keeps the port of a replica that was taken over. */
export function holdPort(port: number): void {
  taken.add(port);
}

/** Gives a port back. */
export function releasePort(port: number): void {
  taken.delete(port);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
