import assert from "node:assert/strict";
import { chance, normal, places, poisson } from "../../automation/analysis/chance";
import { BadReading } from "../../automation/analysis/counts";
import { past } from "../../automation/analysis/past";
import type { Counts, Reading } from "../../automation/core/model";
import { close, counts, EDGES, reading } from "./builders";

/** Readings 5 s apart of counters that grow by what was counted in each. */
function readings(ticks: readonly Counts[], start = counts(0), edges = EDGES): Reading[] {
  const made = [reading(0, { blue: start }, edges)];
  let sum = start;
  for (const [i, t] of ticks.entries()) {
    sum = {
      requests: sum.requests + t.requests,
      errors: sum.errors + t.errors,
      buckets: sum.buckets.map((v, k) => v + t.buckets[k]!),
    };
    made.push(reading((i + 1) * 5000, { blue: sum }, edges));
  }
  return made;
}

/** 15 minutes of a slot: so many requests in 5 s, of which a share fails in clumps of that size. */
function quarter(mean: number, rate: number, size = 1, seed = 1, ticks = 180): Counts[] {
  const random = chance(seed);
  return Array.from({ length: ticks }, () => {
    const requests = poisson(mean, random);
    return counts(requests, Math.min(requests, size * places(requests, rate / size, random).length));
  });
}

describe("the time before a canary", () => {
  it("is what the live slot counted, and how long", () => {
    const known = past(readings([counts(100, 2), counts(50, 1)], counts(9000, 900)), "blue")!;
    assert.deepEqual(known.baseline, counts(150, 3));
    assert.deepEqual([known.at, known.seconds, known.edges], [10_000, 10, EDGES]);
  });

  it("is nothing without readings, without the slot, or without requests", () => {
    assert.equal(past([], "blue"), undefined);
    assert.equal(past(readings([]), "blue"), undefined);
    assert.equal(past(readings([counts(100)]), "green"), undefined);
    assert.equal(past(readings([counts(0), counts(0)], counts(7)), "blue"), undefined);
  });

  it("leaves out what was before a reset, and readings that are out of order", () => {
    const first = readings([counts(100, 1), counts(100, 1)], counts(1e6, 1000));
    const second = reading(15_000, { blue: counts(30, 2) });
    assert.deepEqual(past([...first, second], "blue")!.baseline, counts(230, 4));
    const [a, b, c] = first as [Reading, Reading, Reading];
    assert.deepEqual(past([a, b, b, c], "blue")!.baseline, counts(200, 2));
    const twice = past([a, c, b, reading(15_000, { blue: counts(1e6 + 300, 1003) })], "blue")!;
    assert.deepEqual([twice.baseline.requests, twice.seconds], [300, 15]);
  });

  it("is refused where it can't be counted", () => {
    const [a, b] = readings([counts(100)]) as [Reading, Reading];
    for (const requests of [Number.NaN, Number.POSITIVE_INFINITY, -1])
      assert.throws(
        () => past([a, { ...b, slots: { blue: { ...counts(100), requests } } }], "blue"),
        BadReading.is,
      );
  });
});

describe("over-dispersion", () => {
  const phi = (ticks: Counts[]) => past(readings(ticks), "blue")!.phi;

  it("is 1 where errors come by themselves", () => {
    // chi-squared of 179 degrees over 179 is 1.25 or more with a chance of 0.012: scipy.stats.chi2.sf(1.25 * 179, 179).
    // Of 50, 5 or more with 4e-4.
    let clumped = 0;
    for (let seed = 1; seed <= 50; seed++) if (phi(quarter(900, 0.02, 1, seed)) !== 1) clumped++;
    assert.ok(clumped <= 4, `${clumped} of 50`);
  });

  it("is about the size of clumps", () => {
    for (const size of [4, 7]) {
      const found = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((seed) => phi(quarter(900, 0.02, size, seed)));
      const mean = found.reduce((a, b) => a + b, 0) / found.length;
      assert.ok(Math.abs(mean - size) < 0.15 * size, `${mean} for ${size}`);
    }
  });

  it("does not take an incident for clumps: an outage of a minute is no reason to be blind", () => {
    const ticks = quarter(450, 0.001).map((t, i) =>
      i >= 60 && i < 72 ? { ...t, errors: t.requests / 2 } : t,
    );
    assert.ok(phi(ticks) <= 2.5, `${phi(ticks)}`);
  });

  it("does not take a daily wave of traffic for clumps", () => {
    const wave = Array.from({ length: 180 }, (_, i) => 1000 + Math.round(800 * Math.sin(i / 30)));
    assert.equal(phi(wave.map((n) => counts(n, Math.round(n / 100)))), 1);
  });

  it("is 1 in less than 14 minutes, or in few readings", () => {
    assert.ok(phi(quarter(900, 0.02, 7, 1, 168)) > 3);
    assert.equal(phi(quarter(900, 0.02, 7, 1, 167)), 1);
    const coarse = readings(quarter(900, 0.02, 7, 1, 180)).filter((_, i) => i % 6 === 0);
    assert.ok(past(coarse, "blue")!.phi > 2, "30 of them are enough");
    const fine = readings(quarter(900, 0.02, 7, 1, 290)).filter((_, i) => i % 10 === 0);
    assert.equal(past(fine, "blue")!.phi, 1, "29 are not");
  });

  it("is 1 where nothing failed, or everything", () => {
    assert.equal(phi(quarter(900, 0)), 1);
    assert.equal(phi(quarter(900, 0).map((t) => ({ ...t, errors: t.requests }))), 1);
  });

  it("is not seen in a reset", () => {
    const ticks = quarter(900, 0.02);
    const all = readings(ticks);
    // From the hundredth on, the counters are those of a new process.
    const base = all[100]!.slots.blue!;
    const reset = all.map((r, i) => {
      if (i <= 100) return r;
      const { requests, errors, buckets } = r.slots.blue!;
      const since = {
        requests: requests - base.requests,
        errors: errors - base.errors,
        buckets: buckets.map((v, k) => v - base.buckets[k]!),
      };
      return { ...r, slots: { blue: since } };
    });
    assert.deepEqual(past(reset, "blue"), past(all, "blue"));
  });

  it("is that of slow requests for latency, and 1 without a histogram", () => {
    const random = chance(3);
    const rare = (size: number) =>
      Array.from({ length: 180 }, () => {
        const slow = size * places(1000, 0.02 / size, random).length;
        return counts(1000, 0, [0, 1000 - slow, 0, 0, slow, 0]);
      });
    const of = (ticks: Counts[]) => past(readings(ticks), "blue")!.slow;
    assert.equal(of(rare(1)), 1);
    const clumped = of(rare(9));
    assert.ok(clumped > 3, `${clumped}`);
    const none = readings(
      quarter(900, 0.02).map((t) => ({ ...t, buckets: [t.requests] })),
      counts(0, 0, [0]),
      [],
    );
    assert.equal(past(none, "blue")!.slow, 1);
  });

  it("is of numbers that are as normal as they should be", () => {
    const random = chance(4);
    const drawn = Array.from({ length: 10_000 }, () => normal(random));
    close(drawn.reduce((a, b) => a + b, 0) / drawn.length, 0, 0.06);
    close(drawn.reduce((a, b) => a + b * b, 0) / drawn.length, 1, 0.1);
  });
});
