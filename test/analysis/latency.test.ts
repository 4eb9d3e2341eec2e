import assert from "node:assert/strict";
import { chance } from "../../automation/analysis/chance";
import { add } from "../../automation/analysis/counts";
import { type LatencyOptions, type LatencyState, latency } from "../../automation/analysis/latency";
import type { Past, Tick } from "../../automation/core/model";
import { BadConfig } from "../../components/errors";
import { binomial, close, counts, EDGES, judgedBy, many, tickOf, verdictBy } from "./builders";

// Edges are 10, 50, 100, 500 and 1000 ms.
const row = (...buckets: number[]) =>
  counts(
    buckets.reduce((a, b) => a + b, 0),
    0,
    buckets,
  );
const FAST = row(10_000, 0, 0, 0, 0, 0); // P99 just below 10 ms
const NORMAL = row(0, 9000, 990, 10, 0, 0); // P99 just below 100 ms
const pastOf = (baseline = NORMAL, edges = EDGES): Past => ({
  at: 0,
  seconds: 900,
  edges,
  baseline,
  phi: 1,
  slow: 1,
});
const past = pastOf();
const WARM = { warmUp: "0s" } as const;
const LIMIT = { ...WARM, max: "500ms" } as const;
const evidence = (options: LatencyOptions, ticks: Tick[], known?: Past) =>
  judgedBy([latency(options)], ticks, known).findings()[0]!.evidence!;
/** Canary and baseline alike, `slow` of 100 canary requests in the bucket above 500 ms. */
const slow = (share: number, n = 100) => tickOf(row(0, n - share, 0, 0, share, 0), row(0, 900, 90, 10, 0, 0));

describe("latency, as an e-process", () => {
  it("does not grow on average while 1 - q are above the limit, nor for it", () => {
    const judge = latency({ ...LIMIT, quantile: 0.8 });
    const random = chance(1);
    for (let run = 0; run < 50; run++) {
      let state = judge.start();
      for (let t = 0; t < 5; t++) {
        const n = 1 + Math.floor(random() * 8);
        const updated = (x: number) => judge.update(state, tickOf(row(0, n - x, 0, 0, x, 0)));
        const mean = { against: 0, for: 0 };
        for (let x = 0; x <= n; x++)
          for (const name of ["against", "for"] as const) {
            const [was, is] = [state, updated(x)].map((s) => judge.finding(s).evidence![name]);
            mean[name] += binomial(n, x, 0.2) * Math.exp(is! - was!);
          }
        close(mean.against, 1, 1e-12);
        close(mean.for, 1, 1e-12);
        state = updated(Math.floor(random() ** 2 * n));
      }
    }
  });

  it("speaks for a release that is as slow as its baseline has become, and not for one that is slower", () => {
    const day = (slow: number) => tickOf(row(1000 - slow, 0, 0, 0, slow, 0), row(8700, 0, 0, 0, 300, 0));
    const said = (slow: number) => evidence(WARM, many(20, day(slow)), past);
    assert.ok(said(30).for > Math.log(20), `${said(30).for}`);
    assert.ok(said(90).for < 0, `${said(90).for}`);
    assert.ok(said(30).against < 0);
  });

  it("says the same however its ticks are cut, as long as the split is the same", () => {
    const random = chance(2);
    const spread = (n: number) => {
      const buckets = [0, 0, 0, 0, 0, 0];
      for (let i = 0; i < n; i++) buckets[Math.floor(6 * random() ** 2)]!++;
      return row(...buckets);
    };
    for (const options of [LIMIT, WARM, { ...WARM, max: "300ms", ratio: 3 } as const])
      for (let run = 0; run < 20; run++) {
        const ticks = Array.from({ length: 4 }, () => {
          const n = 5 + Math.floor(random() * 50);
          return { ...tickOf(spread(n), spread(9 * n)), seconds: 1 };
        });
        const [cut, whole] = [evidence(options, ticks, past), evidence(options, [ticks.reduce(add)], past)];
        // Beside a baseline that is slow itself, what is asked of a release is what that was in this very tick.
        const names = ["against", "bad", "sample", ...(options === LIMIT ? (["for"] as const) : [])] as const;
        for (const name of names) close(cut[name], whole[name], 1e-9 * Math.max(1, Math.abs(whole[name])));
      }
  });
});

