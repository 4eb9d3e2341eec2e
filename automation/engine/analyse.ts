import { add, tick } from "../analysis/counts";
import { combine, describe } from "../analysis/verdict";
import type { Finding, Reading, Slot, Step, StepId, Tick } from "../core/model";
import type { Analysis, Subject } from "../core/ports";
import { askedOf, placeOf, type Result, refresh, rejected, type Scene } from "./scene";

/** Seconds that one record of the journal sums up: a source may be read more often than is worth keeping. */
const RECORD_SECONDS = 5;

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
  const unready = await refresh(handle, scene);
  if (unready) return unready;
  if (!analysis) return stay(step, scene);
  const url = await scene.target.router.reach(handle, "public", scene.ctx);
  const stop = await traffic?.start(url, scene.ctx);
  const samples = recorder(step.id, scene);
  try {
    return await watch(step, analysis, about, scene, samples.take);
  } finally {
    // What decided, or what was seen when it was called off, goes to disk with what the driver writes next.
    samples.flush();
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
    const { seconds } = termsOf(step);
    const left = seconds === undefined ? undefined : began + seconds * 1000 - ctx.now();
    if (left !== undefined && left <= 0) return { kind: "done", note: `held for ${seconds} s` };
    run.progress(step.id, left === undefined ? ASKED : `held for ${Math.ceil(left / 1000)} s more`);
    await run.clock.sleep(Math.min(left ?? 1000, 1000), ctx.signal);
    ctx.signal.throwIfAborted();
  }
}

/** Nobody judges here, so at least a slot that died is seen. */
async function lost(scene: Scene): Promise<Result | undefined> {
  const handle = scene.handle();
  const place = placeOf(scene);
  const ready = handle && (await scene.target.router.ready(handle, place.to, scene.ctx));
  if (!ready || ready.ready || !ready.lost) return undefined;
  const message = `${place.to} of ${place.key} is not ready any more: ${ready.reason}`;
  return { kind: "failed", failure: { code: ready.code, message } };
}

const ASKED = "held until somebody says go on: `approve` or `reject`";

/** How long a step watches: seconds, or until somebody speaks. */
function termsOf(step: Watching): { seconds?: number | undefined; person: boolean } {
  if (step.act === "analyse") return { person: false };
  return { seconds: step.seconds, person: step.seconds === undefined };
}

/** What a person said to a hold, or that nobody here can wait for one. */
function spoken(step: Watching, scene: Scene): Result | undefined {
  if (!termsOf(step).person) return undefined;
  const { run } = scene;
  const asked = askedOf(step, scene);
  const last = asked.answers.filter((a) => a.plan === asked.plan && a.at >= asked.since).at(-1);
  if (last?.answer === "approve") return { kind: "done", note: `${last.who} (unverified) said go on` };
  if (last) return { kind: "failed", failure: rejected(last) };
  const forever = (run.patience ?? Number.POSITIVE_INFINITY) === Number.POSITIVE_INFINITY;
  return forever ? undefined : { kind: "hold", reason: ASKED };
}

/** Sums ticks up until they are worth a record. */
function recorder(step: StepId, scene: Scene): { take(made: Tick): void; flush(): void } {
  let sum: Tick | undefined;
  const flush = () => {
    if (!sum) return;
    const fact = { type: "sample.taken" as const, step, target: scene.target.key, tick: sum };
    sum = undefined;
    scene.run.journal.note(fact, scene.ctx.now());
  };
  const take = (made: Tick) => {
    sum = sum ? add(sum, made) : made;
    if (sum.seconds >= RECORD_SECONDS) flush();
  };
  return { take, flush };
}

async function watch(
  step: Watching,
  analysis: Analysis,
  about: Subject,
  scene: Scene,
  keep: (made: Tick) => void,
): Promise<Result> {
  const { run, ctx } = scene;
  const place = placeOf(scene);
  const evidence = recall(step.id, analysis, scene);
  const { seconds, person } = termsOf(step);
  const bake = person ? Number.POSITIVE_INFINITY : (seconds ?? analysis.bake);
  const horizon = person ? Number.POSITIVE_INFINITY : (seconds ?? 0) + analysis.horizon;
  const shared = place.from !== place.to && place.from && (about.handle?.split[place.from] ?? 0) > 0;
  const baseline = shared ? place.from : undefined;
  const began = ctx.now();
  let before: Reading | undefined;
  let trouble: string | undefined;
  for (;;) {
    const seen = await read(analysis, scene, before, about, baseline);
    trouble = seen.trouble;
    if (seen.reading && (!before || seen.reading.at > before.at)) before = seen.reading;
    const made = seen.made;
    if (made) {
      keep(made);
      evidence.take(made);
    }
    const waited = (ctx.now() - began) / 1000;
    // The bake counts what was seen, the horizon what was waited: a source that is down proves nothing.
    const verdict = combine(evidence.findings(), { elapsed: evidence.seconds(), bake, horizon });
    run.progress(step.id, trouble ?? (person ? `${ASKED}; ${verdict.reason}` : verdict.reason));
    if (verdict.verdict === "pass") return { kind: "done", verdict, note: verdict.reason };
    if (verdict.verdict === "fail")
      return { kind: "failed", failure: { code: "verdict-fail", message: describe(verdict), verdict } };
    const said = spoken(step, scene);
    if (said) return said;
    if (waited >= horizon) return { kind: "hold", reason: trouble ?? describe(verdict) };
    await run.clock.sleep(analysis.every * 1000, ctx.signal);
    ctx.signal.throwIfAborted();
  }
}

// A source that is down, or talks nonsense, is no evidence on the release, so it neither passes nor fails.
async function read(
  analysis: Analysis,
  scene: Scene,
  before: Reading | undefined,
  about: Subject,
  baseline: Slot | undefined,
) {
  try {
    const reading = await analysis.source.read(about, scene.ctx);
    return { reading, made: reading && tick(before, reading, placeOf(scene).to, baseline) };
  } catch (e) {
    scene.ctx.signal.throwIfAborted();
    const trouble = e instanceof Error ? e.message : String(e);
    scene.ctx.log(`no reading from ${analysis.source.id}: ${trouble}`);
    return { trouble };
  }
}

/** Folds the ticks of this target that the journal has, so that a crash loses no evidence. */
function recall(step: StepId, analysis: Analysis, scene: Scene) {
  const judges = analysis.judges.map((judge) => ({ judge, state: judge.start() }));
  let seconds = 0;
  let current: StepId | undefined;
  const take = (made: Tick, of: StepId) => {
    if (of !== current) {
      current = of;
      seconds = 0;
      for (const j of judges) j.state = j.judge.turn ? j.judge.turn(j.state) : j.state;
    }
    seconds += made.seconds;
    for (const j of judges) j.state = j.judge.update(j.state, made);
  };
  for (const event of scene.run.journal.events)
    if (event.type === "sample.taken" && event.target === scene.target.key) take(event.tick, event.step);
  return {
    take: (made: Tick) => take(made, step),
    seconds: () => (current === step ? seconds : 0),
    findings: (): Finding[] =>
      current === step
        ? judges.map((j) => j.judge.finding(j.state))
        : judges.map((j) => j.judge.finding(j.judge.start())),
  };
}
