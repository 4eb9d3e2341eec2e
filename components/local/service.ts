import { error } from "../errors";
import { SLOTS, type Slot } from "../handle";
import { attempt, type Surroundings } from "./around";
import { createFront, type Front } from "./front";
import { rotate, tail } from "./logs";
import type { RouteWrite, ServiceStatus, SlotReadiness, SlotWrite, WriteFence } from "./protocol";
import { admit, contentChanged, givenBack, mayRemove, same, withRoute, withSlot } from "./rules";
import { createSecrets } from "./secrets";
import { adoptable, type Desired, type ReplicaRecord } from "./state";
import { createTenants, type Tenants } from "./tenants";

export const Stopping = error("supervisor-stopping", {
  message: (name: string) => `${name} is being ended, so it takes no more writes.`,
  hint: () => "Give the command again; it starts a supervisor where none runs.",
});

/** Who may write although a run is open. */
type Permit = { fence?: WriteFence | undefined; force?: boolean | undefined };

/** One service: two slots and a weighted route. */
export interface Service {
  status(): ServiceStatus;
  /** Returns once the content is on disk; for an emptied slot, once it is empty. */
  writeSlot(slot: Slot, write: SlotWrite): Promise<ServiceStatus>;
  writeRoute(write: RouteWrite): Promise<ServiceStatus>;
  beat(fence: WriteFence): Promise<ServiceStatus>;
  /** Waits until the slot is ready or lost. */
  ready(slot: Slot, seconds: number, signal: AbortSignal): Promise<SlotReadiness>;
  logs(slot: Slot | undefined, lines: number): string[];
  remove(permit: Permit): Promise<void>;
  /** Looks at silence, logs and the port; called every now and then. */
  tick(): Promise<void>;
  close(keepReplicas: boolean): Promise<void>;
}

