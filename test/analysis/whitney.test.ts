import assert from "node:assert/strict";
import fc from "fast-check";
import { mannWhitney, normal, shift } from "../../automation/analysis/whitney";
import type { Tick } from "../../automation/core/model";
import type { Judge } from "../../automation/core/ports";
import { BadConfig } from "../../components/errors";
import { counts } from "./builders";
import { judged, laws, slow, span, verdicts } from "./classic";

/** A minute in which so many of 1,000 canary requests and of 1,000 of the baseline failed. */
function minute(canary: number, baseline?: number): Tick {
  const { baseline: _, ...rest } = span(60, 1000, canary);
  return baseline === undefined ? rest : { ...rest, baseline: counts(1000, baseline) };
}

/** Fifteen minutes in which both sides wobble around their mean. */
function quarter(canary: number, baseline: number): Tick[] {
  return Array.from({ length: 15 }, (_, i) =>
    minute(canary + ((i * 7) % 15) - 7, baseline + ((i * 11) % 15) - 7),
  );
}

// Each value is what Kayenta's statistic (MannWhitney.scala) says, evaluated by ranks and solved to 1e-11:
// def f(mu, zq): dr = scipy.stats.rankdata(concatenate([x - mu, y])); _, t = unique(dr, return_counts=True)
//   dz = sum(dr[:n]) - n*(n+1)/2 - n*m/2; s = sqrt(n*m/12 * (n+m+1 - sum(t**3 - t)/((n+m)*(n+m-1))))
//   return (dz - 0.5*sign(dz))/s - zq
// low = root of f(., norm.ppf(1 - alpha/2)), high = root of f(., norm.ppf(alpha/2)), min(x) - max(y) and max(x) - min(y)
// where there is none, estimate = median(subtract.outer(x, y)); SciPy 1.17. "four" is also what R's wilcox.test says in
// kayenta-mannwhitney's MannWhitneyRSuite.scala.
const CHECKS = [
  { name: "four", x: [10, 20, 30, 40], y: [1, 2, 3, 4], confidence: 0.95, low: 6, high: 39, estimate: 22.5 },
  {
    name: "fifteen a side",
    x: [12, 18, 9, 21, 15, 17, 11, 24, 13, 16, 19, 14, 20, 10, 22].map((v) => v / 1000),
    y: [50, 70, 45, 62, 58, 49, 71, 66, 53, 47, 69, 55, 61, 51, 64].map((v) => v / 10_000),
    confidence: 0.98,
    low: 0.0064,
    high: 0.014,
    estimate: 0.0101,
  },
  {
    name: "mostly ties",
    x: [0, 0, 0, 167, 0, 333, 0, 0, 167, 0, 0, 0, 500, 0, 167].map((v) => v / 10_000),
    y: [0, 19, 0, 37, 19, 0, 0, 19, 56, 0, 19, 0, 37, 0, 19].map((v) => v / 10_000),
    confidence: 0.98,
    low: -0.0019,
    high: 0.0148,
    estimate: 0,
  },
  {
    name: "sides of different length",
    x: [3.1, 2.7, 4.4, 5, 3.9, 2.2, 6.1],
    y: [2.9, 3.3, 1.8, 2.5, 4.1, 2, 3.6, 2.4, 1.1, 3],
    confidence: 0.9,
    low: 0.2,
    high: 2.4,
    estimate: 1.1,
  },
  { name: "a single value", x: [5], y: [1, 2, 3, 4, 6], confidence: 0.98, low: -1, high: 4, estimate: 2 },
];

function near(actual: number, expected: number, what: string): void {
  assert.ok(Math.abs(actual - expected) < 1e-9, `${what}: ${actual} is not ${expected}`);
}

/** The statistic at a shift, by ranks: the long way round. */
function statistic(x: number[], y: number[], by: number): number {
  const moved = x.map((value) => value - by);
  const all = [...moved, ...y];
  const rank = (value: number) =>
    all.filter((other) => other < value).length + (all.filter((other) => other === value).length + 1) / 2;
  const [n, m] = [x.length, y.length];
  const dz = moved.reduce((sum, v) => sum + rank(v), 0) - (n * (n + 1)) / 2 - (n * m) / 2;
  const tied = all.reduce((sum, v) => sum + all.filter((other) => other === v).length ** 2 - 1, 0);
  const sigma = Math.sqrt(((n * m) / 12) * (n + m + 1 - tied / ((n + m) * (n + m - 1))));
  return (dz - Math.sign(dz) * 0.5) / sigma;
}

