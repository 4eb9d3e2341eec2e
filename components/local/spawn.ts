import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync } from "node:fs";
import type { Slot } from "../handle";
import { openLog, sizeOf } from "./logs";
import { bootId, holdPort, REPLICA_VARIABLE, releasePort, reservePort, startOf } from "./process";
import type { Fill } from "./protocol";
import type { Secrets } from "./secrets";
import { contentOf, type ReplicaRecord } from "./state";

/** What it takes to start a process of a slot. */
export interface SpawnOptions {
  service: string;
  slot: Slot;
  fill: Fill;
  /** Mark of the state directory, carried by every process. */
  mark: string;
  logFile: string;
  home: string;
  secrets: Secrets;
  log(line: string): void;
  /** Directory of the artifact. Throws `artifact-missing`. */
  locate(artifact: string, root?: string): Promise<string>;
}

/** How one process ended. */
export interface Ended {
  exitCode?: number | undefined;
  signal?: string | undefined;
}

/** One process from start to end. */
export interface Running {
  record: ReplicaRecord;
  ended: Promise<Ended>;
  /** Where its output begins in the log. */
  logFrom: number;
  startedAt: number;
}

/** Why no process was started. */
export interface Unstarted {
  code: string;
  reason: string;
}

/** How often a taken-over process, which is no child of ours, is looked at. */
const ADOPTED_POLL_MS = 100;
/** Takes over a process that runs already; it is no child of ours, so its end has to be looked for. */
export function takeOver(record: ReplicaRecord, logFile: string): Running {
  holdPort(record.port);
  const ended = (async (): Promise<Ended> => {
    while (startOf(record.pid) === record.start)
      await new Promise((resolve) => setTimeout(resolve, ADOPTED_POLL_MS).unref());
    return {};
  })();
  return { record, ended, logFrom: sizeOf(logFile), startedAt: performance.now() };
}

/** Starts a process, or says why there is none. */
export async function spawnReplica(options: SpawnOptions, signal: AbortSignal): Promise<Running | Unstarted> {
  // No file for its output, no memory, an environment that is too large: tried again like every other failure.
  return start(options, signal).catch((thrown) => ({
    code: "start-failed",
    reason: thrown instanceof Error ? thrown.message : String(thrown),
  }));
}

async function start(options: SpawnOptions, signal: AbortSignal): Promise<Running | Unstarted> {
  const { fill, mark, service, slot } = options;
  const [command, ...rest] = fill.settings.arguments;
  if (!command) return { code: "start-missing", reason: "The settings name no start command." };
  const secrets = options.secrets.resolve(fill.settings.secrets);
  if (typeof secrets === "string") return { code: "secret-missing", reason: secrets };
  let cwd: string;
  try {
    cwd = await options.locate(fill.artifact, fill.root);
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return { code: "artifact-missing", reason: message };
  }
  if (signal.aborted) return { code: "stopped", reason: "It was stopped before it began." };
  const port = await reservePort();
  const id = `${mark}/${service}/${slot}/${randomBytes(4).toString("hex")}`;
  const env = {
    PATH: process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin",
    LANG: process.env.LANG ?? "C.UTF-8",
    HOME: options.home,
    ...fill.settings.variables,
    ...secrets,
    PORT: String(port),
    [REPLICA_VARIABLE]: id,
  };
  const { fd, size } = outputOf(options);
  try {
    const child = spawn(command, rest, { cwd, env, detached: true, stdio: ["ignore", fd, fd] });
    const begun = await started(child);
    if (begun !== true) {
      releasePort(port);
      return {
        code: "start-missing",
        reason: `The start command "${command}" can't be run in ${cwd}: ${begun}`,
      };
    }
    const pid = child.pid as number;
    const record = {
      id,
      slot,
      content: contentOf(fill),
      pid,
      port,
      start: startOf(pid) ?? "",
      boot: bootId(),
    };
    const ended = new Promise<Ended>((resolve) => {
      const exit = (exitCode: number | null, by: string | null): void =>
        resolve({ exitCode: exitCode ?? undefined, signal: by ?? undefined });
      if (child.exitCode !== null || child.signalCode !== null) exit(child.exitCode, child.signalCode);
      else child.once("exit", exit);
    });
    child.unref();
    return { record, ended, logFrom: size, startedAt: performance.now() };
  } finally {
    closeSync(fd);
  }
}

/** Where a process writes to: serving without a log is better than not serving. */
function outputOf({ service, slot, logFile, home, log }: SpawnOptions): { fd: number; size: number } {
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 });
    return openLog(logFile);
  } catch (thrown) {
    log(`${service} ${slot}: what it prints is lost, for its log can't be written: ${String(thrown)}`);
    return { fd: openSync("/dev/null", "w"), size: 0 };
  }
}

function started(child: ChildProcess): Promise<true | string> {
  return new Promise((resolve) => {
    child.once("spawn", () => resolve(true));
    child.once("error", (thrown) => resolve(thrown.message));
  });
}
