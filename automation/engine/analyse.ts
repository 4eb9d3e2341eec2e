import { type Dossier, record } from "../analysis/evidence";
import { combine, describe, inconclusive, type Terms, termsOf, whole } from "../analysis/verdict";
import { stepOf } from "../core/events";
import type { Step, StepId, Tick, Verdict } from "../core/model";
import { planId } from "../core/plan";
import type { Analysis, Subject } from "../core/ports";
import { type Eyes, look, next, recall } from "./look";
import { askedOf, patiently, placeOf, type Result, refresh, rejected, type Scene } from "./scene";

/** A step that watches a weight. */
export type Watching = Step & { act: "analyse" | "hold" };

/** Watches one weight until the judges have said yes or no, the horizon has come, or it was held long enough. */
export async function analyse(step: Watching, scene: Scene, about: Subject): Promise<Result> {
  const { analysis, traffic } = scene.run.environment;
  const handle = scene.handle();
  if ((!analysis && step.act === "analyse") || !handle)
    return {
      kind: "failed",
      failure: { code: "bad-config", message: "the pipeline has no analysis any more" },
    };
  const unready = await patiently(scene, () => refresh(handle, scene));
  if (unready) return unready;
  if (!analysis) return stay(step, scene);
  const notes = notebook(step, scene, await recall(step, analysis, about, scene));
  const url = await patiently(scene, () => scene.target.router.reach(handle, "public", scene.ctx));
  const stop = await traffic?.start(url, scene.ctx);
  try {
    return await watch(step, analysis, about, scene, notes);
  } finally {
    // What decided, or what was seen when it was called off, goes to disk with what the driver writes next.
    notes.close();
    await stop?.();
  }
}

/** Holds a weight where there is nothing to judge by. */
async function stay(step: Watching, scene: Scene): Promise<Result> {
  const { run, ctx } = scene;
  const began = ctx.now();
  for (;;) {
    const said = spoken(step, scene);
    if (said) return said;
    const gone = await lost(scene);
    if (gone) return gone;
    const { seconds } = lengthOf(step);
    const left = seconds === undefined ? undefined : began + seconds * 1000 - ctx.now();
    if (left !== undefined && left <= 0) return { kind: "done", note: `held for ${seconds} s` };
    run.progress(step.id, left === undefined ? ASKED : `held for ${Math.ceil(left / 1000)} s more`);
    await run.clock.sleep(Math.min(left ?? 1000, 1000), ctx.signal);
    ctx.signal.throwIfAborted();
  }
}

/** Where nothing is to judge by, at least a slot that died is seen. */
async function lost(scene: Scene): Promise<Result | undefined> {
  const handle = scene.handle();
  const place = placeOf(scene);
  const ready =
    handle && (await patiently(scene, () => scene.target.router.ready(handle, place.to, scene.ctx)));
  if (!ready || ready.ready || !ready.lost) return undefined;
  const message = `${place.to} of ${place.key} is not ready any more: ${ready.reason}`;
  return { kind: "failed", failure: { code: ready.code, message } };
}

const ASKED = "held until somebody says go on: `approve` or `reject`";

/** How long a step watches: seconds, or until somebody speaks. */
function lengthOf(step: Watching): { seconds?: number | undefined; person: boolean } {
  if (step.act === "analyse") return { person: false };
  return { seconds: step.seconds, person: step.seconds === undefined };
}

/** What a person said to a hold, or that nobody here can wait for one. */
function spoken(step: Watching, scene: Scene): Result | undefined {
  if (!lengthOf(step).person) return undefined;
  const { since } = askedOf(step, scene);
  return answered(step, scene, since) ?? (waits(scene) ? undefined : { kind: "hold", reason: ASKED });
}

/** What somebody has said to this step since then. */
function answered(step: Watching, scene: Scene, since: number): Result | undefined {
  const asked = askedOf(step, scene);
  const last = asked.answers.filter((a) => a.plan === asked.plan && a.at >= since).at(-1);
  if (last?.answer === "approve") return { kind: "done", note: `${last.who} (unverified) said go on` };
  return last && { kind: "failed", failure: rejected(last) };
}