describe("shift", () => {
  for (const { name, x, y, confidence, low, high, estimate } of CHECKS)
    it(`${name}: gives the check values`, () => {
      const found = shift(x, y, normal(confidence));
      near(found.low, low, "low");
      near(found.high, high, "high");
      near(found.estimate, estimate, "estimate");
    });

  it("gives the quantiles of the normal distribution", () => {
    // scipy.stats.norm.ppf([0.99, 0.975, 0.995, 0.75])
    near(normal(0.98), 2.3263478740408408, "0.98");
    near(normal(0.95), 1.959963984540054, "0.95");
    near(normal(0.99), 2.5758293035489004, "0.99");
    near(normal(0.5), 0.6744897501960817, "0.5");
  });

  const side = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 2, maxLength: 15 });

  it("turns where the statistic does: it rejects below the low end, and does not above it", () => {
    const z = normal(0.98);
    fc.assert(
      fc.property(side, side, (x, y) => {
        const { low, high } = shift(x, y, z);
        const [least, most] = [Math.min(...x) - Math.max(...y), Math.max(...x) - Math.min(...y)];
        // Whole numbers: halfway between two of them nothing is tied across the sides.
        if (low > least) assert.ok(statistic(x, y, low - 0.5) > z);
        assert.ok(low === most || statistic(x, y, low + 0.5) <= z);
        if (high < most) assert.ok(statistic(x, y, high + 0.5) <= -z);
        assert.ok(high === least || statistic(x, y, high - 0.5) > -z);
      }),
    );
  });

  it("turns around when the sides are swapped, and moves with them", () => {
    fc.assert(
      fc.property(side, side, fc.integer({ min: -50, max: 50 }), (x, y, by) => {
        const [one, other, moved] = [
          shift(x, y, 2),
          shift(y, x, 2),
          shift(
            x.map((v) => v + by),
            y,
            2,
          ),
        ];
        assert.deepEqual(
          [one.low + other.high, one.high + other.low, one.estimate + other.estimate],
          [0, 0, 0],
        );
        assert.deepEqual(
          [moved.low, moved.high, moved.estimate],
          [one.low + by, one.high + by, one.estimate + by],
        );
      }),
    );
  });
});

