import { decide } from "../core/decide";
import { evolve, type Fact, fold, type RunState, STUCK, stepOf } from "../core/events";
import type { Instant, Outcome, Step, TargetKey } from "../core/model";
import type { Context } from "../core/ports";
import { beat } from "./beat";
import { perform } from "./perform";
import { type Rollback, rollback } from "./rollback";
import type { Run } from "./run";
import { failureOf, type Result, type Scene } from "./scene";
import { steady } from "./steady";

/** How the driver left a run. */
export type Ending =
  | { left: "finished"; outcome: Outcome; reason: string }
  | { left: "paused"; reason: string; interrupted?: boolean }
  | { left: "stuck"; reason: string };

interface Flight {
  target: TargetKey;
  abort: AbortController;
  done: Promise<void>;
}

/** Drives a run to its end, or to where it has to be left: asks `decide`, performs, writes down, asks again. */
export async function drive(run: Run): Promise<Ending> {
  return new Driver(run).drive();
}

// A class, for the loop and the acts in flight share state; nothing of it outlives drive().
class Driver {
  private state: RunState;
  private readonly flights = new Map<string, Flight>();
  private roused = false;
  private sleeper: AbortController | undefined;
  private hold: string | undefined;
  private fatal: unknown;
  private readonly undo: Rollback;
  private readonly now: () => Instant;

  constructor(private readonly run: Run) {
    const state = fold(run.journal.events);
    if (!state) throw new Error("the journal has no plan");
    this.state = state;
    this.now = steady(run.clock, state.at);
    this.undo = rollback({
      run,
      state: () => this.state,
      record: (fact) => this.record(fact),
      quiet: (key, except) => this.quiet(key, except),
      scene: (key, signal) => this.scene(key, signal),
      now: this.now,
    });
  }

  async drive(): Promise<Ending> {
    const { run } = this;
    const beating = new AbortController();
    const beats = beat(run, (key) => this.scene(key, beating.signal), beating.signal);
    const rouse = () => this.wake();
    run.leave.addEventListener("abort", rouse);
    run.now.addEventListener("abort", rouse);
    try {
      return await this.loop();
    } catch (e) {
      // The journal can't be written. Traffic comes first: without a journal nobody may be judged.
      this.abort();
      await this.undo.divertAll();
      await this.quiet();
      await this.undo.divertAll();
      throw e;
    } finally {
      run.leave.removeEventListener("abort", rouse);
      run.now.removeEventListener("abort", rouse);
      beating.abort();
      await beats;
    }
  }

  private async loop(): Promise<Ending> {
    const { run } = this;
    for (;;) {
      this.roused = false;
      if (this.fatal) throw this.fatal;
      await this.mail();
      const leaving = this.leaving();
      if (leaving) {
        const left = await this.pause(leaving);
        if (left) return left;
        continue;
      }
      const now = this.now();
      const next = decide(run.plan, this.state, now, new Set(this.flights.keys()));
      switch (next.kind) {
        case "perform":
          for (const step of next.steps)
            this.launch(step.id, step.target, (signal) => this.act(step, signal));
          break;
        case "roll-back":
          await this.record({
            type: "rollback.begun",
            reason: next.reason,
            step: this.state.failed?.step,
            failure: this.state.failed?.failure,
          });
          // Untouched targets have nothing to divert, but their acts must end too.
          this.abort();
          break;
        case "divert":
          for (const key of next.targets)
            this.launch(`divert:${key}`, key, (signal) => this.undo.divert(key, signal));
          break;
        case "restore":
          for (const key of next.targets)
            this.launch(`restore:${key}`, key, (signal) => this.undo.restore(key, signal));
          break;
        case "wait": {
          const wait = next.until === undefined ? undefined : next.until - now;
          // A rollback is never left for a wait: its waits are its own, between two attempts.
          if (
            this.state.phase === "up" &&
            wait !== undefined &&
            wait > (run.patience ?? Number.POSITIVE_INFINITY) &&
            this.flights.size === 0
          ) {
            const left = await this.pause({ reason: this.waitingFor() });
            if (left) return left;
            break;
          }
          await this.sleep(wait);
          break;
        }
        case "finish":
          if (this.state.phase !== "done")
            await this.record({ type: "run.finished", outcome: next.outcome, reason: next.reason });
          return { left: "finished", outcome: next.outcome, reason: next.reason };
        case "stop":
          await this.record({ type: "run.paused", reason: `${STUCK}${next.reason}`, diverted: [] });
          return { left: "stuck", reason: next.reason };
        default:
          throw next satisfies never;
      }
    }
  }

  /** Starts an act; the loop goes on and is woken when it ends. */
  private launch(id: string, target: TargetKey, act: (signal: AbortSignal) => Promise<void>): void {
    const abort = new AbortController();
    const done = act(abort.signal)
      .catch((e) => {
        this.fatal ??= e;
      })
      .finally(() => {
        this.flights.delete(id);
        this.wake();
      });
    this.flights.set(id, { target, abort, done });
  }

