import { BadReading, tick } from "../analysis/counts";
import { type Dossier, dossier } from "../analysis/evidence";
import { past } from "../analysis/past";
import type { Instant, Past, Reading, Slot, Step, TargetKey, Tick } from "../core/model";
import type { Analysis, MetricSource, Subject } from "../core/ports";
import type { Run } from "./run";
import { failureOf, placeOf, type Scene, within } from "./scene";

/** Seconds of the baseline's past that say what is normal: 40 readings where there is one a minute. */
const PAST_SECONDS = 2400;
/** How often the past is asked for, a second between. */
const ASKED = 3;
/** Milliseconds between two looks at least. */
const FLOOR_MS = 20;
/** Milliseconds that another machine's clock may be ahead. */
const AHEAD_MS = 60_000;

/** Who looks at what, and what was seen last. */
export interface Eyes {
  analysis: Analysis;
  about: Subject;
  scene: Scene;
  baseline: Slot | undefined;
  before?: Reading;
  /** When this weight began to be watched. */
  began: Instant;
  /** When it was looked at last. */
  looked?: number;
}

/** Seconds that a source may take, whoever wrote it. */
const ANSWER_SECONDS = 30;

function answered<T>({ run, ctx }: Scene, asked: Promise<T>): Promise<T> {
  return within(run, ANSWER_SECONDS, asked, ctx.signal);
}

/**
 * What this process read last of each target, over the end of a step: between two weights lies an operation of some
 * seconds, and what users met meanwhile counts. Gone with the process, and then the first reading begins anew.
 */
const readings = new WeakMap<Run, Map<TargetKey, Reading>>();

function lastOf({ run, target }: Scene): { get(): Reading | undefined; set(reading: Reading): void } {
  const known = readings.get(run) ?? new Map<TargetKey, Reading>();
  readings.set(run, known);
  return { get: () => known.get(target.key), set: (reading) => void known.set(target.key, reading) };
}

/** Reads the counts before the canary gets its first traffic, so that its first request counts. */
export async function glance(about: Subject, scene: Scene): Promise<void> {
  const source = scene.run.environment.analysis?.source;
  if (!source || lastOf(scene).get()) return;
  try {
    const reading = await answered(scene, source.read(about, scene.ctx));
    if (reading) lastOf(scene).set(reading);
  } catch (e) {
    scene.ctx.signal.throwIfAborted();
    scene.ctx.log(`no first reading from ${source.id}: ${failureOf(e).message}`);
  }
}

// A source that is down, or talks nonsense, is no evidence on the release, so it neither passes nor fails.
export async function look(eyes: Eyes): Promise<{ made?: Tick | undefined; trouble?: string }> {
  const { analysis, about, scene } = eyes;
  const { source } = analysis;
  eyes.looked = scene.ctx.now();
  try {
    const reading = await answered(scene, source.read(about, scene.ctx));
    const made = reading && difference(eyes, reading);
    if (reading && (!eyes.before || reading.at > eyes.before.at)) eyes.before = reading;
    if (eyes.before) lastOf(scene).set(eyes.before);
    return made ? await withValues(eyes, made) : {};
  } catch (e) {
    return troubled(eyes, e);
  }
}

function troubled({ scene, analysis }: Eyes, e: unknown): { trouble: string } {
  scene.ctx.signal.throwIfAborted();
  const trouble = failureOf(e).message;
  scene.ctx.log(`no reading from ${analysis.source.id}: ${trouble}`);
  return { trouble };
}

/** The tick with what the judges ask beside it. A query that fails takes nothing of what was counted. */
async function withValues(eyes: Eyes, made: Tick): Promise<{ made: Tick; trouble?: string }> {
  try {
    const values = await answered(eyes.scene, asked(eyes));
    return { made: values ? { ...made, values } : made };
  } catch (e) {
    return { made, ...troubled(eyes, e) };
  }
}

function difference({ about, scene, baseline, before, began }: Eyes, reading: Reading): Tick | undefined {
  const ahead = reading.at - scene.ctx.now();
  // It would be evidence of a time that has not been, and every reading after it would come too late.
  if (ahead > AHEAD_MS) throw BadReading(`its time is ${Math.round(ahead / 1000)} s ahead of this machine's`);
  const { from, to, mode } = placeOf(scene);
  if (before && before.at >= began) return tick(before, reading, to, baseline, about.handle?.split[to]);
  // A source that lags tells for a while of what was before this weight.
  const other = from === to ? undefined : from;
  // In place the slot was somebody else's until now.
  return mode === "slots" ? moved(tick(before ?? lastOf(scene).get(), reading, to, other)) : undefined;
}

