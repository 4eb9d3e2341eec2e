import type { By, Filled, Handle, Percent, Pin, RunId, Slot, StepId } from "../../components/handle";

/** Milliseconds since the epoch. */
export type Instant = number;

/** The stack's name: `<environment>`, or `<service>.<environment>[.<region>]` where there are several. */
export type TargetKey = string;

/** sha256 over the sorted `service=artifact` lines, hex. */
export type ReleaseId = string;

/** Pins that travel together, by service. */
export interface Release {
  id: ReleaseId;
  pins: Record<string, Pin>;
}

/** The smallest thing a run does. */
export type Act =
  | { act: "gate"; gate: string }
  | { act: "run"; task: string }
  /** Fills the idle slot. */
  | { act: "deploy"; pin: Pin; settings?: Pick<Filled, "settings" | "hash"> | undefined }
  /** Changes the live slot in place: its old replicas go as new ones are ready. */
  | { act: "replace"; pin: Pin; settings?: Pick<Filled, "settings" | "hash"> | undefined }
  /** In place: until no old replica is left. */
  | { act: "await" }
  | { act: "verify"; checks: string; where: "idle" | "live" }
  | { act: "shift"; to: Percent }
  | { act: "analyse"; analysis: string }
  /** Stays at a weight, and goes on judging: for so many seconds, or until somebody says go on. */
  | { act: "hold"; seconds?: number | undefined }
  | { act: "adopt" }
  | { act: "join" }
  | { act: "settle" };

/** An act placed in a plan. `needs` has at most 3 entries. */
export type Step = Act & { id: StepId; target: TargetKey; needs: StepId[] };

/** Acts that are a `pulumi up`. */
export const APPLIES: ReadonlySet<Act["act"]> = new Set(["deploy", "replace", "shift", "adopt", "settle"]);

/** Whether the act brings the release to its slot. */
export function fills<A extends Act>(act: A): act is A & { act: "deploy" | "replace" } {
  return act.act === "deploy" || act.act === "replace";
}

/**
 * How a target takes a release: into its idle slot; or into the slot that is live, where traffic can't be
 * taken back and only a restore leads down.
 */
export type Mode = "slots" | "in-place";

/** One target of a plan: `from` is live now and missing for a first release, `to` is the slot to fill. */
export interface PlanTarget {
  key: TargetKey;
  service: string;
  mode: Mode;
  from?: Slot | undefined;
  to: Slot;
  platform: string;
  /** What was declared when the plan was made: what a restore declares again. */
  base?: Handle | undefined;
  pin: Pin;
  /** Counted from 0: a wave begins when the one before has come through. @default 0 */
  wave?: number | undefined;
}

/** What a run will do: plain data, made once, never changed. */
export interface Plan {
  version: 1;
  /** What was asked for, so that the same request is recognised: `promote staging prod`. */
  request: string;
  environment: string;
  /** Where the release was proved. Missing for a build, a rollback or a redeploy. */
  source?: string | undefined;
  release: ReleaseId;
  pins: Record<string, Pin>;
  /** Who took the release although nothing proved it there. */
  unproven?: string | undefined;
  /** The way back: policies are not asked, for they let it pass once. */
  direct?: boolean | undefined;
  /** Pulumi operations and tasks at a time. */
  maxParallel: number;
  /** What a failure takes back: everything, for nothing is settled before the last wave came through; or its own wave, for each is settled by itself. */
  onFailure: "all" | "wave";
  targets: PlanTarget[];
  steps: Step[];
}

/** A strategy sees the target and answers with acts in order: pure. */
export interface Strategy {
  name: string;
  /** @default "slots" */
  mode?: Mode;
  steps(target: PlanTarget, has: Has): Act[];
}

/** What an environment offers a strategy. */
export interface Has {
  gates: readonly string[];
  tasks: readonly string[];
  analysis?: string | undefined;
  checks?: string | undefined;
}

/** What somebody said to a run. Nobody verified who. */
export interface Answer {
  answer: "approve" | "reject";
  who: string;
  reason?: string | undefined;
  at: Instant;
  /** Hash of the plan that was looked at. */
  plan?: string | undefined;
}

