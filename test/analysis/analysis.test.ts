import assert from "node:assert/strict";
import { analysis } from "../../automation/analysis/analysis";
import { BadReading, tick } from "../../automation/analysis/counts";
import { errorRate } from "../../automation/analysis/errors";
import { dossier } from "../../automation/analysis/evidence";
import { latency } from "../../automation/analysis/latency";
import { metric } from "../../automation/analysis/metric";
import { combine } from "../../automation/analysis/verdict";
import type { Counts, Reading, Tick, Verdict } from "../../automation/core/model";
import type { MetricSource } from "../../automation/core/ports";
import { BadConfig } from "../../components/errors";
import { counts, EDGES, reading } from "./builders";

const source: MetricSource = { id: "none", ping: async () => {}, read: async () => undefined };
const judges = [errorRate({ max: "1%", worseThan: 1.5 }), latency({ max: "500ms", ratio: 2 })];

/** A minute and a half of one weight, judged as the driver judges it; what can't be counted is no tick. */
function told(readings: readonly Reading[], proof = true, of = analysis({ source, judges })): Verdict {
  const evidence = dossier(of.judges);
  evidence.enter("s");
  let before: Reading | undefined;
  for (const next of readings) {
    const made = tick(before, next, "green", "blue", 10);
    if (made) evidence.take(made, "s");
    if (!before || next.at > before.at) before = next;
  }
  return decided(of, evidence, proof);
}

function decided(
  of: ReturnType<typeof analysis>,
  evidence: ReturnType<typeof dossier>,
  proof: boolean,
): Verdict {
  const { seconds, requests, total } = evidence.seen("s");
  const { stepBake: bake, minBake, risk, promoteRisk } = of;
  return combine(evidence.findings(), {
    elapsed: seconds,
    bake,
    requests,
    total,
    minBake,
    proof,
    risk,
    promoteRisk,
  });
}

/** Every five seconds, what each slot has counted by then. */
const every = (canary: (i: number) => Counts, baseline: (i: number) => Counts, ticks = 20): Reading[] =>
  Array.from({ length: ticks }, (_, i) => reading(i * 5000, { green: canary(i), blue: baseline(i) }));
const grows =
  (n: number, errors = 0) =>
  (i: number) =>
    counts(i * n, i * errors);

describe("what is read badly", () => {
  it("would pass if it were read well", () => {
    assert.equal(told(every(grows(100), grows(900))).verdict, "pass");
    assert.equal(told(every(grows(100), grows(900)), false).verdict, "pass");
  });

  const cases: [what: string, Reading[], verdict: string, reason: RegExp][] = [
    ["no reading", [], "running", /no requests/],
    ["one reading", [reading(0, { green: counts(1000), blue: counts(9000) })], "running", /no requests/],
    ["a canary without traffic", every(grows(0), grows(100)), "error", /split-mismatch/],
    ["a canary without traffic, and little beside it", every(grows(0), grows(2)), "running", /no requests/],
    ["a baseline without traffic", every(grows(100), grows(0)), "error", /split-mismatch/],
    ["a split that is not the declared one", every(grows(500), grows(500)), "error", /split-mismatch/],
    ["no traffic at all", every(grows(0), grows(0)), "running", /no requests/],
    ["a canary that is not seen", strip(every(grows(100), grows(900)), "green"), "running", /no requests/],
    ["a baseline that is not seen", strip(every(grows(100), grows(900)), "blue"), "error", /split-mismatch/],
    [
      "the same reading again and again",
      new Array(20).fill(every(grows(100), grows(900))[3]),
      "running",
      /no requests/,
    ],
    ["time that goes backwards", every(grows(100), grows(900)).toReversed(), "running", /no requests/],
    [
      "time that stands still",
      every(grows(100), grows(900)).map((r) => ({ ...r, at: 0 })),
      "running",
      /no requests/,
    ],
    [
      "counters that start over each time",
      every(
        () => counts(0),
        () => counts(0),
      ),
      "running",
      /no requests/,
    ],
    [
      "nothing but errors since a reset",
      every((i) => counts(50 - i, 50 - i), grows(900)),
      "fail",
      /100 % of/,
    ],
  ];
  for (const [what, readings, verdict, reason] of cases)
    it(`${what}: ${verdict}, and no pass`, () => {
      for (const proof of [true, false]) {
        const found = told(readings, proof);
        assert.equal(found.verdict, verdict, found.reason);
        assert.match(found.reason, reason);
      }
    });

  const good = every(grows(100), grows(900));
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1])
    it(`a count of ${value} is refused by name`, () => {
      for (const spoilt of [
        { ...counts(1000), requests: value },
        { ...counts(1000), errors: value },
        counts(1000, 0, [1000, 0, value, 0, 0, 0]),
      ])
        for (const slots of [
          { green: spoilt, blue: counts(900) },
          { green: counts(100), blue: spoilt },
        ])
          assert.throws(() => told([...good, reading(1e6, slots)]), BadReading.is);
    });

  it("a time that is no number is refused by name", () => {
    for (const at of [Number.NaN, Number.POSITIVE_INFINITY])
      assert.throws(() => told([...good, reading(at, { green: counts(1), blue: counts(1) })]), BadReading.is);
  });

  it("a reading that is out of order, or comes twice, adds nothing", () => {
    const of = analysis({ source, judges });
    const shuffled = good.flatMap((r, i) => (i > 1 ? [r, good[i - 2]!, r] : [r]));
    assert.deepEqual(told(shuffled, true, of), told(good, true, of));
  });

  it("even if it came as far as the judges, it is an error, for good", () => {
    const of = analysis({ source, judges });
    const sound: Tick = {
      at: 0,
      seconds: 5,
      edges: EDGES,
      canary: counts(100),
      baseline: counts(900),
      weight: 10,
    };
    const broken: Partial<Tick>[] = [
      { seconds: Number.NaN },
      { seconds: Number.POSITIVE_INFINITY },
      { seconds: -5 },
      ...[Number.NaN, Number.POSITIVE_INFINITY, -1].flatMap((value) => [
        { canary: { ...counts(100), requests: value } },
        { canary: { ...counts(100), errors: value } },
        { baseline: { ...counts(100), requests: value } },
        { baseline: { ...counts(100), errors: value } },
        { canary: counts(100, 0, [0, 0, 0, 0, 0, value]) },
        { baseline: counts(100, 0, [0, 0, 0, 0, 0, value]) },
      ]),
      { canary: counts(100, 101) },
    ];
    for (const change of broken) {
      const evidence = dossier(of.judges);
      evidence.take(sound, "s");
      evidence.take({ ...sound, ...change }, "s");
      for (let i = 0; i < 30; i++) evidence.take(sound, "s");
      for (const { judge, verdict } of evidence.findings())
        assert.equal(verdict, "error", `${judge}: ${JSON.stringify(change)}`);
      for (const proof of [true, false]) assert.equal(decided(of, evidence, proof).verdict, "error");
    }
  });
});

