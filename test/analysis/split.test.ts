import assert from "node:assert/strict";
import { chance, poisson } from "../../automation/analysis/chance";
import { followsSplit } from "../../automation/analysis/split";
import type { Tick } from "../../automation/core/model";
import { BAKED, counts, judgedBy, many, tickOf, verdictBy } from "./builders";

const at = (weight: number | undefined, canary: number, baseline?: number): Tick => ({
  ...tickOf(counts(canary), baseline === undefined ? undefined : counts(baseline)),
  ...(weight !== undefined && { weight }),
});
const found = (...ticks: Tick[]) => judgedBy([followsSplit()], ticks).findings()[0]!;

describe("followsSplit", () => {
  it("passes as long as traffic goes where it is declared to go", () => {
    assert.equal(found(...many(60, at(10, 50, 450))).verdict, "pass");
    assert.equal(found().verdict, "pass", "nothing has been seen");
  });

  it("is an error where it does not, and never more than that", () => {
    for (const [canary, baseline] of [
      [450, 50],
      [500, 0],
      [0, 500],
      [200, 300],
    ] as const) {
      const finding = found(...many(10, at(10, canary, baseline)));
      assert.equal(finding.verdict, "error");
      assert.match(finding.reason, /^split-mismatch: the canary got /);
      for (const proof of [true, false])
        assert.equal(
          verdictBy([followsSplit()], many(10, at(10, canary, baseline)), { ...BAKED, proof }),
          "error",
        );
    }
  });

  it("tolerates a fifth of the smaller share, for routers round", () => {
    assert.equal(found(...many(1000, at(10, 118, 882))).verdict, "pass");
    assert.equal(found(...many(1000, at(10, 122, 878))).verdict, "error");
    assert.equal(found(...many(1000, at(90, 882, 118))).verdict, "pass");
    assert.equal(found(...many(1000, at(90, 878, 122))).verdict, "error");
  });

  it("waits for evidence", () => {
    assert.equal(found(at(10, 0, 0), at(10, 3, 4)).verdict, "pass");
  });

  it("leaves the first tick of a weight out: what was under way was sent by the former split", () => {
    assert.equal(found(at(50, 0, 10_000)).verdict, "pass");
    assert.equal(found(at(50, 0, 10_000), ...many(9, at(50, 50, 50))).verdict, "pass");
    const evidence = judgedBy([followsSplit()], many(9, at(10, 100, 900)));
    evidence.take(at(50, 100, 900), "next");
    assert.deepEqual(evidence.findings()[0]!.figures, { canary: 0, baseline: 0, weight: 50 });
    evidence.take(at(50, 500, 500), "next");
    assert.deepEqual(evidence.findings()[0]!.figures, { canary: 500, baseline: 500, weight: 50 });
  });

  it("leaves a tick out in which the split changed", () => {
    const moving = { ...at(10, 5000, 0), moving: true as const };
    assert.deepEqual(found(...many(9, at(10, 100, 900)), moving), found(...many(9, at(10, 100, 900))));
  });

  it("has nothing to say at 100 %, at none, without a baseline, or without a declared split", () => {
    for (const tick of [
      at(100, 0, 1000),
      at(100, 1000),
      at(0, 500, 500),
      at(10, 500),
      at(undefined, 500, 500),
    ])
      assert.deepEqual(found(...many(20, tick)).figures, { canary: 0, baseline: 0 }, JSON.stringify(tick));
  });

  it("calls counts that are no numbers an error", () => {
    const broken = at(10, Number.NaN, 100);
    assert.equal(found(at(10, 10, 90), broken).verdict, "error");
    assert.equal(found(broken, ...many(9, at(10, 10, 90))).verdict, "error", "and does not forget it");
  });

  it("cries wolf in one of a thousand at most, looked at after each tick", () => {
    // 400 runs of 60 looks: 5 or more with a chance of at most 6.1e-5: scipy.stats.binom.sf(4, 400, 0.001).
    const random = chance(7);
    let wolves = 0;
    for (let run = 0; run < 400; run++) {
      const judge = followsSplit();
      let state = judge.start();
      for (let t = 0; t < 60; t++) {
        state = judge.update(state, at(10, poisson(2, random), poisson(18, random)));
        if (judge.finding(state).verdict === "pass") continue;
        wolves++;
        break;
      }
    }
    assert.ok(wolves <= 4, `${wolves} of 400`);
  });
});
