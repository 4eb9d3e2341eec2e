import assert from "node:assert/strict";
import { metric } from "../../automation/analysis/metric";
import { threshold } from "../../automation/analysis/threshold";
import type { Tick } from "../../automation/core/model";
import type { Judge } from "../../automation/core/ports";
import { BadConfig } from "../../components/errors";
import { counts } from "./builders";
import { asked, judged, laws, QUERY, slow, span, verdicts } from "./classic";

const good = span(60, 100, 1);
const bad = span(60, 100, 2);
const none = span(60, 0);

function times(count: number, tick: Tick): Tick[] {
  return new Array<Tick>(count).fill(tick);
}

describe("threshold, the rule of Argo Rollouts", () => {
  laws(
    [
      threshold({ of: "errors", max: "1%" }),
      threshold({ of: "errors", max: "5%", failureLimit: 3, count: 10 }),
      threshold({ of: "p99", max: "100ms", failureLimit: 2 }),
      threshold({ of: { query: QUERY }, max: 3 }),
    ].map((judge) => judge as Judge<unknown>),
  );

  it("takes its first measurement when an interval is over", () => {
    const judge = threshold({ of: "errors", max: "1%" });
    assert.deepEqual(verdicts(judge, ...times(12, span(5, 100, 50))), [
      ...times(11, good).map(() => "running"),
      "fail",
    ]);
  });

  it("fails when more measurements than failureLimit were over the limit, not at it", () => {
    const judge = threshold({ of: "errors", max: "1%", failureLimit: 2 });
    assert.deepEqual(verdicts(judge, bad, bad, good, bad), ["running", "running", "pass", "fail"]);
    assert.deepEqual(verdicts(threshold({ of: "errors", max: "1%" }), good, bad), ["pass", "fail"]);
  });

  it("stays failed, whatever comes", () => {
    const judge = threshold({ of: "errors", max: "1%", count: 2 });
    assert.deepEqual(verdicts(judge, bad, good, good, none), ["fail", "fail", "fail", "fail"]);
  });

  it("measures each interval by itself", () => {
    const judge = threshold({ of: "errors", max: "1%" });
    assert.equal(judged(judge, span(60, 100_000), span(60, 10, 1)).verdict, "fail");
    assert.equal(judged(judge, span(60, 100_000), span(5, 10, 10)).verdict, "pass", "not over yet");
  });

  it("passes with count measurements, and then takes no more", () => {
    const judge = threshold({ of: "errors", max: "1%", count: 3 });
    assert.deepEqual(verdicts(judge, good, good, good), ["running", "running", "pass"]);
    assert.equal(judged(judge, good, good, good, bad, bad).verdict, "pass");
    // Argo: failures up to failureLimit are no reason not to be Successful.
    assert.equal(
      judged(threshold({ of: "errors", max: "1%", count: 1, failureLimit: 1 }), bad).verdict,
      "pass",
    );
  });

  it("counts no error as a measurement", () => {
    const judge = threshold({ of: "errors", max: "1%", count: 2 });
    assert.deepEqual(verdicts(judge, good, none, none, good), ["running", "running", "running", "pass"]);
  });

  it("is an error after more than consecutiveErrorLimit intervals without data, and never a failure", () => {
    const judge = threshold({ of: "errors", max: "1%" });
    assert.deepEqual(verdicts(judge, ...times(6, none)), [
      ...times(4, none).map(() => "running"),
      "error",
      "error",
    ]);
    assert.equal(judged(judge, ...times(100, none)).verdict, "error");
    assert.equal(
      judged(threshold({ of: "errors", max: "1%", consecutiveErrorLimit: 0 }), none).verdict,
      "error",
    );
  });

  it("starts a row of errors anew after a measurement, and recovers", () => {
    const judge = threshold({ of: "errors", max: "1%" });
    assert.equal(judged(judge, ...times(4, none), good, ...times(4, none)).verdict, "running");
    assert.equal(judged(judge, ...times(9, none), good).verdict, "pass");
  });

  it("goes on over the weights", () => {
    const judge = threshold({ of: "errors", max: "1%", failureLimit: 1 });
    const state = judge.update(judge.start(), bad);
    assert.equal(judge.finding(judge.update(judge.turn?.(state) ?? state, bad)).verdict, "fail");
  });

  it("makes one measurement of a tick that is longer than its interval, and keeps its times", () => {
    const judge = threshold({ of: "errors", max: "1%", failureLimit: 5 });
    assert.equal(judged(judge, span(150, 100, 50)).figures.measurements, 1);
    assert.equal(judged(judge, span(150, 100, 50), span(29, 100)).figures.measurements, 1);
    assert.equal(judged(judge, span(150, 100, 50), span(30, 100)).figures.measurements, 2);
    // Ten times a tenth is less than one in binary fractions.
    const quick = threshold({ of: "errors", max: "1%", interval: "1s" });
    assert.equal(judged(quick, ...times(10, span(0.1, 10))).figures.measurements, 1);
  });

  it("measures the P99 of an interval as histogram_quantile does", () => {
    const judge = threshold({ of: "p99", max: "100ms" });
    assert.equal(judged(judge, slow(60, 2)).verdict, "pass");
    assert.equal(judged(judge, slow(60, 3)).verdict, "fail");
    assert.equal(judged(judge, slow(30, 2, 9900), slow(30, 4, 100)).verdict, "pass", "1 % may be slower");
    assert.equal(judged(judge, slow(60, 5)).verdict, "fail", "beyond the last edge of 1 s");
  });

  it("makes no pass of a P99 that lies beyond the histogram, where the limit lies too", () => {
    const judge = threshold({ of: "p99", max: "2s" });
    assert.deepEqual(verdicts(judge, ...times(5, slow(60, 5))), [
      ...times(4, none).map(() => "running"),
      "error",
    ]);
  });

  it("takes the later histogram where the edges changed within an interval", () => {
    const judge = threshold({ of: "p99", max: "100ms" });
    const other = span(30, 0, 0, { edges: [0.02, 0.08], canary: counts(100, 0, [100, 0, 0]) });
    assert.equal(judged(judge, slow(30, 4), other).verdict, "pass");
    assert.equal(
      judged(judge, slow(30, 4), span(30, 0, 0, { edges: [], canary: counts(0, 0, [0]) })).verdict,
      "fail",
    );
  });

  it("measures the last value of a query, whose name the driver can see", () => {
    const judge = threshold({ of: { query: QUERY }, max: 3 });
    assert.equal(judge.query, QUERY);
    assert.equal(threshold({ of: "errors", max: "1%" }).query, undefined);
    assert.equal(judged(judge, asked(30, 99), asked(30, 3)).verdict, "pass");
    assert.equal(judged(judge, asked(30, 1), asked(30, 3.01)).verdict, "fail");
    assert.equal(judged(judge, asked(30, 1), asked(30)).verdict, "pass", "missing in one reading");
    assert.equal(judged(judge, ...times(5, asked(60))).verdict, "error");
    assert.equal(judged(judge, asked(5, Number.NaN)).verdict, "error");
  });

  it("says its numbers", () => {
    const { reason, figures } = judged(threshold({ of: "errors", max: "1%" }), span(60, 1000, 52));
    assert.equal(
      reason,
      "canary 5.2 % of requests failed, limit 1 %; 1 of 1 measurement over the limit, 0 allowed",
    );
    assert.deepEqual(figures, { measurements: 1, failed: 1, errors: 0, last: 0.052, max: 0.01 });
  });

  it("refuses options it can't read", () => {
    const wrong: unknown[] = [
      { of: "errors", max: "1 percent" },
      { of: "success", max: "1%" },
      { of: "p99", max: 0.5 },
      { of: { query: " " }, max: 1 },
      { of: { query: QUERY }, max: Number.NaN },
      { of: "errors", max: "1%", interval: 60 },
      { of: "errors", max: "1%", failureLimit: -1 },
      { of: "errors", max: "1%", count: 0 },
      { of: "errors", max: "1%", consecutiveErrorLimit: 1.5 },
    ];
    for (const options of wrong)
      assert.throws(() => threshold(options as never), BadConfig.is, JSON.stringify(options));
  });
});

