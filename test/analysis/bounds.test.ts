import assert from "node:assert/strict";
import {
  betaShare,
  interval,
  lnBeta,
  lnGamma,
  lower,
  roughlyLower,
  upper,
} from "../../automation/analysis/bounds";
import { binomial, close } from "./builders";

// Expected values are SciPy's, 1.x: `pip install scipy`, then
//   from scipy.special import gammaln, betainc; from scipy.stats import beta
//   gammaln(v), betainc(a, b, x), beta.ppf(c, x + 1, n - x), beta.ppf(1 - c, x, n - x + 1)

describe("lnGamma", () => {
  const cases: [value: number, expected: number][] = [
    [0.1, 2.252712651734206],
    [0.5, 0.5723649429247],
    [1, 0],
    [1.5, -0.12078223763524526],
    [3.7, 1.428072326665388],
    [10, 12.801827480081469],
    [123.456, 469.6055471299295],
    [1e4, 82099.71749644238],
    [1e6, 12815504.569147611],
    [1e9, 19723265827.503716],
  ];
  for (const [value, expected] of cases)
    it(`of ${value} is SciPy's`, () => close(lnGamma(value), expected, 1e-12 * Math.max(1, expected)));
});

describe("betaShare", () => {
  const cases: [x: number, a: number, b: number, expected: number, within: number][] = [
    [0.3, 2, 5, 0.579825, 1e-12],
    [0.01, 1, 300, 0.9509591059287141, 1e-12],
    [0.02, 6, 95, 0.015483640641779385, 1e-12],
    [0.5, 0.5, 0.5, 0.5, 1e-12],
    [0.9, 20, 3, 0.6200409384119034, 1e-12],
    [1e-5, 1, 1e5, 0.6321223982334279, 1e-9],
    [0.001, 1001, 1e6, 0.5042094509447295, 1e-8],
    [0.0105, 10_001, 990_000, 0.9999996054160842, 1e-8],
    [0.0101, 1_000_001, 99_000_000, 1, 1e-8],
  ];
  for (const [x, a, b, expected, within] of cases)
    it(`I_${x}(${a}, ${b}) is SciPy's`, () => close(betaShare(x, a, b), expected, within));

  it("is 0 and 1 at the ends", () => {
    assert.equal(betaShare(0, 2, 3), 0);
    assert.equal(betaShare(-1, 2, 3), 0);
    assert.equal(betaShare(1, 2, 3), 1);
  });
});

describe("the bounds of a share", () => {
  const cases: [x: number, n: number, confidence: number, low: number, high: number][] = [
    [0, 1, 0.95, 0, 0.95],
    [0, 100, 0.95, 0, 0.029513049607039925],
    [0, 100, 0.99, 0, 0.045007413978564045],
    [1, 100, 0.95, 0.0005128014162622926, 0.046559811453538935],
    [5, 100, 0.95, 0.019905563662171843, 0.1022533776432745],
    [5, 100, 0.99, 0.012968921327023257, 0.12585173069767863],
    [99, 100, 0.95, 0.9534401885464611, 0.9994871985837377],
    [3, 3, 0.95, 0.36840314986403877, 1],
    [50, 10_000, 0.95, 0.0038984315821302675, 0.006324499770793831],
    [1000, 1_000_000, 0.95, 0.000948583778594414, 0.0010535748774544362],
    [0, 1e9, 0.99, 0, 4.605170175384295e-9],
    [1e6, 1e8, 0.95, 0.009983639386627982, 0.010016381564362202],
  ];
  for (const [x, n, confidence, low, high] of cases)
    it(`of ${x} of ${n} with ${confidence} are SciPy's`, () => {
      close(lower(x, n, confidence), low, 1e-8 * Math.max(low, 1e-3));
      close(upper(x, n, confidence), high, 1e-8 * Math.max(high, 1e-3));
    });

  it("are at 95 % without being told", () => {
    assert.equal(upper(5, 100), upper(5, 100, 0.95));
    assert.equal(lower(5, 100), lower(5, 100, 0.95));
  });

  it("are all there is where nothing was seen", () => {
    assert.deepEqual([lower(0, 0), upper(0, 0)], [0, 1]);
    assert.equal(upper(3, 2), 1);
    assert.equal(lower(0, 100), 0);
  });
});

describe("the rough lower bound", () => {
  it("is Wilson's, one-sided at 95 %", () => {
    // scipy.stats.binomtest(x, n, alternative="greater").proportion_ci(0.95, method="wilson").low, whose z has more digits.
    for (const [x, n, low] of [
      [5, 100, 0.024547363],
      [450, 4500, 0.092882623],
      [3, 3, 0.525804426],
    ] as const)
      close(roughlyLower(x, n), low, 1e-4 * low);
  });

  it("is near the other, never above the share, and 0 where nothing was", () => {
    for (const [x, n] of [
      [10, 100],
      [100, 1000],
      [990, 1000],
    ] as const) {
      close(roughlyLower(x, n), lower(x, n), 0.1 * lower(x, n));
      assert.ok(roughlyLower(x, n) < x / n);
    }
    assert.deepEqual([roughlyLower(0, 100), roughlyLower(0, 0)], [0, 0]);
  });
});

describe("the confidence sequence", () => {
  /** ln E of theta: what is out has 20 or more. */
  const lnE = (x: number, n: number, theta: number) =>
    lnBeta(x + 0.5, n - x + 0.5) - lnBeta(0.5, 0.5) - x * Math.log(theta) - (n - x) * Math.log(1 - theta);

  it("ends where the e-process reaches 1/risk", () => {
    for (const [x, n] of [
      [1, 10],
      [5, 100],
      [99, 100],
      [50, 10_000],
      [0.5, 30],
    ] as const) {
      const [low, high] = interval(x, n);
      assert.ok(low < x / n && x / n < high);
      close(lnE(x, n, low), Math.log(20), 1e-6);
      close(lnE(x, n, high), Math.log(20), 1e-6);
    }
  });

  it("knows nothing without a request, and is open where all or none were bad", () => {
    assert.deepEqual(interval(0, 0), [0, 1]);
    assert.equal(interval(0, 50)[0], 0);
    assert.equal(interval(50, 50)[1], 1);
    close(interval(0, 50)[1], 1 - interval(50, 50)[0], 1e-9);
  });

  it("is wider than bounds for one look, and narrows", () => {
    const [low, high] = interval(50, 1000);
    assert.ok(low < lower(50, 1000, 0.975) && high > upper(50, 1000, 0.975));
    const [lower10, upper10] = interval(500, 10_000);
    assert.ok(low < lower10 && upper10 < high);
  });

  for (const p of [0.01, 0.1, 0.5, 0.95])
    it(`holds ${p} after every request at once with 95 %`, () => {
      // Exact: where the walk of the count has not been out yet, and with what chance.
      let inside = [1];
      let out = 0;
      for (let n = 1; n <= 150; n++) {
        const next = new Array<number>(n + 1).fill(0);
        for (const [x, mass] of inside.entries()) {
          next[x]! += mass * (1 - p);
          next[x + 1]! += mass * p;
        }
        inside = next.map((mass, x) => {
          if (mass < 1e-12) return mass;
          const [low, high] = interval(x, n);
          if (low <= p && p <= high) return mass;
          out += mass;
          return 0;
        });
      }
      assert.ok(out > 0 && out <= 0.05, `it is out with ${out}`);
    });

  it("counts as many ways as there are", () => {
    let all = 0;
    for (let x = 0; x <= 20; x++) all += binomial(20, x, 0.3);
    close(all, 1, 1e-12);
  });
});