describe("mannWhitney, the rule of Kayenta", () => {
  laws(
    [
      mannWhitney({ of: "errors" }),
      mannWhitney({ of: "errors", points: 4, allowedIncrease: 1.5 }),
      mannWhitney({ of: "p99", points: 3 }),
    ].map((judge) => judge as Judge<unknown>),
  );

  const judge = mannWhitney({ of: "errors" });

  it("waits for fifteen points, whatever they are", () => {
    const seen = verdicts(judge, ...quarter(500, 10));
    assert.deepEqual(seen, [...new Array(14).fill("running"), "fail"]);
  });

  it("fails a canary that is clearly higher, and passes one that is as high or lower", () => {
    assert.equal(judged(judge, ...quarter(50, 10)).verdict, "fail");
    assert.equal(judged(judge, ...quarter(10, 10)).verdict, "pass");
    assert.equal(judged(judge, ...quarter(10, 50)).verdict, "pass");
  });

  it("compares a constant canary with a constant baseline", () => {
    assert.equal(judged(judge, ...new Array(15).fill(minute(50, 0))).verdict, "fail");
    assert.equal(judged(judge, ...new Array(15).fill(minute(50, 10))).verdict, "fail");
    assert.equal(judged(judge, ...new Array(15).fill(minute(10, 50))).verdict, "pass");
    const same = judged(judge, ...new Array(15).fill(minute(5, 5)));
    assert.equal(same.verdict, "pass");
    assert.match(same.reason, /the same values on both sides$/);
  });

  it("passes an interval whose low end is within the tolerance", () => {
    // All differences of 8 to 22 around 15: the low end is below the estimate, but clear of a quarter of it.
    const ticks = quarter(25, 10);
    const { low, estimate } = judged(judge, ...ticks).figures;
    assert.ok(low !== undefined && estimate !== undefined && low > 0.25 * estimate && low < 0.9 * estimate);
    assert.equal(judged(judge, ...ticks).verdict, "fail");
    assert.equal(judged(mannWhitney({ of: "errors", tolerance: 0.9 }), ...ticks).verdict, "pass");
  });

  it("lets the mean grow by allowedIncrease, unless the baseline's is 0", () => {
    const ticks = quarter(25, 10);
    assert.equal(judged(mannWhitney({ of: "errors", allowedIncrease: 2.4 }), ...ticks).verdict, "fail");
    assert.equal(judged(mannWhitney({ of: "errors", allowedIncrease: 2.6 }), ...ticks).verdict, "pass");
    const fromNothing = new Array(15).fill(minute(50, 0));
    assert.equal(judged(mannWhitney({ of: "errors", allowedIncrease: 100 }), ...fromNothing).verdict, "fail");
  });

  it("leaves out minutes without data, and is an error where a side has none at all", () => {
    const some = quarter(50, 10).map((t, i) => (i % 3 === 0 ? { ...t, canary: counts(0) } : t));
    const { verdict, figures } = judged(judge, ...some);
    assert.equal(verdict, "fail");
    assert.equal(figures.canaryPoints, 10);
    const noCanary = quarter(50, 10).map((t) => ({ ...t, canary: counts(0) }));
    assert.match(judged(judge, ...noCanary).reason, /^no data of the canary/);
    assert.equal(judged(judge, ...noCanary).verdict, "error");
    const noBaseline = quarter(50, 10).map((t) => ({ ...t, baseline: counts(0) }));
    assert.match(judged(judge, ...noBaseline).reason, /^no data of the baseline/);
    assert.equal(judged(judge, ...noBaseline).verdict, "error");
    assert.equal(judged(judge, ...new Array(40).fill(minute(1))).verdict, "error", "a first release");
  });

  it("judges the last fifteen points again with each new one", () => {
    assert.equal(judged(judge, ...quarter(10, 10), ...quarter(60, 10)).verdict, "fail");
    assert.equal(judged(judge, ...quarter(10, 10), ...quarter(60, 10), ...quarter(10, 10)).verdict, "pass");
  });

  it("does not pass for ever on a canary that has no traffic any more", () => {
    const silent = quarter(10, 10).map((t) => ({ ...t, canary: counts(0) }));
    assert.equal(judged(judge, ...quarter(10, 10), ...silent).verdict, "error");
  });

  it("compares with the baseline's last points where none is live any more", () => {
    const alone = (errors: number) => quarter(errors, 10).map(({ baseline: _, ...rest }) => rest);
    assert.equal(judged(judge, ...quarter(10, 10), ...alone(60)).verdict, "fail");
    assert.equal(judged(judge, ...quarter(10, 10), ...alone(10)).verdict, "pass");
    // The minute in which it went still has a point of it.
    const last = judged(
      judge,
      ...quarter(10, 10).slice(1),
      span(30, 500, 5),
      ...alone(10)
        .slice(0, 1)
        .map((t) => ({ ...t, seconds: 30 })),
    );
    assert.equal(last.figures.baselinePoints, 15);
  });

  it("compares P99s", () => {
    const p99 = mannWhitney({ of: "p99", points: 5 });
    const at = (canary: number, baseline: number) => ({
      ...slow(60, canary),
      baseline: slow(60, baseline).canary,
    });
    assert.equal(judged(p99, ...new Array(5).fill(at(3, 1))).verdict, "fail");
    assert.equal(judged(p99, ...new Array(5).fill(at(1, 3))).verdict, "pass");
    assert.equal(judged(p99, ...new Array(5).fill(at(2, 2))).verdict, "pass");
  });

  it("keeps a state of at most 1 kB with the P99s of two histograms of 20 buckets", () => {
    const edges = Array.from({ length: 19 }, (_, i) => 2 ** i / 1000);
    const side = (i: number) =>
      counts(
        900 + i,
        0,
        [...edges, 0].map((_, k) => ((i + k) * 37) % 91),
      );
    const p99 = mannWhitney({ of: "p99" });
    let state = p99.start();
    for (let i = 0; i < 40; i += 1) {
      state = p99.update(state, span(50, 0, 0, { edges, canary: side(i), baseline: side(i + 5) }));
      assert.ok(JSON.stringify(state).length <= 1024, JSON.stringify(state));
    }
  });

  it("says its numbers", () => {
    const { reason, figures } = judged(judge, ...quarter(50, 10));
    assert.equal(
      reason,
      "canary error rate 5 % in the mean of 15 points, baseline 1 % of 15; shifted by 4 % (3.6 % to 4.4 %)",
    );
    near(figures.canaryMean ?? 0, 0.05, "mean of the canary");
    near(figures.baselineMean ?? 0, 0.01, "mean of the baseline");
  });

  it("refuses options it can't read", () => {
    const wrong: unknown[] = [
      { of: "success" },
      { of: { query: "" } },
      { of: "errors", points: 0 },
      { of: "errors", points: 1000 },
      { of: "errors", confidence: 1 },
      { of: "errors", tolerance: -1 },
      { of: "errors", allowedIncrease: Number.NaN },
      { of: "errors", interval: "0s" },
    ];
    for (const options of wrong)
      assert.throws(() => mannWhitney(options as never), BadConfig.is, JSON.stringify(options));
  });
});
