import { SLOTS, type Slot } from "../handle";
import type { Surroundings } from "./around";
import { createProxy, type Proxy as ReverseProxy, type Upstream } from "./proxy";
import { homewards, same } from "./rules";
import { createChooser } from "./split";
import { contentOf, type Desired, StateUnwritable } from "./state";

/** What a service shall be, on disk, and the proxy that follows it. */
export interface Front {
  desired(): Desired;
  /**
   * On disk and in the proxy once it resolves. Where the disk takes nothing, traffic goes home all the same, and
   * is written down later; all else is refused. Throws `port-in-use` and `state-unwritable`.
   */
  persist(next: Desired): Promise<void>;
  /** Whether what is wanted is not on disk. */
  unsaved(): boolean;
  /** Writes down what could not be written before, where it can now. */
  save(): Promise<void>;
  /** Takes it without writing it down. */
  amend(next: Desired): void;
  /** Tells the proxy where requests go now. */
  direct(): void;
  /** Listens on the wanted port where that failed before. Throws `port-in-use`. */
  open(): Promise<void>;
  inFlight(slot: Slot): number;
  /** Waits until a replica that the route has left answers nothing any more; what takes longer than the drain may is cut. */
  drained(slot: Slot, port: number): Promise<boolean>;
  close(): Promise<void>;
}

/** Makes the front of a service; it listens once `open` or `persist` was called. */
export function createFront(
  initial: Desired,
  upstreams: (slot: Slot) => Upstream[],
  around: Surroundings,
  ready: (slot: Slot) => boolean,
): Front {
  const { store, metrics, timing, log } = around;
  const { name } = initial;
  let desired = initial;
  let proxy: ReverseProxy | undefined;
  let unsaved = false;

  const direct = (): void =>
    proxy?.route({
      split: desired.split,
      live: desired.live,
      options: desired.options,
      upstreams: { blue: upstreams("blue"), green: upstreams("green") },
      ready: { blue: ready("blue"), green: ready("green") },
      contents: Object.fromEntries(
        SLOTS.flatMap((slot) => {
          const fill = desired.slots[slot]?.fill;
          return fill ? [[slot, contentOf(fill)]] : [];
        }),
      ),
    });
  const drainMs = (): number => (desired.options?.limits?.drainSeconds ?? timing.drainMs / 1000) * 1000;
  const listen = async (port: number): Promise<{ opened: ReverseProxy; port: number }> => {
    const opened = createProxy({ service: name, port, metrics, choose: createChooser() });
    return { opened, port: await opened.listen() };
  };
  const take = (opened: ReverseProxy): void => {
    const former = proxy;
    proxy = opened;
    direct();
    if (former) void former.close(drainMs());
  };
  const save = async (next: Desired): Promise<void> => {
    if (!unsaved && same(next, desired)) return;
    try {
      await store.save(next);
    } catch (thrown) {
      const error = StateUnwritable(
        `${store.directory}/services/${name}.json`,
        thrown instanceof Error ? thrown.message : String(thrown),
      );
      if (!homewards(desired, next)) throw error;
      if (!unsaved) log(`${name}: ${error.message} Traffic went home all the same.`);
      unsaved = true;
      return;
    }
    if (unsaved) log(`${name}: its state is on disk again`);
    unsaved = false;
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
        await save(whole);
      } catch (thrown) {
        await moved?.opened.close();
        throw thrown;
      }
      desired = whole;
      if (moved) take(moved.opened);
      else direct();
    },
    unsaved: () => unsaved,
    save: async () => {
      if (unsaved) await save(desired);
    },
    amend(next) {
      desired = next;
    },
    async open() {
      if (!proxy && desired.port > 0) take((await listen(desired.port)).opened);
    },
    inFlight: (slot) => proxy?.inFlight(slot) ?? 0,
    async drained(slot, port) {
      if (!proxy || (await proxy.drained(slot, drainMs(), [port]))) return true;
      // A WebSocket may stay open for days: what has not ended by itself is ended.
      proxy.cut(slot, [port]);
      return false;
    },
    // In-flight requests end before their replicas do, but they can't hold up the end for ever.
    close: async () => proxy?.close(drainMs()),
  };
}
