import assert from "node:assert/strict";
import fc from "fast-check";
import { type Kind, ledger, type Point } from "../../automation/analysis/series";

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

  const malformed: [string, Point[]][] = [
    ["buckets without the last one", [point("a", "requests", 1), point("a", 1, 1)]],
    ["buckets that fall", [point("a", 1, 3), point("a", 2, 2), point("a", INF, 3)]],
    [
      "slots with different edges",
      [point("a", 1, 1), point("a", INF, 1), point("a", 2, 1, "2", "blue"), point("a", INF, 1, "i", "blue")],
    ],
  ];
  for (const [what, points] of malformed)
    it(`refuses ${what}`, () => assert.throws(() => ledger().take(points, bad), /edge|lack/));
});
