import type { StepState } from "../core/events";
import { fills, type Step } from "../core/model";
import { wanted } from "../core/wanted";
import { analyse, meanwhile } from "./analyse";
import { glance } from "./look";
import {
  askedOf,
  awaited,
  failureOf,
  patiently,
  placeOf,
  type Result,
  refresh,
  type Scene,
  subject,
} from "./scene";

/** Seconds that new replicas may take in place: Kubernetes' progressDeadlineSeconds. */
const PROGRESS_SECONDS = 600;

/** Does one step. Idempotent: it looks first, so it may be asked again after a crash. */
export async function perform(step: Step, scene: Scene): Promise<Result> {
  switch (step.act) {
    case "gate":
      return ask(step, scene);
    case "run":
      return task(step.task, scene);
    case "deploy":
    case "replace":
    case "shift":
    case "adopt":
    case "settle":
      return apply(step, scene);
    case "await":
      return replaced(scene);
    case "verify":
      return verify(step, scene);
    case "analyse":
    case "hold":
      return analyse(step, scene, await patiently(scene, () => subject(scene, placeOf(scene).to)));
    case "join":
      return { kind: "done" };
    default:
      throw step satisfies never;
  }
}

async function ask(step: Step & { act: "gate" }, scene: Scene): Promise<Result> {
  const { gate: id } = step;
  const gate = scene.run.environment.gates?.find((g) => g.id === id);
  if (!gate) return missing("gate", id);
  const answer = await gate.ask({ ...(await subject(scene)), asked: askedOf(step, scene) }, scene.ctx);
  if (answer.answer === "open") return { kind: "done" };
  if (answer.answer === "wait")
    return { kind: "wait", reason: answer.reason, until: scene.ctx.now() + answer.retryAfter };
  const message = `gate ${id} is closed: ${answer.reason}`;
  return { kind: "failed", failure: { code: "gate-closed", message, hint: answer.hint, untouched: true } };
}

async function task(id: string, scene: Scene): Promise<Result> {
  const known = scene.run.environment.tasks?.find((t) => t.id === id);
  if (!known) return missing("task", id);
  const { plan, ledger } = scene.run;
  const key = `${plan.release}/${scene.target.key}/${id}`;
  if (await ledger.has(key)) return { kind: "done", note: "done before, for this very release" };
  const result = await known.run(await subject(scene), scene.ctx);
  // Before it is believed: a crash in between asks the task again, which it must bear, and no later run does.
  if (result.ok) await ledger.add(key);
  if (result.ok) return { kind: "done", ...(result.note !== undefined && { note: result.note }) };
  const message = `task ${id} failed: ${result.reason}`;
  return {
    kind: "failed",
    failure: {
      code: "task-failed",
      message,
      hint: "Correct it, then promote again: a task that was done for a release is not done twice.",
    },
  };
}

// The pipeline changed since the plan was made.
function missing(what: string, id: string): Result {
  const message = `the plan has ${what} ${id}, but automation/pipeline.ts no longer does`;
  return { kind: "failed", failure: { code: "bad-config", message, hint: "Put it back, or abort the run." } };
}

async function apply(step: Step, scene: Scene): Promise<Result> {
  const { run, target, ctx } = scene;
  const place = placeOf(scene);
  const declared = scene.handle();
  const began: StepState | undefined = scene.state().targets[place.key]?.steps[step.id];
  const by = { run: ctx.fence.run, step: step.id };
  const want = wanted(declared, place, step, {
    by,
    at: began?.startedAt ?? ctx.now(),
    release: run.plan.release,
  });
  if (!want) throw new Error(`${step.id} declares nothing`);
  const change = { want, expect: declared?.generation ?? 0, by, unguarded: run.plan.direct ?? false };
  // A slot may have died since it was looked at, and whoever left the run took its traffic away.
  const unready =
    step.act === "shift"
      ? await awaited(scene, place.to)
      : !fills(step) && declared && (await refresh(declared, scene));
  if (unready) return unready;
  try {
    // `up` shows its policies what it has made already; a preview shows them what it would make.
    if (!run.previewed.delete(step.id)) await target.preview(change, ctx);
  } catch (e) {
    return { kind: "failed", failure: { ...failureOf(e), untouched: true } };
  }
  // The way back is judged by nobody, and must not wait for a source that hangs.
  if (step.act === "shift" && !run.plan.direct) await glance(await subject(scene), scene);
  ctx.signal.throwIfAborted();
  const handle = await target.apply(change, ctx);
  // Asked to stop: what was declared is written down, but the route belongs to whoever diverts now.
  if (step.act === "shift" && !ctx.signal.aborted) {
    const gone = await patiently(scene, () => refresh(handle, scene));
    if (gone) return gone;
  }
  return { kind: "done", handle };
}

/** In place: waits until all replicas are new ones, and gives up where waiting can't help. */
async function replaced(scene: Scene): Promise<Result> {
  const { ctx, run, target } = scene;
  const handle = scene.handle();
  const place = placeOf(scene);
  if (!handle) throw new Error(`nothing is declared for ${place.key}`);
  for (const began = ctx.now(); ; ) {
    const ready = await target.router.ready(handle, place.to, ctx);
    if (ready.ready) return { kind: "done" };
    const message = `${place.key} does not come to its new replicas: ${ready.reason}`;
    if (ready.lost || ctx.now() - began > PROGRESS_SECONDS * 1000)
      return { kind: "failed", failure: { code: ready.code, message } };
    await run.clock.sleep(1000, ctx.signal);
    ctx.signal.throwIfAborted();
  }
}

async function verify(step: Step & { act: "verify" }, scene: Scene): Promise<Result> {
  const place = placeOf(scene);
  const { where } = step;
  const handle = scene.handle();
  const unready =
    (await awaited(scene, place.to)) ?? (where === "live" && handle && (await refresh(handle, scene)));
  if (unready) return unready;
  const about = await subject(scene, where === "live" ? "public" : place.to);
  const notes: string[] = [];
  for (const check of scene.run.environment.checks ?? []) {
    const result = await check.run(about, scene.ctx);
    if (!result.ok)
      return {
        kind: "failed",
        failure: {
          code: "check-failed",
          message: `check ${check.id} on ${where} ${place.key}: ${result.reason}`,
          hint: result.hint,
        },
      };
    notes.push(`${check.id}: ${result.note}`);
  }
  // One that waited for others was watched by nobody meanwhile.
  const judged = where === "live" ? await meanwhile(step, about, scene) : undefined;
  if (judged) return judged;
  return { kind: "done", note: notes.join("; ") };
}
