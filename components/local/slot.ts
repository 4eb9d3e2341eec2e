import type { Slot } from "../handle";
import { locateArtifact } from "./artifact";
import type { Fill, SlotReadiness, SlotStatus } from "./protocol";
import { createReplica, type Replica } from "./replica";
import type { Secrets } from "./secrets";
import type { ReplicaRecord } from "./state";

/** What the replicas of a slot share. */
export interface SlotOptions {
  service: string;
  slot: Slot;
  fill: Fill;
  mark: string;
  logFile: string;
  home: string;
  secrets: Secrets;
  /** Whether its replicas were all ready once. */
  settled: boolean;
  /** Processes to take over. */
  records: readonly ReplicaRecord[];
  changed(): void;
  log(line: string): void;
}

/** The replicas of one slot's content. */
export interface RunningSlot {
  readonly slot: Slot;
  readonly fill: Fill;
  /** All but what the proxy counts. */
  status(): Omit<SlotStatus, "inFlight">;
  readiness(): SlotReadiness;
  /** Ports of the replicas that are ready. */
  upstreams(): { port: number }[];
  records(): ReplicaRecord[];
  /** Resolves once each replica was asked for its health. */
  probed(): Promise<void>;
  stop(graceMs: number): Promise<void>;
  leave(): Promise<void>;
}

/** Starts a slot's replicas, or takes them over. */
export function createSlot(options: SlotOptions): RunningSlot {
  const { fill } = options;
  const wanted = fill.settings.resources.replicas;
  let settled = options.settled;
  const replicas: Replica[] = [];
  const ready = (): number => replicas.filter((replica) => replica.status().ready).length;
  const changed = (): void => {
    settled ||= replicas.length === wanted && ready() === wanted;
    options.changed();
  };
  for (let index = 0; index < wanted; index++) {
    const { service, slot, mark, logFile, home, secrets, log } = options;
    const adopt = options.records[index];
    replicas.push(
      createReplica({
        service,
        slot,
        fill,
        mark,
        logFile,
        home,
        secrets,
        log,
        adopt,
        changed,
        locate: locateArtifact,
      }),
    );
  }
  const status = (): Omit<SlotStatus, "inFlight"> => {
    const states = replicas.map((replica) => replica.status());
    const count = ready();
    const failure = states.find((state) => state.failure)?.failure;
    // Once all were ready, those that are left carry the slot while the others are started again.
    const serves = count === wanted || (settled && count > 0);
    return {
      state: serves ? "ready" : failure ? "failed" : "starting",
      artifact: fill.artifact,
      hash: fill.hash,
      wanted,
      ready: count,
      restarts: states.reduce((sum, state) => sum + state.restarts, 0),
      ...(failure && { failure }),
      replicas: states.flatMap(({ pid, port, ready: is }) => (pid && port ? [{ pid, port, ready: is }] : [])),
    };
  };
  return {
    slot: options.slot,
    fill,
    status,
    readiness() {
      const { state, failure, ready: count } = status();
      if (state === "ready") return { ready: true };
      if (failure) {
        const { code, reason, logs } = failure;
        return { ready: false, lost: true, code, reason, logs: logs.join("\n") };
      }
      return {
        ready: false,
        lost: false,
        code: "not-ready",
        reason: `${count} of ${wanted} replicas are ready.`,
      };
    },
    upstreams: () =>
      replicas.flatMap((replica) => {
        const { port, ready: is } = replica.status();
        return is && port ? [{ port }] : [];
      }),
    records: () => replicas.flatMap((replica) => replica.record() ?? []),
    probed: async () => void (await Promise.all(replicas.map((replica) => replica.probed))),
    stop: async (graceMs) => void (await Promise.all(replicas.map((replica) => replica.stop(graceMs)))),
    leave: async () => void (await Promise.all(replicas.map((replica) => replica.leave()))),
  };
}
