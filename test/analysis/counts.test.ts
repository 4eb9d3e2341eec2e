import assert from "node:assert/strict";
import fc from "fast-check";
import { add, BadReading, tick } from "../../automation/analysis/counts";
import type { Counts } from "../../automation/core/model";
import { anyCounts, anyTick, counts, EDGES, reading } from "./builders";

describe("tick", () => {
  it("is the difference of two readings, per slot", () => {
    const before = reading(1000, { green: counts(10, 1), blue: counts(100, 2) });
    const after = reading(6000, { green: counts(25, 4), blue: counts(190, 2) });
    assert.deepEqual(tick(before, after, "green", "blue"), {
      at: 6000,
      seconds: 5,
      edges: EDGES,
      canary: counts(15, 3),
      baseline: counts(90, 0),
    });
  });

  it("of a first reading is no evidence", () => {
    assert.equal(tick(undefined, reading(1, { green: counts(10) }), "green", "blue"), undefined);
  });

  it("of readings out of order, or of one read twice, is no evidence", () => {
    const a = reading(1000, { green: counts(10), blue: counts(10) });
    const b = reading(2000, { green: counts(20), blue: counts(20) });
    assert.equal(tick(b, a, "green", "blue"), undefined);
    assert.equal(tick(a, { ...b, at: 1000 }, "green", "blue"), undefined);
  });

  it("takes the new value of a slot whose counters fell, of all of them", () => {
    const before = reading(0, { green: counts(100, 5), blue: counts(100, 5) });
    const after = reading(5000, { green: counts(150, 2), blue: counts(40, 5) });
    const made = tick(before, after, "green", "blue");
    assert.deepEqual(made?.canary, counts(150, 2), "errors fell, so requests began anew too");
    assert.deepEqual(made?.baseline, counts(40, 5));
  });

  it("has no latency evidence where the edges changed, but has its requests", () => {
    const before = reading(0, { green: counts(10) });
    const after = reading(5000, { green: { requests: 30, errors: 1, buckets: [30, 0] } }, [0.2]);
    const made = tick(before, after, "green", undefined);
    assert.deepEqual(made?.edges, []);
    assert.deepEqual(made?.canary, { requests: 20, errors: 1, buckets: [0] });
  });

  it("without the canary in both readings is no evidence: its past is not this release's", () => {
    const without = reading(0, { blue: counts(1) });
    const later = reading(5000, { blue: counts(1), green: counts(1000, 900) });
    assert.equal(tick(without, later, "green", "blue"), undefined);
    assert.equal(tick({ ...later, at: -1 }, without, "green", "blue"), undefined);
  });

  it("keeps a live baseline that was not seen, as one without requests", () => {
    const made = tick(reading(0, { green: counts(1) }), reading(5, { green: counts(9) }), "green", "blue");
    assert.deepEqual(made?.baseline, counts(0));
    const first = tick(
      reading(0, { green: counts(1) }),
      reading(5, { green: counts(9) }),
      "green",
      undefined,
    );
    assert.equal(first?.baseline, undefined);
  });

  it("refuses what can't be counted, in either reading", () => {
    const good = reading(0, { green: counts(10, 1) });
    const bad: [string, Counts][] = [
      ["NaN", counts(Number.NaN)],
      ["negative", counts(-1, 0, [0, 0, 0, 0, 0, 0])],
      ["infinite", counts(Number.POSITIVE_INFINITY)],
      ["NaN errors", counts(10, Number.NaN)],
      ["NaN in a bucket", counts(10, 0, [Number.NaN, 0, 0, 0, 0, 0])],
      ["more errors than requests", counts(10, 11)],
      ["buckets that don't fit", counts(10, 0, [10])],
    ];
    for (const [what, green] of bad) {
      assert.throws(() => tick(good, reading(5000, { green }), "green", undefined), BadReading.is, what);
      assert.throws(() => tick(undefined, reading(5000, { green }), "green", undefined), BadReading.is, what);
      assert.throws(
        () => tick(reading(-1, { green }), reading(5000, { green: counts(20) }), "green", undefined),
        BadReading.is,
        what,
      );
    }
    assert.throws(() => tick(good, reading(Number.NaN, {}), "green", undefined), BadReading.is);
    assert.throws(() => tick(good, reading(1, {}, [1, 1]), "green", undefined), BadReading.is);
  });

  it("has counts that are never negative, whatever two sound readings say", () => {
    fc.assert(
      fc.property(anyCounts, anyCounts, (a, b) => {
        const made = tick(reading(0, { green: a }), reading(5000, { green: b }), "green", undefined);
        assert.ok(made);
        for (const value of [made.canary.requests, made.canary.errors, ...made.canary.buckets])
          assert.ok(value >= 0);
        assert.ok(made.canary.requests <= b.requests);
      }),
    );
  });
});

describe("add", () => {
  it("sums: a reading in between changes nothing", () => {
    fc.assert(
      fc.property(anyCounts, anyCounts, anyCounts, (start, one, two) => {
        const grown = (a: Counts, b: Counts) =>
          counts(
            a.requests + b.requests,
            a.errors + b.errors,
            a.buckets.map((v, i) => v + b.buckets[i]!),
          );
        const at = (time: number, c: Counts) => reading(time, { green: c, blue: c });
        const middle = grown(start, one);
        const end = grown(middle, two);
        const first = tick(at(0, start), at(4000, middle), "green", "blue")!;
        const last = tick(at(4000, middle), at(9000, end), "green", "blue")!;
        assert.deepEqual(add(first, last), tick(at(0, start), at(9000, end), "green", "blue"));
      }),
    );
  });

  it("gives the same in either order and grouping", () => {
    fc.assert(
      fc.property(anyTick, anyTick, anyTick, (a, b, c) => {
        const [x, y, z] = [
          { ...a, at: 1 },
          { ...b, at: 2 },
          { ...c, at: 3 },
        ];
        assert.deepEqual(add(x, y), add(y, x));
        assert.deepEqual(add(add(x, y), z), add(x, add(y, z)));
      }),
    );
  });

  it("keeps the later tick's latencies only, where the edges differ", () => {
    const a = { at: 1, seconds: 1, edges: [1], canary: counts(3, 1, [2, 1]), baseline: counts(5, 0, [5, 0]) };
    const b = { at: 2, seconds: 1, edges: [2], canary: counts(4, 0, [4, 0]) };
    assert.deepEqual(add(a, b), {
      at: 2,
      seconds: 2,
      edges: [2],
      canary: counts(7, 1, [4, 0]),
      baseline: counts(5, 0, [0, 0]),
    });
    assert.deepEqual(add(a, { ...b, edges: [], canary: counts(4, 0, [0]) }).canary, counts(7, 1, [2, 1]));
  });
});
