import assert from "node:assert/strict";
import fc from "fast-check";
import { atEdges, NATIVE_EDGES, type Native } from "../../automation/wire/native";

const bad = (why: string) => new Error(why);

/**
 * A histogram of the standard schema: bucket i ends at 2^(i/2^schema), upper bound inside.
 * https://prometheus.io/docs/specs/native_histograms/#standard-schemas
 */
function standard(schema: number, observations: readonly number[], unit = 1): Native {
  const width = 2 ** -schema;
  const counts = new Map<number, number>();
  for (const seconds of observations) {
    const index = Math.ceil(Number((Math.log2(seconds * unit) / width).toFixed(9)));
    counts.set(index, (counts.get(index) ?? 0) + 1);
  }
  return {
    count: String(observations.length),
    buckets: [...counts]
      .sort(([a], [b]) => a - b)
      .map(([i, n]) => [0, String(2 ** ((i - 1) * width)), String(2 ** (i * width)), String(n)] as const),
  };
}

/** Seconds at or below which so many observations are, as far as the edges tell. */
function quantile(points: readonly [number, number][], q: number): number {
  const rank = Math.ceil(q * points.at(-1)![1]);
  return points.find(([, count]) => count >= rank)![0];
}

const latencies = fc.array(fc.double({ min: 0.005, max: 15, noNaN: true }), { minLength: 1, maxLength: 50 });

describe("A native histogram at fixed edges", () => {
  it("has edges that ascend, from a millisecond to a minute, and a usual limit among them", () => {
    assert.ok(NATIVE_EDGES.every((edge, i) => i === 0 || edge > NATIVE_EDGES[i - 1]!));
    assert.ok(NATIVE_EDGES[0]! <= 0.001 && NATIVE_EDGES.at(-1)! >= 60);
    for (const limit of [0.125, 0.25, 0.5, 1, 2]) assert.ok(NATIVE_EDGES.includes(limit));
  });

  it("counts everything once, and at an edge only what is below it", () => {
    fc.assert(
      fc.property(latencies, fc.integer({ min: -1, max: 5 }), (seconds, schema) => {
        const points = atEdges(standard(schema, seconds), 1, bad);
        assert.deepEqual(
          points.map(([edge]) => edge),
          [...NATIVE_EDGES, Number.POSITIVE_INFINITY],
        );
        assert.equal(points.at(-1)![1], seconds.length);
        for (const [edge, counted] of points)
          assert.ok(counted <= seconds.filter((one) => one <= edge * 1.000001).length, `${edge}`);
      }),
    );
  });

  it("says a quantile no better than it is, and in schema 3 or finer at most 19 % worse", () => {
    fc.assert(
      fc.property(
        latencies,
        fc.constantFrom(0.5, 0.9, 0.99),
        fc.integer({ min: 3, max: 6 }),
        (seconds, q, schema) => {
          const sorted = [...seconds].sort((a, b) => a - b);
          const true_ = sorted[Math.ceil(q * sorted.length) - 1]!;
          const told = quantile(atEdges(standard(schema, seconds), 1, bad), q);
          assert.ok(told >= true_ * 0.999999 && told <= true_ * 1.19, `${told} of ${true_}`);
        },
      ),
    );
  });

  it("loses nothing of schema 3: each of its bounds is an edge", () => {
    for (let i = -64; i <= 32; i++) {
      const points = atEdges(standard(3, [2 ** (i / 8)]), 1, bad);
      const edge = points.find(([, counted]) => counted === 1)![0];
      assert.ok(edge >= 2 ** (i / 8) && edge < 2 ** (i / 8) * 1.0011, `${edge}`);
    }
  });

  it("makes seconds of milliseconds", () => {
    const points = atEdges(standard(3, [0.4], 1000), 1000, bad);
    const edge = points.find(([, counted]) => counted === 1)![0];
    assert.ok(edge >= 0.4 && edge <= 0.5);
  });

  it("takes what Prometheus answers: a bucket at zero, none at all, and one without an end", () => {
    const zero: Native = {
      count: "7",
      buckets: [
        [3, "-2.938735877055719e-39", "2.938735877055719e-39", "2"],
        [0, "0.0013810679320049755", "0.0015060652591874421", "1"],
        [0, "2", "+Inf", "3"],
      ],
    };
    const points = atEdges(zero, 1, bad);
    assert.equal(points[0]![1], 2);
    // The seventh was NaN: counted, in no bucket, and not to be told from one that never ended.
    assert.deepEqual(
      points.slice(-2).map(([, counted]) => counted),
      [3, 7],
    );
    assert.equal(atEdges({ count: "0" }, 1, bad).at(-1)![1], 0);
  });

  const malformed: [string, Native][] = [
    ["NaN observations", { count: "NaN" }],
    ["less than none", { count: "-1" }],
    ["infinitely many", { count: "+Inf" }],
    ["a number that is none", { count: "many" }],
    ["a bucket of NaN", { count: "1", buckets: [[0, "1", "2", "NaN"]] }],
    ["a bucket of less than none", { count: "1", buckets: [[0, "1", "2", "-1"]] }],
    ["a bucket that ends nowhere", { count: "1", buckets: [[0, "1", "x", "1"]] }],
    ["more in its buckets than in all", { count: "1", buckets: [[0, "1", "2", "2"]] }],
  ];
  for (const [what, histogram] of malformed)
    it(`refuses ${what}`, () => assert.throws(() => atEdges(histogram, 1, bad), /a native/));
});