/** Whether this process may wait for as long as it takes: a CI job may not. */
function waits({ run }: Scene): boolean {
  return (run.patience ?? Number.POSITIVE_INFINITY) === Number.POSITIVE_INFINITY;
}

/** The evidence, and the record that is still open. */
interface Notebook {
  evidence: Dossier;
  open(): Tick | undefined;
  take(made: Tick): void;
  close(): void;
}

function notebook(step: Step, scene: Scene, evidence: Dossier): Notebook {
  let open: Tick | undefined;
  const close = () => {
    if (!open) return;
    const fact = { type: "sample.taken" as const, step: step.id, target: scene.target.key, tick: open };
    evidence.take(open, step.id);
    open = undefined;
    scene.run.journal.note(fact, scene.ctx.now());
  };
  return {
    evidence,
    open: () => open,
    take(made) {
      if (made.moving) close();
      const next = record(open, made);
      open = next.tick;
      if (next.closed) close();
    },
    close,
  };
}

async function watch(
  step: Watching,
  analysis: Analysis,
  about: Subject,
  scene: Scene,
  notes: Notebook,
): Promise<Result> {
  const { run } = scene;
  const place = placeOf(scene);
  const shared = place.from !== place.to && place.from && (about.handle?.split[place.from] ?? 0) > 0;
  const began = scene.ctx.now();
  const eyes: Eyes = { analysis, about, scene, baseline: shared ? place.from : undefined, began };
  // When there was last something to judge by: a source that is down must not be waited for without end.
  let dark = began;
  for (;;) {
    const { made, trouble } = await look(eyes);
    if (made) notes.take(made);
    const terms = termsNow(step, analysis, scene, notes);
    const verdict = combine(notes.evidence.findings(notes.open()), terms);
    const keep = () => whole(verdict, notes.evidence, terms, notes.open());
    run.progress(
      step.id,
      trouble ?? (lengthOf(step).person ? `${ASKED}; ${verdict.reason}` : verdict.reason),
    );
    // A pass takes everything that was seen, not only what was seen with care.
    const passed = verdict.verdict === "pass" ? keep() : undefined;
    if (passed?.verdict === "pass") return { kind: "done", verdict: passed, note: passed.reason };
    if (verdict.verdict === "fail") return convicted(keep());
    const said = spoken(step, scene);
    if (said) return said;
    if (made && verdict.verdict !== "error") dark = scene.ctx.now();
    // A service that tells its own counts tells none once it is dead.
    const gone = made ? undefined : await lost(scene);
    if (gone) return gone;
    const end =
      blind(analysis, scene, dark, trouble ?? describe(verdict)) ??
      (await late(step, analysis, scene, notes, keep));
    if (end) return end;
    await next(eyes);
  }
}

/**
 * What users met since the last weight was judged: an `adopt`, and the wait for other services, are watched by nobody. The
 * failure where that is evidence enough; a source that says nothing is no reason to stay.
 */
export async function meanwhile(step: Step, about: Subject, scene: Scene): Promise<Result | undefined> {
  const { analysis } = scene.run.environment;
  const watched = scene.run.journal.events.some((e) => e.type === "past.known" && e.target === step.target);
  if (!analysis || !watched) return undefined;
  const notes = notebook(step, scene, await recall(step, analysis, about, scene));
  const { made } = await look({ analysis, about, scene, baseline: undefined, began: scene.ctx.now() });
  if (made) notes.take(made);
  const { risk, promoteRisk } = analysis;
  const terms = { elapsed: 0, bake: 0, total: 0, minBake: 0, requests: 1, proof: false, risk, promoteRisk };
  const verdict = combine(notes.evidence.findings(), terms);
  if (verdict.verdict !== "fail") return undefined;
  return convicted(whole(verdict, notes.evidence, terms, undefined));
}

function convicted(verdict: Verdict): Result {
  return { kind: "failed", failure: { code: "verdict-fail", message: describe(verdict), verdict } };
}

