import assert from "node:assert/strict";
import { thresholdRange } from "../../automation/analysis/range";
import type { Tick } from "../../automation/core/model";
import type { Judge } from "../../automation/core/ports";
import { BadConfig } from "../../components/errors";
import { asked, judged, laws, QUERY, slow, span, verdicts } from "./classic";

const good = span(60, 100, 1);
const bad = span(60, 100, 2);
const none = span(60, 0);

function times(count: number, tick: Tick): Tick[] {
  return new Array<Tick>(count).fill(tick);
}

describe("thresholdRange, the rule of Flagger", () => {
  laws(
    [
      thresholdRange({ of: "success", min: "99%" }),
      thresholdRange({ of: "errors", max: "50%", threshold: 12 }),
      thresholdRange({ of: "p99", max: "100ms", threshold: 2 }),
      thresholdRange({ of: { query: QUERY }, min: -1, max: 3, threshold: 9 }),
    ].map((judge) => judge as Judge<unknown>),
  );

  const judge = thresholdRange({ of: "success", min: "99%" });

  it("advances after a good check, and halts after a bad one", () => {
    assert.deepEqual(verdicts(judge, span(59, 100), span(1, 0), bad, good), [
      "running",
      "pass",
      "running",
      "pass",
    ]);
  });

  it("passes exactly at the limit, binary fractions or not", () => {
    for (const [requests, errors] of [
      [100, 1],
      [300, 3],
      [700, 7],
      [900, 9],
      [12_300, 123],
    ] as const)
      assert.equal(judged(judge, span(60, requests, errors)).verdict, "pass", `${errors} of ${requests}`);
  });

  it("goes back one interval after the fifth failed check, as Flagger looks at the count first", () => {
    assert.deepEqual(verdicts(judge, ...times(6, bad)), [...times(5, bad).map(() => "running"), "fail"]);
    // Whatever the sixth interval was like: it is not measured any more.
    assert.equal(judged(judge, ...times(5, bad), good).verdict, "fail");
    assert.equal(judged(judge, ...times(5, bad), span(59, 100)).verdict, "running");
    assert.equal(judged(judge, ...times(5, bad), ...times(50, good)).verdict, "fail");
  });

  it("adds failed checks up over the whole rollout: good ones take none back, nor does another weight", () => {
    assert.equal(judged(judge, ...times(4, bad), ...times(50, good), bad, good).verdict, "fail");
    let state = judge.start();
    for (let i = 0; i < 6; i += 1) state = judge.turn?.(judge.update(state, bad)) ?? state;
    assert.equal(judge.finding(state).verdict, "fail");
  });

  it("needs a good check at each weight", () => {
    const state = judge.update(judge.start(), good);
    assert.equal(judge.finding(state).verdict, "pass");
    const turned = judge.turn?.(state) ?? state;
    assert.equal(judge.finding(turned).verdict, "running");
    assert.equal(judge.finding(judge.update(turned, good)).verdict, "pass");
  });

  it("fails a check without values, and so a release without metrics", () => {
    assert.deepEqual(verdicts(judge, good, none), ["pass", "running"]);
    assert.deepEqual(verdicts(judge, ...times(6, none)), [...times(5, none).map(() => "running"), "fail"]);
    assert.match(judged(judge, ...times(6, none)).reason, /^no values found; 5 checks of 5 failed/);
  });

  it("checks either side of a range", () => {
    const range = thresholdRange({ of: { query: QUERY }, min: 1, max: 3 });
    assert.equal(range.query, QUERY);
    assert.deepEqual(
      verdicts(range, asked(60, 1), asked(60, 3), asked(60, 0.99), asked(60, 2), asked(60, 3.01), asked(60)),
      ["pass", "pass", "running", "pass", "running", "running"],
    );
    const errors = thresholdRange({ of: "errors", max: "1%" });
    assert.deepEqual(verdicts(errors, good, bad), ["pass", "running"]);
  });

  it("checks the P99, and makes no good check of one that lies beyond the histogram", () => {
    const fast = thresholdRange({ of: "p99", max: "100ms" });
    assert.deepEqual(verdicts(fast, slow(60, 2), slow(60, 3)), ["pass", "running"]);
    assert.equal(judged(thresholdRange({ of: "p99", max: "2s" }), slow(60, 5)).verdict, "running");
  });

  it("says its numbers", () => {
    const { reason, figures } = judged(judge, good, span(60, 1000, 52));
    assert.equal(
      reason,
      "canary 94.8 % of requests succeeded, to be at least 99 %; 1 check of 2 failed, 5 are too many",
    );
    assert.deepEqual(figures, { checks: 2, failed: 1, threshold: 5, last: 0.948, min: 0.99 });
  });

  it("refuses options it can't read", () => {
    const wrong: unknown[] = [
      { of: "success" },
      { of: "success", min: 99 },
      { of: "success", min: "99%", max: "98%" },
      { of: "p95", max: "1s" },
      { of: "p99", max: "fast" },
      { of: "success", min: "99%", threshold: 0 },
      { of: "success", min: "99%", interval: "soon" },
    ];
    for (const options of wrong)
      assert.throws(() => thresholdRange(options as never), BadConfig.is, JSON.stringify(options));
  });
});
