"use strict";
// Preloaded into a driver by `--require`: watches it, delays its syncs and kills it, so that the product needs no
// switch for any of that. SLUICE_BENCH_HOOK says what to do, as JSON.
const { appendFileSync } = require("node:fs");
const childProcess = require("node:child_process");
const fs = require("node:fs");
const Module = require("node:module");
const promises = require("node:fs/promises");
const { setTimeout: wait } = require("node:timers/promises");

/** @import { FileHandle } from "node:fs/promises" */
/** @typedef {import("../hook").Hook} Hook */
/** @typedef {import("../hook").Sight} Sight */

const hook = /** @type {Hook} */ (JSON.parse(process.env.SLUICE_BENCH_HOOK ?? "{}"));
// What the driver starts must not be killed or slowed.
delete process.env.SLUICE_BENCH_HOOK;

/** Keeps what was seen, even if the process is killed next. @param {Sight} sight */
function see(sight) {
  if (hook.log) appendFileSync(hook.log, `${JSON.stringify(sight)}\n`);
}

/** Milliseconds of processor time: of this process, and of those it has waited for, with theirs. */
function processorTime() {
  const text = fs.readFileSync("/proc/self/stat", "latin1");
  // Fields 14 to 17 of proc(5), in hundredths of a second; the name before the last bracket may hold anything.
  const fields = text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 15)
    .map(Number);
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields;
  return { own: (user + system) * 10, children: (childUser + childSystem) * 10 };
}

let appended = 0;

/** Called once lines are on disk. @param {string} text */
function landed(text) {
  const events = text.split("\n").filter(Boolean);
  const facts = events.map((line) => /** @type {{ type: string, step?: string }} */ (JSON.parse(line)));
  const told = facts.filter(({ type }) => type !== "sample.taken");
  for (const { type, step } of told) see({ saw: "append", at: Date.now(), type, step, cpu: processorTime() });
  const before = appended;
  appended += told.length;
  const { kill } = hook;
  if (!kill || before >= kill.append || appended < kill.append) return;
  const end = () => process.kill(process.pid, "SIGKILL");
  if (kill.delay) setTimeout(end, kill.delay);
  else end();
}

async function late() {
  if (!hook.syncDelay) return;
  see({ saw: "sync" });
  await wait(hook.syncDelay);
}

const { open } = promises;
/** @type {typeof open} */
promises.open = async (path, ...how) => {
  const file = await open(path, ...how);
  const isJournal = String(path).endsWith("journal.jsonl");
  const { datasync, sync, appendFile } = file;
  let text = "";
  file.sync = async () => {
    await late();
    await sync.call(file);
  };
  file.datasync = async () => {
    await late();
    await datasync.call(file);
    if (isJournal && text) landed(text);
    text = "";
  };
  file.appendFile = /** @type {FileHandle["appendFile"]} */ (
    async (data, options) => {
      if (isJournal) text += data.toString();
      await appendFile.call(file, data, options);
    }
  );
  return file;
};

const { fdatasync } = fs;
fs.fdatasync = /** @type {typeof fdatasync} */ ((fd, done) => void late().then(() => fdatasync(fd, done)));

const { spawn } = childProcess;
childProcess.spawn = /** @type {typeof spawn} */ (
  (/** @type {string} */ file, /** @type {string[]} */ args, /** @type {object} */ options) => {
    const child = spawn(file, args, options);
    if (!/pulumi[^/]*$/.test(file)) return child;
    const from = Date.now();
    child.once("close", () => see({ saw: "operation", args, from, to: Date.now() }));
    return child;
  }
);

// What waits for orphans is timed from outside: the module that ends them is handed out with a clock around it.
const internal = /** @type {{ _load(request: string, parent: unknown, main: boolean): unknown }} */ (
  /** @type {unknown} */ (Module)
);
const load = internal._load;
internal._load = (
  /** @type {string} */ request,
  /** @type {unknown} */ parent,
  /** @type {boolean} */ main,
) => {
  const loaded = load.call(Module, request, parent, main);
  if (!request.endsWith("/orphans")) return loaded;
  const { endOrphans, ...rest } = /** @type {typeof import("../../../automation/engine/orphans")} */ (loaded);
  return {
    ...rest,
    /** @type {typeof endOrphans} */
    endOrphans: async (...args) => {
      const from = Date.now();
      const { ended } = await endOrphans(...args);
      see({ saw: "orphans", from, to: Date.now(), ended: ended.length });
      return { ended };
    },
  };
};
