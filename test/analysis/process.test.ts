import assert from "node:assert/strict";
import { chance } from "../../automation/analysis/chance";
import {
  begin,
  cash,
  DOWN,
  gather,
  mixture,
  plus,
  RESTART_SECONDS,
  restart,
  stake,
  sumOf,
  UP,
} from "../../automation/analysis/process";
import { binomial, close } from "./builders";

const zeros = (grid: readonly number[]) => grid.map(() => 0);

describe("gather", () => {
  it("gives the check values of the reference to 1e-9", () => {
    const up = (x: number, n: number, theta0: number) => mixture(gather(zeros(UP), UP, x, n, theta0));
    close(up(3, 3, 0.01), 11.524656352, 1e-9);
    close(up(5, 100, 0.01), 2.443916334, 1e-9);
    close(up(0, 500, 0.01), -3.719586097, 1e-9);
    close(mixture(gather(zeros(DOWN), DOWN, 0, 500, 0.01)), 4.407033819, 1e-9);
    // 5 of 10 errors are the canary's, which had 1000 of 10,000 requests; as many as the baseline are allowed.
    close(up(5, 10, 1000 / (1000 + 9000)), 3.753991049, 1e-9);
  });

  it("has 12 alternatives from 1.25 to 400, and 9 from 1/1.25 to 1/50 and 0", () => {
    assert.equal(UP.length, 12);
    assert.equal(DOWN.length, 10);
    close(Math.exp(UP[0]!), 1.25, 1e-12);
    close(Math.exp(UP[11]!), 400, 1e-9);
    close(Math.exp(DOWN[0]!), 1 / 1.25, 1e-12);
    close(Math.exp(DOWN[8]!), 1 / 50, 1e-12);
    assert.equal(Math.exp(DOWN[9]!), 0);
  });

  it("takes 298 requests without an error to promote at 1 %, when the alternative is none at all", () => {
    const none = (n: number) => gather(zeros(DOWN), DOWN, 0, n, 0.01)[9]!;
    assert.ok(none(298) < Math.log(20) && none(299) >= Math.log(20));
  });

  it("says nothing without requests, nor of a share of 0 or 1", () => {
    const l = UP.map((_, k) => k);
    for (const [x, n, theta0] of [
      [0, 0, 0.5],
      [1, 2, 0],
      [1, 2, 1],
      [1, 2, Number.NaN],
      [1, 2, 1.5],
    ] as const)
      assert.deepEqual(gather(l, UP, x, n, theta0), l);
  });

  it("is the same however the counts are cut, with a theta0 for each", () => {
    const random = chance(1);
    for (const grid of [UP, DOWN])
      for (let run = 0; run < 100; run++) {
        const theta0 = [random(), random(), random(), random(), random(), random()];
        let [cut, whole] = [zeros(grid), zeros(grid)];
        for (const theta of theta0) {
          const parts = Array.from({ length: 4 }, () => Math.floor(random() * 50));
          const bad = parts.map((n) => (grid === UP ? Math.floor(random() * n) : 0));
          for (const [i, n] of parts.entries()) cut = gather(cut, grid, bad[i]!, n, theta, 2.5);
          whole = gather(whole, grid, sum(bad), sum(parts), theta, 2.5);
        }
        for (const [k, value] of whole.entries()) close(cut[k]!, value, 1e-9 * Math.max(1, Math.abs(value)));
      }
  });

  it("never makes a number that JSON does not know", () => {
    let l = gather(begin(DOWN), DOWN, 5, 10, 0.01);
    for (let i = 0; i < 1000; i++) l = gather(l, DOWN, 1e6, 1e6, 0.01);
    for (const value of l) assert.ok(Number.isFinite(value));
    assert.deepEqual(JSON.parse(JSON.stringify(l)), l);
    let up = begin(UP);
    for (let i = 0; i < 1000; i++) up = gather(up, UP, 1e6, 1e6, 1e-9);
    assert.ok(Number.isFinite(mixture(up)));
    assert.deepEqual(JSON.parse(JSON.stringify(up)), up);
  });

  it("divides the evidence by the over-dispersion", () => {
    const one = gather(zeros(UP), UP, 5, 100, 0.01);
    const seven = gather(zeros(UP), UP, 5, 100, 0.01, 7);
    for (const [k, value] of one.entries()) close(seven[k]!, value / 7, 1e-12);
  });
});

