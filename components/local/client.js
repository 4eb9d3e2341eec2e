// Plain JavaScript on node: imports alone, for dynamic providers require it in a process without tsx.
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { codeOf, failure, isGone, pause, request } = require("./call");
const { ask, EMPTY_MS, end, ensure, notedSocket } = require("./launch");

/** @import { Call } from "./call" */
/** @import { Slot } from "../handle" */
/** @import { Fill, PastReading, RouteWrite, ServiceStatus, SlotReadiness, SlotWrite, SupervisorInfo, WriteFence } from "./protocol" */

/**
 * @typedef {object} ConnectOptions
 * @property {boolean | undefined} [start] Starts the supervisor where none runs. Default true.
 * @property {string | undefined} [root] Directory that relative artifacts start from.
 * @property {number | undefined} [timeoutMs] Time limit of starting, and of each call beside the waits it asks for. Default 30,000.
 */

/**
 * @typedef {object} Client
 * @property {() => Promise<SupervisorInfo>} info
 * @property {() => Promise<ServiceStatus[]>} services
 * @property {(name: string) => Promise<ServiceStatus | undefined>} service Undefined where the supervisor knows nothing of it.
 * @property {(name: string, slot: Slot, fill: Fill | null, options?: Omit<SlotWrite, "fill">) => Promise<ServiceStatus>} fill
 *   Sets what the slot shall run; null empties it and returns once it is empty.
 * @property {(name: string, slot: Slot, seconds: number, signal?: AbortSignal) => Promise<SlotReadiness>} ready
 *   Waits until the slot is ready or lost, at most that long; 0 asks once.
 * @property {(name: string, route: RouteWrite) => Promise<ServiceStatus>} route
 * @property {(name: string, fence: WriteFence) => Promise<ServiceStatus>} beat Says that the run lives.
 * @property {(name: string, slot: Slot, lines: number) => Promise<string[]>} logs Newest last.
 * @property {(name: string, slot: Slot, after: number, seconds: number, signal?: AbortSignal) => Promise<{ errors: number, requests: number }>} errors
 *   Waits until the slot has another number of errors than `after`, fewer after a reset, at most that long.
 * @property {(name: string, seconds: number) => Promise<PastReading[]>} history What the slots had counted, every 5 s of the last so many seconds that the supervisor was there; oldest first.
 * @property {(name: string, options?: { fence?: WriteFence | undefined, force?: boolean | undefined }) => Promise<void>} remove Ends the service and forgets it.
 * @property {(options?: { keepReplicas?: boolean | undefined }) => Promise<void>} stop Ends the supervisor; returns once its process is gone.
 * @property {() => void} close Drops the kept-alive connections.
 */

/** @typedef {(call: Omit<Call, "timeoutMs"> & { timeoutMs?: number, waits?: boolean }) => Promise<any>} Caller */

/** Version of the admin protocol: raised when an older client could misread an answer, or an older supervisor lacks one. */
const PROTOCOL = 3;
/**
 * Refuses an answer that this client could misread.
 * @param {SupervisorInfo} info
 */
function checkProtocol(info) {
  if (info.protocol <= PROTOCOL) return info;
  throw failure(
    "supervisor-newer",
    `The supervisor (sluice ${info.version}, process ${info.pid}) speaks protocol ${info.protocol}, this client only ${PROTOCOL}.`,
    "Update this copy of Sluice, or end that supervisor with `npm run local -- down` where it was started.",
  );
}

/**
 * Connects to the supervisor of a state directory, starting it where none runs.
 * A supervisor with an older protocol hands over to a new one, its replicas run on; a newer one is refused.
 * @param {string} directory
 * @param {ConnectOptions} [options]
 * @returns {Promise<Client>}
 */
