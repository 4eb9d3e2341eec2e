import type { JournalEvent } from "./facts";
import {
  type Answer,
  type Failure,
  fills,
  type Handle,
  type Instant,
  type Outcome,
  type Plan,
  type PlanTarget,
  type RunId,
  type Step,
  type StepId,
  type TargetKey,
  type Verdict,
} from "./model";

export { FACTS, type Fact, type JournalEvent } from "./facts";

export interface StepState {
  status: "started" | "waiting" | "done" | "failed";
  attempts: number;
  startedAt: Instant;
  endedAt?: Instant | undefined;
  /** Not before this instant again. */
  until?: Instant | undefined;
  note?: string | undefined;
  verdict?: Verdict | undefined;
  failure?: Failure | undefined;
  /** Its verdict is open; what becomes of that is decided then. */
  held?: { since: Instant; until: Instant } | undefined;
}

export interface TargetState {
  steps: Readonly<Record<StepId, StepState>>;
  /** What this run last declared. */
  handle?: Handle | undefined;
  /** An apply has begun: a rollback restores this target. */
  touched: boolean;
  /** A shift has begun: a rollback diverts this target first. */
  shifted: boolean;
  diverted: boolean;
  restored: boolean;
  /** Proved, and past the point of no return. */
  settled: boolean;
  restoreAttempts: number;
  restoreUntil: Instant;
}

/** What a journal adds up to. */
export interface RunState {
  run: RunId;
  plan: Plan;
  actor: string;
  startedAt: Instant;
  at: Instant;
  phase: "up" | "down" | "done";
  targets: Readonly<Record<TargetKey, TargetState>>;
  /** Steps whose needs are done and that are not done themselves. */
  ready: ReadonlySet<StepId>;
  /** Steps not done yet. */
  left: number;
  /** A settle has begun, and its wave is not through: nothing is rolled back now. */
  settling: boolean;
  /** The first failure of the run. */
  failed?: { step: StepId; failure: Failure } | undefined;
  abort?: { who: string; reason?: string | undefined } | undefined;
  /** What people said, in the order it came. */
  answers: readonly Answer[];
  paused?: string | undefined;
  rollback?:
    | { reason: string; step?: StepId | undefined; failure?: Failure | undefined; at: Instant }
    | undefined;
  outcome?: Outcome | undefined;
  reason?: string | undefined;
}

interface Index {
  steps: ReadonlyMap<StepId, Step>;
  dependents: ReadonlyMap<StepId, readonly Step[]>;
}

// A plan never changes, so its index is made once however often the journal is folded.
const indexes = new WeakMap<Plan, Index>();

/** The plan's steps by id, and who needs them. */
export function index(plan: Plan): Index {
  const known = indexes.get(plan);
  if (known) return known;
  const steps = new Map(plan.steps.map((step) => [step.id, step]));
  const dependents = new Map<StepId, Step[]>();
  for (const step of plan.steps)
    for (const need of step.needs) {
      const list = dependents.get(need);
      if (list) list.push(step);
      else dependents.set(need, [step]);
    }
  const made = { steps, dependents };
  indexes.set(plan, made);
  return made;
}

/** The step of that id. Throws on an id that the plan does not have: a journal of another plan. */
export function stepOf(plan: Plan, id: StepId): Step {
  const step = index(plan).steps.get(id);
  if (!step) throw new Error(`the plan has no step ${id}`);
  return step;
}

function begin(event: JournalEvent & { type: "run.planned" }): RunState {
  const fresh: TargetState = {
    steps: {},
    touched: false,
    shifted: false,
    diverted: false,
    restored: false,
    settled: false,
    restoreAttempts: 0,
    restoreUntil: 0,
  };
  return {
    run: event.run,
    plan: event.plan,
    actor: event.actor,
    startedAt: event.at,
    at: event.at,
    phase: "up",
    targets: Object.fromEntries(event.plan.targets.map((t) => [t.key, fresh])),
    ready: new Set(event.plan.steps.filter((s) => s.needs.length === 0).map((s) => s.id)),
    left: event.plan.steps.length,
    settling: false,
    answers: [],
  };
}

