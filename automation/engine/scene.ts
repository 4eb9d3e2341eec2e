import { isSluiceError } from "../../components/errors";
import { type Handle, SLOTS, type Slot } from "../../components/handle";
import type { Fact, RunState } from "../core/events";
import type { Answer, Failure, PlanTarget, Step, Verdict } from "../core/model";
import { planId } from "../core/plan";
import type { Asked, Context, Subject, Target } from "../core/ports";
import { splitOf } from "../core/wanted";
import type { Run } from "./run";

/** What an act gets to work with. */
export interface Scene {
  run: Run;
  state(): RunState;
  target: Target;
  ctx: Context;
  /** Durable once it resolves, and then believed. */
  record(fact: Fact): Promise<void>;
  /** What this run last declared for the target, or what was there before it. */
  handle(): Handle | undefined;
}

/** How an act ended. */
export type Result =
  | { kind: "done"; handle?: Handle; verdict?: Verdict; note?: string }
  | { kind: "failed"; failure: Failure }
  | { kind: "wait"; reason: string; until: number }
  /** Neither a yes nor a no is to be had now: the run is paused, and goes on with the same command. */
  | { kind: "hold"; reason: string };

/** What failed, as the journal keeps it. */
export function failureOf(e: unknown): Failure {
  if (isSluiceError(e)) return { code: e.code, message: e.message, hint: e.hint };
  return { code: "unexpected", message: e instanceof Error ? e.message : String(e) };
}

/** The plan's entry for the scene's target. */
export function placeOf(scene: Scene): PlanTarget {
  const place = scene.run.plan.targets.find((t) => t.key === scene.target.key);
  if (!place) throw new Error(`the plan has no target ${scene.target.key}`);
  return place;
}

/** Whom gates, checks and sources are asked about. */
export async function subject(scene: Scene, slot?: Slot | "public"): Promise<Subject> {
  const place = placeOf(scene);
  const handle = scene.handle();
  return {
    environment: scene.run.plan.environment,
    target: place.key,
    service: place.service,
    release: scene.run.plan.release,
    pin: place.pin,
    handle,
    slot: slot === "public" ? place.to : slot,
    url: handle && slot ? await scene.target.router.reach(handle, slot, scene.ctx) : undefined,
  };
}

/** What people are asked by a step, and what they said. */
export function askedOf(step: Step, scene: Scene): Asked {
  const state = scene.state();
  const since = state.targets[scene.target.key]?.steps[step.id]?.startedAt ?? scene.ctx.now();
  return { run: state.run, actor: state.actor, plan: planId(state.plan), since, answers: state.answers };
}

/**
 * Throws where it takes longer, or is called off. What it waited for may still come: whoever calls must be able to bear
 * that.
 */
export async function within<T>(
  run: Run,
  seconds: number,
  work: Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const over = new AbortController();
  const ends = signal ? AbortSignal.any([signal, over.signal]) : over.signal;
  const late = run.clock.sleep(seconds * 1000, ends).then((): never => {
    throw new Error(`no answer in ${seconds} s`);
  });
  // Who loses the race may still fail, and nobody listens any more.
  late.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
  }
}

/** Milliseconds that a platform may be out of reach for, and between two tries. */
const PATIENCE = 60_000;
const PAUSE = 2000;

/**
 * Asks a platform again that can't be reached: while a release is watched, that says nothing of the release. Throws what
 * it threw last.
 */
export async function patiently<T>(scene: Scene, ask: () => Promise<T>): Promise<T> {
  const end = scene.ctx.now() + PATIENCE;
  for (;;) {
    try {
      return await ask();
    } catch (e) {
      scene.ctx.signal.throwIfAborted();
      if (scene.ctx.now() >= end) throw e;
      scene.ctx.log(`asked again: ${failureOf(e).message}`);
      await scene.run.clock.sleep(PAUSE, scene.ctx.signal);
      scene.ctx.signal.throwIfAborted();
    }
  }
}

/** Somebody's no. */
export function rejected(answer: Answer): Failure {
  const why = answer.reason ? `: ${answer.reason}` : "";
  return { code: "rejected", message: `rejected by ${answer.who} (unverified)${why}` };
}

/** Why the slot can't take traffic, as the failure it is. */
export async function awaited(scene: Scene, slot: Slot): Promise<Result | undefined> {
  const handle = scene.handle();
  if (!handle) return undefined;
  const ready = await scene.target.router.ready(handle, slot, scene.ctx);
  if (ready.ready) return undefined;
  const message = `${slot} of ${placeOf(scene).key} is not ready: ${ready.reason}`;
  return { kind: "failed", failure: { code: ready.code, message } };
}

/**
 * Makes the split what the handle says. It may be less: traffic was given back while nobody watched, and
 * whoever goes on sets it again before anything is judged. Answers with the failure where the slot that
 * would get more is not ready.
 */
export async function refresh(handle: Handle, scene: Scene): Promise<Result | undefined> {
  const { router } = scene.target;
  const actual = await router.read(handle, scene.ctx);
  if (actual.blue === handle.split.blue && actual.green === handle.split.green) return undefined;
  const rising = SLOTS.find((slot) => handle.split[slot] > actual[slot]);
  const unready = rising && (await awaited(scene, rising));
  if (unready) return unready;
  scene.ctx.signal.throwIfAborted();
  await router.write(handle, handle.split, scene.ctx);
  return undefined;
}

/** The split without the new slot: what a divert writes. */
export function without(place: PlanTarget) {
  return splitOf(place, 0);
}
