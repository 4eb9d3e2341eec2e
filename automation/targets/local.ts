import { type Handle, SLOTS, type Slot } from "../../components/handle";
import { type Client, connect } from "../../components/local/client";
import type { ServiceStatus } from "../../components/local/protocol";
import { stateDirectory } from "../../components/local/release";
import type { Actual, Observed, Target, TrafficRouter } from "../core/ports";
import type { PulumiStack } from "../engine/stack";

/** What a target on the embedded platform is made from. */
export interface LocalTargetOptions {
  key: string;
  service: string;
  /** `<service>.<environment>`: what the supervisor calls it. */
  name: string;
  root: string;
  stack: PulumiStack;
}

/** A service on this machine, behind the embedded platform's supervisor. */
export function local(options: LocalTargetOptions): Target {
  const { stack } = options;
  const directory = stateDirectory(options.root);
  return {
    key: options.key,
    service: options.service,
    async observe(ctx): Promise<Observed> {
      const declared = await stack.handle(ctx);
      const status = await (await client(directory)).service(options.name);
      const found = declared ? drift(declared, status) : undeclared(status);
      return { declared, actual: status && actualOf(status), drift: found };
    },
    preview: (change, ctx) => stack.preview(change, ctx),
    apply: (change, ctx) => stack.up(change, ctx),
    recover: (ctx) => stack.recover(ctx),
    router: localRouter(),
  };
}

// One client per supervisor: its connections are kept alive, so that a divert costs one round trip.
const clients = new Map<string, Promise<Client>>();

function client(directory: string): Promise<Client> {
  const known = clients.get(directory);
  if (known) return known;
  const made = connect(directory);
  clients.set(directory, made);
  made.catch(() => clients.delete(directory));
  return made;
}

/** The client of the supervisor that a handle names. */
export function clientOf(handle: Handle): Promise<Client> {
  return client(fields(handle).directory);
}

function fields(handle: Handle) {
  if (!handle.local) throw new Error(`the handle of ${handle.service} is not of the embedded platform`);
  return handle.local;
}

/** Steers the embedded platform through its supervisor. */
export function localRouter(): TrafficRouter {
  const status = async (handle: Handle): Promise<ServiceStatus | undefined> =>
    (await clientOf(handle)).service(fields(handle).name);
  return {
    async read(handle) {
      return (await status(handle))?.split ?? { blue: 0, green: 0 };
    },
    async write(handle, split, ctx) {
      // `live` as well: what a silent run's traffic goes back to, and nothing where a first release is taken back.
      const live = handle.live ?? null;
      await (await clientOf(handle)).route(fields(handle).name, { split, live, fence: ctx.fence });
    },
    async ready(handle, slot, ctx) {
      const answer = await (await clientOf(handle)).ready(fields(handle).name, slot, 0, ctx.signal);
      return answer.ready ? answer : { ...answer, logs: answer.logs };
    },
    async reach(handle, slot) {
      if (slot === "public") return fields(handle).url;
      const replica = (await status(handle))?.slots[slot].replicas.find((r) => r.ready);
      // A slot without a ready replica answers nowhere; port 9 (discard) says so to whoever asks.
      return `http://127.0.0.1:${replica?.port ?? 9}`;
    },
    async beat(handle, ctx) {
      await (await clientOf(handle)).beat(fields(handle).name, ctx.fence);
    },
    async logs(handle, slot, lines) {
      return (await clientOf(handle)).logs(fields(handle).name, slot, lines);
    },
  };
}

function actualOf(status: ServiceStatus): Actual {
  const slots: Actual["slots"] = {};
  for (const slot of SLOTS) {
    const { artifact, hash, state } = status.slots[slot];
    if (artifact && hash) slots[slot] = { artifact, hash, ready: state === "ready" };
  }
  return { split: status.split, slots, run: status.run };
}

/** A stack that declares nothing must not take over what somebody's stack declared: a renamed one, or a lost backend. */
function undeclared(status: ServiceStatus | undefined): string[] {
  const running = SLOTS.filter((slot) => status?.slots[slot].artifact);
  if (!status || running.length === 0) return [];
  const what = running.map((slot) => `${status.slots[slot].artifact} in ${slot}`).join(" and ");
  return [
    `${status.name} runs ${what}, but this stack declares nothing. Was the stack renamed, or is this another backend?`,
  ];
}

/** What nobody declared: a sentence for each difference. */
function drift(declared: Handle, status: ServiceStatus | undefined): string[] {
  if (!status) return declared.live ? [`the supervisor knows no service ${declared.local?.name}`] : [];
  const found = SLOTS.flatMap((slot) => slotDrift(slot, declared, status));
  const { blue, green } = declared.split;
  // While a run is open its driver, or the supervisor in its absence, may have taken traffic from the new slot.
  if (!declared.run && (status.split.blue !== blue || status.split.green !== green))
    found.push(
      `the split is ${status.split.blue}/${status.split.green} (blue/green), declared is ${blue}/${green}`,
    );
  return found;
}

function slotDrift(slot: Slot, declared: Handle, status: ServiceStatus): string[] {
  const want = declared.slots[slot];
  const have = status.slots[slot];
  if (!want)
    return have.artifact && !declared.run ? [`${slot} runs ${have.artifact}, declared is nothing`] : [];
  if (have.artifact !== want.pin.artifact)
    return [`${slot} runs ${have.artifact ?? "nothing"}, declared is ${want.pin.artifact}`];
  return have.hash === want.hash ? [] : [`${slot} runs with other settings than declared`];
}
