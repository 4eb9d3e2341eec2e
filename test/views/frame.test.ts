import assert from "node:assert/strict";
import { stripVTControlCharacters as bare } from "node:util";
import fc from "fast-check";
import { evolve, fold, type JournalEvent } from "../../automation/core/events";
import { act, remaining } from "../../automation/views/expected";
import { frame, type Model } from "../../automation/views/frame";
import { width } from "../../automation/views/text";
import { type Tale, tell } from "../support/story";
import { tales } from "../support/tales";

/** A model without a run. */
function model(given: Partial<Model> = {}): Model {
  const none = { progress: new Map(), expected: new Map(), kept: new Map() };
  return { now: 1_800_000_000_000, since: 1_800_000_000_000, said: [], questions: [], ...none, ...given };
}

/** The state after so many events. */
function upTo(events: readonly JournalEvent[], count: number): Model["state"] {
  return fold(events.slice(0, Math.max(1, count)));
}

const odd = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.string({ unit: "binary", maxLength: 300 }),
  fc.constantFrom(
    "中文".repeat(40),
    "canary 0 % of 504 requests failed, limit 1 %",
    "\x1b[2J\x1b[31m",
    "a\nb\r\nc",
  ),
);

describe("A frame of the live view", () => {
  it("is never wider than the columns and never longer than the rows, whatever the run is at", async () => {
    await fc.assert(
      fc.asyncProperty(
        tales,
        fc.nat(400),
        fc.record({
          columns: fc.oneof(fc.integer({ min: 1, max: 120 }), fc.constant(4000)),
          rows: fc.integer({ min: 1, max: 60 }),
          said: fc.array(odd, { maxLength: 5 }),
          progress: odd,
          kept: fc.array(odd, { maxLength: 9 }),
          asking: fc.option(odd, { nil: undefined }),
          question: fc.option(odd, { nil: undefined }),
          known: fc.boolean(),
        }),
        async (tale, count, given) => {
          const { events, plan } = await tell(tale);
          const state = upTo(events, count % (events.length + 1));
          const steps = plan.steps;
          const drawn = frame(
            model({
              state,
              said: given.said,
              progress: new Map(steps.map((s) => [s.id, given.progress])),
              expected: new Map(given.known ? steps.map((s) => [act(s), 12_000]) : []),
              kept: new Map([["t0", given.kept]]),
              asking: given.asking,
              questions:
                given.question === undefined
                  ? []
                  : [{ step: steps[0]!.id, reason: given.question, requester: false }],
            }),
            given.columns,
            given.rows,
          );
          assert.ok(drawn.length <= given.rows, `${drawn.length} lines in ${given.rows} rows`);
          for (const line of drawn) {
            assert.ok(width(line) <= given.columns, `${JSON.stringify(line)} in ${given.columns} columns`);
            assert.doesNotMatch(line, /[\r\n\t]/);
          }
        },
      ),
      { numRuns: 150 },
    );
  }).timeout(60_000);

  it("pads nothing in a very wide terminal", async () => {
    const { events } = await tell({ ...TALE, weights: [10] });
    for (let i = 1; i <= events.length; i++)
      for (const text of frame(model({ state: upTo(events, i) }), 4000, 50))
        assert.ok(width(text) < 300, text);
  });

  it("shows what failed and what is under way first where not all fits, and tells how much is left out", async () => {
    const { plan, events } = await tell({
      ...TALE,
      targets: Array.from({ length: 5 }, () => ({ first: false })),
      wave: 1,
      onFailure: "wave",
    });
    const busy = events.findIndex((e) => e.type === "step.started" && e.step.startsWith("t4/"));
    const drawn = frame(model({ state: upTo(events, busy + 1) }), 80, 9).map(bare);
    assert.ok(
      drawn.some((text) => text.startsWith("t4 ")),
      drawn.join("\n"),
    );
    assert.ok(
      drawn.some((text) => text.startsWith("  ●")),
      drawn.join("\n"),
    );
    const left = Number(/… (\d+) more/.exec(drawn.at(-1) ?? "")?.[1]);
    const steps = plan.steps.filter((s) => s.act !== "join").length;
    assert.equal(left + drawn.filter((text) => /^ {2}[●✓·✗]/.test(text)).length, steps);
  });

  it("shows the split as two glyphs and as numbers, and which slot is the new one", async () => {
    const { events } = await tell({ ...TALE, weights: [10] });
    const shifted = events.findIndex((e) => e.type === "step.finished" && /shift-10$/.test(e.step));
    const [, , target] = frame(model({ state: upTo(events, shifted + 1) }), 80, 24).map(bare);
    assert.match(target ?? "", /^t0 {2}\d+\/\d+ {2}█{18}░{2} blue 90 % green 10 % \(new\)$/);
    const [, , narrow] = frame(model({ state: upTo(events, shifted + 1) }), 30, 24).map(bare);
    assert.match(narrow ?? "", /^t0 {2}\d+\/\d+ {2}blue 90 % green 1/);
  });

  it("takes the new slot to 0 % as soon as its traffic was taken back", async () => {
    const { events, plan } = await tell({ ...TALE, weights: [10], failing: ["t0/live"] });
    const diverted = events.findIndex((e) => e.type === "traffic.diverted");
    assert.ok(diverted > 0, plan.request);
    const drawn = frame(model({ state: upTo(events, diverted + 1) }), 100, 24).map(bare);
    assert.ok(
      drawn.some((text) => /blue 100 % green 0 % \(new\) {2}traffic is off/.test(text)),
      drawn.join("\n"),
    );
    assert.ok(drawn.some((text) => text.startsWith("rolling back: ")));
    assert.ok(drawn.some((text) => text.startsWith("  ✗ ")));
  });

  it("says what people are asked, who may answer and how", async () => {
    const { events, plan } = await tell({ ...TALE, gates: 1 });
    const questions = [{ step: plan.steps[0]!.id, reason: "0 of 1 said yes", requester: false }];
    const drawn = frame(model({ state: upTo(events, 2), questions }), 100, 24).map(bare);
    assert.ok(drawn.includes("? 0 of 1 said yes"));
    assert.ok(
      drawn.includes("  npm run approve -- prod (not by me), or npm run reject -- prod"),
      drawn.join("\n"),
    );
  });

  it("tells how long is left where former runs tell it, and nothing where they don't", async () => {
    const { events, plan } = await tell(TALE);
    const state = upTo(events, 2);
    const known = new Map(plan.steps.map((s) => [act(s), 60_000]));
    const now = state!.startedAt + 5000;
    const left = remaining(plan, state!, known, now);
    // The first act has 5 s less to go.
    assert.equal(
      left,
      plan.steps.length * 60_000 - (now - state!.targets.t0!.steps[plan.steps[0]!.id]!.startedAt),
    );
    assert.equal(remaining(plan, state!, new Map([...known].slice(1)), now), undefined);
    const time = (ends?: number) => frame(model({ state, ends, now }), 100, 24).map(bare)[1];
    assert.match(time(now + 65_000) ?? "", /^5 s, about 1 min 5 s left, 0 of/);
    assert.match(time() ?? "", /^5 s, 0 of/);
  });

  it("is drawn in a few milliseconds for 1,000 targets", async () => {
    const { plan } = await tell({ ...TALE, weights: [5, 25, 60] });
    const many = { ...plan, targets: [] as typeof plan.targets, steps: [] as typeof plan.steps };
    const named = (i: number, id: string) => id.replace(/^t0/, `t${i}`);
    for (let i = 0; i < 1000; i++) {
      many.targets.push({ ...plan.targets[0]!, key: `t${i}` });
      for (const s of plan.steps)
        many.steps.push({
          ...s,
          id: named(i, s.id),
          target: `t${i}`,
          needs: s.needs.map((n) => named(i, n)),
        });
    }
    const base = { v: 1 as const, prev: "", at: 0 };
    let state = evolve(undefined, {
      ...base,
      seq: 0,
      type: "run.planned",
      run: "r",
      plan: many,
      actor: "me",
    });
    for (let i = 0; i < 20; i++)
      state = evolve(state, {
        ...base,
        seq: i + 1,
        type: "step.started",
        step: named(i, plan.steps[0]!.id),
        attempt: 1,
      });
    const expected = new Map(many.steps.map((s) => [act(s), 1000]));
    const began = process.cpuUsage();
    for (let i = 0; i < 10; i++) frame(model({ state, expected, now: i * 1000 }), 120, 50);
    const { user, system } = process.cpuUsage(began);
    const each = (user + system) / 10_000;
    // Ten frames a second may take half of one core, on a busy machine.
    assert.ok(each < 50, `${each.toFixed(1)} ms a frame`);
  });
});

const TALE: Tale = {
  seed: 1,
  targets: [{ first: false }],
  gates: 0,
  tasks: 0,
  checks: true,
  analysis: true,
  maxParallel: 4,
  faults: {},
};