/** The same person, at a terminal or in a CI job. */
export function person(who: string): string {
  return who.replace(/ \(CI\)$/, "");
}

/** How a run ended. */
export type Outcome = "promoted" | "rolled-back" | "refused" | "stuck" | "resolved";

/** Counts of one slot during one tick, or since its process began. */
export interface Counts {
  requests: number;
  /** Requests answered 5xx, or not at all. */
  errors: number;
  /** Requests per latency bucket, not cumulative, in the order of `edges`; one more for those above the last edge. */
  buckets: number[];
}

/** Counters of a service's slots as a source read them: they only grow, a fall is a reset. */
export interface Reading {
  at: Instant;
  /** Upper edges of the latency buckets, in seconds, ascending. */
  edges: number[];
  slots: Partial<Record<Slot, Counts>>;
}

/** What is known of the traffic before the canary had any: it says what is normal. */
export interface Past {
  /** When it ends. */
  at: Instant;
  /** Seconds that it covers. */
  seconds: number;
  edges: number[];
  baseline: Counts;
  /** Over-dispersion of the baseline's errors: 1 where they come independently of each other, more where they come in clumps. */
  phi: number;
  /** The same for requests that are slower than 99 % of them. */
  slow: number;
}

/** The difference of two readings, seen from the release: what a judge is fed. */
export interface Tick {
  at: Instant;
  /** Seconds since the reading before. */
  seconds: number;
  edges: number[];
  canary: Counts;
  /** Missing where no baseline slot is live. */
  baseline?: Counts | undefined;
  /** Percent of the traffic that the canary was to get. @default unknown */
  weight?: Percent | undefined;
  /** The split changed meanwhile: evidence like any other, but not a part of the time that a weight was watched. @default false */
  moving?: true | undefined;
  /** What the judges' own queries gave, by query; missing where one gave nothing. @default none */
  values?: Readonly<Record<string, number>> | undefined;
}

export type VerdictKind = "pass" | "running" | "inconclusive" | "fail" | "error";

/** What one judge says, with the figures it says it from. */
export interface Finding {
  judge: string;
  verdict: VerdictKind;
  /** A sentence with the numbers: "canary 5.2 % of 1,204 requests failed, limit 1 %". */
  reason: string;
  figures: Record<string, number>;
  /** Missing where the judge follows a rule of thumb, which knows no certainty. */
  evidence?: Evidence | undefined;
}

/** How sure a judge is. An e-process starts at 1, and reaches 1/alpha with a chance of at most alpha if its null is true. */
export interface Evidence {
  /** ln E under "the release is no worse than allowed": grows with what speaks against it. */
  against: number;
  /** ln E under "the release is worse than allowed": grows with what speaks for it. */
  for: number;
  /** Always-valid p-value of "no worse than allowed": 1 over the highest E so far, at most 1. */
  p: number;
  /** Bad events of the canary that it was made from, and how many it takes at least to fail by. */
  bad: number;
  needed: number;
  /** Canary events that it was made from. */
  sample: number;
  /** What a share was said to be with 95 % confidence, whenever it is looked at. @default none */
  intervals?: Readonly<Record<string, readonly [low: number, high: number]>> | undefined;
}

/** What an analysis says: the worst of its findings. */
export interface Verdict {
  verdict: VerdictKind;
  reason: string;
  findings: Finding[];
  /** What decided: "evidence against the release, by error-rate". @default undecided */
  rule?: string | undefined;
  /** The judges' states, by judge: what they went on from. Kept where something was decided. */
  states?: Readonly<Record<string, unknown>> | undefined;
}

/** Why a step failed. `code` is from the error catalogue, or `verdict-fail`, `check-failed`, `gate-closed`. */
export interface Failure {
  code: string;
  message: string;
  hint?: string | undefined;
  verdict?: Verdict | undefined;
  /** The act changed nothing before it failed: a preview refused it. */
  untouched?: boolean | undefined;
}

export type { By, Filled, Handle, Percent, Pin, RunId, Slot, StepId };
