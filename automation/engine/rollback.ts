import { WorldMoved } from "../../components/errors";
import type { Handle } from "../../components/handle";
import type { Fact, RunState } from "../core/events";
import type { Instant, TargetKey } from "../core/model";
import { restored } from "../core/wanted";
import type { Run } from "./run";
import { failureOf, placeOf, type Scene, within, without } from "./scene";

/** Lines of a failing slot's log that are kept. */
const LOG_LINES = 200;
/** Milliseconds before a restore is tried again; doubled each time, a minute at most. */
const FIRST_RETRY = 1000;
/** Seconds a restore may take until it is given up and tried again: a rollback has its own deadline. */
const RESTORE_SECONDS = 600;
/** Seconds a divert may take: it is one request to a platform. */
const DIVERT_SECONDS = 10;
/** Seconds the log lines may take. */
const LOG_SECONDS = 5;
/** How often a divert is tried by a process that is about to leave, a second between. */
const LAST_TRIES = 5;

/** The lane down: divert at once through the platform, then restore through Pulumi. */
export interface Rollback {
  divert(key: TargetKey, signal: AbortSignal): Promise<void>;
  restore(key: TargetKey, signal: AbortSignal): Promise<void>;
  /** Takes every unproven slot out of the traffic, as well as it can; says where it did. */
  divertAll(): Promise<TargetKey[]>;
  /** Whether a rollback has begun and every slot that had traffic has lost it. */
  diverted(): boolean;
}

interface Parts {
  run: Run;
  state(): RunState;
  record(fact: Fact): Promise<void>;
  quiet(key: TargetKey | undefined, except?: string): Promise<void>;
  scene(key: TargetKey, signal: AbortSignal): Scene;
  now(): Instant;
}

export function rollback(parts: Parts): Rollback {
  const { run, state, record } = parts;

  /** Writes the split without the new slot. Nothing to do where nothing was ever declared. */
  async function write(scene: Scene): Promise<boolean> {
    const handle = scene.handle();
    if (!handle) return false;
    const place = placeOf(scene);
    // With its live slot: what is adopted is not proved, so the platform must not give traffic back to it.
    await within(
      run,
      DIVERT_SECONDS,
      scene.target.router.write({ ...handle, live: place.from }, without(place), scene.ctx),
    );
    return true;
  }

  async function again(key: TargetKey, e: unknown): Promise<void> {
    const attempt = (state().targets[key]?.restoreAttempts ?? 0) + 1;
    const until = parts.now() + Math.min(FIRST_RETRY * 2 ** (attempt - 1), 60_000);
    await record({ type: "restore.failed", target: key, attempt, failure: failureOf(e), until });
  }

  async function divert(key: TargetKey, signal: AbortSignal): Promise<void> {
    const scene = parts.scene(key, signal);
    const shifted = state().targets[key]?.shifted ?? false;
    try {
      // A failure here must not keep the acts from being ended; the second write tells the truth.
      if (shifted)
        await write(scene).catch((e) => run.log(`first divert of ${key}: ${failureOf(e).message}`));
      // A shift in flight may land after a divert. So: quiet, then divert again, only then write it down.
      await parts.quiet(key, `divert:${key}`);
      if (shifted) await write(scene);
    } catch (e) {
      // Asked to leave: whoever goes on begins with this again.
      if (signal.aborted) return;
      return again(key, e);
    }
    await record({ type: "traffic.diverted", target: key, moved: shifted });
  }

  async function restore(key: TargetKey, signal: AbortSignal): Promise<void> {
    const deadline = new AbortController();
    const over = new AbortController();
    const scene = parts.scene(key, AbortSignal.any([signal, deadline.signal]));
    void run.clock.sleep(RESTORE_SECONDS * 1000, over.signal).then(() => deadline.abort());
    let handle: Handle;
    try {
      await keepLogs(key, scene);
      handle = await declare(key, scene);
    } catch (e) {
      if (signal.aborted) return;
      return again(key, e);
    } finally {
      over.abort();
    }
    await record({ type: "target.restored", target: key, handle });
  }

  async function declare(key: TargetKey, scene: Scene): Promise<Handle> {
    // An act that was cut off may have stored its handle although it never said so.
    const { declared } = await scene.target.observe(scene.ctx);
    const by = { run: scene.ctx.fence.run, step: `restore:${key}` };
    // A restore that was cut off after it had landed.
    if (declared?.by?.run === by.run && declared.by.step === by.step) return declared;
    const place = placeOf(scene);
    const moved = declared?.by?.run !== by.run && declared?.generation !== place.base?.generation;
    if (moved) {
      // Nothing of this run was ever stored, and whatever it left half done is declared anew by now.
      if (declared && !scene.state().targets[key]?.handle) return declared;
      throw WorldMoved(
        key,
        `it is at generation ${declared?.generation ?? 0}, which this run did not write.`,
      );
    }
    scene.ctx.signal.throwIfAborted();
    const want = restored(declared, place, by);
    return scene.target.apply({ want, expect: declared?.generation ?? 0, by, unguarded: true }, scene.ctx);
  }

  async function keepLogs(key: TargetKey, scene: Scene): Promise<void> {
    const handle = scene.handle();
    if (!handle) return;
    const { router } = scene.target;
    try {
      const lines = await within(
        run,
        LOG_SECONDS,
        router.logs(handle, placeOf(scene).to, LOG_LINES, scene.ctx),
      );
      await run.keep(key, lines);
    } catch (e) {
      // Evidence is worth having, but never at the price of a slower rollback.
      run.log(`no log lines of ${key}: ${failureOf(e).message}`);
    }
  }

  async function divertAll(): Promise<TargetKey[]> {
    const now = state();
    if (now.settling) return [];
    const unproven = run.plan.targets.filter(({ key }) => {
      const target = now.targets[key];
      return target?.shifted && !target.restored && !target.settled;
    });
    const done = await Promise.all(unproven.map(({ key }) => insist(key)));
    return unproven.map((t) => t.key).filter((_key, i) => done[i]);
  }

  /** Nobody will be there to try again, so it is not left at the first refusal. */
  async function insist(key: TargetKey): Promise<boolean> {
    const scene = parts.scene(key, new AbortController().signal);
    for (let left = LAST_TRIES; left > 0; left--) {
      try {
        return await write(scene);
      } catch (e) {
        run.log(`divert of ${key}: ${failureOf(e).message}`);
        if (left > 1) await run.clock.sleep(1000);
      }
    }
    return false;
  }

  function diverted(): boolean {
    const now = state();
    return now.phase === "down" && Object.values(now.targets).every((t) => !t.shifted || t.diverted);
  }

  return { divert, restore, divertAll, diverted };
}
