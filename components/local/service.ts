import { SLOTS, type Slot } from "../handle";
import { rotate, tail } from "./logs";
import type { Metrics } from "./metrics";
import type { RouteWrite, ServiceStatus, SlotReadiness, SlotStatus, SlotWrite, WriteFence } from "./protocol";
import { createProxy, type Proxy as Front } from "./proxy";
import { admit, contentChanged, givenBack, mayRemove, same, withRoute, withSlot } from "./rules";
import { createSlot, type RunningSlot } from "./slot";
import { createChooser } from "./split";
import { adoptable, type Desired, type ReplicaRecord, StateUnwritable, type Store } from "./state";

/** How long things may take, in milliseconds. */
export interface Timing {
  /** Silence of an open run after which its traffic is given back. @default 30,000 */
  silenceMs: number;
  /** In-flight requests of a slot that is emptied. @default 30,000 */
  drainMs: number;
  /** From SIGTERM to SIGKILL. @default 5,000 */
  graceMs: number;
}

/** What the services of one supervisor share. */
export interface Surroundings {
  store: Store;
  mark: string;
  metrics: Metrics;
  timing: Timing;
  log(line: string): void;
}

type Permit = { fence?: WriteFence | undefined; force?: boolean | undefined };

/** One service: two slots and a weighted route. */
export interface Service {
  status(): ServiceStatus;
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
  const { store, timing, metrics } = around;
  const { name } = initial;
  let desired = initial;
  let proxy: Front | undefined;
  let closed = false;
  const slots: Partial<Record<Slot, RunningSlot>> = {};
  const leaving = new Map<RunningSlot, Promise<void>>();
  const listeners = new Set<() => void>();
  // Monotonic, so that a clock that is set back or forth gives nothing back. A new supervisor grants a new term.
  let heardAt = performance.now();
  let heardWall = Date.now();

  const heard = (): void => {
    heardAt = performance.now();
    heardWall = Date.now();
  };
  const stateOf = (slot: Slot): SlotStatus["state"] => slots[slot]?.status().state ?? "empty";
  const running = (): RunningSlot[] => [...SLOTS.flatMap((slot) => slots[slot] ?? []), ...leaving.keys()];
  const direct = (): void =>
    proxy?.route({
      split: desired.split,
      upstreams: { blue: slots.blue?.upstreams() ?? [], green: slots.green?.upstreams() ?? [] },
    });
  const saveReplicas = (): void =>
    store.saveReplicas(
      name,
      running().flatMap((slot) => slot.records()),
    );
  const changed = (): void => {
    if (closed) return;
    direct();
    saveReplicas();
    for (const listener of listeners) listener();
    for (const slot of SLOTS)
      if (stateOf(slot) === "ready" && desired.slots[slot]?.settled === false) settle(slot);
  };
  const settle = (slot: Slot): void => {
    const content = desired.slots[slot];
    if (content) desired = { ...desired, slots: { ...desired.slots, [slot]: { ...content, settled: true } } };
    // Where this is lost, the slot counts as starting until all its replicas are ready again.
    void inTurn(() => store.save(desired)).catch((thrown) => around.log(`${name}: ${String(thrown)}`));
  };

