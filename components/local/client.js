// Plain JavaScript on node: imports alone, for dynamic providers require it in a process without tsx.
const { spawn } = require("node:child_process");
const { createHash } = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");

/** @import { Slot } from "../handle" */
/** @import { Fill, RouteWrite, ServiceStatus, SlotReadiness, SlotWrite, SupervisorInfo, WriteFence } from "./protocol" */

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
 * @property {(name: string, options?: { fence?: WriteFence | undefined, force?: boolean | undefined }) => Promise<void>} remove Ends the service and forgets it.
 * @property {(options?: { keepReplicas?: boolean | undefined }) => Promise<void>} stop Ends the supervisor; returns once its process is gone.
 * @property {() => void} close Drops the kept-alive connections.
 */

/**
 * @typedef {object} Call
 * @property {"GET" | "PUT" | "POST" | "DELETE"} method
 * @property {string} path
 * @property {unknown} [body]
 * @property {number} timeoutMs
 * @property {AbortSignal | undefined} [signal]
 */

/** Version of the admin protocol: raised when an older client could misread an answer. */
const PROTOCOL = 1;
/** Longest path of a Unix socket on Linux in bytes, without the closing zero (sun_path, unix(7)). */
const MAX_SOCKET_PATH = 107;
/** Milliseconds between looks for the socket of a supervisor that starts. */
const POLL_MS = 15;
/** An emptied slot drains (30 s) and its processes get a grace (5 s) before the answer comes. */
const EMPTY_MS = 60_000;

/**
 * An error with the fields of a SluiceError, which plain JavaScript can't import.
 * @param {string} code
 * @param {string} message
 * @param {string} hint
 * @param {unknown} [cause]
 */
function failure(code, message, hint, cause) {
  const made = new Error(message, cause === undefined ? undefined : { cause });
  made.name = "SluiceError";
  return Object.assign(made, { code, hint });
}

/** @param {unknown} thrown @returns {string} */
function codeOf(thrown) {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
}

/**
 * Where the supervisor of a state directory listens: short, for a socket's path is bounded.
 * @param {string} directory Real path of the state directory.
 */
function socketPath(directory) {
  const name = `${createHash("sha256").update(directory).digest("hex").slice(0, 12)}.sock`;
  const folder = `sluice-${process.getuid?.() ?? 0}`;
  const runtime = process.env.XDG_RUNTIME_DIR;
  const preferred = runtime && fs.existsSync(runtime) ? path.join(runtime, folder, name) : undefined;
  if (preferred && Buffer.byteLength(preferred) <= MAX_SOCKET_PATH) return preferred;
  return path.join("/tmp", folder, name);
}

/**
 * Refuses a folder of sockets that somebody else could have prepared.
 * @param {string} folder
 */
function checkSocketFolder(folder) {
  const stat = fs.lstatSync(folder);
  if (stat.isDirectory() && stat.uid === (process.getuid?.() ?? stat.uid) && (stat.mode & 0o077) === 0)
    return;
  throw failure(
    "socket-directory-unsafe",
    `${folder} is not a directory that this user alone can enter, so whoever listens there can't be trusted.`,
    `Look at it with \`ls -ld ${folder}\`, and remove it or set XDG_RUNTIME_DIR.`,
  );
}

/**
 * The socket that the supervisor noted when it started: XDG_RUNTIME_DIR may have been another one then.
 * @param {string} directory
 */
function notedSocket(directory) {
  try {
    return fs.readFileSync(path.join(directory, "socket"), "utf8").trim();
  } catch {
    return socketPath(directory);
  }
}

/**
 * One request over the socket.
 * @param {string} socket
 * @param {http.Agent} agent
 * @param {Call} call
 * @returns {Promise<unknown>}
 */
