import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { advice, clean } from "../../automation/analysis/advice";
import { errorRate } from "../../automation/analysis/errors";
import { NAMES } from "../../automation/analysis/named";
import { simulate, simulateLines } from "../../automation/commands/simulate";
import type { Tick } from "../../automation/core/model";

const BIN = join(__dirname, "..", "..", "bin", "sluice.js");
const stays = new AbortController().signal;

describe("Simulating rollouts", function () {
  this.timeout(60_000);

  it("tells the same for the same seed, and each judge of the same traffic", async () => {
    const asked = { rps: 100, runs: 20, seed: 7 };
    const first = await simulate(asked, stays);
    assert.deepEqual(await simulate(asked, stays), first);
    assert.notDeepEqual((await simulate({ ...asked, seed: 8 }, stays)).judges, first.judges);
    assert.deepEqual(
      first.judges.map((j) => j.judge),
      [...NAMES],
    );
    for (const { healthy, bad } of first.judges)
      for (const { rolledBack, promoted, undecided } of [healthy, bad])
        assert.ok(Math.abs(rolledBack + promoted + undecided - 1) < 1e-9);
  });

  it("shows what the reference knows: false alarms of one minute's average, and what waiting costs", async () => {
    const { judges } = await simulate({ rps: 100, rate: "0.5%", weights: "10,100", runs: 100 }, stays);
    const of = Object.fromEntries(judges.map((j) => [j.judge, j]));
    // 10 % of 100 rps in its first minute; the reference has 60 % in a quarter of an hour.
    assert.ok(of.argo!.healthy.rolledBack > 0.05, `argo ${of.argo!.healthy.rolledBack}`);
    assert.ok(of.sluice!.healthy.rolledBack <= 0.01, `sluice ${of.sluice!.healthy.rolledBack}`);
    assert.equal(of.sluice!.bad.rolledBack, 1);
    assert.ok(of.sluice!.bad.failed.median <= 12, `${of.sluice!.bad.failed.median}`);
    assert.equal(of.flagger!.bad.rolledBackAfter, 360);
    assert.equal(of.kayenta!.bad.rolledBackAfter, 900);
    assert.ok(of.kayenta!.bad.failed.median > of.flagger!.bad.failed.median);
  });

  it("looks at each error where they are pushed, which costs fewer of them", async () => {
    const [polled, pushed] = await Promise.all(
      [false, true].map((p) => simulate({ rps: 2000, runs: 30, pushed: p }, stays)),
    );
    const median = (of: typeof polled) => of!.judges[0]!.bad.failed.median;
    assert.ok(median(pushed) <= 7 && median(polled) > 15, `${median(pushed)} and ${median(polled)}`);
    assert.deepEqual(pushed!.judges.slice(1), polled!.judges.slice(1));
  });

  it("says in a sentence what it means, and what to change where traffic is too slow", async () => {
    const fast = await simulate({ rps: 1000, runs: 5 }, stays);
    assert.match(
      fast.says,
      /^At 5 % of 1,000 rps the release gets 50 requests a second: a release with 0\.1 % of errors is promoted/,
    );
    const slow = await simulate({ rps: 10, weights: "5,25", runs: 5 }, stays);
    assert.deepEqual(slow.weights, [5, 25, 100]);
    assert.match(
      slow.says,
      /gets 0\.5 requests a second, and it takes 420 without an error .* Raise the weight/,
    );
    const text = simulateLines(slow).join("\n");
    assert.match(
      text,
      /^10 rps, weights 5, 25, 100 %, limit 1 % and 1\.5 times the baseline: 5 rollouts of each/,
    );
    for (const name of NAMES) assert.match(text, new RegExp(`^${name} +\\d`, "m"));
    assert.doesNotMatch(text, /undefined|NaN/);
    const held = await simulate({ rps: 10, runs: 40 }, stays);
    assert.match(held.says, /After 15 min [\d.]+ % of the healthy ones are undecided, and held: raise/);
  });

  it("is done with its defaults in well under ten seconds", async () => {
    const began = process.cpuUsage();
    await simulate({ rps: 200 }, stays);
    const took = process.cpuUsage(began).user / 1e6;
    assert.ok(took < 10, `${took} s`);
  });

  it("refuses what is no traffic, no limit, no weights", async () => {
    for (const asked of [
      { rps: 0 },
      { rps: -1 },
      { rps: Number.NaN },
      { rps: 1e9 },
      { rps: 1, max: "0%" },
      { rps: 1, max: "100%" },
      { rps: 1, max: "a lot" },
      { rps: 1, max: "1" },
      { rps: 1, rate: "-1%" },
      { rps: 1, bad: "200%" },
      { rps: 1, weights: "25,5" },
      { rps: 1, weights: "" },
      { rps: 1, weights: "5,x" },
      { rps: 1, weights: "5,101" },
      { rps: 1, weights: "0,5" },
      { rps: 1, worseThan: 0.5 },
      { rps: 1, maxDuration: "soon" },
      { rps: 1, runs: 0 },
      { rps: 1, runs: 1.5 },
      { rps: 1, seed: -1 },
    ])
      await assert.rejects(
        simulate(asked, stays),
        (e: { code: string; hint: string }) => /^(wrong-use|bad-config)$/.test(e.code) && e.hint !== "",
        JSON.stringify(asked),
      );
  });

  it("is ended by a Ctrl-C in the middle, as paused, with nothing left half done", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-simulate-"));
    try {
      const hook = join(folder, "hook.js");
      writeFileSync(
        hook,
        `const timer = setInterval(() => {
  if (process.listenerCount("SIGINT") === 0) return;
  clearInterval(timer);
  process.kill(process.pid, "SIGINT");
}, 1).unref();`,
      );
      const args = ["--require", hook, BIN, "simulate", "--rps", "2000", "--runs", "10000"];
      // Outside of a project: it needs none.
      const child = spawn(process.execPath, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
      let said = "";
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said += text));
      const [code] = await once(child, "close");
      assert.equal(code, 75, said);
      assert.match(said, /^Paused: interrupted while no run was under way/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("Advice on slow traffic", () => {
  it("counts requests without an error by the engine itself: so many are enough, and one less is not", () => {
    for (const max of [0.001, 0.01, 0.05, 0.2])
      for (const promoteRisk of [0.01, 0.05]) {
        const judge = errorRate({ max, worseThan: 1.5 });
        const strength = (n: number) => {
          const counts = (requests: number) => ({ requests, errors: 0, buckets: [requests] });
          const tick: Tick = { at: 0, seconds: 0, edges: [], canary: counts(n), baseline: counts(1e4) };
          return judge.finding(judge.update(judge.start(), tick)).evidence!.for;
        };
        const n = clean({ max, promoteRisk })!;
        assert.ok(
          strength(n) >= -Math.log(promoteRisk) && strength(n - 1) < -Math.log(promoteRisk),
          `${max}`,
        );
        // The least that any test needs: ln(1/alpha) / -ln(1 - L).
        assert.ok(n >= Math.log(1 / promoteRisk) / -Math.log1p(-max) && n < 3e5);
      }
  });

  it("is none from about one request a second on, and what it proposes is enough", () => {
    assert.equal(advice({ rps: 1000, weight: 5, max: 0.01 }), undefined);
    assert.equal(advice({ rps: 10, weight: 10, max: 0.01 }), undefined);
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 1000, noNaN: true }),
        fc.constantFrom(1, 5, 10, 50),
        fc.constantFrom(0.001, 0.01, 0.05),
        fc.constantFrom(600, 900, 3600),
        (rps, weight, max, maxDuration) => {
          const given = { rps, weight, max, maxDuration };
          const said = advice(given);
          if (said === undefined) return;
          const number = (of: RegExp) => Number(of.exec(said)?.[1]?.replaceAll(",", "") ?? Number.NaN);
          const raised = number(/the weight to ([\d,]+) %/);
          if (raised) assert.equal(advice({ ...given, weight: raised }), undefined, said);
          const looser = number(/`max` to ([\d.]+) %/);
          if (looser) assert.equal(advice({ ...given, max: looser / 100 }), undefined, said);
          const [, time = "", unit = ""] = /`maxDuration` to ([\d.]+) (s|min|h)/.exec(said) ?? [];
          const seconds = Number(time) * { s: 1, min: 60, h: 3600, "": 0 }[unit as "s"];
          if (seconds) assert.equal(advice({ ...given, maxDuration: seconds }), undefined, said);
          assert.doesNotMatch(said, /NaN|undefined|Infinity|Raise \./);
        },
      ),
      { numRuns: 300 },
    );
    for (const rps of [0, Number.NaN, 1e-9])
      assert.match(advice({ rps, weight: 5, max: 0.01 }) ?? "", /^At 5 %/);
  });
});
