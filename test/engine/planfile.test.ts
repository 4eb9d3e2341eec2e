import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { Plan } from "../../automation/core/model";
import { planId } from "../../automation/core/plan";
import { holds, readPlan, writePlan } from "../../automation/engine/planfile";
import { begin } from "../support/story";
import { tales } from "../support/tales";

const ASK = { chain: ["staging", "prod"] };

describe("a plan file", () => {
  let directory: string;
  let file: string;
  const made = begin({
    ...{ seed: 1, targets: [{ first: false }, { first: true }], gates: 1, tasks: 0, checks: true },
    ...{ analysis: true, maxParallel: 4, faults: {} },
  }).plan;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "sluice plan ü-"));
    file = join(directory, "plan.json");
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it("comes back as it went, for its owner alone", async () => {
    const id = await writePlan(file, made, { ...ASK, service: "web" }, "ann@a");
    const back = await readPlan(file);
    assert.equal(back.id, id);
    assert.deepEqual(back.ask, { ...ASK, service: "web" });
    assert.equal(planId(back.plan), planId(made));
    assert.equal(statSync(file).mode & 0o777, 0o600);
    holds(back, made);
  });

  it("is refused once any of it was edited, torn, or is something else", async () => {
    await writePlan(file, made, ASK, "ann@a");
    const text = readFileSync(file, "utf8");
    const edits = [
      text.replace('"maxParallel": 4', '"maxParallel": 40'),
      text.replace(/"act": "gate"/, '"act": "join"'),
      text.slice(0, -20),
      text.replace('"v": 1', '"v": 2'),
      text.replace('"type": "sluice-plan"', '"type": "plan"'),
      "[]",
      "",
    ];
    for (const edit of edits) {
      assert.notEqual(edit, text);
      writeFileSync(file, edit);
      await assert.rejects(readPlan(file), { code: "plan-unreadable" });
    }
    await assert.rejects(readPlan(join(directory, "none.json")), { code: "plan-unreadable" });
  });

  it("holds for the very same plan only, whatever differs, and says what", () =>
    fc.assert(
      fc.property(tales, tales, (a, b) => {
        const [one, two] = [begin(a).plan, begin(b).plan];
        const kept = { file, id: planId(one), ask: ASK, plan: one };
        holds(kept, begin(a).plan);
        if (planId(two) !== planId(one)) assert.throws(() => holds(kept, two), { code: "plan-stale" });
      }),
    ));

  it("names the stack that moved, the release that changed, and the pipeline that did", () => {
    const kept = { file, id: planId(made), ask: ASK, plan: made };
    const stale = (change: Partial<Plan>, said: RegExp) =>
      assert.throws(() => holds(kept, { ...made, ...change }), { code: "plan-stale", message: said });
    const [t0, t1] = made.targets;
    stale(
      { targets: [{ ...t0!, base: { ...t0!.base!, generation: 8 } }, t1!] },
      /t0 was at generation 7 and is at 8/,
    );
    stale(
      { targets: [{ ...t0!, base: { ...t0!.base!, live: "green" } }, t1!] },
      /what t0 declares has changed/,
    );
    stale({ targets: [t0!] }, /t1 runs the release already/);
    stale({ release: "f".repeat(64) }, /stands for ffffffffffff now/);
    stale({ maxParallel: 9 }, /pipeline.ts or .* makes another plan now/);
  });

  it("has another name for another plan, and the same for the same", () =>
    fc.assert(
      fc.property(tales, (tale) => {
        const p = begin(tale).plan;
        assert.equal(planId(JSON.parse(JSON.stringify(p)) as Plan), planId(p));
        assert.notEqual(planId({ ...p, request: `${p.request} --unproven` }), planId(p));
      }),
    ));
});
