// Plain JavaScript on node: modules alone, like all that client.js requires.
const { spawn } = require("node:child_process");
const { createHash } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const { failure, isGone, pause, request } = require("./call");

/** @import { Agent } from "node:http" */
/** @import { SupervisorInfo } from "./protocol" */

/** Longest path of a Unix socket on Linux in bytes, without the closing zero (sun_path, unix(7)). */
const MAX_SOCKET_PATH = 107;
/** Milliseconds between looks for the socket of a supervisor that starts. */
const POLL_MS = 15;
/** An emptied slot drains (30 s) and its processes get a grace (5 s) before the answer comes. */
const EMPTY_MS = 60_000;

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
    const end = () => state.exit === undefined && child.kill("SIGKILL");
    return { pid: child.pid, state, end, said: () => fs.readFileSync(log).subarray(begin).toString("utf8") };
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
 * @param {Agent} agent
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
      const info = await ask(directory, agent, Math.max(1000, deadline - performance.now()));
      // Another one won. Ours may not have looked at the lock yet, and must not take it once that one is stopped.
      if (child && child.pid !== info.pid) child.end();
      return info;
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
 * @param {Agent} agent
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
 * @param {Agent} agent
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

module.exports = { LOCKED, EMPTY_MS, ask, checkSocketFolder, end, ensure, notedSocket, socketPath };