function request(socket, agent, call) {
  return new Promise((resolve, reject) => {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const headers =
      body === undefined
        ? {}
        : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const { method, signal } = call;
    const req = http.request({
      socketPath: socket,
      agent,
      method,
      path: call.path,
      headers,
      ...(signal ? { signal } : {}),
    });
    const timer = setTimeout(() => {
      req.destroy(
        failure(
          "supervisor-slow",
          `The supervisor did not answer ${method} ${call.path} within ${call.timeoutMs / 1000} s.`,
          "Run `npm run local -- status`; its log is supervisor.log in the state directory.",
        ),
      );
    }, call.timeoutMs);
    req.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    req.on("response", (response) => {
      /** @type {Buffer[]} */
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("close", () => {
        clearTimeout(timer);
        if (!response.complete)
          reject(Object.assign(new Error("the answer was cut off"), { code: "ECONNRESET" }));
      });
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        try {
          const answer = text === "" ? undefined : JSON.parse(text);
          if ((response.statusCode ?? 500) < 400) resolve(answer);
          else reject(failure(answer.error.code, answer.error.message, answer.error.hint));
        } catch (error) {
          reject(error);
        }
      });
    });
    req.end(body);
  });
}

/** @param {number} ms @returns {Promise<void>} */
function pause(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** The connection failed before the supervisor can have answered. @param {unknown} thrown */
function isGone(thrown) {
  return ["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE", "ENOTSOCK"].includes(codeOf(thrown));
}

/** Marks a run's own processes, which are ended with the run, or changes how Node starts. */
const OWN = ["SLUICE_RUN", "SLUICE_FENCE", "NODE_OPTIONS", "NODE_V8_COVERAGE"];

/** What a new supervisor's process gets: all that secrets may be read from, without what is the caller's own. */
function environment() {
  const env = { ...process.env };
  for (const name of Object.keys(env)) {
    if (OWN.includes(name) || name.startsWith("PULUMI_")) delete env[name];
  }
  return env;
}

/**
 * Starts a supervisor that lives on without us; whether it won the lock shows by its socket alone.
 * @param {string} directory
 */
function spawnSupervisor(directory) {
  const log = path.join(directory, "supervisor.log");
  const fd = fs.openSync(log, "a", 0o600);
  const begin = fs.fstatSync(fd).size;
  try {
    const child = spawn(process.execPath, [path.join(__dirname, "entry.js"), "--directory", directory], {
      cwd: path.join(__dirname, "..", ".."),
      detached: true,
      stdio: ["ignore", fd, fd],
      env: environment(),
    });
    child.unref();
    /** @type {{ exit?: number | null, error?: Error }} */
    const state = {};
    child.on("error", (error) => {
      state.error = error;
    });
    child.on("exit", (code) => {
      state.exit = code;
    });
    return { state, said: () => fs.readFileSync(log).subarray(begin).toString("utf8") };
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Why a supervisor ended before it listened, from what it wrote.
 * @param {string} said
 * @param {string} directory
 */
function startFailure(said, directory) {
  for (const line of said.split("\n").reverse()) {
    if (!line.startsWith('{"error":')) continue;
    const { error } = JSON.parse(line);
    return failure(error.code, error.message, error.hint);
  }
  return failure(
    "supervisor-failed",
    `The supervisor of ${directory} ended while it started: ${said.trim().split("\n").slice(-5).join(" | ") || "it said nothing"}`,
    `Read ${path.join(directory, "supervisor.log")}.`,
  );
}

/** Exit code of a supervisor that found another one holding the lock (EX_TEMPFAIL, sysexits.h). */
const LOCKED = 75;

/**
 * Waits until a supervisor answers, starting one where there is none.
 * @param {string} directory
 * @param {http.Agent} agent
 * @param {number} timeoutMs
 * @returns {Promise<SupervisorInfo>}
 */
async function ensure(directory, agent, timeoutMs) {
  const deadline = performance.now() + timeoutMs;
  /** @type {ReturnType<typeof spawnSupervisor> | undefined} */
  let child;
  let tryAt = 0;
  for (;;) {
    try {
      return await ask(directory, agent, Math.max(1000, deadline - performance.now()));
    } catch (thrown) {
      if (!isGone(thrown)) throw thrown;
      if (performance.now() > deadline)
        throw failure(
          "supervisor-slow",
          `No supervisor listens for ${directory} after ${timeoutMs / 1000} s.`,
          `Read ${path.join(directory, "supervisor.log")}.`,
          thrown,
        );
    }
    if (!child) {
      if (performance.now() >= tryAt) child = spawnSupervisor(directory);
    } else if (child.state.error) throw startFailure(String(child.state.error), directory);
    else if (child.state.exit === LOCKED) {
      // Another one is starting, or ending; if it is gone in a second without having listened, it is our turn.
      child = undefined;
      tryAt = performance.now() + 1000;
    } else if (child.state.exit !== undefined) throw startFailure(child.said(), directory);
    await pause(POLL_MS);
  }
}

/**
 * Asks whoever listens who it is.
 * @param {string} directory
 * @param {http.Agent} agent
 * @param {number} timeoutMs
 * @returns {Promise<SupervisorInfo>}
 */
async function ask(directory, agent, timeoutMs) {
  const socket = notedSocket(directory);
  checkSocketFolder(path.dirname(socket));
  return /** @type {SupervisorInfo} */ (
    await request(socket, agent, { method: "GET", path: "/v1/info", timeoutMs })
  );
}

/**
 * Whether a process runs; one that ended and that nobody has reaped yet does not.
 * @param {number} pid
 */
function runs(pid) {
  try {
    process.kill(pid, 0);
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z";
  } catch {
    return false;
  }
}

/**
 * Ends a supervisor and waits until its process is gone.
 * @param {string} directory
 * @param {http.Agent} agent
 * @param {SupervisorInfo} info
 * @param {{ keepReplicas?: boolean | undefined }} options
 */
async function end(directory, agent, info, options) {
  try {
    await request(notedSocket(directory), agent, {
      method: "POST",
      path: "/v1/stop",
      body: options,
      timeoutMs: EMPTY_MS,
    });
  } catch (thrown) {
    if (!isGone(thrown)) throw thrown;
  }
  const deadline = performance.now() + EMPTY_MS;
  while (runs(info.pid)) {
    if (performance.now() > deadline)
      throw failure(
        "supervisor-slow",
        `The supervisor (process ${info.pid}) did not end within ${EMPTY_MS / 1000} s.`,
        `End it with \`kill ${info.pid}\`.`,
      );
    await pause(POLL_MS);
  }
}

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
  /** @type {(call: Omit<Call, "timeoutMs"> & { timeoutMs?: number }) => Promise<unknown>} */
  const call = async (given) => {
    const whole = { timeoutMs, ...given };
    try {
      return await request(notedSocket(real), agent, whole);
    } catch (thrown) {
      // It died, or the connection was idle for too long. Every call is idempotent, so it is made again, once.
      if (!isGone(thrown)) throw thrown;
      await reach().catch((again) => {
        throw unreachable(directory, again);
      });
      return request(notedSocket(real), agent, whole);
    }
  };
  return methods(call, options.root, {
    stop: async (stopping = {}) => {
      const info = await ask(real, agent, timeoutMs).catch((thrown) => {
        if (isGone(thrown)) return undefined;
        throw thrown;
      });
      if (info) await end(real, agent, info, stopping);
      agent.destroy();
    },
    close: () => agent.destroy(),
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
 * @param {(call: Omit<Call, "timeoutMs"> & { timeoutMs?: number }) => Promise<any>} call
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
    remove: (name, options = {}) =>
      call({ method: "DELETE", path: at(name), body: options, timeoutMs: EMPTY_MS }),
  };
}

module.exports = { PROTOCOL, LOCKED, connect, socketPath, checkSocketFolder };
