import assert from "node:assert/strict";
import fc from "fast-check";
import { combine, describe as words } from "../../automation/analysis/verdict";
import type { Finding, VerdictKind } from "../../automation/core/model";

const finding = (verdict: VerdictKind, reason = `it is ${verdict}`): Finding => ({
  judge: "j",
  verdict,
  reason,
  figures: {},
});
const early = { elapsed: 10, bake: 60, horizon: 900 };
const baked = { ...early, elapsed: 60 };
const late = { ...early, elapsed: 900 };
const kinds = fc.constantFrom<VerdictKind>("pass", "running", "inconclusive", "fail", "error");

describe("combine", () => {
  const cases: [VerdictKind[], typeof early, VerdictKind][] = [
    [["pass", "fail"], early, "fail"],
    [["error", "fail"], early, "fail"],
    [["pass", "error"], baked, "error"],
    [["pass", "pass"], early, "running"],
    [["pass", "pass"], baked, "pass"],
    [["pass", "running"], baked, "running"],
    [["pass", "running"], late, "inconclusive"],
    [["pass", "inconclusive"], late, "inconclusive"],
    [["pass", "inconclusive"], baked, "running"],
    [[], baked, "running"],
    [[], late, "inconclusive"],
  ];
  for (const [given, when, expected] of cases)
    it(`of [${given}] after ${when.elapsed} s is ${expected}`, () =>
      assert.equal(
        combine(
          given.map((k) => finding(k)),
          when,
        ).verdict,
        expected,
      ));

  it("does not pass after a time that is no number", () => {
    assert.equal(combine([finding("pass")], { ...baked, elapsed: Number.NaN }).verdict, "running");
    assert.equal(combine([finding("pass")], { ...baked, bake: Number.NaN }).verdict, "running");
  });

  it("passes only if every judge passes and the bake is over, whatever the clock says", () => {
    fc.assert(
      fc.property(fc.array(kinds), fc.double(), fc.double(), fc.double(), (given, elapsed, bake, horizon) => {
        const { verdict } = combine(
          given.map((k) => finding(k)),
          { elapsed, bake, horizon },
        );
        if (verdict === "pass")
          assert.ok(given.length > 0 && given.every((k) => k === "pass") && elapsed >= bake);
        assert.equal(verdict === "fail", given.includes("fail"));
      }),
    );
  });
});

describe("describe", () => {
  it("is a sentence with the numbers of what decided", () => {
    const verdict = combine(
      [finding("fail", "canary 5 % of 1,204 requests failed, limit 1 %"), finding("pass")],
      early,
    );
    assert.equal(words(verdict), "The release fails: canary 5 % of 1,204 requests failed, limit 1 %.");
    assert.match(
      words(combine([finding("running", "3 requests")], late)),
      /can't be judged: .* 900 s: 3 requests\.$/,
    );
  });
});
