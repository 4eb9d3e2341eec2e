import { SLOTS, type Slot } from "../handle";
import { attempt, type Surroundings } from "./around";
import { scrub } from "./logs";
import type { Fill, SlotReadiness, SlotStatus } from "./protocol";
import type { Secrets } from "./secrets";
import { createSlot, type RunningSlot } from "./slot";
import type { ReplicaRecord, WantedSlot } from "./state";

/** What runs in a service's two slots, and what is on its way out. */
export interface Tenants {
  stateOf(slot: Slot): SlotStatus["state"];
  status(slot: Slot, inFlight: number): SlotStatus;
  upstreams(slot: Slot): { port: number }[];
  /** A slot's content as it is to be kept. */
  content(slot: Slot): WantedSlot | undefined;
  /** Starts a slot's replicas, or takes over those of the records. */
  admit(slot: Slot, content: WantedSlot, records: readonly ReplicaRecord[]): void;
  /** Gives a slot other content while what it was goes on serving until the new replicas are ready. */
  replace(slot: Slot, fill: Fill): void;
  /** Resolves once the replicas that were taken over were asked for their health. */
  probed(slot: Slot): Promise<void>;
  /** Takes a slot's replicas out; they end once what is in flight has been answered. */
  vacate(slot: Slot): Promise<void>;
  /** Resolves once no slot is on its way out. */
  vacated(): Promise<void>;
  /** Waits until the slot is ready or lost. */
  ready(slot: Slot, seconds: number, signal: AbortSignal): Promise<SlotReadiness>;
  close(keepReplicas: boolean): Promise<void>;
}

/** Milliseconds beyond a slot's start time: whoever waits that long hears why it failed, not that it is about to. */
const LATE_MS = 2500;
const EMPTY: SlotReadiness = {
  ready: false,
  lost: true,
  code: "slot-empty",
  reason: "Nothing was filled in.",
};

/** Makes the tenants of a service; `changed` is called whenever a replica starts, ends, or is ready or not. */
export function createTenants(
  name: string,
  around: Surroundings,
  secrets: Secrets,
  drained: (slot: Slot, port: number) => Promise<boolean>,
  changed: () => void,
): Tenants {
  const { store, timing, mark, log } = around;
  const slots: Partial<Record<Slot, RunningSlot>> = {};
  const leaving = new Map<RunningSlot, Promise<void>>();
  const listeners = new Set<() => void>();
  const admitted = { blue: 0, green: 0 };
  const cleaned = { blue: Promise.resolve(), green: Promise.resolve() };
  let ended = false;
  let closed = false;

  const all = (): RunningSlot[] => [...SLOTS.flatMap((slot) => slots[slot] ?? []), ...leaving.keys()];
  const inUse = (slot: Slot): boolean => !ended && all().some((one) => one.slot === slot);
  const note = (): void =>
    attempt(around, name, () => {
      const records = all().flatMap((slot) => slot.records());
      store.saveReplicas(name, records);
    });
  const tell = (): void => {
    if (closed) return;
    note();
    for (const listener of listeners) listener();
    changed();
  };

  /** The next supervisor may be started with other secrets, and could not mask these any more. */
  const clean = (slot: Slot): Promise<void> => {
    const work = async (): Promise<void> => {
      const begun = admitted[slot];
      const idle = (): boolean => admitted[slot] === begun && !inUse(slot);
      if (secrets.any() && idle()) await scrub(store.logFile(name, slot), secrets.redact, idle);
    };
    cleaned[slot] = cleaned[slot].then(work).catch((thrown) => log(`${name} ${slot}: ${String(thrown)}`));
    return cleaned[slot];
  };

  return {
    stateOf: (slot) => slots[slot]?.status().state ?? "empty",
    status: (slot, inFlight) => {
      const found = slots[slot]?.status();
      if (found) return { ...found, inFlight };
      return { state: "empty", wanted: 0, ready: 0, inFlight, restarts: 0, replicas: [] };
    },
    upstreams: (slot) => slots[slot]?.upstreams() ?? [],
    content: (slot) => slots[slot]?.content(),
    admit(slot, content, records) {
      attempt(around, name, () => store.prepare(name));
      admitted[slot]++;
      const [logFile, home] = [store.logFile(name, slot), store.home(name)];
      // Before anything of the log is shown: a former supervisor may have started who wrote it.
      for (const { fill } of [content, ...(content.former ?? [])]) {
        secrets.resolve(fill.settings.secrets);
        for (const { pid } of records) secrets.inherit(fill.settings.secrets, pid);
      }
      slots[slot] = createSlot({
        service: name,
        slot,
        content,
        mark,
        logFile,
        home,
        secrets,
        graceMs: timing.graceMs,
        records,
        drained: (port) => drained(slot, port),
        changed: tell,
        log,
      });
      tell();
    },
    replace(slot, fill) {
      secrets.resolve(fill.settings.secrets);
      slots[slot]?.replace(fill);
    },
    probed: async (slot) => slots[slot]?.probed(),
    vacate(slot) {
      const old = slots[slot];
      if (!old) return Promise.resolve();
      delete slots[slot];
      const leave = async (): Promise<void> => {
        await old.empty();
        leaving.delete(old);
        tell();
        await clean(slot);
      };
      const gone = leave();
      leaving.set(old, gone);
      tell();
      return gone;
    },
    vacated: async () => void (await Promise.all(leaving.values())),
    ready: (slot, seconds, signal) =>
      new Promise((resolve) => {
        const look = (): SlotReadiness => slots[slot]?.readiness() ?? EMPTY;
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
        const late =
          seconds > 0 && seconds >= (slots[slot]?.content().fill.settings.probes.startSeconds ?? 0);
        const timer = setTimeout(end, seconds * 1000 + (late ? LATE_MS : 0));
        listeners.add(check);
        signal.addEventListener("abort", end);
        check();
      }),
    async close(keepReplicas) {
      if (keepReplicas) await Promise.all(all().map((slot) => slot.leave()));
      else {
        await Promise.all([...all().map((slot) => slot.stop()), ...leaving.values()]);
        ended = true;
        await Promise.all(SLOTS.map(clean));
      }
      note();
      closed = true;
      for (const listener of listeners) listener();
    },
  };
}
