import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import fc from "fast-check";
import { SluiceError } from "../../../components/errors";
import { SLOTS, type Slot } from "../../../components/handle";
import type { Surroundings } from "../../../components/local/around";
import { createFront } from "../../../components/local/front";
import { createMetrics } from "../../../components/local/metrics";
import type { Fill } from "../../../components/local/protocol";
import { fresh, givenBack, same, withRoute, withSlot } from "../../../components/local/rules";
import { contentOf, type Desired, openStore, StateUnwritable } from "../../../components/local/state";
import { fillOf } from "./stage";

const slot = fc.constantFrom<Slot>("blue", "green");
const fence = fc.option(
  fc.record({ run: fc.constantFrom("a", "b"), token: fc.integer({ min: 1, max: 4 }) }),
  { nil: undefined },
);
const write = fc.oneof(
  fc.record({ slot, tag: fc.option(fc.constantFrom("one", "two")), fence }),
  fc.record({
    split: fc.constantFrom(
      { blue: 100, green: 0 },
      { blue: 90, green: 10 },
      { blue: 0, green: 100 },
      { blue: 0, green: 0 },
    ),
    live: fc.constantFrom<(Slot | null | undefined)[]>("blue", "green", null, undefined),
    run: fc.constantFrom<(null | undefined)[]>(null, undefined),
    fence,
  }),
  fc.constant("silence" as const),
);
type Write = typeof write extends fc.Arbitrary<infer W> ? W : never;

/** What is wanted after one write, or the refusal. Filled slots count as ready but for content "two". */
function step(desired: Desired, one: Write): Desired | SluiceError {
  const stateOf = (which: Slot): string => {
    const content = desired.slots[which];
    return !content ? "empty" : content.fill.settings.variables.TAG === "two" ? "starting" : "ready";
  };
  try {
    if (one === "silence") return givenBack(desired, stateOf) ?? desired;
    if ("split" in one) return withRoute(desired, one, stateOf);
    const fill = one.tag ? fillOf("dir:app@sha256:0", "/", one.tag) : null;
    return withSlot(desired, one.slot, { fill, fence: one.fence });
  } catch (thrown) {
    if (thrown instanceof SluiceError) return thrown;
    throw thrown;
  }
}

const equal = (a: Fill, b: Fill): boolean => contentOf(a) === contentOf(b);

describe("the rules of a service", () => {
  it("hold over any order of writes: traffic only where something serves, no older fence, no stranger in a run", () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 30 }), (writes) => {
        let desired = fresh("web.test");
        for (const one of writes) {
          const before = desired;
          const after = step(before, one);
          if (after instanceof SluiceError) continue;
          desired = after;
          const { blue, green } = after.split;
          assert.ok(blue + green === 100 || (blue + green === 0 && after.live === undefined));
          for (const which of SLOTS) {
            assert.ok(after.split[which] === 0 || after.slots[which], `traffic to the empty slot ${which}`);
            const [was, is] = [before.slots[which], after.slots[which]];
            const kept = was && [is, ...(is?.former ?? [])].some((one) => one && equal(one.fill, was.fill));
            assert.ok(!was || kept || before.split[which] === 0, `traffic in ${which} lost what served it`);
            assert.ok(!is?.former?.some((one) => equal(one.fill, is.fill)), "content is former to itself");
          }
          assert.ok(after.fence >= before.fence);
          if (one !== "silence" && one.fence) assert.ok(one.fence.token >= before.fence);
          if (one !== "silence" && !one.fence && before.run !== undefined) assert.ok(same(after, before));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("give nothing to a live slot that is not ready", () => {
    const desired: Desired = { ...fresh("web.test"), live: "blue", split: { blue: 50, green: 50 } };
    assert.equal(
      givenBack(desired, () => "starting"),
      undefined,
    );
    assert.deepEqual(givenBack(desired, () => "ready")?.split, { blue: 100, green: 0 });
  });
});

describe("a state directory", () => {
  let directory = "";
  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), "sluice-state-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("gives back what was saved, and leaves nothing half written", async () => {
    const store = openStore(directory);
    const desired = { ...fresh("web.test"), port: 4000, run: "run-1", fence: 3 };
    await Promise.all([1, 2, 3, 4].map((fenceOf) => store.save({ ...desired, fence: fenceOf })));
    await store.save(desired);
    assert.deepEqual(await openStore(directory).load(), [desired]);
    assert.deepEqual(readdirSync(path.join(directory, "services")), ["web.test.json"]);
  });

  it("that can't be written lets traffic go home, which is written down once it can be, and changes nothing else", async () => {
    let full = false;
    const store = {
      ...openStore(directory),
      save: (next: Desired) =>
        full
          ? Promise.reject(Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" }))
          : openStore(directory).save(next),
    };
    const timing = { silenceMs: 1000, drainMs: 100, graceMs: 100 };
    const around: Surroundings = { store, mark: "x", metrics: createMetrics(), timing, log: () => undefined };
    const filled = { fill: fillOf("dir:app@sha256:0", "/", "one"), settled: true };
    const split = { blue: 50, green: 50 };
    let desired: Desired = {
      ...fresh("web.test"),
      live: "blue",
      split,
      slots: { blue: filled, green: filled },
    };
    const front = createFront(
      desired,
      () => [],
      around,
      () => true,
    );
    try {
      await front.persist(desired);
      desired = front.desired();
      full = true;
      const refused = async (next: Desired): Promise<void> => {
        await assert.rejects(front.persist(next), (thrown: Error) => {
          assert.match(thrown.message, /ENOSPC.*nothing else may change/);
          return StateUnwritable.is(thrown);
        });
      };
      await refused({ ...desired, split: { blue: 40, green: 60 } });
      await refused({ ...desired, live: "green" });
      await refused({ ...desired, slots: { blue: filled } });
      assert.deepEqual([front.desired(), front.unsaved()], [desired, false]);
      const home = { ...desired, split: { blue: 100, green: 0 }, fence: 7, fenceRun: "run-7" };
      await front.persist(home);
      assert.deepEqual([front.desired(), front.unsaved()], [home, true]);
      await refused({ ...home, split });
      await front.save();
      full = false;
      await front.save();
      assert.deepEqual([await store.load(), front.unsaved()], [[home], false]);
    } finally {
      await front.close();
    }
  });
});
