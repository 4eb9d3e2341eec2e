import { keeping, type RunState, stepOf } from "./events";
import { APPLIES, type Instant, type Outcome, type Plan, type Step, type TargetKey } from "./model";

/** How often a restore is tried before a hand is needed. */
export const RESTORE_ATTEMPTS = 8;
/** How often a divert is tried before the restore, which moves the split as well, has to do without. */
export const DIVERT_ATTEMPTS = 3;

/** The next thing to do. A pure answer: performing it is the driver's. */
export type Decision =
  | { kind: "perform"; steps: Step[] }
  | { kind: "wait"; until?: Instant | undefined }
  | { kind: "roll-back"; reason: string }
  | { kind: "divert"; targets: TargetKey[] }
  | { kind: "restore"; targets: TargetKey[] }
  | { kind: "finish"; outcome: Outcome; reason: string }
  | { kind: "stop"; reason: string };

/**
 * Looks at a run and says what comes next. `inFlight` has the step ids, and `divert:<key>` and
 * `restore:<key>`, that this process is busy with. Knows no clock, no file and no cloud.
 */
export function decide(plan: Plan, state: RunState, now: Instant, inFlight: ReadonlySet<string>): Decision {
  if (state.phase === "done")
    return { kind: "finish", outcome: state.outcome ?? "stuck", reason: state.reason ?? "" };
  return state.phase === "down" ? down(plan, state, now, inFlight) : up(plan, state, now, inFlight);
}

function up(plan: Plan, state: RunState, now: Instant, inFlight: ReadonlySet<string>): Decision {
  if (state.failed && state.settling)
    // Other targets may be settling: half a rollback would be worse than a run that waits for a hand.
    return inFlight.size > 0 ? { kind: "wait" } : { kind: "stop", reason: state.failed.failure.message };
  if (state.failed) return { kind: "roll-back", reason: state.failed.failure.message };
  if (state.abort && !state.settling)
    return {
      kind: "roll-back",
      reason: `aborted by ${state.abort.who}${state.abort.reason ? `: ${state.abort.reason}` : ""}`,
    };
  if (state.left === 0) return { kind: "finish", outcome: "promoted", reason: "every step is done" };

  const steps: Step[] = [];
  let until: Instant | undefined;
  let busy = 0;
  for (const id of inFlight) if (isWork(stepOf(plan, id))) busy++;
  for (const id of state.ready) {
    if (inFlight.has(id)) continue;
    const step = stepOf(plan, id);
    if (isWork(step) && busy >= plan.maxParallel) continue;
    const wait = state.targets[step.target]?.steps[id];
    if (wait?.status === "waiting" && (wait.until ?? 0) > now) {
      until = Math.min(until ?? Number.POSITIVE_INFINITY, wait.until ?? 0);
      continue;
    }
    steps.push(step);
    if (isWork(step)) busy++;
  }
  return steps.length > 0 ? { kind: "perform", steps } : { kind: "wait", until };
}

/** What `maxParallel` counts: operations and tasks. Looking and waiting cost nothing. */
function isWork(step: Step): boolean {
  return APPLIES.has(step.act) || step.act === "run";
}

function down(plan: Plan, state: RunState, now: Instant, inFlight: ReadonlySet<string>): Decision {
  const divert: TargetKey[] = [];
  const restore: TargetKey[] = [];
  let until: Instant | undefined;
  let left = 0;
  let stuck: TargetKey | undefined;
  for (const { key } of plan.targets) {
    const target = state.targets[key];
    if (!target?.touched || target.restored || target.settled) continue;
    left++;
    if (inFlight.has(`divert:${key}`) || inFlight.has(`restore:${key}`)) continue;
    // One that can't be had back must not keep the others from being restored.
    if (target.restoreAttempts >= RESTORE_ATTEMPTS) stuck ??= key;
    else if (target.restoreUntil > now)
      until = Math.min(until ?? Number.POSITIVE_INFINITY, target.restoreUntil);
    else if (!target.diverted && target.restoreAttempts < DIVERT_ATTEMPTS) divert.push(key);
    else restore.push(key);
  }
  // Every bad slot loses its traffic before the first slow restore begins.
  if (divert.length > 0) return { kind: "divert", targets: divert };
  const busy = [...inFlight].filter((id) => id.startsWith("restore:")).length;
  const room = Math.max(0, plan.maxParallel - busy);
  if (restore.length > 0 && room > 0) return { kind: "restore", targets: restore.slice(0, room) };
  if (inFlight.size > 0 || restore.length > 0 || until !== undefined) return { kind: "wait", until };
  if (stuck)
    return { kind: "stop", reason: `${stuck} could not be restored in ${RESTORE_ATTEMPTS} attempts` };
  if (left > 0) return { kind: "wait" };
  const touched = plan.targets.some((t) => state.targets[t.key]?.touched);
  return {
    kind: "finish",
    outcome: touched ? "rolled-back" : "refused",
    reason: (state.rollback?.reason ?? "") + kept(state),
  };
}

/** A rollback of one wave leaves those before it as they are, and says so. */
function kept(state: RunState): string {
  const services = keeping(state).map((t) => t.service);
  return services.length > 0
    ? `; waves before it are through and keep the release: ${services.join(", ")}`
    : "";
}
