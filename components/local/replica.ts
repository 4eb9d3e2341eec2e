import { type Answer, askHealth } from "./health";
import { tail } from "./logs";
import { holder } from "./port";
import { endReplica, ownsPort, releasePort } from "./process";
import type { SlotFailure } from "./protocol";
import { type Ended, type Running, type SpawnOptions, spawnReplica, takeOver } from "./spawn";
import type { ReplicaRecord } from "./state";

/** What a replica needs. */
export interface ReplicaOptions extends SpawnOptions {
  /** A running process to take over instead of starting one. */
  adopt?: ReplicaRecord | undefined;
  /** Called on every change of what `status` and `record` give. */
  changed(): void;
}

/** A replica as it is now. */
export interface ReplicaState {
  pid?: number | undefined;
  port?: number | undefined;
  ready: boolean;
  restarts: number;
  /** Why it does not serve; cleared once it does. */
  failure?: SlotFailure | undefined;
}

/** One process of a slot, kept alive until it is stopped. */
export interface Replica {
  status(): ReplicaState;
  record(): ReplicaRecord | undefined;
  /** Resolves once its health was asked for the first time, or it ended before. */
  readonly probed: Promise<void>;
  /** SIGTERM, after the grace SIGKILL; returns once none of its processes is left. */
  stop(graceMs: number): Promise<void>;
  /** Lets the process run on and looks after it no longer. */
  leave(): Promise<void>;
}

/** Milliseconds until the nth start in a row after the first: at once, then 0.5 s doubling to 30 s. */
export function backOff(exits: number): number {
  return exits <= 1 ? 0 : Math.min(30_000, 500 * 2 ** (exits - 2));
}

/** Exits in a row after which waiting can't help. */
const CRASH_LOOP = 2;
/** A process that lived this long has left its former exits behind. */
const STEADY_MS = 60_000;
/** Lines kept with a failure. */
const FAILURE_LINES = 20;

