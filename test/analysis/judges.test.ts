import assert from "node:assert/strict";
import fc from "fast-check";
import { add } from "../../automation/analysis/counts";
import { errorRate, latency } from "../../automation/analysis/judges";
import { quantile } from "../../automation/analysis/quantile";
import type { Counts, Tick, VerdictKind } from "../../automation/core/model";
import type { Judge } from "../../automation/core/ports";
import { BadConfig } from "../../components/errors";
import { anyTick, counts, EDGES, tickOf } from "./builders";

function judged<S>(judge: Judge<S>, ...ticks: Tick[]) {
  return judge.finding(ticks.reduce((state, t) => judge.update(state, t), judge.start()));
}

function verdictOf<S>(judge: Judge<S>, ...ticks: Tick[]): VerdictKind {
  return judged(judge, ...ticks).verdict;
}

const JUDGES: Judge<unknown>[] = [
  errorRate({ max: "1%" }),
  errorRate({ max: 0, minErrors: 1, minRequests: 1 }),
  latency(),
  latency({ max: "100ms", minRequests: 50 }),
].map((judge) => judge as Judge<unknown>);

describe("every judge", () => {
  for (const judge of JUDGES) {
    it(`${judge.rule}: says the same however the ticks are cut`, () => {
      fc.assert(
        fc.property(fc.array(anyTick, { minLength: 1, maxLength: 8 }), (ticks) => {
          const whole = ticks.reduce(add);
          assert.deepEqual(judged(judge, ...ticks), judged(judge, whole));
        }),
      );
    });

    it(`${judge.rule}: has a state that survives JSON at any point`, () => {
      fc.assert(
        fc.property(fc.array(anyTick, { maxLength: 6 }), (ticks) => {
          let kept = judge.start();
          let plain = judge.start();
          for (const t of ticks) {
            plain = judge.update(plain, t);
            kept = judge.update(JSON.parse(JSON.stringify(kept)), t);
            assert.deepEqual(JSON.parse(JSON.stringify(plain)), plain);
          }
          assert.deepEqual(judge.finding(kept), judge.finding(plain));
        }),
      );
    });

    it(`${judge.rule}: never passes without data`, () => {
      const empty = [tickOf(counts(0), counts(0)), tickOf(counts(0), counts(1000)), tickOf(counts(0))];
      assert.equal(verdictOf(judge), "running");
      fc.assert(
        fc.property(fc.array(fc.constantFrom(...empty)), (ticks) => {
          assert.equal(verdictOf(judge, ...ticks), "running");
        }),
      );
    });

    it(`${judge.rule}: calls counts that are no numbers an error`, () => {
      const broken = tickOf(
        counts(
          Number.NaN,
          Number.NaN,
          EDGES.concat(1).map(() => Number.NaN),
        ),
      );
      assert.equal(verdictOf(judge, broken), "error");
      assert.equal(verdictOf(judge, tickOf(counts(1000)), broken), "error");
    });

    it(`${judge.rule}: keeps a state that does not grow with the ticks`, () => {
      const t = tickOf(counts(9, 1), counts(9, 1));
      let state = judge.start();
      for (let i = 0; i < 10; i += 1) state = judge.update(state, t);
      const early = JSON.stringify(state).length;
      for (let i = 0; i < 1000; i += 1) state = judge.update(state, t);
      assert.ok(JSON.stringify(state).length < early + 40);
    });
  }
});

