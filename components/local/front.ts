import { SLOTS, type Slot } from "../handle";
import type { Surroundings } from "./around";
import { createProxy, type Proxy as ReverseProxy, type Upstream } from "./proxy";
import { same } from "./rules";
import { createChooser } from "./split";
import { type Desired, StateUnwritable } from "./state";

/** What a service shall be, on disk, and the proxy that follows it. */
export interface Front {
  desired(): Desired;
  /** On disk and in the proxy once it resolves. Throws `port-in-use` and `state-unwritable`. */
  persist(next: Desired): Promise<void>;
  /** Takes it without writing it down. */
  amend(next: Desired): void;
  /** Tells the proxy where requests go now. */
  direct(): void;
  /** Listens on the wanted port where that failed before. Throws `port-in-use`. */
  open(): Promise<void>;
  inFlight(slot: Slot): number;
  drained(slot: Slot): Promise<boolean>;
  close(): Promise<void>;
}

/** Makes the front of a service; it listens once `open` or `persist` was called. */
export function createFront(
  initial: Desired,
  upstreams: (slot: Slot) => Upstream[],
  around: Surroundings,
): Front {
  const { store, metrics, timing } = around;
  const { name } = initial;
  let desired = initial;
  let proxy: ReverseProxy | undefined;

  const direct = (): void =>
    proxy?.route({ split: desired.split, upstreams: { blue: upstreams("blue"), green: upstreams("green") } });
  const listen = async (port: number): Promise<{ opened: ReverseProxy; port: number }> => {
    const opened = createProxy({ service: name, port, metrics, choose: createChooser() });
    return { opened, port: await opened.listen() };
  };
  const take = (opened: ReverseProxy): void => {
    const former = proxy;
    proxy = opened;
    direct();
    if (former) void former.close(timing.drainMs);
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

  return {
    desired: () => desired,
    direct,
    async persist(next) {
      // A service that shall run nothing needs no port, and must be had even where another process has it:
      // it is what a first release leaves behind that failed for just that reason.
      const idle = !proxy && next.port > 0 && SLOTS.every((slot) => !next.slots[slot]);
      // The new port is listened on before the former one is given up.
      const moved = !idle && (!proxy || next.port !== desired.port) ? await listen(next.port) : undefined;
      const whole = { ...next, port: moved?.port ?? next.port };
      try {
        if (!same(whole, desired)) await store.save(whole);
      } catch (thrown) {
        await moved?.opened.close();
        throw unwritable(whole, thrown);
      }
      desired = whole;
      if (moved) take(moved.opened);
      else direct();
    },
    amend(next) {
      desired = next;
    },
    async open() {
      if (!proxy && desired.port > 0) take((await listen(desired.port)).opened);
    },
    inFlight: (slot) => proxy?.inFlight(slot) ?? 0,
    drained: async (slot) => (await proxy?.drained(slot, timing.drainMs)) ?? true,
    // In-flight requests end before their replicas do, but they can't hold up the end for ever.
    close: async () => proxy?.close(timing.drainMs),
  };
}
