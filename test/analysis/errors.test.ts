import assert from "node:assert/strict";
import { upper } from "../../automation/analysis/bounds";
import { chance } from "../../automation/analysis/chance";
import { add } from "../../automation/analysis/counts";
import { type ErrorRateOptions, type ErrorRateState, errorRate } from "../../automation/analysis/errors";
import { sumOf } from "../../automation/analysis/process";
import type { Past, Tick } from "../../automation/core/model";
import { BadConfig } from "../../components/errors";
import { binomial, close, counts, EDGES, judgedBy, tickOf, verdictBy } from "./builders";

const LIMIT = { max: "1%" } as const;
const BOTH = { max: "1%", worseThan: 1.5 } as const;
const EITHER = { ...BOTH, when: "either" } as const;

/** Requests and errors of the canary, and of the baseline where there is one. */
const seen = (n: number, x: number, nb?: number, xb = 0) =>
  tickOf(counts(n, x), nb === undefined ? undefined : counts(nb, xb));
const many = (count: number, tick: Tick): Tick[] => new Array<Tick>(count).fill(tick);
const evidence = (options: ErrorRateOptions, ...ticks: Tick[]) =>
  judgedBy([errorRate(options)], ticks).findings()[0]!.evidence!;
const pastOf = (requests: number, errors: number): Past => ({
  at: 0,
  seconds: 900,
  edges: EDGES,
  baseline: counts(requests, errors),
  phi: 1,
  slow: 1,
});

