import assert from "node:assert/strict";
import fc from "fast-check";
import type { Act, Plan, Step, StepId } from "../../automation/core/model";
import { plan, release } from "../../automation/core/plan";
import { blueGreen, canary } from "../../automation/core/strategies";
import { begin } from "../support/story";
import { tales } from "../support/tales";
import { frozen } from "../support/tape";
import { artifact, filled } from "../support/world";

const plans = tales.map((tale) => begin(tale).plan);

/** Everything that the step waits for. */
function earlier(p: Plan, id: StepId): Set<StepId> {
  const needs = new Map(p.steps.map((s) => [s.id, s.needs]));
  const seen = new Set<StepId>();
  const look = [...(needs.get(id) ?? [])];
  for (let next = look.pop(); next !== undefined; next = look.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    look.push(...needs.get(next)!);
  }
  return seen;
}

/** Not what the plan adds where there are several targets. */
function isStrategys({ act, id }: Step): boolean {
  return act !== "join" && !id.endsWith("/verify-again");
}

describe("plan", () => {
  it("asks every gate of every target before anything moves anywhere", () =>
    fc.assert(
      fc.property(plans, (p) => {
        for (const step of p.steps) {
          if (step.act === "gate" || step.act === "join") continue;
          const waits = earlier(p, step.id);
          for (const gate of p.steps)
            if (gate.act === "gate") assert.ok(waits.has(gate.id), `${step.id} does not wait for ${gate.id}`);
        }
      }),
    ));

  it("looks at each of several targets again when all have come through, before any of them settles", () =>
    fc.assert(
      fc.property(plans, (p) => {
        if (p.targets.length < 2) return assert.ok(!p.steps.some((s) => s.id.endsWith("/verify-again")));
        const waveOf = (key: string) => p.targets.find((t) => t.key === key)?.wave ?? 0;
        const settles = p.steps.filter((s) => s.act === "settle");
        for (const look of p.steps.filter((s) => s.id.endsWith("/verify-again"))) {
          for (const settle of settles)
            if (p.onFailure === "all" || waveOf(settle.target) === waveOf(look.target))
              assert.ok(earlier(p, settle.id).has(look.id), `${settle.id} does not wait for ${look.id}`);
          for (const step of p.steps)
            if (isStrategys(step) && step.act !== "settle" && waveOf(step.target) <= waveOf(look.target))
              assert.ok(earlier(p, look.id).has(step.id), `${look.id} does not wait for ${step.id}`);
        }
      }),
    ));

  it("gives every step an id of its own, three needs at most that it has, and no circle", () =>
    fc.assert(
      fc.property(plans, (p) => {
        const known = new Set<StepId>();
        for (const step of p.steps) {
          assert.ok(!known.has(step.id), `${step.id} twice`);
          assert.ok(step.needs.length <= 3);
          // Each need comes earlier in the list: so there is no circle.
          for (const need of step.needs) assert.ok(known.has(need), `${step.id} needs ${need}`);
          known.add(step.id);
          assert.ok(p.targets.some((t) => t.key === step.target));
        }
      }),
    ));

  it("lets every settle wait for all that any target still has to do, or any of its wave and those before", () =>
    fc.assert(
      fc.property(plans, (p) => {
        const waveOf = (key: string) => p.targets.find((t) => t.key === key)?.wave ?? 0;
        const settles = p.steps.filter((s) => s.act === "settle");
        assert.equal(settles.length, p.targets.length);
        for (const settle of settles) {
          const waits = earlier(p, settle.id);
          for (const step of p.steps) {
            const own = step.act !== "join" && waveOf(step.target) <= waveOf(settle.target);
            if (step.act !== "settle" && (own || p.onFailure === "all"))
              assert.ok(waits.has(step.id), `${settle.id} does not wait for ${step.id}`);
          }
        }
      }),
    ));

  it("begins a wave when all before it has come through, settles and all where each is settled by itself", () =>
    fc.assert(
      fc.property(plans, (p) => {
        const waveOf = (key: string) => p.targets.find((t) => t.key === key)?.wave ?? 0;
        for (const step of p.steps) {
          // All gates come first, whatever the wave.
          if (step.act === "settle" || step.act === "join" || step.act === "gate") continue;
          const waits = earlier(p, step.id);
          for (const before of p.steps) {
            if (waveOf(before.target) >= waveOf(step.target) || before.act === "join") continue;
            const late = before.act === "settle" || before.id.endsWith("/verify-again");
            if (late && p.onFailure === "all") continue;
            assert.ok(waits.has(before.id), `${step.id} does not wait for ${before.id}`);
          }
        }
      }),
    ));

  it("does each target's acts one after the other, as its strategy has them", () =>
    fc.assert(
      fc.property(tales, (tale) => {
        const { plan: p, strategy } = begin(tale);
        for (const target of p.targets) {
          const steps = p.steps.filter((s) => s.target === target.key && isStrategys(s));
          const has = {
            gates: Array.from({ length: tale.gates }, (_, i) => `g${i}`),
            tasks: Array.from({ length: tale.tasks }, (_, i) => `m${i}`),
            checks: tale.checks ? "checks" : undefined,
            analysis: tale.analysis ? "analysis" : undefined,
          };
          assert.deepEqual(
            steps.map((s) => s.act),
            strategy.steps(target, has).map((a) => a.act),
          );
          for (const [i, step] of steps.entries())
            if (i > 0) assert.ok(earlier(p, step.id).has(steps[i - 1]!.id));
        }
      }),
    ));

  it("takes a first release straight to 100 %, and every other one there by growing weights", () =>
    fc.assert(
      fc.property(plans, (p) => {
        for (const { key, from, mode } of p.targets) {
          const weights = p.steps.flatMap((s) => (s.target === key && s.act === "shift" ? [s.to] : []));
          if (mode === "in-place") {
            assert.deepEqual(weights, []);
            continue;
          }
          if (!from) assert.deepEqual(weights, [100]);
          assert.equal(weights.at(-1), 100);
          assert.ok(weights.every((w, i) => w > (weights[i - 1] ?? 0)));
        }
      }),
    ));

  it("fills the slot that is not live, and in place the one that is", () =>
    fc.assert(
      fc.property(plans, (p) => {
        for (const { base, from, to, mode } of p.targets) {
          assert.equal(from, base?.live);
          if (mode === "slots" || !from) assert.notEqual(to, from);
          else assert.equal(to, from);
        }
      }),
    ));

  it("is pure, and is data", () =>
    fc.assert(
      fc.property(tales, (tale) => {
        const p = begin(tale).plan;
        assert.deepEqual(JSON.parse(JSON.stringify(begin(tale).plan)), JSON.parse(JSON.stringify(p)));
      }),
    ));

  it("changes nothing that it is given, and keeps settings that are to be brought back", () => {
    const { settings, hash } = filled("old");
    const ask = frozen({
      request: "rollback prod",
      environment: "prod",
      release: release({ web: { artifact: artifact("old") } }),
      strategy: blueGreen(),
      has: { gates: [], tasks: [] },
      aims: [
        {
          key: "prod",
          service: "web",
          platform: "local",
          pin: { artifact: artifact("old") },
          settings: { settings, hash },
        },
      ],
    });
    const deploy = plan(ask).steps.find((s) => s.act === "deploy");
    assert.deepEqual(deploy?.act === "deploy" && deploy.settings, { settings, hash });
  });
});

