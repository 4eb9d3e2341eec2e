import assert from "node:assert/strict";
import { upper } from "../../automation/analysis/bounds";
import { type ErrorRateOptions, errorRate } from "../../automation/analysis/errors";
import type { Tick } from "../../automation/core/model";
import { BadConfig } from "../../components/errors";
import { close, judgedBy, many, pastOf, seen, verdictBy } from "./builders";

const LIMIT = { max: "1%" } as const;
const BOTH = { max: "1%", worseThan: 1.5 } as const;
const EITHER = { ...BOTH, when: "either" } as const;

const evidence = (options: ErrorRateOptions, ...ticks: Tick[]) =>
  judgedBy([errorRate(options)], ticks).findings()[0]!.evidence!;

describe("errorRate, as it decides", () => {
  it("takes three errors to fail, however unlikely they are", () => {
    assert.equal(verdictBy([errorRate(LIMIT)], [seen(2, 2)]), "running");
    assert.equal(verdictBy([errorRate(LIMIT)], [seen(3, 3)]), "fail");
    assert.equal(verdictBy([errorRate({ ...LIMIT, minErrors: 5 })], [seen(4, 4)]), "running");
  });

  it("does not fail on a burst that hits both, and does where only the limit counts", () => {
    const burst = [...many(10, seen(100, 0, 900, 0)), ...many(4, seen(100, 20, 900, 180))];
    assert.notEqual(verdictBy([errorRate(BOTH)], burst), "fail");
    assert.equal(verdictBy([errorRate(LIMIT)], burst), "fail");
    assert.equal(verdictBy([errorRate(EITHER)], burst), "fail");
  });

  it("lets what is worse than the baseline be, as long as it keeps the limit", () => {
    const worse = many(20, seen(500, 4, 4500, 5));
    assert.notEqual(verdictBy([errorRate(BOTH)], worse), "fail");
    assert.equal(verdictBy([errorRate(EITHER)], worse), "fail");
    assert.equal(verdictBy([errorRate({ worseThan: 1.5 })], worse), "fail");
  });

  it("finds an outage that starts at 100 %, where there is no baseline any more", () => {
    for (const options of [LIMIT, BOTH, EITHER, { worseThan: 1.5 }]) {
      const before = many(12, seen(100, 0, 900, 1));
      const judge = errorRate(options);
      assert.equal(verdictBy([judge], [...before, seen(1000, 300)]), "fail", JSON.stringify(options));
      assert.notEqual(verdictBy([judge], [...before, ...many(12, seen(1000, 1))]), "fail");
    }
  });

  it("holds it there against the ratio of what the baseline was at most, where that is more than the limit", () => {
    const before = many(10, seen(100, 2, 900, 18));
    const allowed = 1.5 * upper(180, 9000);
    assert.ok(allowed > 0.03 && allowed < 0.04);
    const at = (rate: number) => [...before, ...many(30, seen(1000, Math.round(rate * 1000)))];
    assert.notEqual(verdictBy([errorRate(BOTH)], at(0.03)), "fail");
    assert.equal(verdictBy([errorRate(BOTH)], at(0.05)), "fail");
    assert.equal(verdictBy([errorRate(LIMIT)], at(0.03)), "fail");
  });

  it("knows the baseline of the time before", () => {
    const past = pastOf(9000, 180);
    assert.notEqual(verdictBy([errorRate(BOTH)], many(30, seen(1000, 30)), { past }), "fail");
    assert.equal(verdictBy([errorRate(BOTH)], many(30, seen(1000, 30))), "fail");
    const good = pastOf(9000, 9);
    assert.equal(verdictBy([errorRate(EITHER)], many(30, seen(1000, 8)), { past: good }), "fail");
    assert.notEqual(verdictBy([errorRate(BOTH)], many(30, seen(1000, 8)), { past: good }), "fail");
    const clumped = errorRate(LIMIT);
    assert.equal(clumped.start({ ...past, phi: 4 }).phi, 4);
  });

  it("is about the limit alone where there was never a baseline", () => {
    for (const options of [BOTH, EITHER])
      for (const ticks of [many(30, seen(100, 0)), many(9, seen(100, 3)), many(60, seen(1000, 5))])
        assert.deepEqual(evidence(options, ...ticks), evidence(LIMIT, ...ticks));
  });

  it("passes without a limit and a baseline ever, and says so", () => {
    const judge = errorRate({ worseThan: 1.5 });
    const [finding] = judgedBy([judge], [seen(100, 50)]).findings();
    assert.equal(finding!.verdict, "pass");
    assert.match(finding!.reason, /no baseline to compare with/);
    assert.equal(verdictBy([judge], many(30, seen(100, 0, 0))), "running", "one without traffic is one");
  });

  it("does not take a baseline that was not read for one without errors", () => {
    const common = many(10, seen(500, 25, 4500, 225));
    for (const options of [BOTH, { worseThan: 1.5 }])
      for (const nb of [0, 19]) {
        const { against } = evidence(options, ...common);
        close(evidence(options, ...common, seen(500, 25, nb)).against, against, 1);
      }
  });

  it("takes the split of the tick before where one is too short to show it", () => {
    const before = many(10, seen(50, 0, 450, 0));
    const none = evidence(BOTH, ...before).against;
    const moment = evidence(BOTH, ...before, seen(3, 3, 12, 0)).against;
    assert.ok(moment > none + 3, `${moment}`);
    // Of errors that both have, the canary may have its share: with the limit alone this would be an outage.
    assert.ok(evidence({ worseThan: 1.5 }, ...before, seen(3, 3, 12, 12)).against < 1);
    const judge = errorRate(BOTH);
    const state = before.reduce((s, t) => judge.update(s, t), judge.start());
    assert.equal(judge.turn!(state).last, undefined, "another weight, another split");
    assert.deepEqual(judge.turn!(state).rel, state.rel, "the evidence is carried over");
  });

  it("learns of what the split was only from a tick in which it stood still", () => {
    const judge = errorRate(BOTH);
    const { last } = judge.update(judge.start(), { ...seen(50, 0, 450), moving: true });
    assert.equal(last, undefined);
    const frozen = [seen(50, 0, 450), seen(50, 0, 1)].reduce((s, t) => judge.update(s, t), judge.start());
    assert.deepEqual(frozen.frozen, [0, upper(0, 451)]);
    assert.equal(judge.update(frozen, seen(50, 0, 450)).frozen, undefined, "it is back");
  });

  it("finds no worse release in a baseline too small to compare with", () => {
    const small = many(30, seen(200, 3, 19, 0));
    const judge = errorRate({ worseThan: 1.5 });
    assert.equal(verdictBy([judge], small), "running");
    assert.equal(verdictBy([errorRate({ worseThan: 1.5, minBaseline: 19 })], small), "fail");
  });

  it("refuses what it can't read", () => {
    for (const max of ["1", "1 percent", "%", "-1%", "200%", 5, -0.1, Number.NaN, null, 0, 1, "0%", "100%"])
      assert.throws(() => errorRate({ max: max as never }), BadConfig.is, String(max));
    for (const worseThan of [0.9, 0, -1, Number.NaN, 1001, "2"])
      assert.throws(() => errorRate({ worseThan: worseThan as never }), BadConfig.is, String(worseThan));
    for (const options of [
      {},
      { ...LIMIT, minErrors: 0 },
      { ...LIMIT, minErrors: 1.5 },
      { ...BOTH, minBaseline: 0 },
    ])
      assert.throws(() => errorRate(options), BadConfig.is, JSON.stringify(options));
    assert.throws(() => errorRate({ ...BOTH, when: "any" as never }), BadConfig.is);
  });
});