async function connect(directory, options = {}) {
  const { start = true, timeoutMs = 30_000 } = options;
  if (start) fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  // Calls that wait have connections of their own: a divert must never queue behind them.
  const waiting = new http.Agent({ keepAlive: true });
  const reach = async () => {
    const real = realDirectory(directory);
    const found = checkProtocol(
      start ? await ensure(real, agent, timeoutMs) : await ask(real, agent, timeoutMs),
    );
    if (found.protocol === PROTOCOL || !start) return found;
    await end(real, agent, found, { keepReplicas: true });
    return checkProtocol(await ensure(real, agent, timeoutMs));
  };
  await reach().catch((thrown) => {
    agent.destroy();
    throw unreachable(directory, thrown);
  });
  const real = realDirectory(directory);
  /** @type {Caller} */
  const call = async ({ waits, ...given }) => {
    const whole = { timeoutMs, ...given };
    const deadline = performance.now() + timeoutMs;
    let again = false;
    for (;;) {
      try {
        return await request(notedSocket(real), waits ? waiting : agent, whole);
      } catch (thrown) {
        // It hands over or ends: its successor takes the call.
        const stopping = codeOf(thrown) === "supervisor-stopping" && performance.now() < deadline;
        if (!stopping && (again || !isGone(thrown))) throw thrown;
        if (stopping) await pause(50);
        // It died, or the connection was idle for too long. Every call is idempotent, so it is made again, once.
        else again = true;
        await reach().catch((failed) => {
          throw unreachable(directory, failed);
        });
      }
    }
  };
  const close = () => {
    agent.destroy();
    waiting.destroy();
  };
  return methods(call, options.root, {
    stop: async (stopping = {}) => {
      const info = await ask(real, agent, timeoutMs).catch((thrown) => {
        if (isGone(thrown)) return undefined;
        throw thrown;
      });
      if (info) await end(real, agent, info, stopping);
      close();
    },
    close,
  });
}

/** @param {string} directory */
function realDirectory(directory) {
  try {
    return fs.realpathSync(directory);
  } catch {
    return path.resolve(directory);
  }
}

/**
 * @param {string} directory
 * @param {unknown} thrown
 */
function unreachable(directory, thrown) {
  if (!isGone(thrown)) return thrown;
  return failure(
    "supervisor-unreachable",
    `No supervisor runs for ${directory}.`,
    "`npm run promote` starts it when it is needed.",
    thrown,
  );
}

/**
 * @param {Caller} call
 * @param {string | undefined} root
 * @param {Pick<Client, "stop" | "close">} rest
 * @returns {Client}
 */
function methods(call, root, rest) {
  const at = (/** @type {string} */ name, tail = "") => `/v1/services/${encodeURIComponent(name)}${tail}`;
  return {
    ...rest,
    info: () => call({ method: "GET", path: "/v1/info" }),
    services: () => call({ method: "GET", path: "/v1/services" }),
    service: (name) =>
      call({ method: "GET", path: at(name) }).catch((thrown) => {
        if (codeOf(thrown) === "service-unknown") return undefined;
        throw thrown;
      }),
    fill: (name, slot, fill, options = {}) => {
      const body = { ...options, fill: fill && { root, ...fill } };
      return call({ method: "PUT", path: at(name, `/slots/${slot}`), body, timeoutMs: EMPTY_MS });
    },
    ready: (name, slot, seconds, signal) =>
      call({
        method: "GET",
        path: at(name, `/slots/${slot}/ready?seconds=${seconds}`),
        timeoutMs: seconds * 1000 + 10_000,
        signal,
      }),
    route: (name, route) => call({ method: "PUT", path: at(name, "/route"), body: route }),
    beat: (name, fence) => call({ method: "POST", path: at(name, "/beat"), body: { fence } }),
    logs: (name, slot, lines) => call({ method: "GET", path: at(name, `/logs?slot=${slot}&lines=${lines}`) }),
    errors: (name, slot, after, seconds, signal) =>
      call({
        method: "GET",
        path: at(name, `/errors?slot=${slot}&after=${after}&seconds=${seconds}`),
        timeoutMs: (Math.max(0, seconds) || 0) * 1000 + 10_000,
        signal,
        waits: true,
      }),
    history: async (name, seconds) =>
      (await call({ method: "GET", path: at(name, `/history?seconds=${seconds}`) })).readings,
    remove: (name, options = {}) =>
      call({ method: "DELETE", path: at(name), body: options, timeoutMs: EMPTY_MS }),
  };
}

module.exports = { PROTOCOL, connect };
