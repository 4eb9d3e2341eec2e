import type { Clock } from "../core/clock";
import type { Fact, JournalEvent, RunState } from "../core/events";
import type { Plan, StepId, Strategy, TargetKey } from "../core/model";
import type { Analysis, Check, Fence, Gate, Notifier, Target, Task, Traffic } from "../core/ports";
import type { Ledger } from "./ledger";

/** Where services run, by which strategy, behind which gates. */
export interface Environment {
  name: string;
  strategy: Strategy;
  /** Asked first. @default none */
  gates?: readonly Gate[];
  /** Run before anything is deployed. @default none */
  tasks?: readonly Task[];
  /** Looked at on the idle slot, and on the live one once it is adopted. @default none */
  checks?: readonly Check[];
  /** Without one, traffic is shifted unjudged. @default none */
  analysis?: Analysis;
  /** Makes requests while a release is judged, where there are no users. @default none */
  traffic?: Traffic;
  /** Names of services, wave by wave; one that no wave names comes last. @default all at once */
  waves?: readonly (readonly string[])[];
  /** Pulumi operations and tasks at a time. @default 4 */
  maxParallel?: number;
  /** Whether a failure takes back the whole release, or only the wave that fails. @default "all" */
  onFailure?: "all" | "wave";
  /** @default none */
  notify?: readonly Notifier[];
  /** Directories of policy packs, relative to the project. @default "policies" there, or the pack that comes with Sluice */
  policies?: readonly string[];
}

/** What the driver needs of a journal. `note` is on disk with the next `append`, or soon. */
export interface Log {
  readonly events: readonly JournalEvent[];
  append(fact: Fact, at: number): Promise<JournalEvent>;
  note(fact: Fact, at: number): JournalEvent;
}

/** A message that another process left for the run. */
export interface Message {
  kind: "approve" | "reject" | "abort";
  who: string;
  reason?: string | undefined;
  /** Hash of the plan that was looked at. */
  plan?: string | undefined;
}

/** Everything a run works with: all effects come in through here. */
export interface Run {
  plan: Plan;
  environment: Environment;
  targets: ReadonlyMap<TargetKey, Target>;
  journal: Log;
  clock: Clock;
  fence: Fence;
  log(line: string): void;
  /** Hears every event once it is on disk. */
  heard(event: JournalEvent, state: RunState): void;
  /** How an act that takes long is coming on; for whoever looks, never kept. */
  progress(step: StepId, text: string): void;
  /** New messages; each is journalled, then `drop`ped. */
  inbox: { read(): Promise<{ name: string; message: Message }[]>; drop(name: string): Promise<void> };
  /** Tasks that are done in this environment. */
  ledger: Ledger;
  /** Puts a failing slot's last lines beside the journal. */
  keep(target: TargetKey, lines: readonly string[]): Promise<void>;
  /** Fires when the process is asked to leave: the run is paused. */
  leave: AbortSignal;
  /** Fires when it is asked again: it leaves after the divert. */
  now: AbortSignal;
  /** Waits longer than this many milliseconds leave the process, and the run paused. @default no limit */
  patience?: number;
  /** Deploy steps whose preview was made with the plan, in this very process. */
  previewed: Set<string>;
}