describe("a strategy of somebody's own", () => {
  const make = (acts: Act[], mode: "slots" | "in-place" = "slots") =>
    plan({
      request: "promote staging prod",
      environment: "prod",
      release: release({ web: { artifact: artifact("new") } }),
      strategy: { name: "own", mode, steps: () => acts },
      has: { gates: [], tasks: [] },
      aims: [{ key: "prod", service: "web", platform: "local", pin: { artifact: artifact("new") } }],
    });
  const pin = { artifact: artifact("new") };
  const good: Act[] = [
    { act: "deploy", pin },
    { act: "shift", to: 100 },
    { act: "adopt" },
    { act: "settle" },
  ];
  const without = (act: string) => good.filter((a) => a.act !== act);

  it("is taken where it keeps what every plan relies on, and refused by name where it does not", () => {
    assert.equal(make(good).steps.length, 4);
    assert.equal(
      make([{ act: "replace", pin }, { act: "await" }, { act: "settle" }], "in-place").steps.length,
      3,
    );
    const wrongs: [Act[], RegExp][] = [
      [[], /end in its only `settle`/],
      [without("settle"), /end in its only `settle`/],
      [[{ act: "settle" }, ...good], /end in its only `settle`/],
      [without("deploy"), /one `deploy`/],
      [without("adopt"), /one `adopt`/],
      [without("shift"), /shift to 100 before it adopts/],
      [
        [{ act: "deploy", pin }, { act: "adopt" }, { act: "shift", to: 100 }, { act: "settle" }],
        /before it adopts/,
      ],
      [[{ act: "shift", to: 5 }, ...good], /must not shift before it deploys/],
      [[{ act: "deploy", pin }, { act: "shift", to: 0 }, ...good.slice(1)], /no percent/],
      [[{ act: "await" }, ...good], /can't have `await`/],
    ];
    for (const [acts, message] of wrongs) assert.throws(() => make(acts), { code: "bad-config", message });
    assert.throws(() => make(good, "in-place"), { code: "bad-config" });
  });
});

describe("release", () => {
  it("has the same id whatever the order of its services, and another one for another artifact", () => {
    const a = { artifact: artifact("a") };
    const b = { artifact: artifact("b") };
    assert.equal(release({ web: a, api: b }).id, release({ api: b, web: a }).id);
    assert.notEqual(release({ web: a, api: b }).id, release({ web: b, api: a }).id);
  });
});

describe("canary", () => {
  it("stays at each weight below 100 as long as it is told to, and holds where it is told to", () => {
    const target = {
      key: "t",
      service: "t",
      mode: "slots" as const,
      platform: "local",
      pin: { artifact: "" },
    };
    const acts = canary({ weights: [10, 50], soak: 300, hold: [50, 100] }).steps(
      { ...target, from: "blue", to: "green" },
      { gates: [], tasks: [], analysis: "a" },
    );
    const said = acts.map((a) => (a.act === "shift" ? a.to : a.act === "hold" ? `hold ${a.seconds}` : a.act));
    assert.deepEqual(said, [
      ...["deploy", 10, "analyse", "hold 300"],
      ...[50, "analyse", "hold 300", "hold undefined"],
      ...[100, "analyse", "hold undefined", "adopt", "settle"],
    ]);
  });

  it("refuses to hold at a weight it does not have, or for no time", () => {
    assert.throws(() => canary({ weights: [10], hold: [20] }), /hold names 20/);
    for (const soak of [-1, Number.NaN, Number.POSITIVE_INFINITY])
      assert.throws(() => canary({ soak }), RangeError);
  });

  it("refuses weights that do not grow, are no whole numbers, or exceed 100", () => {
    for (const weights of [[10, 10], [20, 10], [0], [101], [1.5], [-1]])
      assert.throws(() => canary({ weights }), RangeError);
  });
});
