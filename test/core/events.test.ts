import assert from "node:assert/strict";
import fc from "fast-check";
import { decide } from "../../automation/core/decide";
import { evolve, fold, type JournalEvent, type RunState, stepOf } from "../../automation/core/events";
import type { Plan, Step, StepId } from "../../automation/core/model";
import { tell } from "../support/story";
import { tales } from "../support/tales";
import { frozen } from "../support/tape";

/** Journals that really came about: some runs were asked to leave, aborted, or killed. */
const journals: fc.Arbitrary<Promise<JournalEvent[]>> = fc
  .record({ tale: tales, kind: fc.constantFrom("none", "leave", "abort", "kill"), at: fc.nat(60) })
  .map(async ({ tale, kind, at }) => {
    const disturbed = {
      none: {},
      leave: { leaveAt: at },
      abort: { abortAt: at },
      kill: { cut: { append: at, how: "after" as const } },
    }[kind as "none"];
    return (await tell(tale, disturbed)).events;
  });

/** A state nobody may change: sets can't be frozen, so theirs throw. */
function guarded(state: RunState): RunState {
  const ready = new Set(state.ready);
  const no = () => {
    throw new Error("the ready set was changed");
  };
  Object.assign(ready, { add: no, delete: no, clear: no });
  return frozen({ ...state, ready });
}

/** By the definition, with a look at every step of the plan. */
function scan(plan: Plan, events: readonly JournalEvent[]): { ready: Set<StepId>; left: number } {
  const done = new Set(
    events.flatMap((e) => (e.type === "step.finished" && e.outcome === "done" ? [e.step] : [])),
  );
  const open = plan.steps.filter((s) => !done.has(s.id));
  const ready = open.filter((s) => s.needs.every((need) => done.has(need))).map((s) => s.id);
  return { ready: new Set(ready), left: open.length };
}

const RUNS = { numRuns: 25 };

describe("evolve", function () {
  this.timeout(60_000);

  it("keeps a ready set that is what a full scan of the plan gives, after every event", () =>
    fc.assert(
      fc.asyncProperty(journals, async (made) => {
        const events = await made;
        let state: RunState | undefined;
        for (const [i, event] of events.entries()) {
          state = guarded(evolve(state, event));
          const { ready, left } = scan(state.plan, events.slice(0, i + 1));
          assert.deepEqual(new Set(state.ready), ready);
          assert.equal(state.left, left);
        }
      }),
      RUNS,
    ));

  it("folds the same prefix by prefix, whole, and through JSON", () =>
    fc.assert(
      fc.asyncProperty(journals, fc.nat(999), async (made, at) => {
        const events = await made;
        const half = Math.max(1, Math.floor((at * events.length) / 1000));
        let state = fold(events.slice(0, half));
        for (const event of events.slice(half)) state = evolve(state, event);
        assert.deepEqual(state, fold(events));
        assert.deepEqual(fold(JSON.parse(JSON.stringify(events))), state);
      }),
      RUNS,
    ));

  it("marks what was touched and shifted when the step starts, for that is when the world may change", () =>
    fc.assert(
      fc.asyncProperty(journals, async (made) => {
        let state: RunState | undefined;
        for (const event of await made) {
          state = evolve(state, event);
          if (event.type !== "step.started") continue;
          const step = state.plan.steps.find((s) => s.id === event.step)!;
          const target = state.targets[step.target]!;
          if (step.act === "deploy" || step.act === "shift") assert.ok(target.touched);
          if (step.act === "shift") assert.ok(target.shifted);
          if (step.act === "settle") assert.ok(state.settling);
        }
      }),
      RUNS,
    ));
});

/** What `maxParallel` is about: what costs a machine something. */
function isWork(step: Step): boolean {
  return ["deploy", "replace", "shift", "adopt", "settle", "run"].includes(step.act);
}

describe("decide", function () {
  this.timeout(60_000);

  it("changes nothing it is given, answers the same twice, and never starts more than it may", () =>
    fc.assert(
      fc.asyncProperty(journals, fc.nat(3), async (made, busy) => {
        let state: RunState | undefined;
        for (const event of await made) {
          state = guarded(evolve(state, event));
          const { plan } = state;
          const flights: ReadonlySet<string> = new Set([...state.ready].slice(0, busy));
          const first = decide(plan, state, state.at, flights);
          assert.deepEqual(decide(plan, state, state.at, flights), first);
          if (first.kind !== "perform") continue;
          const working = [...first.steps, ...[...flights].map((id) => stepOf(plan, id))].filter(isWork);
          const flying = [...flights].filter((id) => isWork(stepOf(plan, id))).length;
          assert.ok(working.length <= Math.max(plan.maxParallel, flying));
          for (const step of first.steps) {
            assert.ok(state.ready.has(step.id));
            assert.ok(!flights.has(step.id));
          }
        }
      }),
      RUNS,
    ));

  it("leaves no ready step lying while there is room and it need not wait", () =>
    fc.assert(
      fc.asyncProperty(journals, async (made) => {
        let state: RunState | undefined;
        for (const event of await made) {
          state = evolve(state, event);
          const next = decide(state.plan, state, state.at, new Set());
          if (state.phase !== "up" || state.failed || state.abort || state.left === 0) continue;
          const free = [...state.ready].filter((id) => {
            const { target } = state!.plan.steps.find((s) => s.id === id)!;
            const step = state!.targets[target]?.steps[id];
            return step?.status !== "waiting" || (step.until ?? 0) <= state!.at;
          });
          const { plan } = state;
          const work = free.filter((id) => isWork(stepOf(plan, id))).length;
          const taken = next.kind === "perform" ? next.steps.length : 0;
          assert.equal(taken, free.length - work + Math.min(work, plan.maxParallel));
        }
      }),
      RUNS,
    ));

  it("says how a run that is done ended, and that once", () =>
    fc.assert(
      fc.asyncProperty(journals, async (made) => {
        const events = await made;
        const state = fold(events)!;
        const last = events.at(-1)!;
        assert.equal(last.type, "run.finished");
        const next = decide(state.plan, state, state.at, new Set());
        assert.deepEqual(next, { kind: "finish", outcome: state.outcome, reason: state.reason });
      }),
      RUNS,
    ));
});