describe("an e-process", () => {
  /** E[E after] / E before, over all outcomes of a tick of n requests with true share p. */
  const factor = (l: number[], grid: readonly number[], n: number, p: number, theta0: number) => {
    let mean = 0;
    for (let x = 0; x <= n; x++)
      mean += binomial(n, x, p) * Math.exp(sumOf(gather(l, grid, x, n, theta0)) - sumOf(l));
    return mean;
  };

  it("does not grow on average while its null is true, whatever was before and whatever theta0 is next", () => {
    const random = chance(2);
    for (const grid of [UP, DOWN])
      for (let run = 0; run < 200; run++) {
        let l = begin(grid);
        for (let t = 0; t < 5; t++) {
          const [n, theta0] = [1 + Math.floor(random() * 12), 0.001 + 0.9 * random()];
          close(factor(l, grid, n, theta0, theta0), 1, 1e-12);
          const under = grid === UP ? theta0 * random() : theta0 + (1 - theta0) * random();
          assert.ok(factor(l, grid, n, under, theta0) <= 1 + 1e-12);
          l = gather(l, grid, Math.floor(random() * (n + 1)), n, theta0);
          if (grid === UP && random() < 0.5) l = restart(l, 0.01 * random());
        }
      }
  });

  it("grows on average when its null is false", () => {
    assert.ok(factor(begin(UP), UP, 10, 0.05, 0.01) > 1.05);
    assert.ok(factor(begin(DOWN), DOWN, 10, 0.001, 0.05) > 1.05);
  });

  it("stakes all it has once: what was staked and what was not make 1", () => {
    let staked = 0;
    for (let start = 0; start <= 1000; start++) {
      staked += stake(start);
      assert.ok(stake(start) > 0 && cash(start) > 0);
      close(staked + cash(start), 1, 1e-12);
    }
  });

  it("is worth as much after a restart as before", () => {
    let l = gather(begin(UP, stake(0)), UP, 2, 40, 0.01);
    for (let start = 1; start <= 200; start++) {
      const before = Math.exp(sumOf(l)) + cash(start - 1);
      l = restart(l, stake(start));
      close(Math.exp(sumOf(l)) + cash(start), before, 1e-9);
    }
  });

  /** Chance that E ever reaches 1/alpha within n requests, one by one, over all 2^n outcomes. */
  const everCrosses = (grid: readonly number[], n: number, p: number, theta0: number, alpha: number) => {
    const limit = Math.log(1 / alpha);
    const walk = (l: number[], starts: number, left: number): number => {
      const E = grid === UP ? plus(sumOf(l), Math.log(cash(starts))) : sumOf(l);
      if (E >= limit) return 1;
      if (left === 0) return 0;
      // Looked at, and restarted, after each request.
      const next = grid === UP ? restart(l, stake(starts + 1)) : l;
      const bad = walk(gather(next, grid, 1, 1, theta0), starts + 1, left - 1);
      return p * bad + (1 - p) * walk(gather(next, grid, 0, 1, theta0), starts + 1, left - 1);
    };
    return walk(begin(grid, grid === UP ? stake(0) : 1), 0, n);
  };

  for (const [grid, name, theta0, p] of [
    [UP, "against", 0.1, 0.1],
    [UP, "against", 0.4, 0.4],
    [UP, "against", 0.4, 0.3],
    [DOWN, "for", 0.5, 0.5],
    [DOWN, "for", 0.2, 0.2],
    [DOWN, "for", 0.2, 0.4],
  ] as const)
    it(`${name}: reaches 1/alpha ever with at most alpha, at ${p} where ${theta0} is the null's edge`, () => {
      const chance = everCrosses(grid, 15, p, theta0, 0.3);
      assert.ok(chance > 0, "it can");
      assert.ok(chance <= 0.3, `it does with ${chance}`);
    });
});

describe("sums of logarithms", () => {
  it("neither overflow nor underflow", () => {
    close(sumOf([1000, 1000]), 1000 + Math.log(2), 1e-9);
    close(sumOf([-1e9, -1000, -1000]), -1000 + Math.log(2), 1e-9);
    close(plus(800, -800), 800, 1e-9);
    close(plus(-800, 800), 800, 1e-9);
    assert.equal(sumOf([]), Number.NEGATIVE_INFINITY);
    close(restart([5000], 0.1)[0]!, 5000, 1e-9);
  });

  it("restart every ten seconds", () => assert.equal(RESTART_SECONDS, 10));
});

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
