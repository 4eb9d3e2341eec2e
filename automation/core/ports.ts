import type { Split, Wanted } from "../../components/handle";
import type { JournalEvent, RunState } from "./events";
import type {
  Answer,
  By,
  Evidence,
  Finding,
  Handle,
  Instant,
  Past,
  Pin,
  Reading,
  ReleaseId,
  RunId,
  Slot,
  TargetKey,
  Tick,
} from "./model";

/** Proves who writes: a platform refuses a token lower than one it has seen. */
export interface Fence {
  run: RunId;
  token: number;
}

/** What every method of the outside world gets. Methods are idempotent and stop when `signal` fires. */
export interface Context {
  signal: AbortSignal;
  now(): Instant;
  /** A line for the run's log. Redacted at the edge. */
  log(line: string): void;
  fence: Fence;
}

/** What people are asked, and what they said so far. */
export interface Asked {
  run: RunId;
  /** Who began the run. */
  actor: string;
  /** Hash of the plan: an answer to another plan counts for nothing. */
  plan: string;
  /** When it was asked first. */
  since: Instant;
  answers: readonly Answer[];
}

/** What a gate, check, task or source is asked about. */
export interface Subject {
  environment: string;
  target: TargetKey;
  service: string;
  release: ReleaseId;
  pin: Pin;
  handle?: Handle | undefined;
  /** The slot in question. */
  slot?: Slot | undefined;
  /** Where the slot answers, without a trailing slash. */
  url?: string | undefined;
  /** Missing in a dry run, where nobody is asked. */
  asked?: Asked | undefined;
}

/** Whether a slot can take traffic, and if not why. */
export type Readiness =
  | { ready: true }
  | {
      ready: false /** Waiting can't help. */;
      lost: boolean;
      code: string;
      reason: string;
      logs?: string | undefined;
    };

/** What the platform says, as opposed to what is declared. */
export interface Actual {
  split: Split;
  slots: Partial<Record<Slot, { artifact: string; hash: string; ready: boolean }>>;
  /** The run the platform believes to be open. */
  run?: RunId | undefined;
}

export interface Observed {
  declared?: Handle | undefined;
  /** Missing where the platform knows nothing of the service. */
  actual?: Actual | undefined;
  /** Differences that no run made, a sentence each. */
  drift: string[];
}

/** A change of what a stack declares. Throws `world-moved` unless the generation is `expect`, or `expect + 1` written by `by`. */
export interface Change {
  want: Wanted;
  expect: number;
  by: By;
  /** Policies are not asked: the way back to what they let pass once must not be blocked by a stricter one. @default false */
  unguarded?: boolean;
}

export interface Preview {
  /** What the stack would declare, settings resolved. */
  handle: Handle;
  /** Resources by operation: `{ create: 3, same: 1 }`. */
  changes: Record<string, number>;
}

/** One service in one environment. */
export interface Target {
  readonly key: TargetKey;
  readonly service: string;
  observe(ctx: Context): Promise<Observed>;
  /** Throws `policy-violation`. */
  preview(change: Change, ctx: Context): Promise<Preview>;
  /** Declares through Pulumi. Throws typed errors; the former handle is kept if anything failed. */
  apply(change: Change, ctx: Context): Promise<Handle>;
  /** After a crash: makes the backend usable again (lock, pending creates). Called once no process of the run lives. */
  recover(ctx: Context): Promise<void>;
  readonly router: TrafficRouter;
}

/** Steers traffic through the platform's own API, in milliseconds, without Pulumi. */
export interface TrafficRouter<H extends Handle = Handle> {
  read(handle: H, ctx: Context): Promise<Split>;
  /**
   * Sets the split, and makes the handle's `live` the slot that traffic is given back to: a divert comes with
   * the slot that was live before the run, or none. Idempotent; returns once the platform has taken it, not
   * once traffic has moved.
   */
  write(handle: H, split: Split, ctx: Context): Promise<void>;
  ready(handle: H, slot: Slot, ctx: Context): Promise<Readiness>;
  /** Base URL of a slot beside the public route, or of the public route itself. */
  reach(handle: H, slot: Slot | "public", ctx: Context): Promise<string>;
  /** Says that the run lives; where a platform watches for that, it gives traffic back after 30 s of silence. */
  beat(handle: H, ctx: Context): Promise<void>;
  /** The slot's last lines, newest last. */
  logs(handle: H, slot: Slot, lines: number, ctx: Context): Promise<string[]>;
}

