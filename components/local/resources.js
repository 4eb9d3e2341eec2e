// Plain JavaScript: the process of a dynamic provider is node without tsx. The engine calls these methods.
const fs = require("node:fs");
const path = require("node:path");
const { isDeepStrictEqual } = require("node:util");
const { connect } = require("./client");

/** @import { SlotSettings } from "../handle" */
/** @import { LocalRouteArgs, LocalServiceArgs, LocalSlotArgs } from "./provider" */
/** @import { ServiceStatus, WriteFence } from "./protocol" */
/** @import { Desired } from "./state" */
/** @typedef {Awaited<ReturnType<typeof connect>>} Client */

/**
 * What the world holds, in the words of the arguments: a slot that was filled by somebody else has no settings
 * here, for its hash alone says that they are other ones.
 * @typedef {Omit<LocalSlotArgs, "fill"> & { fill: { artifact: string, hash: string, settings?: SlotSettings } | null }} SlotState
 */

/** Lines of a lost slot's log that go into the message. */
const LOG_LINES = 20;

/**
 * The run that this process works for, from the environment it has of the CLI; none where somebody works by hand.
 * @returns {WriteFence | undefined}
 */
function fence() {
  const { SLUICE_RUN: run, SLUICE_FENCE: token } = process.env;
  return run && token ? { run, token: Number(token) } : undefined;
}

/**
 * @template T
 * @param {LocalServiceArgs} args
 * @param {(client: Client) => Promise<T>} work
 */