function moved(made: Tick | undefined): Tick | undefined {
  return made && { ...made, moving: true };
}

/** What the judges ask beside the counts. What gives nothing is left out. */
async function asked({ analysis, about, scene }: Eyes): Promise<Record<string, number> | undefined> {
  const { source, judges } = analysis;
  const queries = [...new Set(judges.flatMap((j) => (j.query === undefined ? [] : [j.query])))];
  if (queries.length === 0) return undefined;
  const read = await Promise.all(queries.map((query) => source.value?.(query, about, scene.ctx)));
  return Object.fromEntries(queries.flatMap((q, i) => (read[i] === undefined ? [] : [[q, read[i]]])));
}

/** Waits for the next reading, or for an error where the platform pushes. */
export async function next({ analysis, about, scene, before, looked = 0 }: Eyes): Promise<void> {
  const { run, ctx } = scene;
  const over = new AbortController();
  const signal = AbortSignal.any([ctx.signal, over.signal]);
  // A push that fails is none: the reading comes anyway.
  const never = new Promise<void>(() => undefined);
  const pushed = before && analysis.source.stir?.(about, before, { ...ctx, signal }).catch(() => never);
  await Promise.race([run.clock.sleep(analysis.every * 1000, signal), pushed ?? never]);
  // An outage pushes without end, and looking has its price.
  await run.clock.sleep(Math.max(0, looked + FLOOR_MS - ctx.now()), signal);
  over.abort();
  ctx.signal.throwIfAborted();
}

/** Folds what the journal has of this target, so that a crash loses no evidence. */
export async function recall(step: Step, analysis: Analysis, about: Subject, scene: Scene): Promise<Dossier> {
  const { events } = scene.run.journal;
  const key = scene.target.key;
  const noted = events.find((e) => e.type === "past.known" && e.target === key);
  const known = noted?.type === "past.known" ? noted.past : await learn(step, analysis, about, scene);
  const evidence = dossier(analysis.judges, known);
  for (const event of events)
    if (event.type === "sample.taken" && event.target === key) evidence.take(event.tick, event.step);
  evidence.enter(step.id);
  return evidence;
}

/** What was normal before the canary had any traffic: asked once, and written down, so that it is the same for ever. */
async function learn(step: Step, { source }: Analysis, about: Subject, scene: Scene) {
  const { run, ctx, target } = scene;
  const { from } = placeOf(scene);
  const began = run.plan.steps
    .filter((s) => s.target === step.target && (s.act === "shift" || s.act === "replace"))
    .map((s) => scene.state().targets[target.key]?.steps[s.id]?.startedAt)
    .find((at) => at !== undefined);
  const known = from && began !== undefined ? await pastBefore(began, from, source, about, scene) : {};
  // Nobody answered: the next step asks again, and until then nothing is known.
  if (!known) return undefined;
  run.journal.note({ type: "past.known", target: target.key, ...known }, ctx.now());
  return known.past;
}

/** What the source says of the time before; `undefined` where it can't be asked. */
async function pastBefore(
  began: Instant,
  slot: Slot,
  source: MetricSource,
  about: Subject,
  scene: Scene,
): Promise<{ past?: Past } | undefined> {
  const { run, ctx, target } = scene;
  if (!source.history) return {};
  // What was in the slot before was another release, and may be one that failed there.
  const live = Date.parse(placeOf(scene).base?.proved?.at ?? "");
  const from = Math.max(began - PAST_SECONDS * 1000, Number.isNaN(live) ? 0 : live);
  const span = { from, to: began };
  for (let left = ASKED; left > 0; left--) {
    try {
      const readings = await answered(scene, source.history({ ...about, slot }, span, ctx));
      const made = past(
        readings.filter(({ at }) => at >= from && at <= began),
        slot,
      );
      return made ? { past: made } : {};
    } catch (e) {
      ctx.signal.throwIfAborted();
      ctx.log(`no past of ${target.key} from ${source.id}: ${failureOf(e).message}`);
      if (left > 1) await run.clock.sleep(1000, ctx.signal);
    }
  }
  return undefined;
}