describe("errorRate, as an e-process", () => {
  /** E[E after the tick] / E before, over all outcomes of both sides. */
  const factor = (options: ErrorRateOptions, state: ErrorRateState, n: number, p: number, nb = 0, pb = 0) => {
    const judge = errorRate(options);
    const before = judge.finding(state).evidence!;
    const mean = { against: 0, for: 0 };
    for (let x = 0; x <= n; x++)
      for (let xb = 0; xb <= nb; xb++) {
        const after = judge.finding(judge.update(state, seen(n, x, nb || undefined, xb))).evidence!;
        const mass = binomial(n, x, p) * binomial(nb, xb, pb);
        for (const name of ["against", "for"] as const)
          mean[name] += mass * Math.exp(after[name] - before[name]);
      }
    return mean;
  };
  /** States that were reached by chance, over weights and starts. */
  function* states(options: ErrorRateOptions, seed: number) {
    const random = chance(seed);
    const judge = errorRate(options);
    const upTo = (most: number) => Math.floor(random() * (most + 1));
    for (let run = 0; run < 40; run++) {
      let state = judge.start(pastOf(100, 3));
      for (let t = 0; t < 6; t++) {
        yield { state, n: 1 + upTo(5), nb: 1 + upTo(5), random };
        const [n, nb] = [upTo(6), 1 + upTo(8)];
        state = judge.update(state, { ...seen(n, upTo(n), nb, upTo(nb)), seconds: 5 + upTo(20) });
        if (random() < 0.2) state = judge.turn!(state);
      }
    }
  }

  it("does not grow on average against a release at the limit or below, nor for one at the limit or above", () => {
    const options = { max: 0.2 };
    for (const { state, n, random } of states(options, 1)) {
      const at = factor(options, state, n, 0.2);
      close(at.against, 1, 1e-12);
      close(at.for, 1, 1e-12);
      assert.ok(factor(options, state, n, 0.2 * random()).against <= 1 + 1e-12);
      assert.ok(factor(options, state, n, 0.2 + 0.8 * random()).for <= 1 + 1e-12);
    }
  });

  it("nor when compared with the baseline, whatever the split and the baseline's rate are in each tick", () => {
    const options = { worseThan: 1.5, minBaseline: 1 };
    for (const { state, n, nb, random } of states(options, 2)) {
      const pb = 0.6 * random();
      const at = factor(options, state, n, 1.5 * pb, nb, pb);
      assert.ok(at.against <= 1 + 1e-12 && at.for <= 1 + 1e-12, JSON.stringify(at));
      assert.ok(factor(options, state, n, 1.5 * pb * random(), nb, pb).against <= 1 + 1e-12);
      const worse = 1.5 * pb + (1 - 1.5 * pb) * random();
      assert.ok(factor(options, state, n, worse, nb, pb).for <= 1 + 1e-12);
    }
  });

  it("nor, given how many errors both had, when both fail alike: hypergeometric", () => {
    const options = { worseThan: 1, minBaseline: 1 };
    const judge = errorRate(options);
    for (const { state, n, nb } of states(options, 3))
      for (let m = 0; m <= n + nb; m++) {
        let [mean, all] = [0, 0];
        for (let x = Math.max(0, m - nb); x <= Math.min(n, m); x++) {
          const ways = binomial(n, x, 0.5) * binomial(nb, m - x, 0.5);
          const after = judge.finding(judge.update(state, seen(n, x, nb, m - x))).evidence!;
          mean += ways * Math.exp(after.against - judge.finding(state).evidence!.against);
          all += ways;
        }
        assert.ok(mean / all <= 1 + 1e-12, `${m} errors of ${n} and ${nb}: ${mean / all}`);
      }
  });

  /** Chance that E against ever reaches 1/alpha, looked at after each request of both, over all outcomes. */
  const ever = (options: ErrorRateOptions, ticks: number, p: number, pb: number, alpha: number) => {
    const judge = errorRate({ ...options, minBaseline: 1 });
    const walk = (state: ErrorRateState, left: number): number => {
      if (judge.finding(state).evidence!.against >= Math.log(1 / alpha)) return 1;
      if (left === 0) return 0;
      let mean = 0;
      for (const [x, px] of [1 - p, p].entries())
        for (const [xb, pxb] of [1 - pb, pb].entries())
          mean += px * pxb * walk(judge.update(state, seen(1, x, 1, xb)), left - 1);
      return mean;
    };
    return walk(judge.start(), ticks);
  };
  const cases: [string, ErrorRateOptions, p: number, pb: number][] = [
    ["at the limit, worse than the baseline", { max: 0.2, worseThan: 1.5 }, 0.2, 0.05],
    ["above the limit, at the ratio", { max: 0.05, worseThan: 1.5 }, 0.3, 0.2],
    ["at both", { max: 0.15, worseThan: 1.5 }, 0.15, 0.1],
    ["at both, where either fails", { max: 0.15, worseThan: 1.5, when: "either" }, 0.15, 0.1],
  ];
  for (const [what, options, p, pb] of cases)
    it(`reaches 1/alpha ever with at most alpha ${what}`, () => {
      const found = ever(options, 6, p, pb, 0.4);
      assert.ok(found > 0.005, `it can: ${found}`);
      assert.ok(found <= 0.4, `${found}`);
    });

  it("says the same however its ticks are cut, as long as the split is the same", () => {
    const random = chance(4);
    for (const options of [LIMIT, BOTH, EITHER, { worseThan: 1.5 }])
      for (let run = 0; run < 50; run++) {
        const k = 1 + Math.floor(random() * 5);
        const ticks = Array.from({ length: 4 }, () => {
          const nb = 20 + Math.floor(random() * 400);
          // A baseline over the limit moves it, by as much as a tick is sure of that.
          const bad = options === BOTH ? 0 : random() ** 4;
          const [x, xb] = [random() ** 4 * nb * k, bad * nb].map(Math.floor) as [number, number];
          return { ...seen(nb * k, x, nb, xb), seconds: 1 };
        });
        const [cut, whole] = [evidence(options, ...ticks), evidence(options, ticks.reduce(add))];
        for (const name of ["against", "for", "bad", "sample"] as const)
          close(cut[name], whole[name], 1e-9 * Math.max(1, Math.abs(whole[name])));
      }
  });

  it("gathers nothing from a tick without requests, however long it is", () => {
    for (const options of [LIMIT, BOTH, EITHER]) {
      const before = [...many(5, seen(50, 1, 450, 2))];
      const [had, has] = [
        evidence(options, ...before),
        evidence(options, ...before, ...many(99, seen(0, 0))),
      ];
      for (const name of ["against", "for"] as const) close(has[name], had[name], 1e-9);
      assert.deepEqual([has.p, has.bad, has.sample], [had.p, had.bad, had.sample]);
    }
  });

  it("keeps the limit in mind while something harms both, and lets nothing but that move it", () => {
    const judge = errorRate(BOTH);
    const at = (...ticks: Tick[]) => ticks.reduce((s, t) => judge.update(s, t), judge.start());
    const [before, burst] = [many(9, seen(500, 4, 4500, 5)), seen(500, 50, 4500, 450)];
    const { abs } = at(...before, burst);
    assert.ok(sumOf(abs!.up) < sumOf(at(...before).abs!.up), "the burst is none of its own");
    const [alone, beside] = [seen(500, 50), seen(500, 50, 4500, 20)].map((t) => at(t).abs!);
    assert.deepEqual(beside, alone);
    assert.deepEqual(at(burst).abs!.down, alone!.down, "what is worse than the limit is never proof for it");
  });

  it("keeps the best p-value it ever had", () => {
    const { p, against } = evidence(LIMIT, seen(20, 4), ...many(20, seen(100, 0)));
    assert.ok(p < 0.01 && against < 0, `${p}`);
    assert.equal(evidence(LIMIT, seen(1000, 0)).p, 1);
  });
});