/** Makes a service as it is wanted, taking over the processes of the records; its route is open once this resolves. */
export async function createService(
  initial: Desired,
  records: readonly ReplicaRecord[],
  around: Surroundings,
): Promise<Service> {
  const { store, metrics } = around;
  const { name } = initial;
  const secrets = createSecrets();
  const tenants: Tenants = createTenants(
    name,
    around,
    secrets,
    (slot, port) => front.drained(slot, port),
    () => followTenants(),
  );
  const front: Front = createFront(
    initial,
    (slot) => tenants.upstreams(slot),
    around,
    (slot) => tenants.stateOf(slot) === "ready",
  );
  const silence = createSilence();
  const inTurn = createTurns();
  let closing = false;

  const followTenants = (): void => {
    front.direct();
    const desired = front.desired();
    const slots = { ...desired.slots };
    for (const slot of SLOTS) {
      const [wanted, content] = [slots[slot], tenants.content(slot)];
      if (wanted && content && !contentChanged(wanted.fill, content.fill)) slots[slot] = content;
    }
    if (same({ ...desired, slots }, desired)) return;
    front.amend({ ...desired, slots });
    // Where this is lost, the slot counts as starting until all its replicas are ready again.
    inTurn(() => store.save(front.desired())).catch((thrown) => around.log(`${name}: ${String(thrown)}`));
  };
  const status = (): ServiceStatus => {
    const { port, live, split, fence, run, givenBack: back, options } = front.desired();
    const slots = {
      blue: tenants.status("blue", front.inFlight("blue")),
      green: tenants.status("green", front.inFlight("green")),
    };
    const open = run !== undefined && { run, beatAt: silence.heardAt() };
    const url = `http://127.0.0.1:${port}`;
    const unsaved = front.unsaved() && { unsaved: true };
    return {
      name,
      port,
      url,
      ...(live && { live }),
      split,
      fence,
      ...open,
      givenBack: back,
      ...unsaved,
      ...(options && { options }),
      slots,
    };
  };
  /** Writes what the rule makes of what is wanted now. */
  const write = (rule: (desired: Desired) => Desired, permit: Permit): Promise<void> => {
    return inTurn(async () => {
      if (closing) throw Stopping(name);
      const before = front.desired();
      const next = rule(before);
      await front.persist(next);
      if (permit.fence || next.run !== before.run) silence.end();
      for (const slot of SLOTS) move(slot, before);
      followTenants();
    });
  };
  const move = (slot: Slot, before: Desired): void => {
    const content = front.desired().slots[slot];
    if (!contentChanged(before.slots[slot]?.fill, content?.fill)) return;
    if (content?.former) tenants.replace(slot, content.fill);
    else {
      void tenants.vacate(slot);
      if (content) tenants.admit(slot, content, []);
    }
  };
  const giveBack = async (): Promise<void> => {
    const { run } = front.desired();
    const silent = silence.ms();
    if (run === undefined || silent <= around.timing.silenceMs) return;
    const next = givenBack(front.desired(), tenants.stateOf);
    if (!next || same(next, front.desired())) return;
    await front.persist(next);
    const where = next.live ? `to ${next.live}` : "to nobody, for nothing is live";
    const seconds = Math.round(silent / 1000);
    around.log(`${name}: run ${run} was silent for ${seconds} s; traffic given back ${where}`);
  };
  const end = async (keepReplicas: boolean): Promise<void> => {
    closing = true;
    await front.close();
    await tenants.close(keepReplicas);
  };

  await resume(front, tenants, records);
  await front.open().catch((thrown) => around.log(`${name}: ${String(thrown)}`));
  return {
    status,
    async writeSlot(slot, asked) {
      await write((desired) => withSlot(desired, slot, asked), asked);
      if (!asked.fill) await tenants.vacated();
      return status();
    },
    async writeRoute(asked) {
      await write((desired) => withRoute(desired, asked, tenants.stateOf), asked);
      return status();
    },
    async beat(fence) {
      admit(front.desired(), fence);
      if (front.desired().run !== fence.run) return status();
      silence.end();
      const newer = (now: Desired): Desired => (now.run === fence.run ? { ...now, fence: fence.token } : now);
      if (fence.token > front.desired().fence) await write(newer, { fence });
      return status();
    },
    ready: tenants.ready,
    logs: (slot, lines) =>
      (slot ? [slot] : SLOTS)
        .flatMap((one) => tail(store.logFile(name, one), lines, secrets.redact))
        .slice(-lines),
    remove: (permit) =>
      inTurn(async () => {
        if (closing) throw Stopping(name);
        mayRemove(front.desired(), permit);
        await end(false);
        await store.forget(name);
        metrics.forget(name);
      }),
    async tick() {
      for (const slot of SLOTS) attempt(around, name, () => void rotate(store.logFile(name, slot)));
      await inTurn(async () => {
        if (closing) return;
        await front.open().catch(() => undefined);
        await front.save();
        await giveBack();
      });
    },
    close: (keepReplicas) => {
      // At once, so that no write in the queue starts what nobody would end.
      closing = true;
      return inTurn(() => end(keepReplicas));
    },
  };
}

/** Fills the slots as they are wanted; processes that were taken over are asked before the route opens. */
async function resume(front: Front, tenants: Tenants, records: readonly ReplicaRecord[]): Promise<void> {
  const desired = front.desired();
  const adopted = SLOTS.filter((slot) => {
    const content = desired.slots[slot];
    const fitting = adoptable(desired, slot, records);
    if (content) tenants.admit(slot, content, fitting);
    return fitting.length > 0;
  });
  await Promise.all(adopted.map((slot) => tenants.probed(slot)));
}

/** One piece of work after the other: each sees what the one before left. */
function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let turn: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = turn.then(work, work);
    turn = mine.catch(() => undefined);
    return mine;
  };
}

/** How long a run was not heard of, by the monotonic clock: one that is set back or forth gives nothing back. */
function createSilence(): { ms(): number; end(): void; heardAt(): number } {
  // A new supervisor grants a whole new term.
  let since = performance.now();
  let wall = Date.now();
  return {
    ms: () => performance.now() - since,
    heardAt: () => wall,
    end() {
      since = performance.now();
      wall = Date.now();
    },
  };
}
