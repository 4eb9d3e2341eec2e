import assert from "node:assert/strict";
import fc from "fast-check";
import type { PlanTarget, Step } from "../../automation/core/model";
import { restored, splitOf, wanted } from "../../automation/core/wanted";
import { type Handle, isResolved, parseHandle, type Wanted } from "../../components/handle";
import { begin } from "../support/story";
import { tales } from "../support/tales";
import { frozen } from "../support/tape";
import { SETTINGS } from "../support/world";

const HASH = "c".repeat(64);

/** What the program makes of it: settings resolved, checked by the parser. */
function declared(want: Wanted): Handle {
  const slots = Object.fromEntries(
    Object.entries(want.slots).map(([slot, filled]) => [
      slot,
      isResolved(filled) ? filled : { ...filled, settings: SETTINGS, hash: HASH },
    ]),
  );
  return frozen(parseHandle(JSON.parse(JSON.stringify({ ...want, slots })), "t"));
}

interface Declared {
  step: Step;
  before: Handle | undefined;
  after: Handle;
  target: PlanTarget;
}

/** A whole chain of one target, act by act. */
function chain(tale: Parameters<typeof begin>[0]): Declared[] {
  const { plan } = begin(tale);
  const target = frozen(plan.targets[0]!);
  let before = target.base && frozen(structuredClone(target.base));
  const found: Declared[] = [];
  for (const step of plan.steps) {
    if (step.target !== target.key) continue;
    const wish = { by: { run: "r1", step: step.id }, at: 1000, release: plan.release };
    const want = wanted(before, target, step, wish);
    assert.deepEqual(wanted(before, target, step, wish), want);
    if (!want) continue;
    const after = declared(want);
    found.push({ step, before, after, target });
    before = after;
  }
  return found;
}

describe("wanted", () => {
  const each = (law: (d: Declared) => void) =>
    fc.assert(fc.property(tales, (tale) => chain(tale).forEach(law)));

  it("is one generation on, by its step, with the run open until settle closes it", () =>
    each(({ step, before, after }) => {
      assert.equal(after.generation, (before?.generation ?? 0) + 1);
      assert.deepEqual(after.by, { run: "r1", step: step.id });
      assert.equal(after.run, step.act === "settle" ? undefined : "r1");
    }));

  it("changes the split by shifts only, to what they say, and to a sum of 100", () =>
    each(({ step, before, after, target }) => {
      if (step.act === "replace") return assert.equal(after.split[target.to], 100);
      if (step.act !== "shift") return assert.deepEqual(after.split, before?.split ?? { blue: 0, green: 0 });
      assert.equal(after.split[target.to], step.to);
      assert.equal(after.split.blue + after.split.green, 100);
    }));

  it("fills by deploys only, empties by settle only, and never touches the slot that is live", () =>
    each(({ step, before, after, target }) => {
      if (target.mode === "in-place") return;
      const from = target.from && before?.slots[target.from];
      if (step.act === "deploy") assert.equal(after.slots[target.to]?.pin.artifact, target.pin.artifact);
      else assert.deepEqual(after.slots[target.to], before?.slots[target.to]);
      if (target.from) assert.deepEqual(after.slots[target.from], step.act === "settle" ? undefined : from);
    }));

  it("in place fills the live slot by replaces only, remembers what was in it, and empties nothing", () =>
    each(({ step, before, after, target }) => {
      if (target.mode !== "in-place") return;
      assert.equal(after.live, target.to);
      assert.equal(after.slots[target.to]?.pin.artifact, target.pin.artifact);
      const { previous, slots } = after;
      if (step.act === "replace") assert.deepEqual(previous, target.base?.slots[target.to]);
      else assert.deepEqual([previous, slots], [before?.previous, before?.slots]);
    }));

  it("adopts: the new slot is live, and what was live is remembered", () =>
    each(({ step, before, after, target }) => {
      if (step.act === "replace") return;
      if (step.act !== "adopt")
        return assert.deepEqual([after.live, after.previous], [before?.live, before?.previous]);
      assert.equal(after.live, target.to);
      assert.deepEqual(after.previous, target.from && before?.slots[target.from]);
    }));

  it("proves in settle alone, what runs now", () =>
    each(({ step, before, after, target }) => {
      if (step.act !== "settle") return assert.deepEqual(after.proved, before?.proved);
      const { artifact, settings, run, at } = after.proved!;
      assert.deepEqual(
        [artifact, settings, run, at],
        [target.pin.artifact, HASH, "r1", new Date(1000).toISOString()],
      );
    }));
});

describe("restored", () => {
  it("is what was there before, at any point, but for generation, by and run", () =>
    fc.assert(
      fc.property(tales, (tale) => {
        for (const { after, target } of chain(tale)) {
          const by = { run: "r1", step: "restore" };
          const { generation, by: who, run, ...rest } = restored(after, target, by);
          const {
            generation: _g,
            by: _b,
            run: _r,
            ...base
          } = target.base ?? {
            ...{ generation: 0, by: undefined, run: undefined },
            ...{ version: 1, platform: "memory", service: target.service, slots: {} },
            split: { blue: 0, green: 0 },
          };
          assert.deepEqual(rest, base);
          assert.equal(generation, after.generation + 1);
          assert.deepEqual(who, by);
          assert.equal(run, undefined);
          declared(restored(after, target, by));
        }
      }),
    ));
});

describe("splitOf", () => {
  it("leaves the rest with who was live, or with nobody", () => {
    assert.deepEqual(splitOf({ to: "green", from: "blue" }, 30), { blue: 70, green: 30 });
    assert.deepEqual(splitOf({ to: "blue", from: "green" }, 0), { blue: 0, green: 100 });
    assert.deepEqual(splitOf({ to: "blue" }, 0), { blue: 0, green: 0 });
  });
});