describe("errorRate, as it decides", () => {
  it("takes three errors to fail, however unlikely they are", () => {
    assert.equal(verdictBy([errorRate(LIMIT)], [seen(2, 2)]), "running");
    assert.equal(verdictBy([errorRate(LIMIT)], [seen(3, 3)]), "fail");
    assert.equal(verdictBy([errorRate({ ...LIMIT, minErrors: 5 })], [seen(4, 4)]), "running");
  });

  it("does not fail on a burst that hits both, and does where only the limit counts", () => {
    const burst = [...many(10, seen(100, 0, 900, 0)), ...many(4, seen(100, 20, 900, 180))];
    assert.notEqual(verdictBy([errorRate(BOTH)], burst), "fail");
    assert.equal(verdictBy([errorRate(LIMIT)], burst), "fail");
    assert.equal(verdictBy([errorRate(EITHER)], burst), "fail");
  });

  it("lets what is worse than the baseline be, as long as it keeps the limit", () => {
    const worse = many(20, seen(500, 4, 4500, 5));
    assert.notEqual(verdictBy([errorRate(BOTH)], worse), "fail");
    assert.equal(verdictBy([errorRate(EITHER)], worse), "fail");
    assert.equal(verdictBy([errorRate({ worseThan: 1.5 })], worse), "fail");
  });

  it("finds an outage that starts at 100 %, where there is no baseline any more", () => {
    for (const options of [LIMIT, BOTH, EITHER, { worseThan: 1.5 }]) {
      const before = many(12, seen(100, 0, 900, 1));
      const judge = errorRate(options);
      assert.equal(verdictBy([judge], [...before, seen(1000, 300)]), "fail", JSON.stringify(options));
      assert.notEqual(verdictBy([judge], [...before, ...many(12, seen(1000, 1))]), "fail");
    }
  });

  it("holds it there against the ratio of what the baseline was at most, where that is more than the limit", () => {
    const before = many(10, seen(100, 2, 900, 18));
    const allowed = 1.5 * upper(180, 9000);
    assert.ok(allowed > 0.03 && allowed < 0.04);
    const at = (rate: number) => [...before, ...many(30, seen(1000, Math.round(rate * 1000)))];
    assert.notEqual(verdictBy([errorRate(BOTH)], at(0.03)), "fail");
    assert.equal(verdictBy([errorRate(BOTH)], at(0.05)), "fail");
    assert.equal(verdictBy([errorRate(LIMIT)], at(0.03)), "fail");
  });

  it("knows the baseline of the time before", () => {
    const past = pastOf(9000, 180);
    assert.notEqual(verdictBy([errorRate(BOTH)], many(30, seen(1000, 30)), { past }), "fail");
    assert.equal(verdictBy([errorRate(BOTH)], many(30, seen(1000, 30))), "fail");
  });

  it("is about the limit alone where there was never a baseline", () => {
    for (const options of [BOTH, EITHER])
      for (const ticks of [many(30, seen(100, 0)), many(9, seen(100, 3)), many(60, seen(1000, 5))])
        assert.deepEqual(evidence(options, ...ticks), evidence(LIMIT, ...ticks));
  });

  it("passes without a limit and a baseline ever, and says so", () => {
    const judge = errorRate({ worseThan: 1.5 });
    const [finding] = judgedBy([judge], [seen(100, 50)]).findings();
    assert.equal(finding!.verdict, "pass");
    assert.match(finding!.reason, /no baseline to compare with/);
    assert.equal(verdictBy([judge], many(30, seen(100, 0, 0))), "running", "one without traffic is one");
  });

  it("does not take a baseline that was not read for one without errors", () => {
    const common = many(10, seen(500, 25, 4500, 225));
    for (const options of [BOTH, { worseThan: 1.5 }])
      for (const nb of [0, 19]) {
        const { against } = evidence(options, ...common);
        close(evidence(options, ...common, seen(500, 25, nb)).against, against, 1);
      }
  });

  it("takes the split of the tick before where one is too short to show it", () => {
    const before = many(10, seen(50, 0, 450, 0));
    const none = evidence(BOTH, ...before).against;
    const moment = evidence(BOTH, ...before, seen(3, 3, 12, 0)).against;
    assert.ok(moment > none + 3, `${moment}`);
    const judge = errorRate(BOTH);
    const state = before.reduce((s, t) => judge.update(s, t), judge.start());
    assert.equal(judge.turn!(state).last, undefined, "another weight, another split");
    assert.deepEqual(judge.turn!(state).rel, state.rel, "the evidence is carried over");
  });

  it("learns of what the split was only from a tick in which it stood still", () => {
    const judge = errorRate(BOTH);
    const { last } = judge.update(judge.start(), { ...seen(50, 0, 450), moving: true });
    assert.equal(last, undefined);
    const frozen = [seen(50, 0, 450), seen(50, 0, 1)].reduce((s, t) => judge.update(s, t), judge.start());
    assert.deepEqual(frozen.frozen, [0, upper(0, 450)]);
    assert.equal(judge.update(frozen, seen(50, 0, 450)).frozen, undefined, "it is back");
  });

  it("finds no worse release in a baseline too small to compare with", () => {
    const small = many(20, seen(200, 3, 19, 0));
    const judge = errorRate({ worseThan: 1.5 });
    assert.equal(verdictBy([judge], small), "running");
    assert.equal(verdictBy([errorRate({ worseThan: 1.5, minBaseline: 19 })], small), "fail");
  });

  it("refuses what it can't read", () => {
    for (const max of ["1", "1 percent", "%", "-1%", "200%", 5, -0.1, Number.NaN, null, 0, 1, "0%", "100%"])
      assert.throws(() => errorRate({ max: max as never }), BadConfig.is, String(max));
    for (const worseThan of [0.9, 0, -1, Number.NaN, 1001, "2"])
      assert.throws(() => errorRate({ worseThan: worseThan as never }), BadConfig.is, String(worseThan));
    for (const options of [
      {},
      { ...LIMIT, minErrors: 0 },
      { ...LIMIT, minErrors: 1.5 },
      { ...BOTH, minBaseline: 0 },
    ])
      assert.throws(() => errorRate(options), BadConfig.is, JSON.stringify(options));
    assert.throws(() => errorRate({ ...BOTH, when: "any" as never }), BadConfig.is);
  });
});
