import { add, tick } from "../analysis/counts";
import { combine, describe } from "../analysis/verdict";
import type { Finding, Reading, Slot, StepId, Tick } from "../core/model";
import type { Analysis, Subject } from "../core/ports";
import { placeOf, type Result, refresh, type Scene } from "./scene";

/** Seconds that one record of the journal sums up: a source may be read more often than is worth keeping. */
const RECORD_SECONDS = 5;

/** Watches one weight until the judges have said yes or no, or the horizon has come. */
export async function analyse(step: StepId, scene: Scene, about: Subject): Promise<Result> {
  const analysis = scene.run.environment.analysis;
  const handle = scene.handle();
  if (!analysis || !handle)
    return {
      kind: "failed",
      failure: { code: "bad-config", message: "the pipeline has no analysis any more" },
    };
  const unready = await refresh(handle, scene);
  if (unready) return unready;
  const traffic = scene.run.environment.traffic;
  const url = await scene.target.router.reach(handle, "public", scene.ctx);
  const stop = await traffic?.start(url, scene.ctx);
  const samples = recorder(step, scene);
  try {
    return await watch(step, analysis, about, scene, samples.take);
  } finally {
    // What decided, or what was seen when it was called off, goes to disk with what the driver writes next.
    samples.flush();
    await stop?.();
  }
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
  step: StepId,
  analysis: Analysis,
  about: Subject,
  scene: Scene,
  keep: (made: Tick) => void,
): Promise<Result> {
  const { run, ctx } = scene;
  const place = placeOf(scene);
  const evidence = recall(step, analysis, scene);
  const baseline = place.from && (about.handle?.split[place.from] ?? 0) > 0 ? place.from : undefined;
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
    const verdict = combine(evidence.findings(), {
      elapsed: evidence.seconds(),
      bake: analysis.bake,
      horizon: analysis.horizon,
    });
    run.progress(step, trouble ?? verdict.reason);
    if (verdict.verdict === "pass") return { kind: "done", verdict, note: verdict.reason };
    if (verdict.verdict === "fail")
      return { kind: "failed", failure: { code: "verdict-fail", message: describe(verdict), verdict } };
    if (waited >= analysis.horizon) return { kind: "hold", reason: trouble ?? describe(verdict) };
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
