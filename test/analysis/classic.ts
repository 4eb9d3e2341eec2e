import assert from "node:assert/strict";
import fc from "fast-check";
import { add } from "../../automation/analysis/counts";
import type { Finding, Tick, VerdictKind } from "../../automation/core/model";
import type { Judge } from "../../automation/core/ports";
import { anyCounts, counts, EDGES } from "./builders";

/** What the classic judges ask a source in these tests. */
export const QUERY = "queue_length";

/** `requests` of the canary in so many seconds, all fast, and ten times as many of the baseline. */
export function span(seconds: number, requests: number, errors = 0, rest: Partial<Tick> = {}): Tick {
  return {
    at: seconds * 1000,
    seconds,
    edges: EDGES,
    canary: counts(requests, errors),
    baseline: counts(requests * 10),
    ...rest,
  };
}

/** What a query gave in so many seconds; nothing without a value. */
export function asked(seconds: number, value?: number): Tick {
  return span(seconds, 10, 0, value === undefined ? {} : { values: { [QUERY]: value } });
}

/** All but the canary's buckets empty: so many requests of that latency. */
export function slow(seconds: number, bucket: number, requests = 100): Tick {
  const buckets = [...EDGES, 0].map((_, i) => (i === bucket ? requests : 0));
  return span(seconds, 0, 0, { canary: counts(requests, 0, buckets) });
}

export function judged<S>(judge: Judge<S>, ...ticks: Tick[]): Finding {
  return judge.finding(ticks.reduce((state, t) => judge.update(state, t), judge.start()));
}

/** The verdict after each tick. */
export function verdicts<S>(judge: Judge<S>, ...ticks: Tick[]): VerdictKind[] {
  let state = judge.start();
  return ticks.map((t) => {
    state = judge.update(state, t);
    return judge.finding(state).verdict;
  });
}

const anyPiece: fc.Arbitrary<Tick> = fc
  .record({
    canary: anyCounts,
    baseline: fc.option(anyCounts, { nil: undefined, freq: 4 }),
    value: fc.option(fc.double({ min: -10, max: 10, noNaN: true }), { nil: undefined }),
  })
  .map(({ canary, baseline, value }) => ({
    at: 0,
    seconds: 15,
    edges: EDGES,
    canary,
    ...(baseline && { baseline }),
    ...(value !== undefined && { values: { [QUERY]: value } }),
  }));

/** Four ticks of 15 s, and after which of them the driver's record ended. */
const anyMinute = fc.tuple(
  fc.array(anyPiece, { minLength: 4, maxLength: 4 }),
  fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
);

/** The same minute in fewer ticks. */
function merged(ticks: Tick[], cuts: boolean[]): Tick[] {
  return ticks.slice(1).reduce(
    (done, next, i) => {
      const last = done.at(-1);
      return !last || cuts[i] ? done.concat(next) : done.slice(0, -1).concat(add(last, next));
    },
    ticks.slice(0, 1),
  );
}

const anyBroken: fc.Arbitrary<Tick> = fc
  .record({
    value: fc.constantFrom(Number.NaN, -1, Number.POSITIVE_INFINITY),
    where: fc.constantFrom(
      "requests",
      "errors",
      "bucket",
      "baseline",
      "seconds",
      "more errors than requests",
    ),
  })
  .map(({ value, where }) => {
    const good = span(5, 100, 1);
    const bad = { ...counts(100, 1) };
    if (where === "requests") bad.requests = value;
    if (where === "errors" || where === "baseline") bad.errors = value;
    if (where === "more errors than requests") bad.errors = 101;
    if (where === "bucket") bad.buckets = [...EDGES, 1].map(() => value);
    if (where === "seconds") return { ...good, seconds: value };
    return where === "baseline" ? { ...good, baseline: bad } : { ...good, canary: bad };
  });

/** What holds for each judge that looks once a minute. */
export function laws(judges: readonly Judge<unknown>[]): void {
  for (const judge of judges) {
    it(`${judge.id}: says the same however the ticks are cut within a minute`, () => {
      fc.assert(
        fc.property(fc.array(anyMinute, { minLength: 1, maxLength: 20 }), (minutes) => {
          const fine = minutes.flatMap(([ticks]) => ticks);
          const coarse = minutes.flatMap(([ticks, cuts]) => merged(ticks, cuts));
          assert.deepEqual(judged(judge, ...fine), judged(judge, ...coarse));
        }),
      );
    });

    it(`${judge.id}: has a state that survives JSON at any point, and is not changed by an update`, () => {
      fc.assert(
        fc.property(fc.array(fc.oneof(anyPiece, anyBroken), { maxLength: 80 }), (ticks) => {
          let kept = judge.start();
          let plain = judge.start();
          for (const [i, t] of ticks.entries()) {
            const before = JSON.stringify(plain);
            const next = judge.update(plain, t);
            assert.equal(JSON.stringify(plain), before);
            plain = i % 30 === 29 ? (judge.turn?.(next) ?? next) : next;
            kept = judge.update(JSON.parse(JSON.stringify(kept)), t);
            if (i % 30 === 29) kept = judge.turn?.(kept) ?? kept;
            assert.deepEqual(JSON.parse(JSON.stringify(plain)), plain);
          }
          assert.deepEqual(judge.finding(kept), judge.finding(plain));
        }),
      );
    });

    it(`${judge.id}: never passes without data`, () => {
      const none = [span(5, 0), span(60, 0), span(60, 0, 0, { edges: [], canary: counts(0, 0, [0]) })];
      assert.equal(judge.finding(judge.start()).verdict, "running");
      fc.assert(
        fc.property(fc.array(fc.constantFrom(...none), { maxLength: 40 }), (ticks) => {
          assert.ok(!verdicts(judge, ...ticks).includes("pass"));
        }),
      );
    });

    it(`${judge.id}: calls counts that are no numbers an error, and never passes on them`, () => {
      const good = Array.from({ length: 6 }, () => span(5, 100, 0, { values: { [QUERY]: 0 } }));
      fc.assert(
        fc.property(anyBroken, (broken) => {
          assert.equal(judged(judge, broken).verdict, "error");
          assert.equal(judged(judge, ...good, broken).verdict, "error");
          const many = Array.from({ length: 200 }, () => broken);
          assert.ok(!verdicts(judge, ...many).includes("pass"));
        }),
      );
    });

    it(`${judge.id}: keeps a state of at most 1 kB`, () => {
      let state = judge.start();
      for (let i = 0; i < 500; i += 1) {
        state = judge.update(state, span(7, 977 + i, i % 7, { values: { [QUERY]: 1 / (i + 3) } }));
        assert.ok(JSON.stringify(state).length <= 1024, JSON.stringify(state));
      }
    });

    it(`${judge.id}: says its numbers in one line`, () => {
      const { reason, figures } = judged(judge, ...Array.from({ length: 30 }, () => asked(60, 1)));
      assert.match(reason, /\d/);
      assert.doesNotMatch(reason, /\n|NaN|undefined|Infinity|null/);
      for (const value of Object.values(figures)) assert.ok(Number.isFinite(value));
    });
  }
}
