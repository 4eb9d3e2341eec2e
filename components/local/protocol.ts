import type { Slot, SlotSettings, Split } from "../handle";
import type { LocalOptions } from "./options";

/** Proves who writes: a token lower than one the service has seen is refused. */
export interface WriteFence {
  run: string;
  token: number;
}

/** What a slot shall run. */
export interface Fill {
  /** `dir:<path>@sha256:<hex>`. */
  artifact: string;
  settings: SlotSettings;
  /** sha256 of the settings, hex. */
  hash: string;
  /** Directory that a relative artifact starts from. @default the root given to `connect` */
  root?: string | undefined;
}

/** Writes a slot: `fill: null` empties it. */
export interface SlotWrite {
  fill: Fill | null;
  fence?: WriteFence | undefined;
  /** Public port of the service; 0 keeps the one it has, or takes a free one. @default 0 */
  port?: number | undefined;
  /** Writes although another run is open: what `sluice:force` asks for. @default false */
  force?: boolean | undefined;
}

/** Writes the route. What is left out stays as it is. */
export interface RouteWrite {
  split: Split;
  live?: Slot | null | undefined;
  /** The run that is open from now on; null closes it. @default the run of the fence, unless that run was closed */
  run?: string | null | undefined;
  /** How requests are treated; null goes back to what is done by default. */
  options?: LocalOptions | null | undefined;
  fence?: WriteFence | undefined;
  port?: number | undefined;
  force?: boolean | undefined;
}

/** Why a slot does not serve. */
export interface SlotFailure {
  /** `crash-loop`, `not-ready`, `health-path`, `port-conflict`, `start-missing`, `artifact-missing` or `secret-missing`. */
  code: string;
  reason: string;
  exitCode?: number | undefined;
  signal?: string | undefined;
  /** The last lines of the replica, newest last. */
  logs: string[];
}

export interface ReplicaStatus {
  pid: number;
  port: number;
  ready: boolean;
}

/** Content that is being replaced in place. */
export interface FormerStatus {
  artifact: string;
  hash: string;
  /** Replicas of it that take requests. */
  ready: number;
  /** Replicas of it whose process is not gone, those that finish their last requests too. */
  left: number;
}

/** While a slot is replaced in place, all but `former` speaks of the new content. */
export interface SlotStatus {
  state: "empty" | "starting" | "ready" | "failed";
  artifact?: string | undefined;
  hash?: string | undefined;
  /** Replicas asked for. */
  wanted: number;
  /** Replicas that answer their health path. */
  ready: number;
  /** Requests that the slot has not finished answering. */
  inFlight: number;
  /** Starts beside the first one of each replica, since the slot was filled or the supervisor started. */
  restarts: number;
  failure?: SlotFailure | undefined;
  replicas: ReplicaStatus[];
  /** What it was: the slot is ready once nothing of that is left. @default none */
  former?: FormerStatus[] | undefined;
}

export interface ServiceStatus {
  /** `<service>.<environment>`. */
  name: string;
  port: number;
  /** Where users reach the service. */
  url: string;
  live?: Slot | undefined;
  split: Split;
  /** The highest token seen. */
  fence: number;
  /** The run that is open. */
  run?: string | undefined;
  /** When that run was last heard of, milliseconds since the epoch. */
  beatAt?: number | undefined;
  /** Whether the supervisor took the route back to `live` because the run fell silent. */
  givenBack: boolean;
  /** The disk takes nothing: the route is as said here, but not yet written down. @default false */
  unsaved?: boolean | undefined;
  /** How requests are treated, where that is not what is done by default. */
  options?: LocalOptions | undefined;
  slots: Record<Slot, SlotStatus>;
}

/** What a slot answered since its service was there, or its supervisor: counts only grow, a fall is a reset. */
export interface SlotCounts {
  requests: number;
  /** Requests answered 5xx. */
  errors: number;
  /** Requests per latency bucket, not cumulative, in the order of the edges; one more for those above the last. */
  buckets: number[];
}

/** What the slots had answered at one time. */
export interface PastReading {
  /** Milliseconds since the epoch. */
  at: number;
  /** Upper edges of the latency buckets, in seconds, ascending. */
  edges: number[];
  /** A slot that the metrics did not name yet is left out. */
  slots: Partial<Record<Slot, SlotCounts>>;
}

export interface SupervisorInfo {
  protocol: number;
  /** Version of the package the supervisor runs. */
  version: string;
  pid: number;
  /** State directory, with symbolic links resolved. */
  directory: string;
  /** ISO 8601. */
  startedAt: string;
  /** Where Prometheus scrapes. */
  metrics: string;
}

/** Whether a slot has come to its content, and if not why; `lost` says that waiting can't help. */
export type SlotReadiness =
  | { ready: true }
  | { ready: false; lost: boolean; code: string; reason: string; logs?: string | undefined };