function target(state: RunState, key: TargetKey, change: (t: TargetState) => TargetState): RunState {
  const was = state.targets[key];
  if (!was) throw new Error(`the plan has no target ${key}`);
  return { ...state, targets: { ...state.targets, [key]: change(was) } };
}

function step(state: RunState, id: StepId, change: (s: StepState | undefined) => StepState): RunState {
  const { target: key } = stepOf(state.plan, id);
  return target(state, key, (t) => ({ ...t, steps: { ...t.steps, [id]: change(t.steps[id]) } }));
}

function isDone(state: RunState, id: StepId): boolean {
  return state.targets[stepOf(state.plan, id).target]?.steps[id]?.status === "done";
}

function started(state: RunState, event: JournalEvent & { type: "step.started" }): RunState {
  const of = stepOf(state.plan, event.step);
  const next = target(state, of.target, (t) => ({
    ...t,
    steps: {
      ...t.steps,
      [of.id]: {
        status: "started",
        attempts: event.attempt,
        startedAt: t.steps[of.id]?.startedAt ?? event.at,
        ...(t.steps[of.id]?.held && { held: t.steps[of.id]?.held }),
      },
    },
    touched: t.touched || fills(of) || of.act === "shift",
    shifted: t.shifted || of.act === "shift",
  }));
  return of.act === "settle" ? { ...next, settling: true } : next;
}

function finished(state: RunState, event: JournalEvent & { type: "step.finished" }): RunState {
  const of = stepOf(state.plan, event.step);
  const ended = (s: StepState | undefined): StepState => ({
    status: event.outcome,
    attempts: s?.attempts ?? 1,
    startedAt: s?.startedAt ?? event.at,
    endedAt: event.at,
    note: event.note,
    verdict: event.verdict ?? event.failure?.verdict,
    failure: event.failure,
    ...(s?.held && { held: s.held }),
  });
  let next = target(state, of.target, (t) => ({
    ...t,
    steps: { ...t.steps, [of.id]: ended(t.steps[of.id]) },
    ...(event.handle && { handle: event.handle }),
  }));
  if (event.outcome === "failed") {
    const failure = event.failure ?? { code: "failed", message: "failed" };
    // An attempt before this one may have been cut off after it had landed.
    const first = (next.targets[of.target]?.steps[event.step]?.attempts ?? 1) <= 1;
    if (failure.untouched && first && fills(of))
      next = target(next, of.target, (t) => ({ ...t, touched: t.handle !== undefined }));
    return { ...next, failed: next.failed ?? { step: event.step, failure } };
  }
  if (of.act === "settle") next = settled(next, of.target);
  const ready = new Set(next.ready);
  ready.delete(event.step);
  for (const dependent of index(state.plan).dependents.get(event.step) ?? [])
    if (dependent.needs.every((need) => isDone(next, need))) ready.add(dependent.id);
  return { ...next, ready, left: next.left - 1 };
}

/** Once its whole wave is through, what comes after may fail again without a hand. */
function settled(state: RunState, key: TargetKey): RunState {
  const next = target(state, key, (t) => ({ ...t, settled: true }));
  const { plan } = state;
  if (plan.onFailure !== "wave") return next;
  const wave = plan.targets.find((t) => t.key === key)?.wave ?? 0;
  const through = plan.targets.every((t) => (t.wave ?? 0) !== wave || next.targets[t.key]?.settled);
  return through ? { ...next, settling: false } : next;
}

function held(t: TargetState, { step, until, at }: JournalEvent & { type: "analysis.held" }): TargetState {
  const was = t.steps[step];
  return was ? { ...t, steps: { ...t.steps, [step]: { ...was, held: { since: at, until } } } } : t;
}