function strip(readings: readonly Reading[], slot: "blue" | "green"): Reading[] {
  return readings.map((r) => ({ ...r, slots: { ...r.slots, [slot]: undefined } }));
}

describe("analysis", () => {
  it("has the defaults of the documentation", () => {
    const { source: _, judges: all, ...rest } = analysis({ source, judges });
    assert.deepEqual(rest, {
      every: 5,
      stepBake: 60,
      minBake: 60,
      maxDuration: 900,
      holdFor: 3600,
      onInconclusive: "hold",
      probe: 10,
      risk: 0.05,
      promoteRisk: 0.05,
      checkSplit: true,
    });
    assert.deepEqual(
      all.map((j) => j.id),
      ["error-rate", "latency-p99", "split"],
    );
  });

  it("takes times and shares as people write them", () => {
    const of = analysis({
      source,
      judges,
      every: "500ms",
      stepBake: "2m",
      minBake: 0,
      risk: "1%",
      promoteRisk: 0.1,
    });
    assert.deepEqual([of.every, of.stepBake, of.minBake, of.risk, of.promoteRisk], [0.5, 120, 0, 0.01, 0.1]);
  });

  it("does not look at the split where it is told not to", () => {
    const of = analysis({ source, judges, checkSplit: false });
    assert.equal(of.judges.length, 2);
    assert.notEqual(told(every(grows(500), grows(500)), true, of).verdict, "error");
  });

  it("refuses what can't be meant", () => {
    const bad: object[] = [
      { judges: [] },
      { judges: [errorRate({ max: "1%" }), errorRate({ max: "2%" })] },
      { judges: [{ ...errorRate({ max: "1%" }), id: "split" }] },
      { judges: [metric({ query: "up", max: 1 })] },
      { onInconclusive: "shrug" },
      ...["every", "stepBake", "minBake", "maxDuration", "holdFor"].flatMap((name) =>
        [-1, Number.NaN, Number.POSITIVE_INFINITY, "soon", "-5s", ""].map((value) => ({
          [name]: value,
        })),
      ),
      ...["risk", "promoteRisk"].flatMap((name) =>
        [0, "0%", 0.51, "60%", -0.1, Number.NaN, "likely"].map((value) => ({ [name]: value })),
      ),
      ...[-1, 101, Number.NaN, "10%"].map((probe) => ({ probe })),
    ];
    for (const options of bad)
      assert.throws(() => analysis({ source, judges, ...options }), BadConfig.is, JSON.stringify(options));
  });

  it("takes a judge with a query where the source has an answer", () => {
    const answers: MetricSource = { ...source, value: async () => 0 };
    assert.equal(analysis({ source: answers, judges: [metric({ query: "up", max: 1 })] }).judges.length, 2);
  });
});