describe("latency, as it decides", () => {
  it("fails what is slower than the limit too often, and passes what is not", () => {
    assert.equal(verdictBy([latency(LIMIT)], many(20, slow(3))), "fail");
    assert.equal(verdictBy([latency(LIMIT)], many(20, slow(1))), "running");
    assert.equal(verdictBy([latency(LIMIT)], many(20, slow(0))), "pass");
  });

  it("takes three slow requests to fail", () => {
    const two = tickOf(row(0, 0, 0, 0, 2, 0));
    assert.equal(verdictBy([latency(LIMIT)], [two]), "running");
    assert.equal(verdictBy([latency(LIMIT)], [two, tickOf(row(0, 0, 0, 0, 1, 0))]), "fail");
    assert.equal(
      verdictBy([latency({ ...LIMIT, minSlow: 4 })], [two, tickOf(row(0, 0, 0, 0, 1, 0))]),
      "running",
    );
  });

  it("finds what is twice as slow, and lets what is not be", () => {
    // P99 of the baseline is 100 ms: 1.5 times that lies in the bucket from 100 to 500 ms.
    const theirs = row(0, 900, 92, 8, 0, 0);
    const twice = many(30, tickOf(row(0, 60, 20, 20, 0, 0), theirs));
    assert.equal(verdictBy([latency(WARM)], twice, { past }), "fail");
    assert.equal(
      verdictBy([latency(WARM)], many(60, tickOf(row(0, 90, 10, 0, 0, 0), theirs)), { past }),
      "pass",
    );
    assert.notEqual(
      verdictBy([latency(WARM)], many(60, tickOf(row(0, 82, 17, 1, 0, 0), theirs)), { past }),
      "fail",
    );
  });

  it("does not fail while both are slow", () => {
    const bad = many(30, tickOf(row(0, 60, 20, 20, 0, 0), row(0, 540, 180, 180, 0, 0)));
    assert.notEqual(verdictBy([latency(WARM)], bad, { past }), "fail");
    const allowed = many(60, tickOf(row(0, 80, 19, 1, 0, 0), row(0, 820, 80, 0, 0, 0)));
    assert.notEqual(
      verdictBy([latency(WARM)], [...allowed, ...bad.slice(0, 6)], { past }),
      "fail",
      "nor after a time",
    );
  });

  it("never fails below the floor by ratio", () => {
    const known = pastOf(FAST);
    const slower = many(60, tickOf(row(50, 50, 0, 0, 0, 0), row(900, 0, 0, 0, 0, 0)));
    assert.equal(verdictBy([latency(WARM)], slower, { past: known }), "fail");
    assert.notEqual(verdictBy([latency({ ...WARM, floor: "50ms" })], slower, { past: known }), "fail");
  });

  it("leaves the canary's first half minute with traffic out", () => {
    const cold = many(6, slow(100));
    assert.equal(verdictBy([latency({ max: "500ms" })], cold), "running");
    assert.equal(verdictBy([latency({ max: "500ms" })], [...cold, slow(100)]), "fail");
    const without = many(20, tickOf(row(0, 0, 0, 0, 0, 0), NORMAL));
    assert.equal(verdictBy([latency({ max: "500ms" })], [...without, ...cold]), "running", "there was none");
    assert.equal(verdictBy([latency(LIMIT)], [slow(100)]), "fail", "where there is no warm-up");
  });

  it("neither fails nor passes by a limit that its histogram does not show", () => {
    const beyond = many(60, tickOf(row(0, 0, 0, 0, 0, 100)));
    assert.equal(verdictBy([latency({ ...WARM, max: "2s" })], beyond), "running");
    assert.equal(verdictBy([latency({ ...WARM, max: "1s" })], beyond), "fail", "the last edge is shown");
    // P99 of the baseline is 0.9 s, so that even 1.5 times that lies beyond.
    const known = pastOf(row(0, 0, 0, 0, 10_000, 0));
    const ticks = many(60, tickOf(row(0, 0, 0, 0, 0, 100), row(0, 0, 0, 0, 900, 0)));
    assert.equal(verdictBy([latency(WARM)], ticks, { past: known }), "running");
    // A limit within a bucket: what is in it may be below or above.
    const inside = many(60, tickOf(row(0, 0, 0, 100, 0, 0)));
    assert.equal(verdictBy([latency({ ...WARM, max: "200ms" })], inside), "running");
  });

  it("passes by ratio alone without a baseline ever, and says so", () => {
    const [finding] = judgedBy([latency(WARM)], many(9, tickOf(row(0, 0, 0, 0, 0, 100)))).findings();
    assert.equal(finding!.verdict, "pass");
    assert.match(finding!.reason, /no latency of a baseline/);
    assert.equal(verdictBy([latency(WARM)], many(9, tickOf(NORMAL, row(0, 0, 0, 0, 0, 0)))), "running");
  });

  it("is about the limit alone where there was never a baseline", () => {
    const both = latency({ ...LIMIT, ratio: 2 });
    assert.equal(
      verdictBy(
        [both],
        many(20, slow(0)).map(({ baseline: _, ...t }) => t),
      ),
      "pass",
    );
    assert.equal(
      verdictBy(
        [both],
        many(20, slow(9)).map(({ baseline: _, ...t }) => t),
      ),
      "fail",
    );
  });

  it("learns the baseline's quantile from the time beside it, where none is known from before", () => {
    const ticks = many(30, tickOf(row(0, 60, 20, 20, 0, 0), row(0, 900, 92, 8, 0, 0)));
    assert.equal(verdictBy([latency(WARM)], ticks), "fail");
    const few = many(3, tickOf(row(0, 9, 0, 0, 0, 0), row(0, 81, 0, 0, 0, 0)));
    const [finding] = judgedBy([latency(WARM)], few).findings();
    assert.match(finding!.reason, /not known yet/);
  });

  it("holds it at 100 % against what the baseline was", () => {
    const before = many(12, tickOf(row(0, 90, 10, 0, 0, 0), row(0, 810, 90, 0, 0, 0)));
    const updated = (t: Tick) => verdictBy([latency(WARM)], [...before, ...many(12, t)], { past });
    assert.equal(updated(tickOf(row(0, 600, 200, 200, 0, 0))), "fail");
    assert.equal(updated(tickOf(row(0, 900, 99, 1, 0, 0))), "pass");
  });

  it("knows the baseline of the time before, and how it clumps", () => {
    const outage = many(12, tickOf(row(0, 60, 20, 20, 0, 0)));
    assert.equal(verdictBy([latency(WARM)], outage, { past }), "fail");
    const [one, four] = [1, 4].map((slow) => evidence(WARM, outage, { ...past, slow }).against) as [
      number,
      number,
    ];
    assert.ok(one / 5 < four && four < one / 3);
  });

  it("keeps of a weight what is of that weight alone", () => {
    const judge = latency(WARM);
    const state = judge.update(judge.start(past), slow(0));
    assert.deepEqual(state.last, [100, 1000]);
    const { last, ...rest } = state;
    assert.deepEqual([judge.turn!(state), last], [rest, [100, 1000]]);
    const moved = judge.update(judge.start(past), { ...slow(0), moving: true });
    assert.equal(moved.last, undefined);
  });

  it("begins anew to learn the baseline's quantile when the buckets change", () => {
    const judge = latency(WARM);
    const few = tickOf(row(9, 0, 0, 0, 0, 0), row(81, 0, 0, 0, 0, 0));
    const other = { ...few, edges: EDGES.map((edge) => 2 * edge) };
    const { gathered } = judge.update(judge.update(judge.start(), few), other);
    assert.deepEqual(gathered, { edges: other.edges, buckets: few.baseline!.buckets });
  });

  it("does not take a baseline that was not read for one without slow requests", () => {
    const ticks = many(30, tickOf(row(0, 60, 20, 20, 0, 0), row(0, 540, 180, 180, 0, 0)));
    const judge = latency(WARM);
    const gone = tickOf(row(0, 60, 20, 20, 0, 0), row(0, 0, 0, 0, 0, 0));
    const of = (state: LatencyState) => state.rel!.up[0]!;
    const state = ticks.reduce((s, t) => judge.update(s, t), judge.start(past));
    const next = judge.update(state, gone);
    const alone = judge.update({ ...state, last: [0, 0] }, gone);
    close(of(next), of(alone), 1e-9);
  });

  it("goes on when the buckets change", () => {
    const before = many(9, slow(0));
    const other = { ...tickOf(row(0, 40, 60, 0), row(0, 900, 0, 0), [0.2, 0.6, 2]) };
    assert.equal(verdictBy([latency(LIMIT)], [...before, ...many(9, other)]), "fail");
    const none = { ...tickOf(counts(9, 0, [9]), counts(9, 0, [9])), edges: [] };
    const had = evidence(LIMIT, before);
    assert.deepEqual(evidence(LIMIT, [...before, none]), had, "without any, it says nothing");
  });

  it("refuses what it can't read", () => {
    for (const max of ["500", "500 hours", "ms", "0ms", "-1s", 500, null, "1e3ms"])
      assert.throws(() => latency({ max: max as never }), BadConfig.is, String(max));
    for (const quantile of [0, 1, 99, Number.NaN]) assert.throws(() => latency({ quantile }), BadConfig.is);
    for (const ratio of [1.3, 0, -2, Number.NaN, 1001]) assert.throws(() => latency({ ratio }), BadConfig.is);
    for (const change of [{ minSlow: 0 }, { minBaseline: 0.5 }, { warmUp: "soon" }, { floor: "0ms" }])
      assert.throws(() => latency(change as LatencyOptions), BadConfig.is, JSON.stringify(change));
  });
});
