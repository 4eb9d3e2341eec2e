import assert from "node:assert/strict";
import { lower, upper } from "../../automation/analysis/bounds";
import { type ErrorRateOptions, errorRate } from "../../automation/analysis/errors";
import { latency } from "../../automation/analysis/latency";
import { type Rules, type Scenario, simulate, type Told } from "../../automation/analysis/simulate";
import type { Judge } from "../../automation/core/ports";

// Seeded: the same runs each time. A rate is said to be at most 5 % where the upper Clopper-Pearson bound at 95 % says so,
// which 12 of 400 still do; a truth of 5 % shows 12 or fewer with a chance of 0.036: scipy.stats.binom.cdf(12, 400, 0.05).

const BOTH = errorRate({ max: "1%", worseThan: 1.5 });
const LIMIT = errorRate({ max: "1%" });
const rules = (judge: Judge, probe = 10): Rules => ({
  judges: [judge],
  stepBake: 60,
  minBake: 60,
  probe,
  risk: 0.05,
  promoteRisk: 0.05,
});

/** 10 requests of the canary a second, looked at on each of its errors; 3000 of them in five minutes. */
const WATCHED: Scenario = {
  rps: 100,
  weights: [10],
  baseline: 0.005,
  canary: 0.005,
  seconds: 300,
  pushed: true,
  watched: true,
};

function runs(count: number, scenario: Scenario, by: Rules): Told[] {
  return Array.from({ length: count }, (_, seed) => simulate(scenario, by, seed + 1));
}

function rare(told: readonly Told[], verdict: Told["verdict"], most = 0.05): void {
  const found = told.filter((t) => t.verdict === verdict).length;
  assert.ok(upper(found, told.length) <= most, `${found} of ${told.length}`);
}

function quantile(told: readonly Told[], of: "failed" | "seconds", q: number): number {
  return told.map((t) => t[of]).sort((a, b) => a - b)[Math.floor(q * told.length)]!;
}

describe("a release that is no worse than allowed", function () {
  this.timeout(60_000);

  const cases: [string, ErrorRateOptions, Partial<Scenario>][] = [
    ["at the limit", { max: "1%" }, {}],
    ["at the limit and at the ratio", { max: "1%", worseThan: 1.5 }, {}],
    ["at either", { max: "1%", worseThan: 1.5, when: "either" }, {}],
    ["at the ratio", { worseThan: 1.5 }, {}],
    ["at the limit, with errors in clumps of phi 7", { max: "1%" }, { phi: 7 }],
    ["at both, with errors in clumps of phi 7", { max: "1%", worseThan: 1.5 }, { phi: 7 }],
  ];
  for (const [what, options, change] of cases)
    it(`is rolled back in 5 % of 400 rollouts at most ${what}`, () => {
      const edge = { ...WATCHED, canary: 0.01, baseline: 0.01 / 1.5, ...change };
      rare(runs(400, edge, rules(errorRate(options))), "fail");
    });

  it("is not for a dependency that fails both, even where it was worse than the baseline before, within the limit", () => {
    const burst = { at: 200, seconds: 30, rate: 0.1 };
    const told = runs(60, { ...WATCHED, rps: 1000, baseline: 0.001, canary: 0.008, burst }, rules(BOTH));
    rare(told, "fail");
    rare(runs(100, { ...WATCHED, burst }, rules(BOTH)), "fail");
  });

  it("is promoted when the minimum bake is over, where it is good", () => {
    const told = runs(100, { ...WATCHED, watched: false, baseline: 0.001, canary: 0.001 }, rules(BOTH, 5));
    assert.ok(told.every((t) => t.verdict === "pass"));
    assert.equal(quantile(told, "seconds", 0.5), 60);
  });
});