/** What the evidence must come up to now. */
function termsNow(step: Watching, analysis: Analysis, scene: Scene, { evidence, open }: Notebook): Terms {
  const { seconds, person } = lengthOf(step);
  return termsOf(evidence, step.id, open(), analysis, {
    bake: person ? Number.POSITIVE_INFINITY : (seconds ?? analysis.stepBake),
    proof: step.act === "analyse" && leadsAbove(analysis.probe, step, scene) && !vouched(scene),
  });
}

/** Whether somebody said go on when it could not be judged: then it is watched, and no more proof is asked for. */
function vouched(scene: Scene): boolean {
  const { plan, targets, answers } = scene.state();
  const since = Object.values(targets[scene.target.key]?.steps ?? {}).flatMap((s) => s.held?.since ?? []);
  const from = Math.min(...since);
  return answers.some((a) => a.answer === "approve" && a.plan === planId(plan) && a.at >= from);
}

/** Whether more than the probe comes next: another weight, or the whole of it. */
function leadsAbove(probe: number, step: Step, scene: Scene): boolean {
  const { steps } = scene.run.plan;
  const later = steps.slice(steps.findIndex((s) => s.id === step.id));
  const shift = later.find((s) => s.target === step.target && s.act === "shift");
  return (shift?.act === "shift" ? shift.to : 100) > probe;
}

/** Nothing to judge by for so long that somebody should know. Never a rollback: nothing is known of the release. */
function blind(analysis: Analysis, scene: Scene, since: number, why: string): Result | undefined {
  const seconds = waits(scene) ? Math.max(analysis.maxDuration, analysis.holdFor) : analysis.maxDuration;
  return (scene.ctx.now() - since) / 1000 >= seconds ? { kind: "hold", reason: why } : undefined;
}

/** Whether there was time enough. A hold has its own beside what it was to last, and is no part of the judging. */
function isOver(
  step: Watching,
  { maxDuration, stepBake }: Analysis,
  scene: Scene,
  { evidence, open }: Notebook,
): boolean {
  const { seconds, person } = lengthOf(step);
  if (person) return false;
  if (seconds !== undefined) return evidence.seen(step.id, open()).seconds >= seconds + maxDuration;
  const judging = (id: StepId) => stepOf(scene.run.plan, id).act === "analyse";
  const all = evidence.seconds(judging) + (open()?.seconds ?? 0);
  // However late it is, every weight is watched for as long as it must be.
  return all >= maxDuration && evidence.seen(step.id, open()).seconds >= stepBake;
}

/** Everything was seen that was to be seen, and it is neither good nor bad. */
async function late(
  step: Watching,
  analysis: Analysis,
  scene: Scene,
  notes: Notebook,
  keep: () => Verdict,
): Promise<Result | undefined> {
  const { run, ctx, target } = scene;
  const { onInconclusive, maxDuration, holdFor } = analysis;
  if (!isOver(step, analysis, scene, notes)) return undefined;
  const verdict = keep();
  if (verdict.verdict === "error") return undefined;
  const told = inconclusive(verdict, maxDuration);
  if (onInconclusive === "promote") return { kind: "done", verdict: told, note: told.reason };
  const failure = { code: "verdict-inconclusive", message: describe(told), verdict: told };
  if (onInconclusive === "rollback") return { kind: "failed", failure };
  const held = scene.state().targets[target.key]?.steps[step.id]?.held;
  const said = held && answered(step, scene, held.since);
  if (said) return said.kind === "done" ? { ...said, verdict: told } : said;
  const until = held?.until ?? ctx.now() + holdFor * 1000;
  if (!held)
    await scene.record({ type: "analysis.held", step: step.id, target: target.key, verdict: told, until });
  if (ctx.now() >= until) return { kind: "failed", failure };
  const when = new Date(until).toISOString();
  const { environment } = run.plan;
  run.progress(
    step.id,
    `${told.reason}; rolled back at ${when} unless somebody says \`approve ${environment}\``,
  );
  const say = `\`npm run approve -- ${environment}\` lets it go on, \`reject\` takes it back; the same command watches on, and takes it back once it is ${when}`;
  return waits(scene) ? undefined : { kind: "hold", reason: `${describe(told)} ${say}` };
}
