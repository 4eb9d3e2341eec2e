import assert from "node:assert/strict";
import fc from "fast-check";
import { type Kind, ledger, type Point } from "../../automation/wire/series";

const bad = (why: string) => new Error(why);
const point = (
  instance: string,
  kind: Kind,
  value: number,
  key = String(kind),
  slot: Point["slot"] = "green",
): Point => ({
  slot,
  instance,
  key,
  kind,
  value,
});
/** More than any counts in a test, so that one that began anew shows. */
const LONG = 10_000;
const INF = Number.POSITIVE_INFINITY;

describe("The ledger of series", () => {
  it("begins with what all had counted", () => {
    const points = [
      point("a", "requests", 5),
      point("b", "requests", 7),
      point("a", "errors", 1),
      point("a", 1, 3),
      point("a", INF, 5),
    ];
    assert.deepEqual(ledger().take(points, bad), {
      edges: [1],
      slots: { green: { requests: 12, errors: 1, buckets: [3, 2] } },
    });
  });

  it("counts each request once, whichever processes end, begin anew, are not seen for a while, or say more kinds", () => {
    const life = fc.record({
      requests: fc.nat(50),
      errors: fc.nat(5),
      event: fc.constantFrom("on", "on", "reset", "hidden"),
    });
    fc.assert(
      fc.property(
        fc.array(fc.array(life, { minLength: 3, maxLength: 3 }), { minLength: 1, maxLength: 12 }),
        (rounds) => {
          const book = ledger();
          const now = [0, 1, 2].map(() => ({ requests: LONG, errors: 0, pending: 0, failed: 0 }));
          book.take(
            now.map((p, i) => point(`${i}`, "requests", p.requests)),
            bad,
          );
          let requests = 3 * LONG;
          let errors = 0;
          for (const round of rounds) {
            const points: Point[] = [];
            for (const [i, { requests: more, errors: fewer, event }] of round.entries()) {
              const p = now[i]!;
              // What a process counted and nobody read before it ended is lost.
              if (event === "reset" && p.requests >= LONG)
                Object.assign(p, { requests: 0, errors: 0, pending: 0, failed: 0 });
              p.requests += more + 1;
              p.errors += fewer;
              p.pending += more + 1;
              p.failed += fewer;
              if (event === "hidden") continue;
              points.push(point(`${i}`, "requests", p.requests));
              if (p.errors > 0) points.push(point(`${i}`, "errors", p.errors));
              requests += p.pending;
              errors += p.failed;
              Object.assign(p, { pending: 0, failed: 0 });
            }
            if (points.length === 0) continue;
            const { slots } = book.take(points, bad);
            assert.deepEqual([slots.green!.requests, slots.green!.errors], [requests, errors]);
          }
        },
      ),
    );
  });

  it("does not take the past of the others for new where one begins anew", () => {
    const book = ledger();
    book.take([point("a", "requests", 1_000_000), point("b", "requests", 900)], bad);
    const { slots } = book.take([point("a", "requests", 1_000_010), point("b", "requests", 4)], bad);
    assert.equal(slots.green?.requests, 1_000_900 + 10 + 4);
  });

  it("takes all counters of a process as begun anew where one fell", () => {
    const book = ledger();
    book.take([point("a", "requests", 9), point("a", 1, 0), point("a", INF, 9)], bad);
    // The bucket of the fast ones has passed its old value already.
    const { slots } = book.take([point("a", "requests", 8), point("a", 1, 8), point("a", INF, 8)], bad);
    assert.deepEqual(slots.green, { requests: 17, errors: 0, buckets: [8, 9] });
  });

  it("leaves out what a process had counted that comes up later, and counts a kind that comes up later from 0", () => {
    const book = ledger();
    book.take([point("a", "requests", 10)], bad);
    const next = book.take(
      [point("a", "requests", 12), point("a", "errors", 2), point("b", "requests", 500)],
      bad,
    );
    assert.deepEqual(next.slots.green, { requests: 12, errors: 2, buckets: [0] });
    const last = book.take(
      [point("a", "requests", 12), point("b", "requests", 503), point("b", "errors", 3)],
      bad,
    );
    assert.deepEqual(last.slots.green, { requests: 15, errors: 5, buckets: [0] });
  });

  it("leaves a slot out that is not seen, and goes on with it when it is", () => {
    const book = ledger();
    book.take([point("a", "requests", 10), point("a", "requests", 5, "r", "blue")], bad);
    assert.deepEqual(Object.keys(book.take([point("a", "requests", 6, "r", "blue")], bad).slots), ["blue"]);
    assert.equal(book.take([point("a", "requests", 14)], bad).slots.green?.requests, 14);
  });

  it("takes nothing from a server that lags behind the one asked before, and goes on from where it was", () => {
    const book = ledger();
    const read = (at: number, value: number, other: number) => {
      const points = [
        { ...point("a", "requests", value), at },
        { ...point("b", "requests", other, "requests", "green"), at: at + 50 },
      ];
      return book.take(points, bad).slots.green?.requests;
    };
    assert.equal(read(1000, 500, 70), 570);
    assert.equal(read(800, 490, 65), 570);
    assert.equal(read(900, 495, 68), 570, "and is compared with the newest of all");
    assert.equal(read(1000, 500, 70), 570);
    assert.equal(read(1100, 3, 71), 574, "a fall in a newer one is a new beginning");
    // Where nothing says when, a fall is what it is.
    const plain = ledger();
    plain.take([{ ...point("a", "requests", 9), at: 5 }], bad);
    assert.equal(plain.take([point("a", "requests", 4)], bad).slots.green?.requests, 13);
  });

  describe("of native histograms", () => {
    /** What was observed by upper bound, as points at the edges 1, 2, 4 and all. */
    const native = (observed: Record<number, number>, instance = "a"): Point[] =>
      [1, 2, 4, INF].map((edge) => {
        const within = Object.entries(observed).filter(([bound]) => Number(bound) <= edge);
        const sum = within.reduce((all, [, count]) => all + count, 0);
        return { ...point(instance, edge, sum, `h ${edge}`), native: "h" };
      });

    it("counts what came in each bucket", () => {
      const book = ledger();
      assert.deepEqual(book.take(native({ 1: 5, 4: 1 }), bad).slots.green?.buckets, [5, 0, 1, 0]);
      assert.deepEqual(book.take(native({ 1: 6, 2: 3, 4: 1, 8: 1 }), bad).slots.green?.buckets, [6, 3, 1, 1]);
    });

    it("takes merged buckets for what they are: no new beginning, and no observations", () => {
      const book = ledger();
      book.take(native({ 1: 100, 2: 50, 4: 10 }), bad);
      // The process now has buckets twice as wide: what ended at 1 ends at 2.
      const after = book.take(native({ 2: 152, 4: 11 }), bad).slots.green;
      assert.deepEqual(after?.buckets, [100, 50, 10, 0]);
      assert.deepEqual(book.take(native({ 2: 155, 4: 12 }), bad).slots.green?.buckets, [100, 53, 11, 0]);
    });

    it("sees a new beginning where there are fewer in all", () => {
      const book = ledger();
      book.take(native({ 1: 100, 2: 50 }), bad);
      assert.deepEqual(book.take(native({ 1: 3, 4: 1 }), bad).slots.green?.buckets, [103, 50, 1, 0]);
    });

    it("never falls in any bucket, whatever is observed, merged, or begun anew", () => {
      const event = fc.record({
        bound: fc.constantFrom(1, 2, 4, 8),
        more: fc.nat(20),
        what: fc.constantFrom("on", "on", "merge", "reset"),
      });
      fc.assert(
        fc.property(fc.array(event, { minLength: 1, maxLength: 20 }), (events) => {
          const book = ledger();
          let observed: Record<number, number> = { 1: 30, 2: 20, 4: 5 };
          let before = book.take(native(observed), bad).slots.green!.buckets;
          for (const { bound, more, what } of events) {
            if (what === "reset") observed = {};
            if (what === "merge")
              observed = { 2: (observed[1] ?? 0) + (observed[2] ?? 0), 8: observed[4] ?? 0 };
            observed[bound] = (observed[bound] ?? 0) + more;
            const now = book.take(native(observed), bad).slots.green!.buckets;
            assert.ok(
              now.every((count, i) => count >= before[i]!),
              `${before} ${now}`,
            );
            before = now;
          }
        }),
      );
    });
  });

  const malformed: [string, Point[]][] = [
    ["buckets without the last one", [point("a", "requests", 1), point("a", 1, 1)]],
    ["buckets that fall", [point("a", 1, 3), point("a", 2, 2), point("a", INF, 3)]],
  ];
  for (const [what, points] of malformed)
    it(`refuses ${what}`, () => assert.throws(() => ledger().take(points, bad), /edge|lack/));

  it("leaves the latencies out where the slots have different edges, and keeps the rest", () => {
    const points = [
      point("a", "requests", 9),
      point("a", 1, 1),
      point("a", INF, 1),
      point("a", 2, 1, "2", "blue"),
      point("a", INF, 1, "i", "blue"),
    ];
    const sums = ledger().take(points, bad);
    assert.deepEqual(sums.edges, []);
    assert.deepEqual(
      Object.values(sums.slots).map((slot) => slot.buckets),
      [[0], [0]],
    );
    assert.ok(Object.values(sums.slots).some((slot) => slot.requests === 9));
  });
});