/** An answer is worth asking again for, at once. */
function answered(state: RunState, event: JournalEvent & { type: "answer.given" }): RunState {
  const { answer, who, reason, plan, at } = event;
  if (answer === "abort") return { ...state, abort: { who, reason } };
  const targets = Object.fromEntries(
    Object.entries(state.targets).map(([key, t]) => [key, { ...t, steps: roused(t.steps, at) }]),
  );
  return { ...state, targets, answers: [...state.answers, { answer, who, reason, plan, at }] };
}

function roused(steps: TargetState["steps"], at: Instant): TargetState["steps"] {
  return Object.fromEntries(
    Object.entries(steps).map(([id, s]) => [id, s.status === "waiting" ? { ...s, until: at } : s]),
  );
}

/** Leaving a run gives every attempt back: whoever goes on with it begins with fresh patience. */
function paused(state: RunState, event: JournalEvent & { type: "run.paused" }): RunState {
  const targets = Object.fromEntries(
    Object.entries(state.targets).map(([key, t]) => [key, { ...t, restoreAttempts: 0, restoreUntil: 0 }]),
  );
  // Past the point of no return nothing is rolled back, so a failed settle is asked again.
  const failed = state.settling ? undefined : state.failed;
  return { ...state, targets, failed, paused: event.reason };
}

/** The fold: journal so far + one event → journal so far. `undefined` before the first event. */
export function evolve(state: RunState | undefined, event: JournalEvent): RunState {
  if (event.type === "run.planned") return begin(event);
  if (!state) throw new Error(`a journal begins with run.planned, not ${event.type}`);
  const now = { ...state, at: event.at, paused: event.type === "sample.taken" ? state.paused : undefined };
  switch (event.type) {
    case "run.paused":
      return paused(now, event);
    case "step.started":
      return started(now, event);
    case "step.waiting":
      return step(now, event.step, (s) => ({
        status: "waiting",
        attempts: s?.attempts ?? 0,
        startedAt: s?.startedAt ?? event.at,
        until: event.until,
        note: event.reason,
      }));
    case "sample.taken":
    case "past.known":
      return now;
    case "analysis.held":
      return target(now, event.target, (t) => held(t, event));
    case "step.finished":
      return finished(now, event);
    case "answer.given":
      return answered(now, event);
    case "rollback.begun":
      return {
        ...now,
        phase: "down",
        rollback: { reason: event.reason, step: event.step, failure: event.failure, at: event.at },
      };
    case "traffic.diverted":
      return target(now, event.target, (t) => ({ ...t, diverted: true }));
    case "restore.failed":
      return target(now, event.target, (t) => ({
        ...t,
        restoreAttempts: event.attempt,
        restoreUntil: event.until,
      }));
    case "target.restored":
      return target(now, event.target, (t) => ({ ...t, restored: true, handle: event.handle }));
    case "run.resolved":
      return { ...now, phase: "done", outcome: "resolved", reason: `${event.who}: ${event.reason}` };
    case "run.finished":
      return { ...now, phase: "done", outcome: event.outcome, reason: event.reason };
    default:
      throw event satisfies never;
  }
}

/** How the reason begins with which a run was left that can't go on by itself. */
export const STUCK = "stuck: ";

/** Why the run can't go on by itself, if it can't. */
export function stuckBy({ paused }: RunState): string | undefined {
  return paused?.startsWith(STUCK) ? paused.slice(STUCK.length) : undefined;
}

/** The targets that are through: they keep the release, whatever becomes of the rest. */
export function keeping({ plan, targets }: RunState): PlanTarget[] {
  return plan.targets.filter(({ key }) => targets[key]?.settled);
}

/** Folds a whole journal. */
export function fold(events: Iterable<JournalEvent>): RunState | undefined {
  let state: RunState | undefined;
  for (const event of events) state = evolve(state, event);
  return state;
}