async function withClient(args, work) {
  const client = await connect(args.directory, { root: process.env.SLUICE_ROOT || process.cwd() });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/**
 * What of a service's status a resource holds.
 * @typedef {Pick<ServiceStatus, "port" | "split" | "live" | "run" | "options"> & { slots: Record<import("../handle").Slot, { artifact?: string | undefined, hash?: string | undefined }> }} Seen
 */

/**
 * What the supervisor knows of a service. Looking starts none: a directory that was moved away is named by the
 * state still, and a supervisor there would be a second one, with the service's port in its hand. Where none
 * runs, its files say what it would come back with.
 * @param {LocalServiceArgs} args
 * @returns {Promise<Seen | undefined>} Undefined where there is no such service, or no directory any more.
 */
async function look({ directory, name }) {
  if (!fs.existsSync(directory)) return undefined;
  try {
    const client = await connect(directory, { start: false });
    try {
      return await client.service(name);
    } finally {
      client.close();
    }
  } catch (thrown) {
    if (field(thrown, "code") !== "supervisor-unreachable") throw thrown;
    return noted(path.join(directory, "services", `${name}.json`));
  }
}

/** @param {string} file @returns {Seen | undefined} */
function noted(file) {
  if (!fs.existsSync(file)) return undefined;
  const { slots, ...desired } = /** @type {Desired} */ (JSON.parse(fs.readFileSync(file, "utf8")));
  return { ...desired, slots: { blue: { ...slots.blue?.fill }, green: { ...slots.green?.fill } } };
}

/** @param {unknown} thrown @param {string} key */
function field(thrown, key) {
  return thrown instanceof Error && key in thrown ? String(Reflect.get(thrown, key)) : "";
}

/**
 * The engine shows nothing but the message, so all of it goes in: code, what and why, and the next command.
 * With `id`, the engine keeps the resource and applies it again the next time, whatever is declared then:
 * the world may hold any part of what was asked.
 * @param {string} id
 * @param {object} state
 * @param {unknown} thrown
 */
function failed(id, state, thrown) {
  const [code, hint] = [field(thrown, "code") || "up-failed", field(thrown, "hint")];
  const text = `${code}: ${thrown instanceof Error ? thrown.message : String(thrown)}${hint ? `\n  ${hint}` : ""}`;
  return Object.assign(new Error(text), { id, properties: state, reasons: [text] });
}

/** Seconds without one more ready replica after which a slot that is replaced in place is given up: Kubernetes' progressDeadlineSeconds. */
const PROGRESS_SECONDS = 600;

/**
 * Waits until a slot has come to its content. In place each replica has its own time to start.
 * @param {Client} client
 * @param {LocalSlotArgs} args
 * @param {number} seconds
 */
async function settled(client, { name, slot }, seconds) {
  let most = -1;
  let since = performance.now();
  for (;;) {
    const readiness = await client.ready(name, slot, seconds);
    if (readiness.ready || readiness.code !== "rolling") return readiness;
    const ready = (await client.service(name))?.slots[slot].ready ?? 0;
    if (ready > most) [most, since] = [ready, performance.now()];
    if (performance.now() - since > PROGRESS_SECONDS * 1000) return readiness;
  }
}

/**
 * @param {Client} client
 * @param {LocalSlotArgs} args
 */
async function writeSlot(client, args) {
  const { name, slot, port, fill = null, force } = args;
  await client.fill(name, slot, fill, { port, fence: fence(), force });
  if (!fill) return;
  const readiness = await settled(client, args, fill.settings.probes.startSeconds);
  if (readiness.ready) return;
  const log = readiness.logs ?? (await client.logs(name, slot, LOG_LINES).catch(() => [])).join("\n");
  const lines = log.trim().split("\n").slice(-LOG_LINES).join("\n");
  const error = new Error(
    `Slot ${slot} of ${name} does not serve ${fill.artifact}: ${readiness.reason}${lines ? `\nIts last lines:\n${lines}` : ""}`,
  );
  throw Object.assign(error, {
    code: readiness.code,
    hint: `\`npm run local -- logs ${name} ${slot}\` shows more.`,
  });
}

/**
 * @template {LocalServiceArgs} A
 * @template {object} S
 * @param {{ idOf(args: A): string, write(client: Client, args: A): Promise<void>, seen(state: S & A, status: Seen | undefined): S, same(a: S & A, b: A): boolean, remove(client: Client, args: A): Promise<void> }} kind
 */
function provider(kind) {
  /** @param {string} id @param {A} args */
  const apply = async (id, args) => {
    const { __provider: code, ...outs } = /** @type {A & { __provider?: string }} */ (args);
    try {
      await withClient(args, (client) => kind.write(client, args));
    } catch (thrown) {
      // Kept in the state like any other: without the code in it, no refresh could look at the resource again.
      throw failed(id, { ...outs, ...(code !== undefined && { __provider: code }) }, thrown);
    }
    return outs;
  };
  return {
    /** @param {A} args */
    create: async (args) => ({ id: kind.idOf(args), outs: await apply(kind.idOf(args), args) }),
    /** @param {string} id @param {A} _old @param {A} args */
    update: async (id, _old, args) => ({ outs: await apply(id, args) }),
    /** @param {string} _id @param {S & A} state @param {A} args */
    diff: async (_id, state, args) => ({ changes: !kind.same(state, args) }),
    /** @param {string} id @param {S & A} state */
    read: async (id, state) => ({ id, props: kind.seen(state, await look(state)) }),
    /** @param {string} _id @param {A} args */
    delete: async (_id, args) => {
      // What was moved away goes on elsewhere; here nothing is left to end.
      if (fs.existsSync(args.directory)) await withClient(args, (client) => kind.remove(client, args));
    },
  };
}

/** @param {LocalServiceArgs} a @param {LocalServiceArgs} b */
function sameService(a, b) {
  return a.directory === b.directory && a.name === b.name && a.port === b.port;
}

/** @type {ReturnType<typeof provider<LocalSlotArgs, SlotState>>} */
const slot = provider({
  idOf: (args) => `${args.name}/${args.slot}`,
  write: writeSlot,
  seen: (state, status) => {
    const found = status?.slots[state.slot];
    const { artifact, hash } = found ?? {};
    if (!artifact || !hash) return { ...state, fill: null };
    const known = state.fill?.artifact === artifact && state.fill.hash === hash;
    return { ...state, port: status?.port ?? state.port, fill: known ? state.fill : { artifact, hash } };
  },
  same: (state, args) =>
    sameService(state, args) &&
    state.fill?.artifact === args.fill?.artifact &&
    state.fill?.hash === args.fill?.hash,
  // Nothing: a slot is emptied by declaring it empty. The service goes with its route.
  remove: async () => {},
});

/** @type {ReturnType<typeof provider<LocalRouteArgs, LocalRouteArgs>>} */
const route = provider({
  idOf: (args) => args.name,
  write: async (client, { name, split, live = null, run = null, options = null, port, force }) => {
    await client.route(name, { split, live, run, options, port, fence: fence(), force });
  },
  seen: ({ options: _former, ...state }, status) => ({
    ...state,
    ...(status?.options && { options: status.options }),
    port: status?.port ?? state.port,
    split: status?.split ?? { blue: 0, green: 0 },
    live: status?.live ?? null,
    run: status?.run ?? null,
  }),
  same: (state, args) =>
    sameService(state, args) &&
    state.split.blue === args.split.blue &&
    state.split.green === args.split.green &&
    (state.live ?? null) === (args.live ?? null) &&
    (state.run ?? null) === (args.run ?? null) &&
    isDeepStrictEqual(state.options ?? null, args.options ?? null),
  remove: (client, { name, force }) => client.remove(name, { fence: fence(), force }),
});

module.exports = { slot, route };