describe("a release that is worse than allowed", function () {
  this.timeout(60_000);

  it("is promoted at the limit in 5 % of 400 rollouts at most", () => {
    for (const baseline of [0.001, 0.01 / 1.5])
      rare(runs(400, { ...WATCHED, watched: false, canary: 0.01, baseline }, rules(BOTH, 5)), "pass");
  });

  it("is found within 7 failed requests of 5 % errors, 12 in nine of ten, and 4 of an outage", () => {
    const five = runs(100, { ...WATCHED, canary: 0.05 }, rules(BOTH));
    assert.ok(five.every((t) => t.verdict === "fail"));
    assert.ok(quantile(five, "failed", 0.5) <= 7 && quantile(five, "failed", 0.9) <= 12);
    assert.ok(quantile(runs(100, { ...WATCHED, canary: 0.5 }, rules(BOTH)), "failed", 0.5) <= 4);
  });

  it("is found within 30 s when it turns bad after five minutes", () => {
    const late = runs(100, { ...WATCHED, canary: 0.05, onset: 300, seconds: 900 }, rules(BOTH));
    assert.ok(quantile(late, "seconds", 0.5) <= 330, `${quantile(late, "seconds", 0.5)}`);
  });

  it("is found at a P99 that is doubled within 120 s, and never at 1.3 times", () => {
    const edges = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
    const slow = (times: number) => ({
      ...WATCHED,
      pushed: false,
      latency: { median: 0.05, sigma: 0.6, times, edges },
    });
    const twice = runs(60, slow(2), rules(latency()));
    assert.ok(twice.every((t) => t.verdict === "fail"));
    assert.ok(quantile(twice, "seconds", 0.9) <= 120);
    assert.ok(runs(60, slow(1.3), rules(latency())).every((t) => t.verdict !== "fail"));
  });
});

describe("a simulation", () => {
  it("tells the same with the same seed, and another with another", () => {
    const scenario = { ...WATCHED, canary: 0.03 };
    assert.deepEqual(simulate(scenario, rules(BOTH), 7), simulate(scenario, rules(BOTH), 7));
    assert.notDeepEqual(simulate(scenario, rules(BOTH), 7), simulate(scenario, rules(BOTH), 8));
  });

  it("has the traffic and the errors that were asked for", () => {
    for (const phi of [1, 7]) {
      const never = rules(errorRate({ max: "99%" }));
      const told = runs(40, { ...WATCHED, canary: 0.02, phi, past: 0 }, never);
      const [requests, failed] = [sum(told.map((t) => t.requests)), sum(told.map((t) => t.failed))];
      // 120,000 are expected: a standard deviation is 346.
      assert.ok(Math.abs(requests - 120_000) < 5 * 346, `${requests}`);
      const [n, x] = [Math.round(requests / phi), Math.round(failed / phi)];
      const [low, high] = [lower(x, n, 1 - 1e-6), upper(x, n, 1 - 1e-6)];
      assert.ok(low <= 0.02 && 0.02 <= high, `phi ${phi}: ${failed} of ${requests}`);
    }
  });

  it("moves through the weights, as long as each takes", () => {
    const [told] = runs(
      1,
      {
        ...WATCHED,
        watched: false,
        weights: [5, 10, 25, 50, 100],
        canary: 0,
        baseline: 0.001,
        rps: 1000,
        seconds: 900,
      },
      rules(BOTH),
    );
    assert.deepEqual([told!.verdict, told!.seconds, told!.failed], ["pass", 300, 0]);
    // 19 % of 1000 rps for 5 minutes are 114,000: a standard deviation is 338.
    assert.ok(Math.abs(told!.requests - 114_000) < 5 * 338);
  });

  it("is inconclusive when time is over", () => {
    const [told] = runs(1, { ...WATCHED, watched: false, rps: 5, seconds: 120 }, rules(BOTH, 5));
    assert.deepEqual([told!.verdict, told!.seconds], ["inconclusive", 120]);
    assert.equal(
      simulate({ ...WATCHED, rps: 0 }, rules(LIMIT), 1).verdict,
      "inconclusive",
      "without traffic too",
    );
  });
});

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