  // One write after the other: each sees what the one before left on disk.
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = turn.then(work, work);
    turn = mine.catch(() => undefined);
    return mine;
  };

  const run = (slot: Slot, from: readonly ReplicaRecord[]): void => {
    const content = desired.slots[slot];
    if (!content) return;
    const { fill, settled } = content;
    const { mark, log } = around;
    const [logFile, home] = [store.logFile(name, slot), store.home(name)];
    slots[slot] = createSlot({
      service: name,
      slot,
      fill,
      settled,
      mark,
      logFile,
      home,
      records: from,
      changed,
      log,
    });
  };

  /** Takes a slot's replicas out of the route, lets them finish, ends them. */
  const vacate = (slot: Slot): Promise<void> => {
    const old = slots[slot];
    if (!old) return Promise.resolve();
    delete slots[slot];
    direct();
    const leave = async (): Promise<void> => {
      if ((await proxy?.drained(slot, timing.drainMs)) === false)
        around.log(`${name} ${slot}: requests were still in flight after ${timing.drainMs / 1000} s`);
      await old.stop(timing.graceMs);
      leaving.delete(old);
      changed();
    };
    const gone = leave();
    leaving.set(old, gone);
    return gone;
  };

  /** Throws `port-in-use`. */
  const open = async (port: number): Promise<{ proxy: Front; port: number }> => {
    const made = createProxy({ service: name, port, metrics, choose: createChooser() });
    return { proxy: made, port: await made.listen() };
  };
  const take = (opened: { proxy: Front }): void => {
    const former = proxy;
    proxy = opened.proxy;
    direct();
    if (former) void former.close();
  };

  const persist = async (next: Desired): Promise<void> => {
    // The new port is listened on before the former one is given up.
    const opened = !proxy || next.port !== desired.port ? await open(next.port) : undefined;
    const whole = { ...next, port: opened?.port ?? next.port };
    try {
      if (!same(whole, desired)) await store.save(whole);
    } catch (thrown) {
      if (opened) await opened.proxy.close();
      throw unwritable(whole, thrown);
    }
    desired = whole;
    if (opened) take(opened);
  };

  const unwritable = (next: Desired, thrown: unknown): Error => {
    const { live } = next;
    // Safety first: traffic goes home although it can't be written down.
    const homewards = live !== undefined && live === desired.live && next.split[live] > desired.split[live];
    if (homewards) {
      desired = { ...desired, split: next.split };
      direct();
    }
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    const applied = homewards ? "the traffic was moved all the same" : "nothing was changed";
    return StateUnwritable(`${store.directory}/services/${name}.json`, why, applied);
  };

  const status = (): ServiceStatus => ({
    name,
    port: desired.port,
    url: `http://127.0.0.1:${desired.port}`,
    ...(desired.live && { live: desired.live }),
    split: desired.split,
    fence: desired.fence,
    ...(desired.run !== undefined && { run: desired.run, beatAt: heardWall }),
    givenBack: desired.givenBack,
    slots: { blue: slotStatus("blue"), green: slotStatus("green") },
  });
  const slotStatus = (slot: Slot): SlotStatus => {
    const inFlight = proxy?.inFlight(slot) ?? 0;
    const found = slots[slot]?.status();
    return found
      ? { ...found, inFlight }
      : { state: "empty", wanted: 0, ready: 0, inFlight, restarts: 0, replicas: [] };
  };

  const giveBack = async (): Promise<void> => {
    const silent = performance.now() - heardAt;
    if (desired.run === undefined || silent <= timing.silenceMs) return;
    const next = givenBack(desired, stateOf);
    if (!next || same(next, desired)) return;
    await persist(next);
    direct();
    const where = next.live ? `to ${next.live}` : "to nothing, for nothing is live";
    around.log(
      `${name}: run ${next.run} was silent for ${Math.round(silent / 1000)} s; traffic given back ${where}`,
    );
  };

  for (const slot of SLOTS) run(slot, adoptable(desired, slot, records));
  // Processes that were taken over are asked before the route opens, so that nobody meets a 503.
  await Promise.all(
    SLOTS.map((slot) => adoptable(desired, slot, records).length > 0 && slots[slot]?.probed()),
  );
  if (desired.port > 0)
    await open(desired.port)
      .then(take)
      .catch((thrown) => around.log(`${name}: ${String(thrown)}`));

  return {
    status,
    async writeSlot(slot, write) {
      const gone = await inTurn(async () => {
        const next = withSlot(desired, slot, write);
        const opens = next.run !== desired.run;
        const changes = contentChanged(desired.slots[slot]?.fill, next.slots[slot]?.fill);
        await persist(next);
        if (write.fence || opens) heard();
        if (!changes) return write.fill ? [] : [...leaving.values()];
        const left = vacate(slot);
        run(slot, []);
        changed();
        return write.fill ? [] : [left];
      });
      await Promise.all(gone);
      return status();
    },
    writeRoute: (write) =>
      inTurn(async () => {
        const next = withRoute(desired, write, stateOf);
        const opens = next.run !== desired.run;
        await persist(next);
        direct();
        if (write.fence || opens) heard();
        return status();
      }),
    beat: (fence) =>
      inTurn(async () => {
        admit(desired, fence);
        if (desired.run !== fence.run) return status();
        heard();
        if (fence.token > desired.fence)
          await persist({ ...desired, fence: fence.token, fenceRun: fence.run });
        return status();
      }),
    ready: (slot, seconds, signal) =>
      new Promise((resolve) => {
        const look = (): SlotReadiness =>
          slots[slot]?.readiness() ?? {
            ready: false,
            lost: true,
            code: "slot-empty",
            reason: "Nothing was filled in.",
          };
        const end = (): void => {
          clearTimeout(timer);
          listeners.delete(check);
          signal.removeEventListener("abort", end);
          resolve(look());
        };
        const check = (): void => {
          const now = look();
          if (now.ready || now.lost || closed) end();
        };
        // Who waits as long as a replica may take shall hear why it failed, not that it is about to.
        const late = seconds >= (slots[slot]?.fill.settings.probes.startSeconds ?? 0) && seconds > 0;
        const timer = setTimeout(end, seconds * 1000 + (late ? 2500 : 0));
        listeners.add(check);
        signal.addEventListener("abort", end);
        check();
      }),
    logs: (slot, lines) =>
      (slot ? [slot] : SLOTS).flatMap((one) => tail(store.logFile(name, one), lines)).slice(-lines),
    remove: (permit) =>
      inTurn(async () => {
        mayRemove(desired, permit);
        await end(false);
        await store.forget(name);
        metrics.forget(name);
      }),
    async tick() {
      for (const slot of SLOTS) rotate(store.logFile(name, slot));
      await inTurn(async () => {
        if (closed) return;
        if (!proxy && desired.port > 0)
          await open(desired.port)
            .then(take)
            .catch(() => undefined);
        await giveBack();
      });
    },
    close: end,
  };

  async function end(keepReplicas: boolean): Promise<void> {
    // In-flight requests end before their replicas do, but they can't hold up the end for ever.
    await Promise.race([
      proxy?.close(),
      new Promise((resolve) => setTimeout(resolve, timing.drainMs).unref()),
    ]);
    const all = running();
    if (keepReplicas) await Promise.all(all.map((slot) => slot.leave()));
    else await Promise.all([...all.map((slot) => slot.stop(timing.graceMs)), ...leaving.values()]);
    saveReplicas();
    closed = true;
    for (const listener of listeners) listener();
  }
}