describe("errorRate", () => {
  const judge = errorRate({ max: "1%" });
  const cases: [string, Counts, VerdictKind][] = [
    ["few good requests are too little", counts(99), "running"],
    ["a hundred good ones pass", counts(100), "pass"],
    ["exactly the limit passes", counts(300, 3), "pass"],
    ["more than the limit fails", counts(300, 4), "fail"],
    ["over the limit with too few errors waits", counts(150, 2), "running"],
    ["a hopeless start fails at once", counts(6, 3), "fail"],
    ["two errors of two wait for a third", counts(2, 2), "running"],
  ];
  for (const [what, canary, verdict] of cases)
    it(what, () => assert.equal(verdictOf(judge, tickOf(canary)), verdict));

  it("does not wait only where no rest of the sample could help", () => {
    // 5 % of 100: 5 errors may still come out at the limit, 6 can't.
    const five = errorRate({ max: "5%" });
    assert.equal(verdictOf(five, tickOf(counts(10, 5))), "running");
    assert.equal(verdictOf(five, tickOf(counts(10, 6))), "fail");
  });

  it("does not let a good hour at a low weight hide a bad minute at a high one", () => {
    const judge = errorRate({ max: "1%" });
    const good = judge.update(judge.start(), tickOf(counts(100_000)));
    const bad = tickOf(counts(500, 50));
    assert.equal(judge.finding(judge.update(good, bad)).verdict, "pass", "it would, without a turn");
    assert.equal(judge.finding(judge.update(judge.turn?.(good) ?? good, bad)).verdict, "fail");
  });

  it("is not misled by binary fractions", () => {
    assert.equal(verdictOf(errorRate({ max: "29%" }), tickOf(counts(100, 29))), "pass");
    assert.equal(verdictOf(errorRate({ max: 0.07 }), tickOf(counts(100, 7))), "pass");
  });

  it("says its numbers", () => {
    const { reason, figures } = judged(judge, tickOf(counts(1204, 63), counts(9000, 9)));
    assert.equal(
      reason,
      "canary 5.23 % of 1,204 requests failed, limit 1 %, baseline 0.1 % of 9,000 requests failed",
    );
    assert.equal(figures.errors, 63);
  });

  it("never fails with fewer errors than asked for, nor passes over the limit", () => {
    fc.assert(
      fc.property(anyTick, fc.integer({ min: 0, max: 100 }), (t, max) => {
        const { verdict } = judged(errorRate({ max: max / 100 }), t);
        if (t.canary.errors < 3) assert.notEqual(verdict, "fail");
        if (t.canary.errors * 100 > max * t.canary.requests) assert.notEqual(verdict, "pass");
        else assert.notEqual(verdict, "fail");
      }),
    );
  });

  it("refuses what it can't read", () => {
    for (const max of ["1", "1 percent", "%", "-1%", "200%", 5, -0.1, Number.NaN, null, "1e-2%"])
      assert.throws(() => errorRate({ max: max as never }), BadConfig.is, String(max));
    assert.throws(() => errorRate({ max: "1%", minRequests: 0 }), BadConfig.is);
    assert.throws(() => errorRate({ max: "1%", minErrors: 1.5 }), BadConfig.is);
  });
});