/** `undefined` = no data: never 0, never NaN. Throws `source-unreachable`. */
export interface MetricSource {
  readonly id: string;
  ping(subject: Subject, ctx: Context): Promise<void>;
  read(subject: Subject, ctx: Context): Promise<Reading | undefined>;
  /**
   * Readings of the past, oldest first, some seconds apart: what is normal for the slot that is live. Empty where
   * nothing is known. @default none is known
   */
  history?(subject: Subject, span: { from: Instant; to: Instant }, ctx: Context): Promise<Reading[]>;
  /**
   * Resolves as soon as the subject's slot has answered with an error that `last` does not have, or after half a
   * minute; where the platform pushes, so that nobody has to wait for the next reading. @default nothing is pushed
   */
  stir?(subject: Subject, last: Reading, ctx: Context): Promise<void>;
  /** One number, by a query of the source's own language; `undefined` = no data. @default it knows none */
  value?(query: string, subject: Subject, ctx: Context): Promise<number | undefined>;
}

/** Judges ticks; its state is plain JSON, so that it survives a crash. Pure. */
export interface Judge<S = unknown> {
  readonly id: string;
  /** The rule in words. */
  readonly rule: string;
  /** What it wants to know beside the counts: see `Tick.values`. @default nothing */
  readonly query?: string | undefined;
  /** Share of its events that may be bad: the smaller, the more of them it takes to be sure. @default not known */
  readonly allows?: number | undefined;
  /** `past`: the traffic before the canary had any, where that is known. */
  start(past?: Past): S;
  /** Called once for each record of some seconds, and with one that is still open to see what it would say. */
  update(state: S, tick: Tick): S;
  /** Another weight begins. What the judge goes on with. @default everything */
  turn?(state: S): S;
  /** `running` until there is enough to say more. */
  finding(state: S): Finding;
  /** What the shares it tells of were with 95 % confidence, whenever one looks: for people, where something was decided. */
  intervals?(state: S): NonNullable<Evidence["intervals"]>;
}

/** How an environment judges a release: what `analysis()` makes of a user's options, all times in seconds. */
export interface Analysis {
  source: MetricSource;
  judges: readonly Judge[];
  /** Seconds between readings. @default 5 */
  every: number;
  /** Seconds that each weight is watched at least. @default 60 */
  stepBake: number;
  /** Seconds that the whole rollout is watched at least before it may go above `probe`. @default 60 */
  minBake: number;
  /** Seconds after which a rollout that is neither good nor bad is inconclusive. @default 900 */
  maxDuration: number;
  /** Seconds that an inconclusive rollout is held. @default 3600 */
  holdFor: number;
  /** What becomes of an inconclusive rollout: `hold` rolls back after `holdFor`. @default "hold" */
  onInconclusive: "hold" | "rollback" | "promote";
  /** Percent up to which a weight passes when it does not fail; more takes evidence for the release. @default 10 */
  probe: number;
  /** Chance of rolling back a release that is as good as it must be, of each service over its whole rollout. @default 0.05 */
  risk: number;
  /** Chance of promoting one that is not. @default 0.05 */
  promoteRisk: number;
  /** Whether traffic that does not follow the declared split is an error. Sticky sessions need `false`. @default true */
  checkSplit: boolean;
}

export type GateAnswer =
  | { answer: "open" }
  | { answer: "closed"; reason: string; hint?: string | undefined }
  /** `retryAfter`: milliseconds until it is asked again. */
  | { answer: "wait"; reason: string; retryAfter: number };

/** Asks the world one question; changes nothing. */
export interface Gate {
  readonly id: string;
  /** Set where people open it: how many it takes, and whether who began the run may be one of them. */
  readonly people?: { quorum: number; requester: boolean };
  ask(subject: Subject, ctx: Context): Promise<GateAnswer>;
}

export type TaskResult = { ok: true; note?: string } | { ok: false; reason: string };

/** Something with an effect of its own: idempotent by (release, task), never undone by a rollback. */
export interface Task {
  readonly id: string;
  run(subject: Subject, ctx: Context): Promise<TaskResult>;
}

export type CheckResult =
  | { ok: true; note: string }
  | { ok: false; reason: string; hint?: string | undefined };

/** Looks at a slot and says whether it serves. */
export interface Check {
  readonly id: string;
  run(subject: Subject, ctx: Context): Promise<CheckResult>;
}

/** Makes requests where a service has no users of its own, and says so. */
export interface Traffic {
  readonly id: string;
  /** Starts; the promise resolves with a function that stops it. */
  start(url: string, ctx: Context): Promise<() => Promise<void>>;
}

/** Tells people. A failing notifier is logged, it never fails a run. */
export interface Notifier {
  readonly id: string;
  notify(event: JournalEvent, state: RunState, ctx: Context): Promise<void>;
}