/** Starts a replica, or takes over the process of one. */
export function createReplica(options: ReplicaOptions): Replica {
  const { fill, logFile } = options;
  const { redact } = options.secrets;
  const { health, startSeconds } = fill.settings.probes;
  const state: ReplicaState = { ready: false, restarts: 0 };
  const halt = new AbortController();
  let left = false;
  let running: Running | undefined;
  let exits = 0;
  // For one that is late or whose port answers another process; `stop` sets its own.
  let grace = 1000;
  let probed: () => void = () => undefined;
  const firstProbe = new Promise<void>((resolve) => {
    probed = resolve;
  });

  const fail = (code: string, why: string, ended: Ended = {}, from?: number): void => {
    const reason = redact(why);
    state.failure = { code, reason, ...ended, logs: tail(logFile, FAILURE_LINES, redact, from) };
    options.log(`${options.service} ${options.slot}: ${code}: ${reason}`);
    options.changed();
  };
  const setReady = (ready: boolean): void => {
    if (state.ready === ready) return;
    state.ready = ready;
    if (ready) state.failure = undefined;
    options.changed();
  };

  /** Asks the health path until the process ends, or has to be ended because it is late. */
  const watch = async (current: Running, over: AbortSignal): Promise<void> => {
    let unreadySince = current.startedAt;
    let misses = 0;
    let owned = false;
    while (!over.aborted) {
      const { port, id } = current.record;
      const answer = await askHealth(port, health, over);
      if (over.aborted) return;
      if (answer.ok && !owned) {
        owned = ownsPort(id, port) !== false;
        if (!owned) {
          const who = await holder(port);
          fail(
            "port-conflict",
            `Port ${port} is answered by ${who}, not by this replica.`,
            {},
            current.logFrom,
          );
          return;
        }
      }
      misses = answer.ok ? 0 : misses + 1;
      // One slow answer of a busy process is no outage; a refused connection is.
      if (answer.ok) setReady(true);
      else if (misses > 1 || answer.refused) {
        if (state.ready) unreadySince = performance.now();
        setReady(false);
      }
      probed();
      const waited = performance.now() - unreadySince;
      if (!state.ready && waited > startSeconds * 1000) {
        const { code, reason } = await lateness(answer, current);
        fail(code, reason, {}, current.logFrom);
        return;
      }
      await pause(state.ready ? 1000 : waited < 2000 ? 25 : 200, over);
    }
  };

  const inUse = (current: Running): Promise<string | undefined> =>
    addressInUse(tail(logFile, 200, redact, current.logFrom));
  const lateness = async (answer: Answer, current: Running): Promise<{ code: string; reason: string }> => {
    const { port } = current.record;
    const used = await inUse(current);
    if (used) return { code: "port-conflict", reason: used };
    const reason = `GET ${health} on port ${port} gave no 2xx within ${startSeconds} s: ${answer.said}.`;
    return { code: answer.status === 404 ? "health-path" : "not-ready", reason };
  };

  const afterExit = async (current: Running, ended: Ended): Promise<void> => {
    const how = ended.signal
      ? `was ended by ${ended.signal}`
      : `ended with exit code ${ended.exitCode ?? "unknown"}`;
    const used = await inUse(current);
    // Our own port can be lost to a race, so it gets a second try; a port of the service's own choice can't.
    if (used && (exits >= CRASH_LOOP || !used.includes(String(current.record.port))))
      fail("port-conflict", used, ended, current.logFrom);
    else if (exits >= CRASH_LOOP)
      fail("crash-loop", `It ${how}, ${exits} times in a row.`, ended, current.logFrom);
    else options.log(`${options.service} ${options.slot}: replica ${current.record.pid} ${how}`);
  };

  /** One process, until it is over. */
  const once = async (current: Running): Promise<void> => {
    running = current;
    Object.assign(state, { pid: current.record.pid, port: current.record.port, ready: false });
    options.changed();
    const over = new AbortController();
    let exited = false;
    const ended = current.ended.then((how) => {
      exited = true;
      over.abort();
      return how;
    });
    const halted = (): void => over.abort();
    if (halt.signal.aborted) halted();
    halt.signal.addEventListener("abort", halted, { once: true });
    await watch(current, over.signal);
    if (left) return;
    const byItself = exited;
    const { pid } = current.record;
    if (await endReplica(current.record, exited ? 0 : grace))
      options.log(
        `${options.service} ${options.slot}: replica ${pid} went on after SIGTERM; SIGKILL ended it after ${grace} ms`,
      );
    const how = await ended;
    halt.signal.removeEventListener("abort", halted);
    releasePort(current.record.port);
    running = undefined;
    Object.assign(state, { pid: undefined, port: undefined, ready: false });
    exits = performance.now() - current.startedAt > STEADY_MS ? 1 : exits + 1;
    if (!halt.signal.aborted && byItself) await afterExit(current, how);
    options.changed();
  };

  const keepAlive = async (): Promise<void> => {
    let adopt = options.adopt;
    while (!halt.signal.aborted) {
      const current = adopt ? takeOver(adopt, logFile) : await spawnReplica(options, halt.signal);
      adopt = undefined;
      if ("code" in current) {
        exits++;
        fail(current.code, current.reason);
      } else await once(current);
      probed();
      if (halt.signal.aborted) return;
      await pause("code" in current ? Math.max(500, backOff(exits)) : backOff(exits), halt.signal);
      state.restarts++;
    }
  };

  // Not before the caller holds what we give back, for `changed` reads it.
  const done = Promise.resolve().then(keepAlive);
  return {
    status: () => ({ ...state }),
    record: () => running?.record,
    probed: firstProbe,
    async stop(graceMs) {
      grace = graceMs;
      halt.abort();
      await done;
    },
    async leave() {
      left = true;
      halt.abort();
      await done;
    },
  };
}

/** Waits, but no longer than until the signal fires. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || ms <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}

/** The line in which a process says that its port is taken, and who has it, where that can be known. */
async function addressInUse(lines: readonly string[]): Promise<string | undefined> {
  // The first such line has the address; Node's dump of the error repeats the code without it.
  const line = lines.find((text) => /EADDRINUSE|address already in use/i.test(text));
  if (!line) return undefined;
  const said = `It could not listen: ${line.trim().slice(0, 200)}`;
  const port = /:(\d{1,5})\s*$/.exec(line)?.[1];
  const who = port ? await holder(Number(port)) : "";
  return who.startsWith("process") ? `${said} (${who} listens there)` : said;
}
