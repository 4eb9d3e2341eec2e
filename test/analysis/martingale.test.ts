import assert from "node:assert/strict";
import { chance } from "../../automation/analysis/chance";
import { add } from "../../automation/analysis/counts";
import { type ErrorRateOptions, type ErrorRateState, errorRate } from "../../automation/analysis/errors";
import { against, fed, isBelow, opened, restarted } from "../../automation/analysis/gate";
import { sumOf } from "../../automation/analysis/process";
import type { Tick } from "../../automation/core/model";
import { binomial, close, judgedBy, many, pastOf, seen } from "./builders";

const LIMIT = { max: "1%" } as const;
const BOTH = { max: "1%", worseThan: 1.5 } as const;
const EITHER = { ...BOTH, when: "either" } as const;

const evidence = (options: ErrorRateOptions, ...ticks: Tick[]) =>
  judgedBy([errorRate(options)], ticks).findings()[0]!.evidence!;

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

  it("keeps the best p-value it ever had: 1 over the highest E, at most 1", () => {
    const random = chance(5);
    for (const options of [LIMIT, BOTH, EITHER, { worseThan: 1.5 }])
      for (let run = 0; run < 40; run++) {
        const judge = errorRate(options);
        let [state, best] = [judge.start(), 0];
        for (let t = 0; t < 20; t++) {
          state = judge.update(
            state,
            seen(10, Math.floor(2 * random() ** 4), 90, Math.floor(2 * random() ** 4)),
          );
          const { against, p } = judge.finding(state).evidence!;
          best = Math.max(best, against);
          close(p, Math.exp(-best), 1e-12);
        }
      }
  });

  it("is only said to be surely below what it is below", () => {
    const random = chance(6);
    let stream = opened();
    for (let t = 0; t < 200; t++) {
      const E = against(stream, t);
      assert.equal(isBelow(stream, E - 1e-9), false);
      assert.equal(isBelow(stream, E + 3), true);
      stream = restarted(fed(stream, { x: random() < 0.05 ? 1 : 0, n: 5, up: 0.01 }, 1), t, t + 1);
    }
  });

  it("is of both questions the weaker against it and the mean for it; of either the other way round", () => {
    const ticks = many(20, seen(100, 1, 900, 2));
    const [abs, rel] = [evidence(LIMIT, ...ticks), evidence({ worseThan: 1.5 }, ...ticks)];
    const mean = (a: number, b: number) => Math.log((Math.exp(a) + Math.exp(b)) / 2);
    const [both, either] = [evidence(BOTH, ...ticks), evidence(EITHER, ...ticks)];
    close(both.against, Math.min(abs.against, rel.against), 1e-9);
    close(both.for, mean(abs.for, rel.for), 1e-9);
    close(either.against, mean(abs.against, rel.against), 1e-9);
    close(either.for, Math.min(abs.for, rel.for), 1e-9);
  });
});