describe("latency", () => {
  const fast = counts(1000, 0, [1000, 0, 0, 0, 0, 0]); // P99 just below 10 ms
  const medium = counts(1000, 0, [0, 1000, 0, 0, 0, 0]); // P99 just below 50 ms
  const slow = counts(1000, 0, [900, 0, 0, 0, 100, 0]); // P99 0.95 s
  const beyond = counts(1000, 0, [900, 0, 0, 0, 0, 100]); // P99 above 1 s

  const cases: [string, Judge<never>, Tick[], VerdictKind][] = [
    ["as fast as the baseline passes", latency(), [tickOf(fast, fast)], "pass"],
    ["more than twice as slow fails", latency(), [tickOf(medium, fast)], "fail"],
    ["twice as slow below the floor passes", latency({ floor: "50ms" }), [tickOf(medium, fast)], "pass"],
    ["a ratio that allows it passes", latency({ ratio: 6 }), [tickOf(medium, fast)], "pass"],
    [
      "too few canary requests wait",
      latency(),
      [tickOf(counts(199, 0, [0, 0, 0, 0, 199, 0]), fast)],
      "running",
    ],
    ["too few baseline requests wait", latency(), [tickOf(fast, counts(199))], "running"],
    ["over the absolute limit fails", latency({ max: "500ms" }), [tickOf(slow)], "fail"],
    ["below the absolute limit passes", latency({ max: "500ms" }), [tickOf(medium)], "pass"],
    [
      "max does not wait for a baseline to fail",
      latency({ max: "500ms" }),
      [tickOf(slow, counts(3))],
      "fail",
    ],
    ["beyond the last edge fails against a fast baseline", latency(), [tickOf(beyond, fast)], "fail"],
    ["beyond the last edge is over any limit up to it", latency({ max: "1s" }), [tickOf(beyond)], "fail"],
    ["beyond the last edge can't pass a limit above it", latency({ max: "2s" }), [tickOf(beyond)], "running"],
    ["beyond the last edge can't pass a slow baseline", latency(), [tickOf(beyond, slow)], "running"],
    ["both beyond the last edge can't be compared", latency(), [tickOf(beyond, beyond)], "running"],
    ["a baseline beyond the last edge lets a faster canary pass", latency(), [tickOf(fast, beyond)], "pass"],
  ].map((c) => c as never);
  for (const [what, judge, ticks, verdict] of cases)
    it(what, () => assert.equal(verdictOf(judge, ...ticks), verdict));

  it("without any baseline passes, and says that there was none", () => {
    const { verdict, reason } = judged(latency(), tickOf(slow));
    assert.equal(verdict, "pass");
    assert.match(reason, /no baseline to compare with/);
  });

  it("compares with the remembered baseline once there is none any more", () => {
    const worse = counts(30_000, 0, [0, 0, 30_000, 0, 0, 0]);
    assert.equal(verdictOf(latency(), tickOf(counts(0), fast), tickOf(worse)), "fail");
    assert.equal(verdictOf(latency(), tickOf(counts(0), counts(100)), tickOf(worse)), "running");
  });

  it("remembers the baseline at the next weight, and begins with the canary anew", () => {
    const judge = latency();
    const worse = counts(300, 0, [0, 0, 300, 0, 0, 0]);
    const next = judge.turn?.(judge.update(judge.start(), tickOf(medium, fast))) ?? judge.start();
    assert.equal(judge.finding(next).verdict, "running", "what the canary did at the former weight is over");
    assert.equal(judge.finding(judge.update(next, tickOf(worse))).verdict, "fail");
    assert.equal(judge.finding(judge.update(next, tickOf(fast))).verdict, "pass");
  });

  it("remembers the baseline when the buckets change", () => {
    const edges = [0.2, 2];
    const later = tickOf(counts(500, 0, [0, 500, 0]), undefined, edges);
    assert.equal(verdictOf(latency(), tickOf(fast, fast), later), "fail");
    const none: Tick = { ...tickOf(counts(5, 0, [0]), counts(5, 0, [0])), edges: [] };
    assert.equal(verdictOf(latency(), tickOf(fast, fast), none, later), "fail");
  });

  it("refuses what it can't read", () => {
    for (const max of ["500", "500 hours", "ms", "0ms", "-1s", 500, null, "1e3ms"])
      assert.throws(() => latency({ max: max as never }), BadConfig.is, String(max));
    for (const quantile of [0, 1, 99, Number.NaN]) assert.throws(() => latency({ quantile }), BadConfig.is);
    assert.throws(() => latency({ ratio: 0.5 }), BadConfig.is);
  });
});

describe("quantile", () => {
  it("is linear within its bucket, as Prometheus has it", () => {
    assert.deepEqual(quantile(0.5, [1, 2], [0, 10, 0]), { seconds: 1.5, beyond: false });
    assert.deepEqual(quantile(0.5, [1, 2], [10, 0, 0]), { seconds: 0.5, beyond: false });
    assert.deepEqual(quantile(0.9, [1, 2, 4], [50, 40, 10, 0]), { seconds: 2, beyond: false });
  });

  it("says when it lies above the last edge", () => {
    assert.deepEqual(quantile(0.99, [1, 2], [5, 0, 5]), { seconds: 2, beyond: true });
  });

  it("grows with q", () => {
    fc.assert(
      fc.property(anyTick, fc.double({ min: 0.01, max: 0.99, noNaN: true }), (t, q) => {
        fc.pre(t.canary.requests > 0);
        const low = quantile(q / 2, EDGES, t.canary.buckets);
        assert.ok(low.seconds <= quantile(q, EDGES, t.canary.buckets).seconds);
      }),
    );
  });
});
