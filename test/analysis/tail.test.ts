import assert from "node:assert/strict";
import fc from "fast-check";
import { chance, places } from "../../automation/analysis/chance";
import { total } from "../../automation/analysis/quantile";
import {
  likelyAbove,
  maybeAbove,
  quantileBound,
  strictlyAbove,
  surelyAbove,
} from "../../automation/analysis/tail";
import { close, EDGES } from "./builders";

const BUCKETS = [1, 2, 4, 8, 16, 32];
const anyBuckets = fc.array(fc.nat({ max: 1000 }), { minLength: 6, maxLength: 6 });
const anyLimit = fc.double({ min: 0.001, max: 3, noNaN: true });

describe("requests above a limit", () => {
  const cases: [limit: number, surely: number, likely: number, maybe: number][] = [
    [0.1, 8 + 16 + 32, 8 + 16 + 32, 8 + 16 + 32],
    [1, 32, 32, 32],
    [0.7, 32, 32 + 16 * (Math.log(1 / 0.7) / Math.log(2)), 16 + 32],
    // Below the first edge there is no logarithm of 0: evenly.
    [0.004, 62, 62 + 0.6, 63],
    // Beyond the last edge nobody knows.
    [2, 0, 0, 32],
  ];
  for (const [limit, surely, likely, maybe] of cases)
    it(`of ${limit} s are surely ${surely}, likely ${likely.toFixed(2)}, at most ${maybe}`, () => {
      assert.equal(surelyAbove(limit, EDGES, BUCKETS), surely);
      close(likelyAbove(limit, EDGES, BUCKETS), likely, 1e-9);
      assert.equal(maybeAbove(limit, EDGES, BUCKETS), maybe);
    });

  it("are at least those that surely are, and at most those that may be, and the rarer the higher it is", () => {
    fc.assert(
      fc.property(anyBuckets, anyLimit, anyLimit, (buckets, a, b) => {
        const of = (limit: number) =>
          [surelyAbove, likelyAbove, strictlyAbove, maybeAbove].map((f) => f(limit, EDGES, buckets));
        const [surely, likely, strictly, maybe] = of(a) as [number, number, number, number];
        assert.ok(0 <= surely && surely <= likely + 1e-9 && likely <= strictly && strictly <= maybe + 1e-9);
        assert.ok(maybe <= total(buckets));
        const [low, high] = [of(Math.min(a, b)), of(Math.max(a, b))];
        for (const [i, value] of high.entries()) assert.ok(value <= low[i]! + 1e-9);
      }),
    );
  });

  it("count against any limit when they lie beyond the last edge, seen strictly", () => {
    assert.equal(strictlyAbove(2, EDGES, BUCKETS), 32);
    assert.equal(strictlyAbove(0.7, EDGES, BUCKETS), likelyAbove(0.7, EDGES, BUCKETS));
    assert.equal(strictlyAbove(2, [], [7]), 7);
  });
});

describe("the upper bound of a quantile", () => {
  it("is the order statistic of rank ceil(n (q + z sqrt(q (1 - q) / n)))", () => {
    // n = 1000: 990 + 1.645 * 3.146 = 995.2, so the 996th: 6 of the 10 between 0.5 and 1.
    close(quantileBound(0.99, EDGES, [0, 0, 900, 90, 10, 0])!, 0.5 * 2 ** 0.6, 1e-9);
    close(quantileBound(0.99, EDGES, [1000, 0, 0, 0, 0, 0])!, 0.00996, 1e-9);
  });

  it("is unknown with too few, or none, or beyond the last edge", () => {
    assert.equal(quantileBound(0.99, EDGES, [0, 0, 0, 0, 0, 0]), undefined);
    assert.equal(quantileBound(0.99, EDGES, [100, 0, 0, 0, 0, 0]), undefined);
    assert.equal(quantileBound(0.99, EDGES, [267, 0, 0, 0, 0, 0]), undefined);
    assert.notEqual(quantileBound(0.99, EDGES, [300, 0, 0, 0, 0, 0]), undefined);
    assert.equal(quantileBound(0.99, EDGES, [990, 0, 0, 0, 0, 10]), undefined);
    assert.equal(quantileBound(0.99, [], [1000]), undefined);
  });

  it("is above the true quantile in 19 of 20 times", () => {
    // Uniform on [0, 1): the true P99 is 0.99. 300 runs at 95 %: fewer than 265 with a chance of 3e-6.
    // scipy.stats.binom.cdf(264, 300, 0.95)
    const edges = Array.from({ length: 1000 }, (_, i) => (i + 1) / 1000);
    const random = chance(5);
    let above = 0;
    for (let run = 0; run < 300; run++) {
      // The tail alone is drawn: of 5000, those above 0.9.
      const tail = places(5000, 0.1, random).length;
      const buckets = [...edges.map(() => 0), 0];
      buckets[899] = 5000 - tail;
      for (let i = 0; i < tail; i++) buckets[900 + Math.floor(random() * 100)]!++;
      if (quantileBound(0.99, edges, buckets)! >= 0.99) above++;
    }
    assert.ok(above >= 265 && above < 300, `${above} of 300`);
  });
});