  private async act(step: Step, signal: AbortSignal): Promise<void> {
    const attempt = (this.state.targets[step.target]?.steps[step.id]?.attempts ?? 0) + 1;
    await this.record({ type: "step.started", step: step.id, attempt });
    if (signal.aborted) return;
    let result: Result;
    try {
      result = await perform(step, this.scene(step.target, signal));
    } catch (e) {
      // Asked to stop: started and not finished, so it is asked again by whoever goes on.
      if (signal.aborted) return;
      result = { kind: "failed", failure: failureOf(e) };
    }
    if (signal.aborted && result.kind !== "done") return;
    switch (result.kind) {
      case "done":
        return this.record({
          type: "step.finished",
          step: step.id,
          outcome: "done",
          handle: result.handle,
          verdict: result.verdict,
          note: result.note,
        });
      case "failed":
        return this.record({
          type: "step.finished",
          step: step.id,
          outcome: "failed",
          failure: result.failure,
        });
      case "wait":
        return this.record({
          type: "step.waiting",
          step: step.id,
          reason: result.reason,
          until: result.until,
        });
      case "hold":
        this.hold ??= result.reason;
        return;
      default:
        throw result satisfies never;
    }
  }

  private scene(key: TargetKey, signal: AbortSignal): Scene {
    const { run } = this;
    const target = run.targets.get(key);
    if (!target) throw new Error(`no target ${key}`);
    const ctx: Context = { signal, now: this.now, log: run.log, fence: run.fence };
    const base = run.plan.targets.find((t) => t.key === key)?.base;
    return {
      run,
      target,
      ctx,
      state: () => this.state,
      record: (fact) => this.record(fact),
      handle: () => this.state.targets[key]?.handle ?? base,
    };
  }

  /** Durable first, then believed. */
  private async record(fact: Fact): Promise<void> {
    const event = await this.run.journal.append(fact, this.now());
    this.state = evolve(this.state, event);
    try {
      this.run.heard(event, this.state);
    } catch (e) {
      this.run.log(`whoever listens failed: ${failureOf(e).message}`);
    }
  }

  private abort(): void {
    for (const flight of this.flights.values()) flight.abort.abort();
  }

  /** Aborts the acts of a target, or all of them, and waits until they have ended. */
  private async quiet(key?: TargetKey, except?: string): Promise<void> {
    for (;;) {
      const busy = [...this.flights].filter(
        ([id, f]) => id !== except && (key === undefined || f.target === key),
      );
      if (busy.length === 0) return;
      for (const [, flight] of busy) flight.abort.abort();
      await Promise.all(busy.map(([, flight]) => flight.done));
    }
  }

  /** Journals what other processes said, then forgets their files. */
  private async mail(): Promise<void> {
    for (const { name, message } of await this.run.inbox.read()) {
      await this.record({
        type: "answer.given",
        answer: message.kind,
        who: message.who,
        reason: message.reason,
        plan: message.plan,
      });
      await this.run.inbox.drop(name);
    }
  }

  /** Why the run is to be left now. A rollback is never left: it ends where everything is as before. */
  private leaving(): { reason: string; interrupted?: boolean } | undefined {
    if (this.run.now.aborted && this.undo.diverted())
      return { reason: "interrupted twice", interrupted: true };
    if (this.state.phase !== "up" || this.state.failed) return undefined;
    if (this.run.leave.aborted) return { reason: "interrupted", interrupted: true };
    return this.hold === undefined ? undefined : { reason: this.hold };
  }

  /**
   * No split is unwatched: whoever leaves takes unproven slots out of the traffic first. Does not leave a run
   * that fails meanwhile: its rollback comes first.
   */
  private async pause(why: { reason: string; interrupted?: boolean }): Promise<Ending | undefined> {
    // Before anything else, or a settle that was about to begin would empty the slot that gets the traffic.
    this.abort();
    await this.undo.divertAll();
    await this.quiet();
    const diverted = await this.undo.divertAll();
    if (this.state.failed && this.state.phase === "up") return undefined;
    await this.record({ type: "run.paused", reason: why.reason, diverted });
    return { left: "paused", ...why };
  }

  private waitingFor(): string {
    const waiting = [...this.state.ready]
      .map((id) => this.state.targets[stepOf(this.run.plan, id).target]?.steps[id])
      .find((s) => s?.status === "waiting");
    return waiting?.note ?? "waiting";
  }

  /** Sleeps until something happened, a second at most: the inbox is a directory. */
  private async sleep(milliseconds: number | undefined): Promise<void> {
    // What happened since decide looked would otherwise be slept through.
    if (this.roused) return;
    this.sleeper = new AbortController();
    await this.run.clock.sleep(Math.min(milliseconds ?? 1000, 1000), this.sleeper.signal);
    this.sleeper = undefined;
  }

  private wake(): void {
    this.roused = true;
    this.sleeper?.abort();
  }
}
