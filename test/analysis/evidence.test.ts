import assert from "node:assert/strict";
import fc from "fast-check";
import { tick } from "../../automation/analysis/counts";
import { errorRate } from "../../automation/analysis/errors";
import { type Dossier, dossier, record } from "../../automation/analysis/evidence";
import { latency } from "../../automation/analysis/latency";
import { followsSplit } from "../../automation/analysis/split";
import type { Counts, Past, Reading, Tick } from "../../automation/core/model";
import type { Judge } from "../../automation/core/ports";
import { anyCounts, counts, EDGES, reading } from "./builders";

const JUDGES: readonly Judge[] = [
  errorRate({ max: "1%", worseThan: 1.5 }),
  latency({ max: "500ms", ratio: 2, warmUp: "0s" }),
  followsSplit(),
];
const EITHER: readonly Judge[] = [errorRate({ max: "1%", worseThan: 1.5, when: "either" }), latency()];

const pastOf = (phi: number): Past => ({
  at: 0,
  seconds: 900,
  edges: EDGES,
  baseline: counts(9000, 20, [8000, 900, 90, 10, 0, 0]),
  phi,
  slow: 1,
});

/** Readings of both slots at times of which every fifth second is one. */
const anyReadings: fc.Arbitrary<Reading[]> = fc
  .array(
    fc.record({
      gaps: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 2 }),
      blue: anyCounts,
      green: anyCounts,
    }),
    { minLength: 1, maxLength: 8 },
  )
  .map((periods) => {
    const made = [reading(0, { blue: counts(0), green: counts(0) })];
    let sum = { blue: counts(0), green: counts(0) };
    for (const [i, { gaps, blue, green }] of periods.entries()) {
      // Something of the period has happened at each time in between.
      for (const gap of [...new Set(gaps)].sort()) {
        const part = { blue: grown(sum.blue, blue, gap / 5), green: grown(sum.green, green, gap / 5) };
        made.push(reading(i * 5000 + gap * 1000, part));
      }
      sum = { blue: grown(sum.blue, blue, 1), green: grown(sum.green, green, 1) };
      made.push(reading((i + 1) * 5000, sum));
    }
    return made;
  });

function grown(a: Counts, b: Counts, part: number): Counts {
  const of = (value: number) => Math.floor(value * part);
  const buckets = a.buckets.map((v, i) => v + of(b.buckets[i]!));
  return { requests: a.requests + of(b.requests), errors: a.errors + of(b.errors), buckets };
}

interface Seen {
  live: Dossier;
  records: Tick[];
  open: Tick | undefined;
}

/** As the driver does it: each reading is looked at at once, and what is worth it is written down. */
function watched(judges: readonly Judge[], readings: readonly Reading[], past?: Past, weight = 10): Seen {
  const live = dossier(judges, past);
  live.enter("s");
  const seen: Seen = { live, records: [], open: undefined };
  for (const [i, after] of readings.entries()) {
    const made = tick(readings[i - 1], after, "green", "blue", weight);
    if (!made) continue;
    const next = record(seen.open, made);
    live.findings(next.tick);
    live.told(next.tick);
    seen.open = next.closed ? undefined : next.tick;
    if (!next.closed) continue;
    live.take(next.tick, "s");
    seen.records.push(next.tick);
  }
  return seen;
}

function folded(judges: readonly Judge[], records: readonly Tick[], past?: Past): Dossier {
  const evidence = dossier(judges, past);
  for (const t of JSON.parse(JSON.stringify(records)) as Tick[]) evidence.take(t, "s");
  return evidence;
}