describe("metric", () => {
  const half = (value?: number) => asked(30, value);

  laws([
    metric({ query: QUERY, max: 0.5, interval: "60s" }) as Judge<unknown>,
    metric({ query: QUERY, min: -1, max: 4, interval: "60s", count: 2 }) as Judge<unknown>,
  ]);

  it("passes with three measurements within bounds, and goes on measuring", () => {
    const judge = metric({ query: QUERY, max: 10 });
    assert.deepEqual(verdicts(judge, half(1), half(2), half(3)), ["running", "running", "pass"]);
    assert.deepEqual(verdicts(judge, ...times(9, half(1)), half(11), half(11), half(11)).slice(-3), [
      "running",
      "running",
      "fail",
    ]);
  });

  it("fails at the third measurement out of bounds, on either side", () => {
    const judge = metric({ query: QUERY, min: 5, max: 10 });
    assert.deepEqual(verdicts(judge, half(4), half(7), half(11), half(4.9)), [
      "running",
      "running",
      "running",
      "fail",
    ]);
    assert.deepEqual(verdicts(metric({ query: QUERY, min: 5 }), half(5), half(5), half(1e9)).at(-1), "pass");
  });

  it("does not pass on a number out of bounds", () => {
    const judge = metric({ query: QUERY, max: 10 });
    assert.deepEqual(verdicts(judge, half(1), half(1), half(11), half(1)), [
      "running",
      "running",
      "running",
      "pass",
    ]);
  });

  it("waits without data, and is never a failure of it", () => {
    const judge = metric({ query: QUERY, max: 10 });
    assert.equal(judged(judge, half(1), half(1), half(1), half()).verdict, "running");
    assert.equal(judged(judge, half(1), half(1), half(1), ...times(5, half())).verdict, "error");
    assert.equal(judged(judge, half(1), half(1), half(1), ...times(5, half()), half(2)).verdict, "pass");
  });

  it("is called after its query, or as it is told, and says its numbers", () => {
    assert.equal(metric({ query: QUERY, max: 1 }).id, `metric-${QUERY}`);
    assert.equal(metric({ query: QUERY, max: 1, name: "queue" }).id, "metric-queue");
    assert.equal(
      judged(metric({ query: QUERY, min: 0.5, max: 10, failureLimit: 0 }), half(0.04321)).reason,
      "the query gave 0.04321, limits 0.5 and 10; 1 of 1 measurement out of bounds, 0 allowed",
    );
  });

  it("refuses options it can't read", () => {
    const wrong: unknown[] = [
      { query: QUERY },
      { query: "", max: 1 },
      { max: 1 },
      { query: QUERY, max: "1%" },
      { query: QUERY, min: 2, max: 1 },
    ];
    for (const options of wrong)
      assert.throws(() => metric(options as never), BadConfig.is, JSON.stringify(options));
  });
});
