import assert from "node:assert/strict";
import fc from "fast-check";
import { combine, inconclusive, type Terms, describe as words } from "../../automation/analysis/verdict";
import type { Evidence, Finding, VerdictKind } from "../../automation/core/model";

const finding = (verdict: VerdictKind, reason = `it is ${verdict}`): Finding => ({
  judge: "j",
  verdict,
  reason,
  figures: {},
});
const proven = (change: Partial<Evidence>, judge = "j"): Finding => ({
  ...finding("running"),
  judge,
  evidence: { against: 0, for: 0, p: 1, bad: 3, needed: 3, sample: 100, ...change },
});
const early: Terms = {
  elapsed: 10,
  bake: 60,
  total: 10,
  minBake: 0,
  requests: 100,
  proof: true,
  risk: 0.05,
  promoteRisk: 0.05,
};
const baked: Terms = { ...early, elapsed: 60, total: 60 };
const probe: Terms = { ...baked, proof: false };
const SURE = Math.log(20) + 1e-9;
const kinds = fc.constantFrom<VerdictKind>("pass", "running", "inconclusive", "fail", "error");

describe("combine, by rules of thumb", () => {
  const cases: [VerdictKind[], Terms, VerdictKind][] = [
    [["pass", "fail"], early, "fail"],
    [["error", "fail"], early, "fail"],
    [["pass", "error"], baked, "error"],
    [["pass", "error"], probe, "error"],
    [["pass", "pass"], early, "running"],
    [["pass", "pass"], baked, "pass"],
    [["pass", "running"], baked, "running"],
    [["pass", "running"], probe, "pass"],
    [["pass", "inconclusive"], baked, "running"],
    [[], baked, "running"],
  ];
  for (const [given, when, expected] of cases)
    it(`of [${given}] after ${when.elapsed} s${when.proof ? "" : " of a probe"} is ${expected}`, () =>
      assert.equal(
        combine(
          given.map((k) => finding(k)),
          when,
        ).verdict,
        expected,
      ));

  it("does not pass after a time that is no number", () => {
    for (const name of ["elapsed", "bake", "total", "minBake", "requests"] as const)
      assert.equal(combine([finding("pass")], { ...baked, [name]: Number.NaN }).verdict, "running", name);
  });

  it("does not pass a weight at which the new slot had no requests, a probe either", () => {
    assert.equal(combine([proven({ for: 100 })], { ...baked, requests: 0 }).verdict, "running");
    assert.match(combine([finding("pass")], { ...probe, requests: 0 }).reason, /had no requests/);
  });

  it("passes only if every judge passes and the bake is over, whatever the clock says", () => {
    fc.assert(
      fc.property(fc.array(kinds), fc.double(), fc.double(), (given, elapsed, bake) => {
        const { verdict } = combine(
          given.map((k) => finding(k)),
          { ...early, elapsed, bake },
        );
        if (verdict === "pass")
          assert.ok(given.length > 0 && given.every((k) => k === "pass") && elapsed >= bake);
        assert.equal(verdict === "fail", given.includes("fail"));
      }),
    );
  });
});

describe("combine, by evidence", () => {
  it("fails from 1/risk on, and no earlier", () => {
    assert.equal(combine([proven({ against: SURE })], early).verdict, "fail");
    assert.equal(combine([proven({ against: SURE - 1e-6 })], early).verdict, "running");
  });

  it("shares the risk among several judges", () => {
    const two = (against: number) => [proven({ against }, "a"), proven({ for: 100 }, "b")];
    assert.equal(combine(two(SURE), early).verdict, "running");
    const failed = combine(two(SURE + Math.log(2)), early);
    assert.equal(failed.verdict, "fail");
    assert.match(failed.rule ?? "", /evidence against the release, by a$/);
  });

  it("fails on what several judges say together, and blames the one that says most", () => {
    const together = [proven({ against: SURE }, "a"), proven({ against: SURE + 0.1 }, "b")];
    const failed = combine(together, early);
    assert.equal(failed.verdict, "fail");
    assert.match(failed.rule ?? "", /by b$/);
    assert.deepEqual(
      failed.findings.map((f) => f.verdict),
      ["running", "fail"],
    );
  });

  it("does not fail on fewer bad events than it takes, however unlikely", () => {
    assert.equal(combine([proven({ against: 50, bad: 2 })], baked).verdict, "running");
  });

  it("takes evidence for every judge to go above the probe, and the whole bake", () => {
    assert.equal(combine([proven({ for: SURE })], baked).verdict, "pass");
    assert.equal(combine([proven({ for: SURE - 1e-6 })], baked).verdict, "running");
    assert.equal(combine([proven({ for: SURE }), proven({})], baked).verdict, "running");
    assert.equal(combine([proven({ for: SURE })], { ...baked, minBake: 61 }).verdict, "running");
  });

  it("lets a probe pass without it, when it does not fail", () => {
    assert.equal(combine([proven({})], probe).verdict, "pass");
    assert.equal(combine([proven({ against: SURE })], probe).verdict, "fail");
  });

  it("is an error where evidence is no number", () => {
    assert.equal(combine([proven({ against: Number.NaN })], baked).verdict, "error");
    assert.equal(combine([proven({ for: Number.NaN })], probe).verdict, "error");
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
      words(inconclusive(combine([finding("running", "3 requests")], baked), 900)),
      /can't be judged: .* 900 s: 3 requests\.$/,
    );
  });
});