describe("the evidence", () => {
  for (const [name, judges] of [
    ["both", JUDGES],
    ["either", EITHER],
  ] as const)
    for (const past of [undefined, pastOf(1), pastOf(4)])
      it(`folded from what was written down is that which was live (${name}, phi ${past?.phi})`, () => {
        fc.assert(
          fc.property(anyReadings, (readings) => {
            const { live, records } = watched(judges, readings, past);
            const again = folded(judges, records, past);
            assert.deepEqual(again.told(), live.told());
            assert.deepEqual(again.findings(), live.findings());
            assert.deepEqual(again.seen("s"), live.seen("s"));
          }),
          { numRuns: 40 },
        );
      });

  it("is the same however often it is looked at within a record", () => {
    fc.assert(
      fc.property(anyReadings, (readings) => {
        const whole = readings.filter(({ at }) => at % 5000 === 0);
        const { live, records } = watched(JUDGES, readings);
        assert.equal(records.length, whole.length - 1);
        assert.deepEqual(live.told(), watched(JUDGES, whole).live.told());
      }),
      { numRuns: 50 },
    );
  });

  it("is plain numbers at any point: what JSON keeps is all there is", () => {
    fc.assert(
      fc.property(anyReadings, fc.constantFrom(...JUDGES, ...EITHER), (readings, judge) => {
        let [plain, kept] = [judge.start(pastOf(1)), judge.start(pastOf(1))];
        for (const t of watched([], readings).records) {
          plain = judge.update(plain, t);
          kept = judge.update(JSON.parse(JSON.stringify(kept)), t);
          assert.deepEqual(JSON.parse(JSON.stringify(plain)), plain);
        }
        assert.deepEqual(kept, plain);
        assert.deepEqual(judge.finding(kept), judge.finding(plain));
      }),
      { numRuns: 100 },
    );
  });

  it("is not changed by looking", () => {
    const made = { ...tick(reading(0, start()), reading(2000, grew(20, 5)), "green", "blue")!, weight: 10 };
    const looked = dossier(JUDGES, pastOf(1));
    looked.enter("s");
    const before = looked.told();
    assert.notDeepEqual(looked.findings(made), before.findings, "it sees what is open");
    assert.deepEqual(looked.told(), before);
    assert.deepEqual(looked.seen("s"), { seconds: 0, requests: 0, total: 0 });
    assert.deepEqual(looked.seen("s", made), { seconds: 2, requests: 20, total: 2 });
  });

  it("does without a clump of errors as long as a record is open, where they come in clumps", () => {
    const made = tick(reading(0, start()), reading(2000, grew(20, 20)), "green", "blue", 10)!;
    const evidence = dossier(JUDGES, pastOf(4));
    assert.equal(evidence.findings(made)[0]!.evidence!.bad, 16);
    assert.equal(evidence.told(made).findings[0]!.evidence!.bad, 20, "what is kept is what was seen");
    assert.equal(evidence.seen("s", made).total, 2);
    evidence.take(made, "s");
    assert.equal(evidence.findings()[0]!.evidence!.bad, 20);
  });

  it("is turned by another step, and not by one that is gone on with", () => {
    const turns: string[] = [];
    const judge: Judge<number> = {
      id: "j",
      rule: "counts",
      start: () => 0,
      update: (n) => n + 1,
      turn: (n) => {
        turns.push(`after ${n}`);
        return n;
      },
      finding: (n) => ({ judge: "j", verdict: "running", reason: `${n}`, figures: {} }),
    };
    const evidence = dossier([judge as Judge]);
    const made = tick(reading(0, start()), reading(5000, grew(10, 0)), "green", "blue")!;
    evidence.enter("a");
    evidence.take(made, "a");
    evidence.take(made, "a");
    evidence.enter("a");
    assert.deepEqual(turns, []);
    evidence.enter("b");
    assert.deepEqual(evidence.seen("b"), { seconds: 0, requests: 0, total: 10 });
    evidence.take(made, "b");
    evidence.enter("b");
    assert.deepEqual(turns, ["after 2"]);
    assert.deepEqual(evidence.seen("b"), { seconds: 5, requests: 10, total: 15 });
    assert.deepEqual(evidence.seen("a"), { seconds: 0, requests: 0, total: 15 }, "another step has its own");
  });

  it("takes a tick in which the split changed as evidence, but not as time that was watched", () => {
    const made = {
      ...tick(reading(0, start()), reading(9000, grew(20, 5)), "green", "blue")!,
      moving: true as const,
    };
    const open = tick(reading(0, start()), reading(2000, grew(1, 0)), "green", "blue")!;
    assert.deepEqual(record(open, made), { tick: made, closed: true });
    const evidence = dossier(JUDGES);
    evidence.take(made, "s");
    assert.equal(evidence.findings()[0]!.evidence!.bad, 5);
    assert.deepEqual(evidence.seen("s"), { seconds: 0, requests: 0, total: 0 });
  });

  it("closes a record after five seconds, or what clocks take for five", () => {
    const of = (seconds: number): Tick => ({ at: 0, seconds, edges: EDGES, canary: counts(1) });
    assert.equal(record(undefined, of(4.89)).closed, false);
    assert.equal(record(undefined, of(4.9)).closed, true);
    assert.equal(record(of(2), of(2.95)).closed, true);
    assert.equal(record(of(2), of(2.95)).tick.canary.requests, 2);
  });

  it("comes with intervals where it is kept, and without where it is only looked at", () => {
    const { live } = watched(JUDGES, [reading(0, start()), reading(5000, grew(100, 10))]);
    assert.equal(live.findings()[0]!.evidence!.intervals, undefined);
    const [low, high] = live.told().findings[0]!.evidence!.intervals!.canary!;
    assert.ok(low < 0.1 && 0.1 < high);
    assert.deepEqual(Object.keys(live.told().states), ["error-rate", "latency-p99", "split"]);
  });
});

const start = () => ({ blue: counts(0), green: counts(0) });
const grew = (requests: number, errors: number) => ({
  blue: counts(9 * requests),
  green: counts(requests, errors),
});
